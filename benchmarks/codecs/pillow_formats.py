"""The formats that Pillow writes, with the options that make each of them good."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from importlib import metadata
from typing import ClassVar

import numpy as np
from PIL import Image, features

from benchmarks.codecs.base import Codec, Pixels

RATES = tuple(rate / 1000 for rate in range(10, 8001))  # bits per pixel; JPEG 2000's rates in a search for a size


class PillowFormat(Codec):
    """A format of Pillow; the subclasses say its name, options and sweep."""

    format: ClassVar[str]
    feature: ClassVar[str]  # Pillow's name for the library behind it
    setting_is_whole = True

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting)}

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, self.format, **self.options(setting))
        return out.getvalue()

    def decode(self, data: bytes) -> Pixels:
        with Image.open(io.BytesIO(data), formats=[self.format]) as image:
            return np.array(image.convert("RGB"))

    def missing(self) -> str | None:
        found = features.check(self.feature)
        return None if found else f"this Pillow is built without {self.feature}"

    def version(self) -> str:
        return f"pillow {metadata.version('pillow')}, {self.feature} {features.version(self.feature)}"


class Jpeg(PillowFormat):
    """The reference: 4:2:0, optimized Huffman tables, progressive. Fairer than most papers' JPEG."""

    name, label, format, feature = "jpeg", "JPEG (optimized, progressive)", "JPEG", "libjpeg_turbo"
    settings = (2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting), "optimize": True, "progressive": True}


class JpegDefault(Jpeg):
    """JPEG as people call Pillow: with a quality and nothing else."""

    name, label = "jpeg-default", "JPEG (Pillow's defaults)"

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting)}


class Jpeg444(Jpeg):
    """JPEG with colours at full resolution."""

    name, label = "jpeg-444", "JPEG 4:4:4 (optimized, progressive)"

    def options(self, setting: float) -> dict[str, object]:
        return super().options(setting) | {"subsampling": 0}


class WebP(PillowFormat):
    name, label, format, feature = "webp", "WebP (method 6)", "WEBP", "webp"
    settings = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98)

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting), "method": 6}


class Avif(PillowFormat):
    """AVIF by libavif. Since its release 1.4, libavif tunes libaom for image quality (tune=iq) by default."""

    name, label, format, feature = "avif", "AVIF (speed 4, 4:4:4)", "AVIF", "avif"
    settings = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting), "speed": 4, "subsampling": "4:4:4", "max_threads": self.threads}

    def version(self) -> str:
        coders = importlib.import_module("PIL._avif").codec_versions()  # "dav1d [dec]:1.5.3, aom [enc]:3.14.1"
        return f"pillow {metadata.version('pillow')}, libavif {features.version(self.feature)}, {coders}"


class Jpeg2000(PillowFormat):
    """JPEG 2000 has no quality: its setting is the rate asked for, in bits per pixel."""

    name, label, format, feature = "jpeg2000", "JPEG 2000 (irreversible)", "JPEG2000", "jpg_2000"
    settings = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0)
    setting_is_quality = False

    def options(self, setting: float) -> dict[str, object]:
        return {"quality_mode": "rates", "quality_layers": [24 / setting], "irreversible": True}

    def steps(self) -> Sequence[float]:
        return RATES


class JpegXl(PillowFormat):
    """Through the plugin pillow-jxl-plugin; Pillow has no JPEG XL of its own."""

    name, label, format, feature = "jpeg-xl", "JPEG XL (effort 7)", "JXL", ""
    settings = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90)

    def __init__(self) -> None:
        if self.missing() is None:
            importlib.import_module("pillow_jxl")  # registers the format with Pillow

    def options(self, setting: float) -> dict[str, object]:
        return {"quality": round(setting), "effort": 7, "num_threads": self.threads}

    def missing(self) -> str | None:
        found = importlib.util.find_spec("pillow_jxl") is not None
        return None if found else "pillow-jxl-plugin is not installed (pip install pillow-jxl-plugin)"

    def version(self) -> str:
        return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}"
