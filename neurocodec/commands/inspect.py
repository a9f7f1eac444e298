"""`neurocodec info` and `neurocodec models`: what there is to know without decoding."""

from __future__ import annotations

import dataclasses
import json

import click

from neurocodec.commands.shared import json_option, naming
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
