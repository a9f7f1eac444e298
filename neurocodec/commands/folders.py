"""What a folder holds for a command: its files of some kind, and what each of them becomes in another folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from neurocodec import beside
from neurocodec.commands.shared import tell
from neurocodec.errors import NeurocodecError
from neurocodec.files import counted, kind_of_file, mirrored

NAMED = 3  # of the files of a folder that are left out, so many are named


@dataclass(frozen=True)
class Job:
    """A file to make another of."""

    source: str
    target: str
    bytes_in: int


def find_jobs(source: Path, target: Path, extensions: set[str], suffix: str, recursive: bool, quiet: bool) -> list[Job]:
    """The files of a folder, as :func:`find_inside` finds them, and what they become."""
    inside = find_inside(source, extensions, recursive, quiet)
    names = mirrored(inside, suffix)
    return [Job(str(source / p), str(target / names[p]), size_of(source / p)) for p in inside]


def size_of(path: Path) -> int:
    """The bytes of a file; none of a link that leads nowhere."""
    return path.stat().st_size if path.exists() else 0


def find_inside(folder: Path, extensions: set[str], recursive: bool, quiet: bool) -> list[Path]:
    """The files of a folder with one of the extensions, relative to it. Says so where others are left out, and where
    there are more of them deeper in it, and nobody asked for them.

    Raises NeurocodecError if there are none.
    """
    inside: list[Path] = []
    others: list[Path] = []
    for path in sorted(listing(folder, recursive)):
        # Links that lead nowhere, too: that they cannot be read is to be told.
        wanted = path.suffix.lower() in extensions and (path.is_file() or not path.exists())
        if not path.name.startswith(beside.PREFIX):  # what another process is writing
            (inside if wanted and not path.name.startswith(".") else others).append(path.relative_to(folder))
    if not inside:
        deeper = "" if recursive else " (-r looks deeper)"
        raise NeurocodecError(f"{folder}: there is no {kind_of_file(extensions)} file in this folder{deeper}.")
    if not recursive and any_deeper(folder, extensions):
        tell(f"{folder}: what is in its folders is left out (-r takes it, too).", quiet)
    if others:
        named = ", ".join(str(path) for path in others[:NAMED]) + (", ..." if len(others) > NAMED else "")
        why = f"hidden, or by the ending no {kind_of_file(extensions)}"
        tell(f"{folder}: {counted(len(others))} left out ({why}): {named}", quiet)
    return inside


def any_deeper(folder: Path, extensions: set[str]) -> bool:
    """Whether there are files with one of the extensions in a folder's folders, as far as they can be read."""
    return any(
        Path(place) != folder and Path(name).suffix.lower() in extensions and not name.startswith(".")
        for place, _, files in os.walk(folder)
        for name in files
    )


def listing(folder: Path, recursive: bool) -> Iterator[Path]:
    """What is in a folder, and with recursive in its folders. Raises NeurocodecError for one that cannot be read."""

    def refuse(error: OSError) -> None:
        raise NeurocodecError(f"{error.filename}: cannot be read: {error.strerror}.") from error

    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(place) / name for name in files)
        if not recursive:
            folders.clear()
