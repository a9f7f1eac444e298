"""`neurocodec decompress`: a file back into a picture, or a folder of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from neurocodec.commands.batch import Many, Outcome, check_meaning, report, run, skipped, workers_option
from neurocodec.commands.folders import find_jobs
from neurocodec.commands.shared import (
    BAR_PIXELS,
    check_model,
    device_option,
    json_option,
    max_pixels_option,
    naming,
    private_option,
    progress_bar,
    quiet_option,
)
from neurocodec.files import STANDARD, check_folder, check_target, input_name, output_name, read_source, write_target
from neurocodec.options import force_option


@dataclass(frozen=True)
class Settings:
    """How files are decompressed."""

    extension: str | None
    colour: tuple[int, int, int] | None
    scale: int
    model: str | None
    device: str
    max_pixels: int
    force: bool
    quiet: bool
    as_json: bool


@click.command(short_help="Decompress a file, or all those in a folder.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@private_option
@click.option(
    "--format",
    "form",
    default=None,
    metavar="EXT",
    help="Write this format whatever OUT's name: png, webp, tif, ppm, ... without loss; jpg, avif at quality 95.",
)
@click.option(
    "--background", metavar="COLOUR", help="Lay a transparent picture on a colour: white, '#ff8800', 'rgb(0, 40, 80)'."
)
@click.option(
    "--scale",
    type=click.Choice(["1", "1/2", "1/4", "1/8"]),
    default="1",
    show_default=True,
    help="A preview: decode a half, a quarter or an eighth.",
)
@device_option
@max_pixels_option
@force_option
@quiet_option
@json_option
@workers_option
def decompress(
    source: str,
    target: str,
    form: str | None,
    background: str | None,
    scale: str,
    recursive: bool,
    workers: int | None,
    skip_existing: bool,
    **chosen: Any,
) -> None:
    """Decompress the file IN into the picture OUT, in the format of OUT's extension, or all .nc files of the
    folder IN into the folder OUT, as PNG or in the format of --format.

    \b
    Example:
      neurocodec decompress photo.nc photo.png
      neurocodec decompress photo.nc - > photo.png
      neurocodec decompress --background white logo.nc logo.jpg
      neurocodec decompress --scale 1/8 photo.nc preview.png
      neurocodec decompress -r --format webp smaller/ photos/
    """
    extension = f".{form.lstrip('.')}" if form is not None else None
    colour = _colour(background) if background is not None else None
    settings = Settings(extension, colour, int(scale[-1]), **chosen)
    many = Many(recursive, workers, skip_existing)
    folder = source != STANDARD and Path(source).is_dir()
    check_meaning(many, source, target, settings.force)
    check_model(settings.model, settings.device, shipped=False)
    if folder:
        from neurocodec import images

        images.check_extension(extension or ".png")
        check_folder(target)
        jobs = find_jobs(Path(source), Path(target), {".nc"}, extension or ".png", recursive, settings.quiet)
        work = partial(decompress_file, settings=replace(settings, quiet=True))
        run(jobs, work, many, settings.quiet, settings.as_json)
        return
    if skip_existing and Path(target).is_file():
        report(skipped(source, target), source, target, settings.quiet, settings.as_json)
        return
    report(decompress_file(source, target, settings), source, target, settings.quiet, settings.as_json)


def decompress_file(source: str, target: str, settings: Settings) -> Outcome:
    """One file into one picture."""
    check_target(source, target, settings.force)
    extension = settings.extension or (".png" if target == STANDARD else Path(target).suffix)
    from neurocodec import images

    images.check_extension(extension)  # before anything is read
    data = read_source(source)
    from neurocodec.fields import info

    with naming(input_name(source)):
        said = info(data)  # what is no such file, is refused without torch, which takes a moment to load
    width, height = (-(-side // settings.scale) for side in (said.width, said.height))
    with naming(output_name(target)):
        images.check_fits(extension, width, height, bool(said.alpha) and settings.colour is None)
    with naming(input_name(source)):
        from neurocodec import api

        hidden = settings.quiet or said.width * said.height < BAR_PIXELS
        with progress_bar("decompressing", hidden) as progress:
            limit, scale = settings.max_pixels, settings.scale
            picture = api.decompress(data, settings.model, settings.device, limit, progress, scale)
    if settings.colour is not None:
        picture = images.laid_on(picture, settings.colour)
    with naming(output_name(target)):
        encoded, notes = images.write(picture, extension)
    write_target(target, encoded, settings.force)
    found = {"in": source, "out": target, "width": picture.width, "height": picture.height}
    found |= {"bytes_in": len(data), "bytes": len(encoded)}
    line = (
        f"{input_name(source)}: {len(data)} bytes -> {output_name(target)}: "
        f"{picture.width}x{picture.height}, {len(encoded)} bytes"
    )
    return Outcome(line, found, (*picture.notes, *notes))


def _colour(name: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(name)
        if alpha or max(red, green, blue) > 255:
            raise ValueError
    except ValueError:
        raise click.UsageError(
            f"{name!r} is not an opaque colour: try white, '#ff8800' or 'rgb(255, 136, 0)'."
        ) from None
    return red, green, blue
