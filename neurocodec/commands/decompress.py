"""`neurocodec decompress`: a file back into a picture."""

from __future__ import annotations

from pathlib import Path

import click

from neurocodec.commands.shared import (
    BAR_PIXELS,
    device_option,
    json_option,
    max_pixels_option,
    naming,
    print_json,
    private_option,
    progress_bar,
    quiet_option,
    tell,
)
from neurocodec.files import STANDARD, check_target, read_source, write_target
from neurocodec.options import force_option


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@private_option
@click.option(
    "--format", "form", default=None, metavar="EXT", help="Write this format (png, ppm, webp, ...) whatever OUT's name."
)
@click.option(
    "--background", metavar="COLOUR", help="Lay a transparent picture on a colour: white, '#ff8800', 'rgb(0, 40, 80)'."
)
@device_option
@max_pixels_option
@force_option
@quiet_option
@json_option
def decompress(
    source: str,
    target: str,
    model: str | None,
    form: str | None,
    background: str | None,
    device: str,
    max_pixels: int,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Decompress the file IN into the picture OUT, in the format of OUT's extension.

    \b
    Example:
      neurocodec decompress photo.nc photo.png
      neurocodec decompress photo.nc - > photo.png
      neurocodec decompress --background white logo.nc logo.jpg
    """
    check_target(source, target, force)
    extension = f".{form.lstrip('.')}" if form else (".png" if target == STANDARD else Path(target).suffix)
    colour = _colour(background) if background is not None else None
    from neurocodec import images

    images.check_extension(extension)
    data = read_source(source)
    from neurocodec import api

    with naming(source):
        fields = api.info(data)
        hidden = quiet or fields.width * fields.height < BAR_PIXELS
        with progress_bar("decompressing", hidden) as progress:
            picture = api.decompress(data, model, device, max_pixels, progress)
    if colour is not None:
        picture = images.laid_on(picture, colour)
    with naming(target):
        encoded, notes = images.write(picture, extension)
    for note in notes:
        tell(f"Note: {target}: {note}", quiet)
    write_target(target, encoded)
    if as_json:
        found = {"in": source, "out": target, "width": picture.width, "height": picture.height}
        print_json(found | {"bytes_in": len(data), "bytes": len(encoded)}, target)
    else:
        tell(f"{source}: {len(data)} bytes -> {target}: {picture.width}x{picture.height}, {len(encoded)} bytes", quiet)


def _colour(name: str) -> tuple[int, int, int]:
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise click.UsageError(f"{name!r} is not a colour: try white, '#ff8800' or 'rgb(255, 136, 0)'.") from None
    return red, green, blue
