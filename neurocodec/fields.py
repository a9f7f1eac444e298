"""What a .nc file says of itself, without decoding it. Needs no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO

from neurocodec import container
from neurocodec.catalogue import MODELS
from neurocodec.container import QUALITY_STEPS
from neurocodec.errors import ImageError
from neurocodec.files import read_file

Source = bytes | str | os.PathLike[str] | IO[bytes]  # of a file: its bytes, its path, or it, open for reading


@dataclass(frozen=True)
class Info:
    """What a file says of itself, without decoding it."""

    version: int
    model_id: int
    model: str
    quality: float
    width: int
    height: int
    grey: bool
    latents: int  # bytes, as are those below
    alpha: int
    icc: int  # once inflated, as EXIF and XMP
    exif: int
    xmp: int
    bytes: int  # of the whole file
    bits_per_pixel: float
    pixel_bytes: int  # of the pixels themselves, 1 to 4 a pixel
    ratio: float  # pixel_bytes / bytes


def info(data: Source) -> Info:
    """The fields of a .nc file (its bytes, path or open file), after all its checks. Needs no model."""
    data = bytes_of(data)
    c = container.unpack(data, max_pixels=container.SIDE_LIMIT**2)
    names = {m.id: m.name for m in MODELS}
    raw = c.width * c.height * ((1 if c.grey else 3) + bool(c.alpha))
    private = f"private, SHA-256 {c.fingerprint.hex()}..."
    return Info(
        version=container.VERSION,
        model_id=c.model_id,
        model=private if c.model_id == container.PRIVATE_MODEL else names.get(c.model_id, "unknown"),
        quality=c.quality / QUALITY_STEPS,
        width=c.width,
        height=c.height,
        grey=c.grey,
        latents=len(c.latents),
        alpha=len(c.alpha),
        icc=len(c.icc),
        exif=len(c.exif),
        xmp=len(c.xmp),
        bytes=len(data),
        bits_per_pixel=len(data) * 8 / (c.width * c.height),
        pixel_bytes=raw,
        ratio=raw / len(data),
    )


def bytes_of(source: Source) -> bytes:
    """All bytes of a file. Raises NeurocodecError for one that cannot be read, ImageError for what is none."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, str | os.PathLike):
        return read_file(os.fspath(source))
    if not hasattr(source, "read"):
        raise ImageError(
            f"a picture, an array, or a file (its bytes, path or open file) is needed, not a {type(source).__name__}."
        )
    data = source.read()
    if not isinstance(data, bytes):
        raise ImageError("the file is open as text: open it in binary mode.")
    return data
