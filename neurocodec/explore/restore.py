"""Restoring: the denoising autoencoder. An encoder that was trained on (corrupted in, clean out) writes the
latents of the clean picture, and the codec's own decoder makes it of them. Nothing is rounded in between, since
no file is written.

The networks are not quite indifferent to where their 16-pixel grid lies nor to how the picture is turned, and
what they get wrong differs from way to way: the mean of several passes is better than each.
"""

from __future__ import annotations

import numpy as np
import torch

from neurocodec.encoding import Pixels, as_tensor
from neurocodec.explore.turns import TURNS, turn, turn_back
from neurocodec.fixedpoint import ONE
from neurocodec.model import Codec
from neurocodec.windows import Report, part_of, silent

SHIFTS = ((0, 0), (8, 4), (4, 12), (12, 8), (2, 6), (10, 2), (6, 14), (14, 10))  # pixels, of the grid's 16
PASSES = TURNS
QUALITY = 100.0  # of the latents: they are not stored


@torch.inference_mode()
def restore(codec: Codec, pixels: Pixels, position: int, passes: int, report: Report = silent) -> Pixels:
    """pixels (H, W, 3) with noise, blocks or blur -> without. passes: 1 to PASSES, whose mean is taken."""
    total = np.zeros(pixels.shape, np.uint16)
    for way, (top, left) in enumerate(SHIFTS[:passes]):
        turned = turn(as_tensor(pixels), way)
        # The edges above and left are repeated as the codec does it below and to the right.
        moved = torch.from_numpy(np.pad(turned.numpy(), ((top, 0), (left, 0), (0, 0)), mode="edge"))
        share = part_of(report, way / passes, (way + 1) / passes)
        y = codec.analyse(moved, position, part_of(share, 0, 0.5))
        decoded = codec.synthesise(y.mul_(ONE), moved.shape[0], moved.shape[1], position, part_of(share, 0.5, 1))
        total += turn_back(decoded.cpu()[top:, left:], way).numpy()
    return ((total + passes // 2) // passes).astype(np.uint8)
