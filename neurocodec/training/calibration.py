"""What a quality means: quality N is as good as JPEG's quality N, on the mean of some pictures.

As good by what the tune is for: mean MS-SSIM, or mean PSNR.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from neurocodec import metrics
from neurocodec.fixedpoint import POSITION_BITS
from neurocodec.model import Codec
from neurocodec.objective import Objective

Pixels = NDArray[np.uint8]
# JPEG's tables change in jumps at low qualities, so each of those has a knot of its own.
JPEG_QUALITIES = (1, 3, 5, *range(7, 20), *range(20, 95, 5), 93, 95, 97, 100)
POSITIONS_PER_ANCHOR = 2
SLIVER = 1 << (POSITION_BITS - 5)  # of the scale, for what is out of reach at an end


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """The JPEG that figures are held against: Pillow, 4:2:0, optimized and progressive."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, optimize=True, progressive=True)
    return out.getvalue()


def jpeg_round_trip(quality: int, pixels: Pixels) -> Pixels:
    """What is left of a picture after :func:`jpeg`."""
    return np.array(Image.open(io.BytesIO(jpeg(pixels, quality))))


def calibrate(
    codec: Codec, objective: Objective, pictures: Sequence[Pixels], report: Callable[[str], None]
) -> list[tuple[int, int]]:
    """(quality in hundredths, position in 2**-12), rising, for a weights file.

    Qualities that the model cannot reach share a sliver of the scale at its end, so that a higher
    quality always is a higher position.
    """
    top = (codec.config.anchors - 1) << POSITION_BITS
    step = (1 << POSITION_BITS) // POSITIONS_PER_ANCHOR
    positions = list(range(0, top + 1, step))
    ours = [level(objective, pictures, partial(round_trip, codec, at)) for at in positions]
    jpegs = [level(objective, pictures, partial(jpeg_round_trip, quality)) for quality in JPEG_QUALITIES]
    knots = match(jpegs, positions, ours)
    for quality, reached in zip(JPEG_QUALITIES, jpegs, strict=True):
        reach = "" if knots[1][0] <= quality * 100 <= knots[-2][0] else " (out of reach)"
        report(f"JPEG quality {quality}: {reached:.2f} dB of {'MS-SSIM' if objective.ms_ssim else 'PSNR'}{reach}")
    return knots


def match(jpegs: Sequence[float], positions: Sequence[int], ours: Sequence[float]) -> list[tuple[int, int]]:
    """The knots for levels of JPEG_QUALITIES and of our positions, both in dB."""
    theirs, own = np.maximum.accumulate(jpegs), np.maximum.accumulate(ours)
    edges = (positions[0] + SLIVER, positions[-1] - SLIVER)
    low, high = (float(np.interp(at, positions, own)) for at in edges)
    knots = {
        quality * 100: round(float(np.interp(level, own, positions)))
        for quality, level in zip(JPEG_QUALITIES, theirs, strict=True)
        if low < level < high
    }
    for level, edge in ((low, edges[0]), (high, edges[1])):
        if theirs[0] < level < theirs[-1]:  # where JPEG is as good as our end of the scale
            knots.setdefault(round(100 * float(np.interp(level, theirs, JPEG_QUALITIES))), edge)
    knots.setdefault(100, positions[0])
    knots.setdefault(10000, positions[-1])
    return sorted(knots.items())


def round_trip(codec: Codec, position: int, pixels: Pixels) -> Pixels:
    """What is left of a picture after the codec at a quality position."""
    data = codec.compress(torch.from_numpy(pixels), position)
    decoded: Pixels = codec.decompress(data, pixels.shape[0], pixels.shape[1], position).cpu().numpy()
    return decoded


def level(objective: Objective, pictures: Sequence[Pixels], degrade: Callable[[Pixels], Pixels]) -> float:
    """How good degraded pictures are, by what a model is tuned for: mean MS-SSIM or mean PSNR, in dB."""
    pairs = [(p, degrade(p)) for p in pictures]
    if objective.ms_ssim:
        return metrics.decibels(float(np.mean([metrics.ms_ssim(*pair) for pair in pairs])))
    return float(np.mean([metrics.psnr(*pair) for pair in pairs]))
