"""The pictures of a folder, and which of its files could not be used."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np

from benchmarks.codecs.base import Pixels
from neurocodec import images
from neurocodec.errors import ImageError
from neurocodec.limits import DEFAULT_MAX_PIXELS
from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST


@dataclass(frozen=True)
class Source:
    """A picture that every codec is measured on."""

    path: Path
    digest: str  # of the file, so that a cached figure is never one of another picture
    width: int
    height: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def megapixels(self) -> float:
        return self.width * self.height / 1e6


@dataclass
class Found:
    """What a folder holds."""

    sources: list[Source] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # name -> one sentence


def read(path: Path) -> Pixels:
    """(H, W, 3) uint8, as neurocodec reads it: other modes and depths in 8-bit RGB. Raises ImageError."""
    picture = images.read(path.read_bytes(), DEFAULT_MAX_PIXELS)
    if picture.alpha is not None:
        raise ImageError("the picture has transparency, which most codecs here cannot keep.")
    return np.array(picture.pixels)  # writable, for torch


def read_argument(path: Path) -> Pixels:
    """As :func:`read`, for a command's argument: errors are sentences with an exit code."""
    try:
        return read(path)
    except (ImageError, OSError) as error:
        raise click.ClickException(f"{path}: {error}") from None


def find(folder: Path, limit: int | None = None) -> Found:
    """The pictures of a folder, sorted by name; files with no picture's extension are passed over.

    A file that cannot be decoded, and a picture too small for MS-SSIM, is skipped and named.
    """
    extensions = images.readable_extensions()
    found, seen = Found(), dict[str, str]()
    for path in sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in extensions):
        if limit is not None and len(found.sources) == limit:
            break
        try:
            height, width = read(path).shape[:2]
        except (ImageError, OSError) as error:
            found.skipped[path.name] = str(error)
            continue
        if min(height, width) < MS_SSIM_SMALLEST:
            found.skipped[path.name] = (
                f"{width}x{height} pixels are too few: MS-SSIM needs sides of at least {MS_SSIM_SMALLEST}."
            )
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if digest in seen:
            found.skipped[path.name] = f"it is the same file as {seen[digest]}."
            continue
        seen[digest] = path.name
        found.sources.append(Source(path, digest, width, height))
    return found


def load(folder: Path, limit: int | None = None) -> dict[str, Pixels]:
    """Name -> pixels of all usable pictures. Raises SystemExit for a folder without one."""
    found = find(folder, limit)
    if not found.sources:
        raise SystemExit(f"{folder}: no pictures here")
    return {source.name: read(source.path) for source in found.sources}
