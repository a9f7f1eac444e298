"""What commands share: options, messages, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unicodedata import category

import click

from neurocodec import catalogue
from neurocodec.container import MAGIC
from neurocodec.errors import ABOUT_NO_FILE, NeurocodecError, UnusableModelError
from neurocodec.files import STANDARD, input_name, read_source
from neurocodec.limits import DEFAULT_MAX_PIXELS
from neurocodec.options import WholeNumber

if TYPE_CHECKING:
    from neurocodec.images import Picture

PRIVATE_SUFFIX = ".safetensors"
BAR_PIXELS = 4_000_000  # smaller pictures are done before a bar is read
# Control characters, bytes that are no text, ends of lines and paragraphs; and what has text run the other way.
UNPRINTABLE, TURNING = ("Cc", "Cs", "Zl", "Zp"), "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the result as JSON on standard output (on standard error where that is OUT).",
)
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
max_pixels_option = click.option(
    "--max-pixels",
    type=WholeNumber(min=1),
    default=DEFAULT_MAX_PIXELS,
    show_default=True,
    help="Refuse larger pictures.",
)
model_option = click.option(
    "--model", default=catalogue.DEFAULT_MODEL, show_default=True, help="A shipped model, or a .safetensors file."
)
private_option = click.option("--model", help="Only for files made with a private model: its .safetensors file.")


def printable(line: str) -> str:
    """A line whose line ends and control characters are spelled out: names of files may hold them."""
    odd = {c for c in line if category(c) in UNPRINTABLE or c in TURNING}
    return "".join(c.encode("unicode_escape").decode() if c in odd else c for c in line)


def tell(line: str, quiet: bool) -> None:
    """A message for people: on standard error, so that data can go to standard output."""
    if not quiet:
        click.echo(printable(line), err=True)


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
def naming(called: str) -> Iterator[None]:
    """Errors within say which file they are about, if they are about one."""
    try:
        yield
    except ABOUT_NO_FILE:
        raise
    except NeurocodecError as error:
        raise type(error)(f"{called}: {error}") from error


def read_picture(source: str, max_pixels: int) -> tuple[Picture, int]:
    """A picture, and how many bytes it is stored in. Raises NeurocodecError, which names its file."""
    data = read_source(source)
    with naming(input_name(source)):
        if data.startswith(MAGIC):
            raise NeurocodecError("a neurocodec file already: `neurocodec decompress` makes a picture of it.")
        from neurocodec import images

        return images.read(data, max_pixels), len(data)


def check_model(model: str | None, device: str, shipped: bool = True) -> None:
    """Before any picture is read: is there such a model, and such a device?

    shipped: may it be one by its name? Raises click.UsageError for a name that means nothing, UnusableModelError,
    DeviceError.
    """
    if model is not None and not model.endswith(PRIVATE_SUFFIX) and not shipped:
        raise click.UsageError(
            f"--model: {model!r} is no {PRIVATE_SUFFIX} file, as only private models need: leave --model out."
        )
    if device != "cuda" and model is None:
        return  # without torch, which takes a moment to load
    if model is not None and not model.endswith(PRIVATE_SUFFIX):
        try:
            catalogue.find(model)
        except UnusableModelError as error:
            raise click.UsageError(f"--model: {error}") from None
        if device != "cuda":
            return
    from neurocodec import api, weights

    where = api.torch_device(device)
    if model is not None and model.endswith(PRIVATE_SUFFIX):
        weights.load(model, where)


def in_proportion(size: int, raw: int, before: int | None = None) -> str:
    """The size of a file in words, in proportion to that of its pixels and, where it grew, of the file it came from;
    all in bytes."""
    if size > raw:
        return f"{size / raw:.3g} times as large as its pixels: PNG or WebP suits such a picture better"
    words = f"{raw / size:.1f} times smaller than its pixels"
    if before is None or size <= before:
        return words
    return f"{words}, but {size / before:.3g} times as large as the file it came from"
