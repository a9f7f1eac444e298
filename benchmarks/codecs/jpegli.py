"""jpegli, an encoder of ordinary JPEG files, through the package pyjpegli."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata

from benchmarks.codecs.base import Pixels
from benchmarks.codecs.pillow_formats import Jpeg


class Jpegli(Jpeg):
    """JPEG as jpegli writes it: 4:2:0 and sequential, which pyjpegli cannot change.

    Pillow decodes the files, as most viewers would, and not jpegli's own decoder.
    """

    name, label = "jpegli", "jpegli (4:2:0, sequential)"
    settings = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        height, width = pixels.shape[:2]
        encode = importlib.import_module("pyjpegli").encode
        data: bytes = encode(pixels.tobytes(), width, height, quality=round(setting))
        return data

    def missing(self) -> str | None:
        found = importlib.util.find_spec("pyjpegli") is not None
        return None if found else "pyjpegli is not installed (pip install pyjpegli)"

    def version(self) -> str:
        return f"pyjpegli {metadata.version('pyjpegli')}; decoded by {super().version()}"
