"""A file is written beside its target and renamed: a reader sees the old file, the new one, or none.

A process that is killed leaves what it wrote beside. Such files have a name of their own, and are locked while
their writer lives, so that the next one to write into the folder can tell the lost ones and remove them.
"""

from __future__ import annotations

import errno
import importlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

fcntl: Any = None  # on Windows, where a lost file stays
with suppress(ImportError):
    fcntl = importlib.import_module("fcntl")

PREFIX, SUFFIX = ".neurocodec-", ".part"  # not the target's name, which may be as long as names can be

_cleaned: set[Path] = set()  # folders: once a process, for a listing takes long where there are many files


def replace(path: Path, data: bytes, over: bool = True) -> None:
    """Make a file of these bytes, or, over what is there, replace it; of a link, what it leads to. Raises OSError, and
    then leaves what was there."""
    if path.is_symlink():
        path = Path(os.path.realpath(path))  # of a loop, the link itself
    folder = path.absolute().parent
    if folder not in _cleaned:
        _cleaned.add(folder)
        clean(folder)
    handle, name = _create(folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(name, _mode(path))
            if fcntl is not None:
                _rename(name, path, over)  # while it is locked
        if fcntl is None:
            _rename(name, path, over)  # Windows renames no open file
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _rename(name: str, path: Path, over: bool) -> None:
    """Raises FileExistsError for what is not to be replaced, also where it came a moment ago."""
    if over:
        os.replace(name, path)
    elif fcntl is None:
        os.rename(name, path)  # which Windows does to no name that is taken
    else:
        try:
            os.link(name, path)
        except FileExistsError:
            raise
        except OSError as error:  # a file system without hard links
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
            os.rename(name, path)
        else:
            os.unlink(name)


def _mode(path: Path) -> int:
    """The rights of the file that is replaced, or those that any new file here would get: mkstemp's are private."""
    with suppress(OSError):
        return path.stat().st_mode & 0o777
    os.umask(mask := os.umask(0))
    return 0o666 & ~mask


def clean(folder: Path) -> None:
    """Remove what killed processes left in a folder: files of our name that nobody holds."""
    if fcntl is None:
        return
    with suppress(OSError):  # a folder that cannot be listed may still be written into
        for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
            with suppress(OSError), path.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _create(folder: Path) -> tuple[int, str]:
    """A new file beside, open and locked -> its handle and path."""
    while True:
        handle, name = tempfile.mkstemp(SUFFIX, PREFIX, folder)
        if fcntl is not None:
            with suppress(OSError):  # filesystems without locks: nothing is ever taken for lost there
                fcntl.flock(handle, fcntl.LOCK_EX)
        # Between its creation and its lock another process may have taken it for lost.
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)
