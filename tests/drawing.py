"""Pictures that the tests draw: the same on every machine, for only integers are involved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def draw(kind: str, height: int, width: int, seed: int = 0) -> Pixels:
    """(H, W, 3) uint8: "noise", "flat", "gradient" or "shapes"."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "flat":
        return np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (height, width, 3)).copy()
    if kind == "gradient":
        return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) % 256], 2).astype(
            np.uint8
        )
    if kind == "shapes":
        pixels = draw("gradient", height, width) // 2
        for _ in range(12):
            cy, cx, r = rng.integers(0, height), rng.integers(0, width), rng.integers(2, 40)
            pixels[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.integers(0, 256, 3)
        return pixels + (rng.integers(0, 9, pixels.shape)).astype(np.uint8) * (pixels < 240)
    raise ValueError(kind)
