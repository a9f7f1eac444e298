"""What commands share: options, messages, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from neurocodec.errors import NeurocodecError
from neurocodec.files import STANDARD
from neurocodec.limits import DEFAULT_MAX_PIXELS

BAR_PIXELS = 4_000_000  # smaller pictures are done before a bar is read

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
model_option = click.option(
    "--model", default="ms-ssim", show_default=True, help="A shipped model, or a .safetensors file."
)
private_option = click.option("--model", help="Only for files made with a private model: its .safetensors file.")


def tell(line: str, quiet: bool) -> None:
    """A message for people: on standard error, so that data can go to standard output."""
    if not quiet:
        click.echo(line, err=True)


@contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Callable[[float], None]]:
    """A bar with the time left on standard error, where that is a terminal."""
    if hidden or not sys.stderr.isatty():
        yield lambda done: None
        return
    with click.progressbar(length=1000, label=label, file=sys.stderr) as bar:
        yield lambda done: bar.update(round(1000 * done) - bar.pos)


def print_json(fields: dict[str, Any], target: str) -> None:
    """A line of JSON; on standard error where the data is on standard output."""
    click.echo(json.dumps(fields), err=target == STANDARD)


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Errors within say which file they are about."""
    try:
        yield
    except NeurocodecError as error:
        raise type(error)(f"{file}: {error}") from error
