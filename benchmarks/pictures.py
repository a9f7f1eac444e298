"""The pictures of a folder, as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def load(folder: Path) -> dict[str, Pixels]:
    """Name -> (H, W, 3) uint8, sorted by name. Raises SystemExit for a folder without pictures."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".ppm"))
    if not paths:
        raise SystemExit(f"{folder}: no pictures here")
    return {p.name: np.array(Image.open(p).convert("RGB")) for p in paths}
