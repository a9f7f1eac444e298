"""The alpha channel: lossless bytes of its own, and colours for what nobody sees.

An alpha is a constant, or the smaller of a PNG and a lossless WebP of its levels. Less quality means
fewer levels, as in WebP: edges stay where they are, and 0 and 255 stay themselves.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neurocodec.container import ALPHA_CONSTANT, ALPHA_IMAGE, check_alpha
from neurocodec.errors import FormatError
from neurocodec.unhindered import unhindered

Channel = NDArray[np.uint8]  # (H, W)

MODES = {"PNG": "L", "WEBP": "RGB"}  # of an image, by its format
WEBP_SIDE = 16383  # pixels at most
WEBP_PIXELS = 16_000_000  # more take lossless WebP minutes
HARD_PIXELS = 1 << 20  # up to so many it tries hardest: 4 megapixels took 6.9 s, and 1.9 s at 0.6 % more bytes
LEVEL_ROUNDS = 6
STRIP = 1 << 20  # pixels
FILL_SIDE = 1024  # pixels: hidden colours are made square by square, which bounds memory


def pack(alpha: Channel, quality: int = 100) -> bytes:
    """alpha, quality 0 to 100 (lossless) -> the bytes of the section."""
    alpha = reduce_levels(alpha, quality)
    if alpha.min() == alpha.max():
        return ALPHA_CONSTANT + bytes([alpha[0, 0]])
    image, candidates, hard = Image.fromarray(alpha), [], alpha.size <= HARD_PIXELS
    forms: dict[str, dict[str, object]] = {"PNG": {"optimize": hard}}
    if max(alpha.shape) <= WEBP_SIDE and alpha.size <= WEBP_PIXELS:
        forms["WEBP"] = {"lossless": True, "quality": 100 if hard else 50}
    for form, options in forms.items():
        out = io.BytesIO()
        (image if form == "PNG" else image.convert("RGB")).save(out, form, **options)
        candidates.append(out.getvalue())
    return ALPHA_IMAGE + min(candidates, key=len)


def unpack(section: bytes, height: int, width: int) -> Channel:
    """The alpha (height, width) of a section. Raises FormatError."""
    check_alpha(section)
    if section[:1] == ALPHA_CONSTANT:
        return np.full((height, width), section[1], np.uint8)
    try:
        # Its size is checked against the header's.
        with unhindered(), Image.open(io.BytesIO(section[1:]), formats=("PNG", "WEBP")) as image:
            if image.size != (width, height) or image.mode != MODES[image.format or ""]:
                raise FormatError(
                    f"the alpha is {image.width}x{image.height} in mode {image.mode}, not {width}x{height}."
                )
            image.load()
            found = np.empty((height, width), np.uint8)
            for rows in strips(height, width):  # Pillow hands out copies of copies
                part = np.asarray(image.crop((0, rows.start, width, rows.stop)))
                found[rows] = part[:, :, 1] if image.mode == "RGB" else part
            return found
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise anything for damaged data
        raise FormatError(f"the alpha section is damaged: {error}") from error


def reduce_levels(alpha: Channel, quality: int) -> Channel:
    """Alpha with as many levels as WebP gives this quality; all of them at 100. 0 and 255 are always among them."""
    if quality >= 100:
        return alpha
    levels = 2 + quality // 5 if quality <= 70 else 16 + (quality - 70) * 8
    counts = sum(np.bincount(alpha[rows].ravel(), minlength=256) for rows in strips(*alpha.shape))
    present = np.flatnonzero(counts)
    if len(present) <= levels:
        return alpha
    centres = np.linspace(0, 255, levels)
    for _ in range(LEVEL_ROUNDS):  # Lloyd's algorithm on the histogram
        nearest = np.abs(np.arange(256)[:, None] - centres).argmin(1)
        weights = np.bincount(nearest, counts, minlength=levels)
        sums = np.bincount(nearest, counts * np.arange(256), minlength=levels)
        centres = np.where(weights > 0, sums / np.maximum(weights, 1), centres)
        centres[0], centres[-1] = 0, 255
    mapped = centres.round().astype(np.uint8)[np.abs(np.arange(256)[:, None] - centres).argmin(1)]
    reduced = np.empty_like(alpha)
    for rows in strips(*alpha.shape):
        reduced[rows] = mapped[alpha[rows]]
    return reduced


def strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture, some at a time: numpy makes eight bytes of each pixel that is counted or looked up."""
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def reduce(alpha: Channel, scale: int) -> Channel:
    """Means of scale x scale (H, W) -> (H / scale, W / scale), sides rounded up; edges are repeated."""
    height, width = alpha.shape
    padded = np.pad(alpha, ((0, -height % scale), (0, -width % scale)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // scale, scale, padded.shape[1] // scale, scale)
    means: Channel = tiles.mean((1, 3), dtype=np.float32).round().astype(np.uint8)
    return means


def fill_hidden(pixels: NDArray[np.uint8], alpha: Channel) -> NDArray[np.uint8]:
    """pixels (H, W, 3) with smooth colours where alpha is 0: nobody sees them, and they cost the fewest bits."""
    if alpha.all():
        return pixels
    filled = pixels.copy()
    for top in range(0, pixels.shape[0], FILL_SIDE):
        for left in range(0, pixels.shape[1], FILL_SIDE):
            part = filled[top : top + FILL_SIDE, left : left + FILL_SIDE]
            seen = alpha[top : top + FILL_SIDE, left : left + FILL_SIDE] > 0
            if not seen.all():
                smooth = _pyramid(part.astype(np.float32), seen.astype(np.float32))
                part[~seen] = smooth.round().astype(np.uint8)[~seen]
    return filled


def _pyramid(colours: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (H, W, 3) where weights (H, W) are above 0, and elsewhere those of the coarser picture around."""
    height, width = weights.shape
    if height == width == 1:
        return colours if weights[0, 0] else np.full_like(colours, 128)
    edges = ((0, height % 2), (0, width % 2))
    sums = _quarters(np.pad(colours * weights[:, :, None], (*edges, (0, 0))))
    total = _quarters(np.pad(weights, edges)[:, :, None])
    means: NDArray[np.float32] = sums / total.clip(1e-6)
    coarse = _pyramid(means, total[:, :, 0].clip(0, 1))
    finer = coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    return np.where(weights[:, :, None] > 0, colours, finer)


def _quarters(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2x2 (H, W, C) -> (H/2, W/2, C)."""
    height, width, channels = values.shape
    quarters: NDArray[np.float32] = values.reshape(height // 2, 2, width // 2, 2, channels).sum((1, 3))
    return quarters
