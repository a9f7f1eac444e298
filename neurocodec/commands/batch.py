"""Many files: a tree of pictures mirrored into another folder, by several workers.

A bad file is one line in the summary, and the rest goes on. Every worker is a process that loads the
model once; all write beside their targets and rename, so that no stop leaves half a file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

import click

from neurocodec import beside
from neurocodec.commands.folders import Job
from neurocodec.commands.shared import print_json, tell
from neurocodec.commands.workers import Interrupt, handled, side_by_side
from neurocodec.errors import ABOUT_NO_FILE, ExistsError, NeurocodecError, memory_errors
from neurocodec.files import STANDARD, check_folder, counted, input_name, output_name
from neurocodec.options import WholeNumber

NO_FOLDERS = (".nc", ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # suffixes that no folder is likely to have


@dataclass(frozen=True)
class Outcome:
    """What came of one file."""

    line: str  # for people
    fields: dict[str, Any]  # for --json
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Many:
    """How the files of a folder are done."""

    recursive: bool
    workers: int | None
    skip_existing: bool


@dataclass
class Summary:
    """What came of all."""

    done: int = 0
    skipped: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    failed: dict[str, str] = field(default_factory=dict)


Work = Callable[[str, str], Outcome]  # source, target; picklable


def report(outcome: Outcome, name: str, target: str, quiet: bool, as_json: bool) -> None:
    """Tell what came of one file that was asked for alone."""
    for note in outcome.notes:
        tell(f"Note: {input_name(name)}: {note}", quiet)
    if as_json:
        print_json(outcome.fields, target)
    else:
        tell(outcome.line, quiet)


def workers_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of commands that take folders."""
    for option in (
        click.option("-r", "--recursive", is_flag=True, help="Of a folder: its folders too, mirrored in OUT."),
        click.option(
            "-j",
            "--workers",
            type=WholeNumber(min=1),
            default=None,
            help="Of a folder: so many processes.  [default: one for each core]",
        ),
        click.option("--skip-existing", is_flag=True, help="Pass over what is there already."),
    ):
        function = option(function)
    return function


def check_meaning(how: Many, source: str, target: str, force: bool) -> None:
    """Do the options and names for many files mean anything? Raises click.UsageError, NeurocodecError."""
    if not source:  # which is the current folder's name, too, and most likely a variable that is not set
        raise NeurocodecError("the name of the input is empty.")
    if how.skip_existing and force:
        raise click.UsageError("--skip-existing passes over what --force overwrites: choose one.")
    if how.skip_existing and target == STANDARD:
        raise click.UsageError("--skip-existing is for files, and OUT is standard output.")
    single = source == STANDARD or Path(source).is_file()
    for asked, option in ((how.recursive, "-r (--recursive)"), (how.workers is not None, "-j (--workers)")):
        if asked and single:
            raise click.UsageError(f"{option} is for folders, and {input_name(source)} is none.")
    if Path(source).is_dir():
        check_folder_name(target)


def check_folder_name(target: str) -> None:
    """Refuse to make a folder of a name that files have. Raises click.UsageError."""
    if Path(target).suffix.lower() in NO_FOLDERS and not Path(target).exists():
        raise click.UsageError(f"OUT becomes a folder here, and {target} is the name of a file: leave the ending out.")


def skipped(source: str, target: str) -> Outcome:
    """What there is to tell of a file that is there already."""
    line = f"{input_name(source)} -> {output_name(target)}: it is there already, and skipped"
    return Outcome(line, {"in": source, "out": target, "skipped": True})


def run(jobs: list[Job], work: Work, how: Many, quiet: bool, as_json: bool) -> None:
    """Do all jobs, tell what came of each and of all. Raises NeurocodecError if any failed."""
    summary = Summary()
    todo = []
    for job in jobs:
        if not (how.skip_existing and job.error is None and Path(job.target).exists()):
            todo.append(job)
            continue
        tell_skipped(job, summary, as_json)
    folders = sorted({Path(job.target).parent for job in todo})
    made = sorted({place for folder in folders for place in (folder, *folder.parents) if not place.exists()})
    for folder in folders:
        check_folder(str(folder), make=True)
    count = max(1, min(how.workers or os.cpu_count() or 1, len(todo)))
    # The largest first, so that the last worker is not left with it.
    order = sorted(todo, key=lambda job: -job.bytes_in)
    told = alone(todo, work) if count == 1 else side_by_side(partial(attempt, work), order, count)
    stopped = False
    try:
        tell_each(told, todo, summary, how.skip_existing, quiet, as_json)
    except KeyboardInterrupt:
        stopped = True
    finally:
        told.close()
        for folder in folders:  # what workers that were ended had begun to write
            beside.clean(folder)
        for folder in reversed(made):
            with suppress(OSError):  # what is empty goes again
                folder.rmdir()
    passed_over = f", {summary.skipped} skipped" if summary.skipped else ""
    tell(
        f"{summary.done} of {counted(len(jobs))}{passed_over}: {summary.bytes_in} bytes -> {summary.bytes_out} bytes",
        quiet or as_json,
    )
    if stopped:
        tell("--skip-existing goes on from here.", quiet)
        raise KeyboardInterrupt
    if summary.failed:
        there = summary.done or any(Path(job.target).exists() for job in todo)
        further = "; --skip-existing passes over what is done." if there and not how.skip_existing else "."
        raise NeurocodecError(f"{len(summary.failed)} of {counted(len(jobs))} failed{further}")


def tell_each(
    results: Iterable[tuple[Job, Outcome | NeurocodecError]],
    todo: list[Job],
    summary: Summary,
    skip_existing: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Tell what came of each job, and add it up."""
    with bar(todo, quiet) as advance:
        for job, result in results:
            advance(job)
            if isinstance(result, ABOUT_NO_FILE):
                raise result  # all others would fail alike
            if skip_existing and isinstance(result, ExistsError):  # another process has made it meanwhile
                tell_skipped(job, summary, as_json)
                continue
            if isinstance(result, NeurocodecError):
                summary.failed[job.source] = str(result).removeprefix(f"{job.source}: ")
                tell(f"Error: {job.source}: {summary.failed[job.source]}", False)
                continue
            summary.done += 1
            summary.bytes_in += job.bytes_in
            summary.bytes_out += Path(job.target).stat().st_size
            for note in result.notes:
                tell(f"Note: {job.source}: {note}", quiet)
            if as_json:
                click.echo(json.dumps(result.fields))
            else:
                tell(result.line, quiet)


def tell_skipped(job: Job, summary: Summary, as_json: bool) -> None:
    """Count what is there already."""
    summary.skipped += 1
    if as_json:
        click.echo(json.dumps(skipped(job.source, job.target).fields))


def alone(jobs: list[Job], work: Work) -> Generator[tuple[Job, Outcome | NeurocodecError]]:
    """The jobs, one after the other in this process. Interrupts are what they are to :func:`side_by_side`."""
    interrupt = Interrupt()

    def hear(number: int, frame: FrameType | None) -> None:
        interrupt(number, frame)
        Thread(target=interrupt.tell).start()  # what the signal came into may be printing itself

    with handled(signal.SIGINT, hear):
        for job in jobs:
            yield job, attempt(work, job)
            if interrupt.came:
                raise KeyboardInterrupt


def attempt(work: Work, job: Job) -> Outcome | NeurocodecError:
    try:
        if job.error is not None:
            return job.error
        with memory_errors():
            return work(job.source, job.target)
    except NeurocodecError as error:
        return error
    except MemoryError:
        return NeurocodecError("not enough memory for this picture; fewer --workers need less.")


@contextmanager
def bar(jobs: list[Job], quiet: bool) -> Iterator[Callable[[Job], None]]:
    """A bar with the time left, by bytes read, where standard error is a terminal."""
    if quiet or not jobs or not sys.stderr.isatty():
        yield lambda job: None
        return
    with click.progressbar(length=sum(job.bytes_in for job in jobs), file=sys.stderr) as shown:
        yield lambda job: shown.update(job.bytes_in)
