"""Files and standard streams: read whole, written whole or not at all."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import TypeVar

from neurocodec import beside
from neurocodec.errors import ExistsError, NeurocodecError

Path_ = TypeVar("Path_", bound=PurePath)

STANDARD = "-"  # standard input or output


def check_target(source: str, target: str, force: bool) -> None:
    """Before any work: may the target be written?"""
    if target == STANDARD:
        return
    if not target:
        raise NeurocodecError("the name of the output is empty.")
    try:
        if target.endswith(("/", os.sep)) and not Path(target).is_dir():
            raise NeurocodecError(f"{target}: there is no such folder: make it, and name a file in it.")
        sentence = _obstacle(source, Path(target), force)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise NeurocodecError(f"{target}: cannot be written: {error.strerror}.") from error
    if sentence:
        raise NeurocodecError(sentence)


def _obstacle(source: str, path: Path, force: bool) -> str | None:
    if path.exists() and not (path.is_file() or path.is_dir()):
        # It would be replaced by a file: /dev/null too, for who has the right.
        return f"{path} is a device or a pipe: write to standard output (-) and redirect it."
    if source != STANDARD and path.exists() and Path(source).exists() and path.samefile(source):
        return f"{path} is the input itself: choose another name for the output."
    if path.is_dir():
        return f"{path} is a folder: name a file in it."
    if path.exists() and not force:
        raise ExistsError(_taken(path))
    if not path.absolute().parent.is_dir():
        return f"{path.parent}: there is no such folder to write into."
    return None


def _taken(target: str | Path) -> str:
    return f"{target} exists: choose another name, or --force."


def check_folder(folder: str, make: bool = False) -> None:
    """Before any work: is there a folder to write into? Makes one if asked to."""
    if folder == STANDARD:
        raise NeurocodecError("many files cannot go to standard output: name a folder.")
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NeurocodecError(f"{folder} is a file: name a folder.")
    try:
        if make:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NeurocodecError(f"{folder}: cannot be made: {error.strerror}.") from error


def listing(
    folder: Path, recursive: bool, closed: dict[Path, NeurocodecError], passed_over: list[Path]
) -> Iterator[Path]:
    """The files of a folder, and with recursive of its folders. Those that cannot be read go into closed, and hidden
    ones and links into passed_over."""

    def refuse(error: OSError) -> None:
        closed[Path(error.filename)] = NeurocodecError(f"cannot be read: {error.strerror}.")

    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(place) / name for name in files)
        if not recursive:
            folders.clear()
        odd = {name for name in folders if name.startswith(".") or (Path(place) / name).is_symlink()}
        passed_over += [Path(place) / name for name in sorted(odd)]
        folders[:] = [name for name in folders if name not in odd]


def mirrored(inside: Sequence[Path_], suffix: str) -> dict[Path_, Path_]:
    """Paths within a tree -> what they become in another: the same name with another suffix.

    Where several differ in nothing but the extension, all keep it: a.png and a.jpg become a.png.nc and a.jpg.nc; so do
    a.png and A.jpg, for there are file systems to which a.nc and A.nc are one.
    """
    names = {p: p.with_suffix(suffix) for p in inside}
    while True:
        taken = Counter(map(_folded, names.values()))
        longer = {p: p.with_name(p.name + suffix) if taken[_folded(name)] > 1 else name for p, name in names.items()}
        if longer == names:
            return names
        names = longer  # and then others may be in their way: a.png.png, which would have become a.png.nc


def _folded(path: PurePath) -> str:
    """What a path is to file systems that take no notice of case and of ways to write an accent."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def input_name(source: str) -> str:
    """What messages call an input."""
    return "standard input" if source == STANDARD else source


def output_name(target: str) -> str:
    """What messages call an output."""
    return "standard output" if target == STANDARD else target


def read_source(source: str) -> bytes:
    """All bytes of a file, or of standard input."""
    if source != STANDARD:
        return read_file(source)
    if sys.stdin is None:  # a process can be started without
        raise NeurocodecError("standard input is closed.")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise NeurocodecError(f"{input_name(source)}: cannot be read: {error.strerror}.") from error


def read_file(path: str) -> bytes:
    """All bytes of a file."""
    if not path:
        raise NeurocodecError("the name of the input is empty.")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise NeurocodecError(f"{path}: cannot be read: {error.strerror}.") from error


def write_target(target: str, data: bytes, force: bool = True) -> None:
    """Write beside the target and rename: whatever happens, the target is whole or untouched. Raises ExistsError for
    one that has come since :func:`check_target` looked, NeurocodecError."""
    try:
        if target == STANDARD:
            _write_standard(data)
        else:
            beside.replace(Path(target), data, force)
    except FileExistsError as error:
        raise ExistsError(_taken(target)) from error
    except OSError as error:
        raise NeurocodecError(f"{output_name(target)}: cannot be written: {error.strerror}.") from error


def _write_standard(data: bytes) -> None:
    if sys.stdout is None:
        raise NeurocodecError("standard output is closed.")
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as stream:
        stream.write(data)


def counted(files: int) -> str:
    """ "1 file", "2 files"."""
    return f"{files} file{'' if files == 1 else 's'}"


def kind_of_file(extensions: set[str]) -> str:
    """What to call files of these extensions in a sentence."""
    return "picture" if len(extensions) > 3 else " or ".join(sorted(extensions))
