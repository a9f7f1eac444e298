"""Many machines: a tree of files anywhere into another, on Ray Data.

Ray distributes, restarts what dies, and shows throughput and progress on its dashboard and in its log. Ours is
what a worker does with one file: read it, code it, write it whole. Files may lie wherever fsspec reaches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from neurocodec import api, images
from neurocodec.errors import NeurocodecError, memory_errors
from neurocodec.files import kind_of_file, listing, mirrored, write_target
from neurocodec.limits import DEFAULT_MAX_PIXELS

FILES_A_TASK = 8  # what Ray hands out, and does again if a worker dies


@dataclass(frozen=True)
class Work:
    """What is done with every file; the same as `neurocodec compress` and `decompress` do."""

    compress: bool
    quality: float = api.DEFAULT_QUALITY
    model: str | None = None
    effort: int = 0
    alpha_quality: int = 100
    strip: bool = False
    device: str = "auto"
    max_pixels: int = DEFAULT_MAX_PIXELS
    extension: str = ".png"  # of decoded pictures

    def __call__(self, data: bytes) -> tuple[bytes, tuple[str, ...]]:
        """A file's bytes -> those of the file made of it, and notes of what that does not hold. Raises
        NeurocodecError."""
        if not self.compress:
            picture = api.decompress(data, self.model, self.device, self.max_pixels)
            made, notes = images.write(picture, self.extension)
            return made, (*picture.notes, *notes)
        picture = images.read(data, self.max_pixels)
        picture = images.stripped(picture) if self.strip else picture
        how: dict[str, Any] = {"model": self.model} if self.model else {}
        made = api.compress(
            picture, self.quality, device=self.device, effort=self.effort, alpha_quality=self.alpha_quality, **how
        )
        return made, picture.notes


class Worker:
    """One process of many. The model is loaded with the first file, and kept."""

    def __init__(self, work: Work, threads: int) -> None:
        import torch

        self.work = work
        if work.device != "cuda":
            torch.set_num_threads(threads)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with "source" and "target" -> with bytes in and out, seconds, notes (a line each), and an error or
        ""."""
        start, done = time.perf_counter(), {"bytes_in": 0, "bytes_out": 0, "notes": "", "error": ""}
        try:
            data = read(row["source"])
            done["bytes_in"] = len(data)
            with memory_errors():
                made, notes = self.work(data)
            write(row["target"], made)
            done |= {"bytes_out": len(made), "notes": "\n".join(notes)}
        except NeurocodecError as error:
            done["error"] = str(error)
        except MemoryError:
            done["error"] = "not enough memory for this picture."
        return row | done | {"seconds": time.perf_counter() - start}


@contextmanager
def system_errors(what: str) -> Iterator[None]:
    """What file systems raise within, which may be anything that a store's own library has, is a NeurocodecError."""
    try:
        yield
    except (NeurocodecError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NeurocodecError(f"{what}: {reason.rstrip('.')}.") from error


def place(url: str) -> tuple[Any, str]:
    """The file system that a URL or a path names, and the path in it. Raises NeurocodecError, for a protocol that
    fsspec does not know or has no package for."""
    with system_errors(url):
        found: tuple[Any, str] = url_to_fs(url)
    return found


def read(url: str) -> bytes:
    """All bytes of a file, anywhere. Raises NeurocodecError."""
    system, path = place(url)
    with system_errors("cannot be read"):
        data: bytes = system.cat_file(path)
    return data


def write(url: str, data: bytes) -> None:
    """A file, anywhere, whole or not at all: object stores do that by themselves. Raises NeurocodecError."""
    system, path = place(url)
    with system_errors("cannot be written"):
        system.makedirs(system._parent(path), exist_ok=True)
        if isinstance(system, LocalFileSystem):
            write_target(path, data)
        else:
            system.pipe_file(path, data)


@dataclass(frozen=True)
class Found:
    """What is below a folder or URL."""

    rows: list[dict[str, str]]  # of "source" and "target": files that are still to be done
    done: int  # so many are done already
    closed: list[dict[str, str]]  # of "source" and "error": folders that cannot be read
    left_out: list[str]  # links to folders, and hidden files and folders


def find(source: str, target: str, extensions: set[str], suffix: str) -> Found:
    """The files below a folder or URL. Raises NeurocodecError if there are none at all."""
    if not (source and target):
        raise NeurocodecError("the name of a folder is empty.")
    system, root = place(source)
    with system_errors(source):
        if not system.exists(root):
            raise NeurocodecError(f"{source}: there is no such folder.")
        if system.isfile(root):
            raise NeurocodecError(f"{source} is a file: name its folder, or use `neurocodec compress` or `decompress`.")
        listed, closed, left_out = _listed(system, root)
    paths = [PurePosixPath(path).relative_to(root) for path in sorted(listed)]
    inside = [p for p in paths if p.suffix.lower() in extensions and not hidden(p)]
    if not (inside or closed):
        raise NeurocodecError(f"{source}: there is no {kind_of_file(extensions)} file in it.")
    there, top = place(target)
    with system_errors(target):
        before = there.find(top) if there.exists(top) else []
    finished = {str(PurePosixPath(path).relative_to(top)) for path in before}
    rows = [
        {"source": system.unstrip_protocol(f"{root}/{path}"), "target": there.unstrip_protocol(f"{top}/{name}")}
        for path, name in mirrored(inside, suffix).items()
        if str(name) not in finished
    ]
    return Found(rows, len(inside) - len(rows), closed, left_out + [str(p) for p in paths if hidden(p)])


def hidden(path: PurePosixPath) -> bool:
    """Whether it, or a folder of it, begins with a dot."""
    return any(part.startswith(".") for part in path.parts)


def _listed(system: Any, root: str) -> tuple[list[str], list[dict[str, str]], list[str]]:
    """Files below a path; folders that cannot be read, as :class:`Found` has them; and links to folders and hidden
    ones."""
    if not isinstance(system, LocalFileSystem):
        return system.find(root), [], []  # one request where a walk takes one for each folder
    closed, passed_over = dict[Path, NeurocodecError](), list[Path]()
    # Links that lead nowhere, too: that they cannot be read is to be told. Pipes and devices are no files.
    files = [path for path in listing(Path(root), True, closed, passed_over) if path.is_file() or not path.exists()]
    refused = [{"source": path.as_posix(), "error": str(error)} for path, error in closed.items()]
    return [path.as_posix() for path in files], refused, [path.as_posix() for path in passed_over]


def run(
    rows: Sequence[dict[str, str]], work: Work, workers: int | None, address: str | None
) -> Iterator[dict[str, Any]]:
    """Do all rows on Ray, started here unless an address names a cluster -> what became of each, as it is done."""
    import ray

    gpus = 1 if work.device == "cuda" else 0
    ray.init(address=address, ignore_reinit_error=True)
    resources = ray.cluster_resources()
    count = workers or max(1, int(resources.get("GPU" if gpus else "CPU", 1)))
    cores = max(1, int(resources.get("CPU", 1)) // count)
    blocks = max(1, min(len(rows), -(-len(rows) // FILES_A_TASK), 10_000))
    data = ray.data.from_items(list(rows), override_num_blocks=max(blocks, min(count, len(rows))))
    # An actor holds less than its threads, so that Ray's own tasks find room on small machines.
    actor: Any = Worker  # a class is made once in each actor, and called for each row
    done = data.map(
        actor, fn_constructor_args=(work, cores), concurrency=count, num_cpus=0 if gpus else 0.5, num_gpus=gpus
    )
    yield from done.iter_rows()
