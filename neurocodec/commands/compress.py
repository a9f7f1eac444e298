"""`neurocodec compress`: a picture into a file, or its frames into a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from neurocodec.commands.shared import (
    BAR_PIXELS,
    device_option,
    json_option,
    max_pixels_option,
    model_option,
    naming,
    print_json,
    progress_bar,
    quiet_option,
    tell,
)
from neurocodec.errors import NeurocodecError
from neurocodec.files import STANDARD, check_folder, check_target, read_source, write_target
from neurocodec.options import force_option

if TYPE_CHECKING:
    from neurocodec.images import Picture


@dataclass(frozen=True)
class Settings:
    """How pictures are compressed."""

    quality: float
    model: str
    effort: int
    alpha_quality: int
    strip: bool
    device: str
    max_pixels: int
    quiet: bool
    as_json: bool


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "-q",
    "--quality",
    type=click.FloatRange(1, 100),
    default=75.0,
    show_default=True,
    help="1 to 100; looks about as good as JPEG of the same quality. Fractions are allowed.",
)
@model_option
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=0,
    show_default=True,
    help="Above 0, optimise the latents for this picture: smaller files, for minutes instead of moments.",
)
@click.option(
    "--alpha-quality",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    help="Of transparency: 100 is lossless, less keeps fewer levels.",
)
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile (colours are converted to sRGB).")
@click.option("--frames", is_flag=True, help="Compress every frame of an animation into the folder OUT.")
@device_option
@max_pixels_option
@force_option
@quiet_option
@json_option
def compress(source: str, target: str, frames: bool, force: bool, **chosen: Any) -> None:
    """Compress the picture IN into the file OUT. Either may be - for standard input or output.

    \b
    Example:
      neurocodec compress -q 50 photo.png photo.nc
      neurocodec compress -q 50 --effort 5 photo.png smaller.nc
      neurocodec compress --strip holiday.jpg holiday.nc
      neurocodec compress --frames animation.gif frames/
    """
    settings = Settings(**chosen)
    if math.isnan(settings.quality):
        raise click.UsageError("the quality is not a number.")
    if frames:
        compress_frames(source, target, force, settings)
    else:
        check_target(source, target, force)
        compress_file(source, target, settings)


def compress_file(source: str, target: str, settings: Settings) -> None:
    """One picture into one file."""
    data = read_source(source)
    from neurocodec import images

    with naming(source):
        picture = images.read(data, settings.max_pixels)
    compress_picture(picture, source, target, len(data), settings)


def compress_frames(source: str, target: str, force: bool, settings: Settings) -> None:
    """Every frame of a file into 000.nc, 001.nc, ... of a folder."""
    if target == STANDARD:
        raise NeurocodecError("frames are many files: name a folder for them.")
    data = read_source(source)
    check_folder(target, make=True)
    from neurocodec import images

    for i, picture in enumerate(_named(source, images.read_frames(data, settings.max_pixels))):
        frame = str(Path(target) / f"{i:03}.nc")
        check_target(source, frame, force)
        compress_picture(picture, f"{source}, frame {i}", frame, len(data), settings)


def _named(source: str, pictures: Iterator[Picture]) -> Iterator[Picture]:
    with naming(source):
        yield from pictures


def compress_picture(picture: Picture, name: str, target: str, bytes_in: int, settings: Settings) -> None:
    """A picture that is read into a file, with a line on what came of it."""
    from neurocodec import api, images, metrics

    if settings.strip:
        picture = images.stripped(picture)
    for note in picture.notes:
        tell(f"Note: {name}: {note}", settings.quiet)
    hidden = settings.quiet or not (settings.effort or picture.width * picture.height > BAR_PIXELS)
    with progress_bar("refining" if settings.effort else "compressing", hidden) as progress, naming(name):
        packed = api.compress(
            picture,
            settings.quality,
            settings.model,
            settings.device,
            settings.effort,
            progress,
            settings.alpha_quality,
        )
    write_target(target, packed)
    bpp = metrics.bits_per_pixel(len(packed), picture.width, picture.height)
    raw = picture.width * picture.height * ((1 if picture.grey else 3) + (picture.alpha is not None))
    if settings.as_json:
        fields = {"in": name, "out": target, "width": picture.width, "height": picture.height}
        fields |= {"quality": settings.quality, "bytes_in": bytes_in, "bytes": len(packed)}
        print_json(fields | {"bits_per_pixel": bpp, "ratio": raw / len(packed)}, target)
        return
    tell(
        f"{name}: {picture.width}x{picture.height}, {bytes_in} bytes -> {target}: {len(packed)} bytes, "
        f"{bpp:.3f} bpp, {raw / len(packed):.1f} times smaller than its pixels",
        settings.quiet,
    )
