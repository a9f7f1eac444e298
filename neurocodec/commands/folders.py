"""What a folder holds for a command: its files of some kind, and what each of them becomes in another folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from neurocodec import beside
from neurocodec.commands.shared import tell
from neurocodec.errors import NeurocodecError
from neurocodec.files import counted, kind_of_file, listing, mirrored

NAMED = 3  # of the files of a folder that are left out, so many are named


@dataclass(frozen=True)
class Job:
    """A file to make another of."""

    source: str
    target: str
    bytes_in: int
    error: NeurocodecError | None = None  # that is known already


def find_jobs(source: Path, target: Path, extensions: set[str], suffix: str, recursive: bool, quiet: bool) -> list[Job]:
    """The files of a folder, as :func:`find_inside` finds them, and what they become."""
    inside, closed = find_inside(source, extensions, recursive, quiet)
    names = mirrored(inside, suffix)
    jobs = [Job(str(source / p), str(target / names[p]), size_of(source / p)) for p in inside]
    return jobs + [Job(str(source / p), str(target / p), 0, error) for p, error in closed.items()]


def size_of(path: Path) -> int:
    """The bytes of a file; none of a link that leads nowhere."""
    return path.stat().st_size if path.exists() else 0


def find_inside(
    folder: Path, extensions: set[str], recursive: bool, quiet: bool
) -> tuple[list[Path], dict[Path, NeurocodecError]]:
    """The files of a folder with one of the extensions, and its folders that cannot be read; all relative to it. Says
    so where others are left out, and where there are more of them deeper in it, and nobody asked for them.

    Raises NeurocodecError if there are none, or the folder itself cannot be read.
    """
    inside: list[Path] = []
    others: list[Path] = []
    closed: dict[Path, NeurocodecError] = {}
    passed_over: list[Path] = []
    for path in sorted(listing(folder, recursive, closed, passed_over)):
        # Links that lead nowhere, too: that they cannot be read is to be told.
        wanted = path.suffix.lower() in extensions and (path.is_file() or not path.exists())
        if not path.name.startswith(beside.PREFIX):  # what another process is writing
            (inside if wanted and not path.name.startswith(".") else others).append(path.relative_to(folder))
    if folder in closed:
        raise NeurocodecError(f"{folder}: {closed[folder]}")
    if not inside and not closed:
        deeper = "" if recursive else " (-r looks deeper)"
        raise NeurocodecError(f"{folder}: there is no {kind_of_file(extensions)} file in this folder{deeper}.")
    if not recursive and any_deeper(folder, extensions):
        tell(f"{folder}: what is in its folders is left out (-r takes it, too).", quiet)
    if others:
        why = f"hidden, or by the ending no {kind_of_file(extensions)}"
        tell(f"{folder}: {counted(len(others))} left out ({why}): {some_of(others)}", quiet)
    if passed_over:
        folders = some_of([path.relative_to(folder) for path in passed_over])
        tell(f"{folder}: hidden folders and links to folders are left out: {folders}", quiet)
    return inside, {path.relative_to(folder): error for path, error in closed.items()}


def some_of(paths: Sequence[Path | str]) -> str:
    """The first of them, in words."""
    return ", ".join(str(path) for path in paths[:NAMED]) + (", ..." if len(paths) > NAMED else "")


def any_deeper(folder: Path, extensions: set[str]) -> bool:
    """Whether there are files with one of the extensions in a folder's folders, as far as they can be read."""
    return any(
        path.parent != folder and path.suffix.lower() in extensions and not path.name.startswith(".")
        for path in listing(folder, True, {}, [])
    )
