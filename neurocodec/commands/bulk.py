"""`neurocodec bulk`: trees of files on many machines, by Ray."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from neurocodec.commands.folders import some_of
from neurocodec.commands.shared import (
    PRIVATE_SUFFIX,
    check_model,
    max_pixels_option,
    model_option,
    private_option,
    quiet_option,
    tell,
)
from neurocodec.errors import NeurocodecError
from neurocodec.files import counted
from neurocodec.options import Number, WholeNumber


def bulk_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both directions take."""
    for option in (
        click.argument("target", metavar="TARGET"),
        click.argument("source", metavar="SOURCE"),
        click.option("--workers", type=WholeNumber(min=1), help="Actors.  [default: one for each core or GPU]"),
        click.option("--address", help="Of a Ray cluster, or auto.  [default: Ray starts on this machine]"),
        click.option(
            "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Of each actor."
        ),
        click.option(
            "--failures",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write a CSV table of the files that failed, and why.",
        ),
        max_pixels_option,
        quiet_option,
        click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each file."),
    ):
        function = option(function)
    return function


@click.group(short_help="Compress or decompress trees of files on many cores.")
def bulk() -> None:
    """Compress or decompress trees of files on many cores or machines, with Ray.

    Ray is installed by: pip install ".[ray]" in the folder of neurocodec's source.

    SOURCE and TARGET are folders or any URL of fsspec (s3://, gs://, hdfs://, ...). Files that are there already
    are passed over, so that a job that was stopped goes on where it was.

    \b
    Example:
      neurocodec bulk compress photos/ s3://bucket/packed --address auto
    """


@bulk.command("compress")
@click.option("-q", "--quality", type=Number(1, 100), default=75.0, show_default=True, help="As of compress.")
@model_option
@click.option("--effort", type=WholeNumber(0, 9), default=0, show_default=True, help="As of compress.")
@click.option("--alpha-quality", type=WholeNumber(0, 100), default=100, show_default=True, help="As of compress.")
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile.")
@bulk_options
def bulk_compress(source: str, target: str, **chosen: Any) -> None:
    """Compress every picture below SOURCE into TARGET.

    \b
    Example:
      neurocodec bulk compress photos/ packed/ --workers 2
    """
    from neurocodec.images import readable_extensions

    do(source, target, readable_extensions(), ".nc", {"compress": True}, chosen)


@bulk.command("decompress")
@private_option
@click.option(
    "--format", "form", default="png", show_default=True, metavar="EXT", help="Of the pictures: png, webp, ..."
)
@bulk_options
def bulk_decompress(source: str, target: str, form: str, **chosen: Any) -> None:
    """Decompress every .nc file below SOURCE into TARGET.

    \b
    Example:
      neurocodec bulk decompress packed/ photos/ --format webp
    """
    from neurocodec import images

    extension = f".{form.lstrip('.')}"
    images.check_extension(extension)
    do(source, target, {".nc"}, extension, {"compress": False, "extension": extension}, chosen)


def do(
    source: str, target: str, extensions: set[str], suffix: str, fixed: dict[str, Any], chosen: dict[str, Any]
) -> None:
    """Run it, and tell what came of each file and of all."""
    if not find_spec("ray"):
        raise NeurocodecError(
            "bulk needs Ray, which is not installed: pip install '.[ray]' in the folder of neurocodec's source."
        )
    from neurocodec import bulk as engine

    address = chosen.pop("address")
    if address is None or not (chosen["model"] or "").endswith(PRIVATE_SUFFIX):
        # What another machine has, only its actors can tell.
        check_model(chosen["model"], chosen["device"] if address is None else "cpu", fixed["compress"])
    workers, table = chosen.pop("workers"), chosen.pop("failures")
    quiet, as_json = chosen.pop("quiet"), chosen.pop("as_json")
    found = engine.find(source, target, extensions, suffix)
    if found.left_out:
        tell(f"Hidden files and folders and links to folders are left out: {some_of(found.left_out)}", quiet)
    tell(f"{counted(len(found.rows))} to do, {found.done} done already.", quiet)
    failed, bytes_in, bytes_out = len(found.closed), 0, 0
    with failures(table) as fails:
        for folder in found.closed:
            fails(folder["source"], folder["error"])
        for row in engine.run(found.rows, engine.Work(**fixed, **chosen), workers, address) if found.rows else ():
            bytes_in, bytes_out = bytes_in + row["bytes_in"], bytes_out + row["bytes_out"]
            notes = row["notes"].splitlines()
            for note in notes:
                tell(f"Note: {row['source']}: {note}", quiet)
            if row["error"]:
                failed += 1
                fails(row["source"], row["error"])
            if as_json:
                click.echo(json.dumps(row | {"notes": notes}))
    total = len(found.rows) + len(found.closed)
    tell(f"{total - failed} of {counted(total)}: {bytes_in} bytes -> {bytes_out} bytes", quiet)
    if failed:
        raise NeurocodecError(f"{failed} of {counted(total)} failed; the others are done.")


@contextmanager
def failures(table: Path | None) -> Iterator[Callable[[str, str], None]]:
    """What tells of failures, sources and why, and writes the table of them, which stands on the disk as far as it
    goes. Raises NeurocodecError."""

    def say(source: str, why: str) -> None:
        tell(f"Error: {source}: {why}", False)

    if table is None:
        yield say
        return
    try:
        file = table.open("w", newline="", errors="replace", buffering=1)
    except OSError as error:
        raise NeurocodecError(f"{table}: cannot be written: {error.strerror}.") from error
    with file:
        writer = csv.writer(file)
        writer.writerow(["source", "error"])

        def write(source: str, why: str) -> None:
            say(source, why)
            writer.writerow([source, why])

        yield write
