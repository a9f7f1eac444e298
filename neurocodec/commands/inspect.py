"""`neurocodec info`, `verify` and `models`: what there is to know, most of it without decoding."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neurocodec import catalogue
from neurocodec.commands.shared import (
    check_model,
    device_option,
    in_proportion,
    json_option,
    max_pixels_option,
    naming,
    printable,
    private_option,
    quiet_option,
    tell,
)
from neurocodec.errors import ABOUT_NO_FILE, NeurocodecError, memory_errors
from neurocodec.files import STANDARD, counted, input_name, read_source

if TYPE_CHECKING:
    from neurocodec.fields import Info


@click.command(short_help="Print what a file says of itself.")
@click.argument("source", metavar="FILE")
@json_option
def info(source: str, as_json: bool) -> None:
    """Print what FILE says of itself. Checks the whole file, but decodes nothing.

    \b
    Example:
      neurocodec info photo.nc
    """
    data = read_source(source)
    from neurocodec import fields

    with naming(input_name(source)):
        found = fields.info(data)
    if as_json:
        click.echo(json.dumps({"file": source} | dataclasses.asdict(found)))
        return
    for name, value in described(found).items():
        click.echo(f"{name:>15}: {value}")


def described(found: Info) -> dict[str, str]:
    """What is known of a file, in words and with units."""

    def size(count: int, how: str = "") -> str:
        return f"{count} bytes{how}" if count else "none"

    return {
        "format version": str(found.version),
        "model": f"{found.model} (id {found.model_id})",
        "quality": f"{found.quality:g} of 100",
        "width": f"{found.width} pixels",
        "height": f"{found.height} pixels",
        "channels": ("grey" if found.grey else "red, green, blue") + (", alpha" if found.alpha else ""),
        "latents": size(found.latents),
        "alpha": size(found.alpha),
        "colour profile": size(found.icc, ", inflated"),
        "EXIF": size(found.exif, ", inflated"),
        "XMP": size(found.xmp, ", inflated"),
        "whole file": size(found.bytes),
        "bits per pixel": f"{found.bits_per_pixel:.4f}",
        "in proportion": in_proportion(found.bytes, found.pixel_bytes),
    }


@click.command(short_help="Check that files are whole.")
@click.argument("sources", metavar="FILES...", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Of folders: their folders too.")
@click.option("--deep", is_flag=True, help="Decode them too, which takes as long as decompressing them.")
@private_option
@device_option
@max_pixels_option
@quiet_option
@json_option
def verify(
    sources: tuple[str, ...],
    recursive: bool,
    deep: bool,
    model: str | None,
    device: str,
    max_pixels: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check that FILES are whole: checksum and structure, and with --deep that they decode. Of a folder, its .nc files.

    \b
    Example:
      neurocodec verify *.nc
      neurocodec verify -r photos/
      neurocodec verify --deep photo.nc
    """
    if not deep and (model is not None or device != "auto"):
        raise click.UsageError(f"--{'device' if model is None else 'model'} is for --deep: nothing is decoded without.")
    check_model(model, device, shipped=False)
    if recursive and not any(is_folder(source) for source in sources):
        raise click.UsageError("-r (--recursive) is for folders, and there is none among FILES.")
    jobs, bad = list(named(sources, recursive, quiet)), []
    for name, error in jobs:
        found = error or fault(name, model, device, max_pixels, deep)
        sentence = None if found is None else str(found).removeprefix(f"{input_name(name)}: ")
        if sentence is not None:
            bad.append(f"{input_name(name)}: {sentence}")
        if as_json:
            click.echo(json.dumps({"file": name, "whole": sentence is None, "error": sentence}))
        elif sentence is None and not quiet:
            click.echo(printable(f"{input_name(name)}: whole"))
        elif sentence is not None and len(jobs) > 1:
            tell(f"Error: {bad[-1]}", False)
    if bad:
        words = f"{len(bad)} of {counted(len(jobs))} {'is' if len(bad) == 1 else 'are'} not whole."
        raise NeurocodecError(words if len(jobs) > 1 else bad[0])


def fault(name: str, model: str | None, device: str, max_pixels: int, deep: bool) -> NeurocodecError | None:
    """What is wrong with a file, if anything is. Raises what is no file's fault."""
    try:
        data = read_source(name)
        if deep:
            from neurocodec import api

            with memory_errors():
                api.decompress(data, model, device, max_pixels)
        else:
            from neurocodec import container

            container.unpack(data, container.SIDE_LIMIT**2)  # of any size, for nothing is decoded
    except ABOUT_NO_FILE:
        raise
    except NeurocodecError as error:
        return error
    except MemoryError:
        return NeurocodecError("not enough memory to decode it.")
    return None


def is_folder(source: str) -> bool:
    return source != STANDARD and os.path.isdir(source)  # False, too, for what can be no name


def named(sources: Sequence[str], recursive: bool, quiet: bool) -> Iterator[tuple[str, NeurocodecError | None]]:
    """Files, and the .nc files of folders; a folder itself with its error, if it cannot be read or has none."""
    from neurocodec.commands.folders import find_inside

    for source in sources:
        if not is_folder(source):
            yield source, None
            continue
        try:
            inside, closed = find_inside(Path(source), {".nc"}, recursive, quiet)
            yield from ((str(Path(source) / path), None) for path in inside)
            yield from ((str(Path(source) / path), error) for path, error in closed.items())
        except NeurocodecError as error:
            yield source, error


@click.command(short_help="List the models that come with this release.")
@json_option
def models(as_json: bool) -> None:
    """List the models that this release ships, and encoders for them.

    \b
    Example:
      neurocodec models
    """
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(m) for m in catalogue.shipped()]))
        return
    for model in catalogue.MODELS:
        default = " (default)" if model.name == catalogue.DEFAULT_MODEL else ""
        click.echo(f"{model.id:3} {model.name}{default}: {model.about}")
    for encoder in catalogue.ENCODERS:
        click.echo(f"    {encoder.name}: {encoder.about}")
