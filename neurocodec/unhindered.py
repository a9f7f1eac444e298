"""Pillow without its limit of pixels, for which we have our own, and without its warnings: both are the process's."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image


class _Hindrances:
    """What Pillow has when nobody is in :func:`unhindered`: the first one in takes it down, the last one out restores
    it, so that threads do not restore what others have set."""

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.limit: int | None = None
        self.warnings = warnings.catch_warnings()

    def enter(self) -> None:
        with self.lock:
            if not self.inside:
                self.limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self.warnings = warnings.catch_warnings()
                self.warnings.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self.limit

    def pixels(self) -> int | None:
        with self.lock:
            return self.limit if self.inside else Image.MAX_IMAGE_PIXELS


_hindrances = _Hindrances()


@contextmanager
def unhindered() -> Iterator[None]:
    """Neither limit nor warnings in the meantime, in the whole process."""
    _hindrances.enter()
    try:
        yield
    finally:
        _hindrances.leave()


def pillow_limit() -> int | None:
    """``Image.MAX_IMAGE_PIXELS`` as the user has it, also where another thread is :func:`unhindered`."""
    return _hindrances.pixels()
