"""The command line: options, files, messages, exit codes. Everything else is in ``api``.

torch is only loaded by commands that need it, so that --help answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from neurocodec import __version__
from neurocodec.container import DEFAULT_MAX_PIXELS
from neurocodec.errors import NeurocodecError
from neurocodec.files import STANDARD, check_target, read_source, write_target
from neurocodec.options import force_option
from neurocodec.training.commands import export, train


class Command(click.Group):
    """Turns our errors into one sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NeurocodecError as error:
            raise click.ClickException(str(error)) from error
        except MemoryError as error:
            raise click.ClickException("not enough memory for this picture.") from error


quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
max_pixels_option = click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="neurocodec")
def main() -> None:
    """A neural image codec: pictures into much smaller files than JPEG, and back.

    \b
    Example:
      neurocodec compress photo.png photo.nc
      neurocodec decompress photo.nc photo-again.png
    """


@main.command()
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
@click.option("--model", default="ms-ssim", show_default=True, help="A shipped model, or a .safetensors file.")
@click.option(
    "--effort",
    type=click.IntRange(0, 9),
    default=0,
    show_default=True,
    help="Above 0, optimise the latents for this picture: smaller files, for minutes instead of moments.",
)
@device_option
@max_pixels_option
@force_option
@quiet_option
@json_option
def compress(
    source: str,
    target: str,
    quality: float,
    model: str,
    effort: int,
    device: str,
    max_pixels: int,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compress the picture IN into the file OUT. Either may be - for standard input or output.

    \b
    Example:
      neurocodec compress -q 50 photo.png photo.nc
      neurocodec compress -q 50 --effort 5 photo.png smaller.nc
    """
    if math.isnan(quality):
        raise click.UsageError("the quality is not a number.")
    check_target(source, target, force)
    data = read_source(source)
    from neurocodec import api, images, metrics

    with naming(source):
        picture = images.read(data, max_pixels)
    for note in picture.notes:
        tell(f"Note: {source}: {note}", quiet)
    with progress_bar(quiet or not effort) as progress:
        packed = api.compress(picture, quality, model, device, effort, progress)
    write_target(target, packed)
    bpp = metrics.bits_per_pixel(len(packed), picture.width, picture.height)
    raw = picture.width * picture.height * (1 if picture.grey else 3)
    if as_json:
        fields = {"in": source, "out": target, "width": picture.width, "height": picture.height, "quality": quality}
        sizes = {"bytes_in": len(data), "bytes": len(packed), "bits_per_pixel": bpp, "ratio": raw / len(packed)}
        print_json(fields | sizes, target)
    else:
        tell(
            f"{source}: {picture.width}x{picture.height}, {len(data)} bytes -> {target}: {len(packed)} bytes, "
            f"{bpp:.3f} bpp, {raw / len(packed):.1f} times smaller than its pixels",
            quiet,
        )


@main.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", help="Only for files made with a private model: its .safetensors file.")
@click.option(
    "--format", "form", default=None, metavar="EXT", help="Write this format (png, ppm, webp, ...) whatever OUT's name."
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
    """
    check_target(source, target, force)
    extension = f".{form.lstrip('.')}" if form else (".png" if target == STANDARD else Path(target).suffix)
    from neurocodec import images

    images.check_extension(extension)
    data = read_source(source)
    from neurocodec import api

    with naming(source):
        picture = api.decompress(data, model, device, max_pixels)
    with naming(target):
        encoded = images.write(picture, extension)
    write_target(target, encoded)
    if as_json:
        fields = {"in": source, "out": target, "width": picture.width, "height": picture.height}
        print_json(fields | {"bytes_in": len(data), "bytes": len(encoded)}, target)
    else:
        tell(f"{source}: {len(data)} bytes -> {target}: {picture.width}x{picture.height}, {len(encoded)} bytes", quiet)


@main.command()
@click.argument("source", metavar="FILE")
@json_option
def info(source: str, as_json: bool) -> None:
    """Print what FILE says of itself. Checks the whole file, but decodes nothing.

    \b
    Example:
      neurocodec info photo.nc
    """
    data = read_source(source)
    from neurocodec import api

    with naming(source):
        fields = dataclasses.asdict(api.info(data))
    if as_json:
        click.echo(json.dumps({"file": source} | fields))
        return
    for key, value in fields.items():
        click.echo(f"{key.replace('_', ' '):>15}: {round(value, 4) if isinstance(value, float) else value}")


@main.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that this release ships.

    \b
    Example:
      neurocodec models
    """
    from neurocodec import weights

    if as_json:
        click.echo(json.dumps([dataclasses.asdict(m) for m in weights.MODELS]))
        return
    for model in weights.MODELS:
        default = " (default)" if model.name == weights.DEFAULT_MODEL else ""
        click.echo(f"{model.id:3} {model.name}{default}: {model.about}")


main.add_command(train)
main.add_command(export)


def tell(line: str, quiet: bool) -> None:
    """A message for people: on standard error, so that data can go to standard output."""
    if not quiet:
        click.echo(line, err=True)


@contextmanager
def progress_bar(hidden: bool) -> Iterator[Callable[[float], None]]:
    """A bar with the time left on standard error, where that is a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=1000, label="refining", file=sys.stderr) as bar:
        yield lambda done: bar.update(round(1000 * done) - bar.pos)


def print_json(fields: dict[str, Any], target: str) -> None:
    click.echo(json.dumps(fields), err=target == STANDARD)


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Errors within say which file they are about."""
    try:
        yield
    except NeurocodecError as error:
        raise type(error)(f"{file}: {error}") from error
