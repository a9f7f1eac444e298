"""Versions of one picture by several codecs, at nearly the same number of bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.codecs.base import Codec, Pixels
from neurocodec import metrics


@dataclass(frozen=True)
class Version:
    """A picture stored by one codec."""

    label: str
    setting: float
    data: bytes
    pixels: Pixels
    psnr: float
    ms_ssim: float
    ssimulacra2: float


@dataclass(frozen=True)
class Pair:
    """The same picture twice: ours never has more bytes, unless even its lowest quality has."""

    reference: Version
    ours: Version


def version_of(codec: Codec, pixels: Pixels, setting: float, data: bytes | None = None) -> Version:
    """Encode, decode and measure."""
    data = codec.encode(pixels, setting) if data is None else data
    decoded = codec.decode(data)
    measured = (measure(pixels, decoded) for measure in (metrics.psnr, metrics.ms_ssim, metrics.ssimulacra2))
    return Version(codec.label, setting, data, decoded, *measured)


def version_near(codec: Codec, pixels: Pixels, size: int, at_most: bool = False) -> Version:
    """Return the version whose file is nearest to `size` bytes, larger or smaller.

    Bisects the settings of `codec.steps()`. Sizes rise with the setting, except for a few bytes. So every trial is a
    candidate. If two sizes are equally near, the higher setting wins.

    Args:
        codec: the codec whose setting is searched.
        pixels: (H, W, 3) uint8, with sides of at least 161 pixels.
        size: bytes of the wanted file.
        at_most: exclude files above `size`, unless all trials are above it.
    """
    steps, trials = codec.steps(), dict[float, bytes]()
    low, high = 0, len(steps) - 1
    while low <= high:
        middle = (low + high) // 2
        data = trials[steps[middle]] = codec.encode(pixels, steps[middle])
        if len(data) <= size:
            low = middle + 1
        else:
            high = middle - 1
    allowed = {s: data for s, data in trials.items() if len(data) <= size} if at_most else {}
    setting, data = min((allowed or trials).items(), key=lambda trial: (abs(len(trial[1]) - size), -trial[0]))
    return version_of(codec, pixels, setting, data)


def pair_of(reference: Codec, ours: Codec, pixels: Pixels, quality: float) -> Pair:
    """Return the reference at a quality, and our version of nearly its size, which is not larger if possible."""
    theirs = version_of(reference, pixels, quality)
    return Pair(theirs, version_near(ours, pixels, len(theirs.data), at_most=True))


def most_detailed(pixels: Pixels, side: int) -> tuple[int, int]:
    """Left and top of the square of a picture with the most detail: the sum of absolute differences
    between neighbours. Chosen from the original alone, so that no codec is favoured."""
    grey = pixels.astype(np.int64).sum(axis=2)
    detail = np.zeros_like(grey)
    detail[:, 1:] += np.abs(np.diff(grey, axis=1))
    detail[1:, :] += np.abs(np.diff(grey, axis=0))
    sums = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    side = min(side, *grey.shape)
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(left), int(top)
