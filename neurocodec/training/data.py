"""Training pictures: decoded once into memory, cropped, rescaled and flipped at random."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from neurocodec import images
from neurocodec.errors import ImageError, NeurocodecError, TrainingError
from neurocodec.files import listing
from neurocodec.limits import DEFAULT_MAX_PIXELS

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".tif", ".tiff"}


def load_folder(folder: Path, smallest: int, device: torch.device) -> list[Tensor]:
    """Every picture under a folder with both sides >= smallest, as (H, W, 3) uint8 tensors."""

    def load(path: Path) -> Tensor | None:
        try:
            with images.opened(path.read_bytes(), DEFAULT_MAX_PIXELS) as image:
                if min(image.size) < smallest:
                    return None
                return torch.from_numpy(images.from_pillow(image).pixels.copy()).to(device)
        except (OSError, ImageError) as error:
            raise TrainingError(f"{path}: a picture cannot be read: {error}") from error

    closed = dict[Path, NeurocodecError]()
    paths = sorted(path for path in listing(folder, True, closed, []) if wanted(path))
    for path, error in closed.items():
        raise TrainingError(f"{path}: {error}")
    with ThreadPoolExecutor() as pool:
        pictures = [p for p in pool.map(load, paths) if p is not None]
    if not pictures:
        raise TrainingError(
            f"{folder}: no picture of at least {smallest}x{smallest} pixels in it "
            f"(looked for {', '.join(sorted(SUFFIXES))})."
        )
    return pictures


def wanted(path: Path) -> bool:
    """Whether it is a picture by its name. Hidden ones are none: macOS leaves ._0.png beside 0.png."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def random_batch(pictures: Sequence[Tensor], batch: int, patch: int, generator: torch.Generator) -> Tensor:
    """(batch, patch, patch, 3) in [0, 1]: four in ten crops are reduced by up to 2, half are mirrored."""
    uniform = torch.rand((batch, 5), generator=generator).tolist()
    crops = []
    for pick, shrink, top, left, flip in uniform:
        picture = pictures[int(pick * len(pictures))]
        height, width = picture.shape[:2]
        factor = 1.0 if shrink < 0.6 else 1.0 + (shrink - 0.6) / 0.4
        size = min(round(patch * factor), height, width)
        i, j = int(top * (height - size + 1)), int(left * (width - size + 1))
        crop = picture[i : i + size, j : j + size].permute(2, 0, 1)[None].float() / 255
        if size != patch:
            crop = F.interpolate(crop, (patch, patch), mode="bicubic", antialias=True).clamp(0, 1)
        crops.append(crop.flip(-1) if flip < 0.5 else crop)
    return torch.cat(crops).permute(0, 2, 3, 1).contiguous()
