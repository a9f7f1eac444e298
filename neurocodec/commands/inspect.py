"""`neurocodec info`, `verify` and `models`: what there is to know, most of it without decoding."""

from __future__ import annotations

import dataclasses
import json

import click

from neurocodec.commands.shared import (
    device_option,
    json_option,
    max_pixels_option,
    naming,
    private_option,
    quiet_option,
)
from neurocodec.errors import NeurocodecError
from neurocodec.files import read_source


@click.command()
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


@click.command()
@click.argument("sources", metavar="FILES...", nargs=-1, required=True)
@click.option("--deep", is_flag=True, help="Decode them too, which takes as long as decompressing them.")
@private_option
@device_option
@max_pixels_option
@quiet_option
@json_option
def verify(
    sources: tuple[str, ...],
    deep: bool,
    model: str | None,
    device: str,
    max_pixels: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Check that FILES are whole: checksum and structure, and with --deep that they decode.

    \b
    Example:
      neurocodec verify *.nc
      neurocodec verify --deep photo.nc
    """
    from neurocodec import api, container

    bad = 0
    for source in sources:
        sentence = None
        try:
            data = read_source(source)
            if deep:
                api.decompress(data, model, device, max_pixels)
            else:
                container.unpack(data, max_pixels)
        except NeurocodecError as error:
            sentence = str(error).removeprefix(f"{source}: ")
            bad += 1
        if as_json:
            click.echo(json.dumps({"file": source, "whole": sentence is None, "error": sentence}))
        elif sentence is not None or not quiet:
            click.echo(f"{source}: {sentence or 'whole'}", err=sentence is not None)
    if bad:
        raise NeurocodecError(f"{bad} of {len(sources)} files are not whole.")


@click.command()
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
