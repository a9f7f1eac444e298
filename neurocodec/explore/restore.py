"""Restoring: the denoising autoencoder. An encoder that was trained on (corrupted in, clean out) writes the
latents of the clean picture, and the codec's own decoder makes it of them. Nothing is rounded in between, since
no file is written.

The networks are not quite indifferent to how the picture is turned, and what they get wrong differs from way to
way: the mean of several passes is better than each. They are not moved as well, as inpainting does it: that gains
with noise, but JPEG's blocks are looked for where a file has them, from the corner on.
"""

from __future__ import annotations

import numpy as np
import torch

from neurocodec.encoding import Pixels, as_tensor, reflected
from neurocodec.explore.turns import TURNS, turn, turn_back
from neurocodec.fixedpoint import ONE
from neurocodec.model import Codec
from neurocodec.windows import Report, part_of, silent

PASSES = TURNS
QUALITY = 100.0  # of the latents: they are not stored


@torch.inference_mode()
def restore(codec: Codec, pixels: Pixels, position: int, passes: int, report: Report = silent) -> Pixels:
    """pixels (H, W, 3) with noise, blocks or blur -> without. passes: 1 to PASSES, whose mean is taken."""
    height, width = pixels.shape[:2]
    padded = reflected(pixels)  # to multiples of JPEG's blocks, so that every turn sees blocks from its corner on
    total = np.zeros(padded.shape, np.uint16)
    for way in range(passes):
        turned = turn(as_tensor(padded), way)
        share = part_of(report, way / passes, (way + 1) / passes)
        y = codec.analyse(turned, position, part_of(share, 0, 0.5))
        decoded = codec.synthesise(y.mul_(ONE), turned.shape[0], turned.shape[1], position, part_of(share, 0.5, 1))
        total += turn_back(decoded.cpu(), way).numpy()
    mean: Pixels = ((total + passes // 2) // passes).astype(np.uint8)[:height, :width]
    return mean
