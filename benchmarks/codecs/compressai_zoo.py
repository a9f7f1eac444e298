"""CompressAI's own models, when their weights are cached on this machine: nothing is downloaded.

CompressAI has no file format; the strings of its entropy coder get the few bytes of framing that a
decoder would need. CompressAI is not a dependency of the benchmark: what imports is used.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import struct
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.codecs.base import Codec, Pixels

ARCHITECTURES = (
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
)
METRICS = ("ms-ssim", "mse")
HEADER = struct.Struct("<HHHHB")  # width, height, rows and columns of the last latents, number of strings
GRID = 64  # pixels: sides are padded to multiples of it


class ZooModel(Codec):
    """One architecture trained for one metric; its settings are the qualities that are cached."""

    setting_is_quality = False  # CompressAI's qualities run from 1 to 8

    def __init__(self, architecture: str, metric: str) -> None:
        self.architecture, self.metric = architecture, metric
        self.name = f"{architecture}-{metric}"
        self.label = f"{architecture} (CompressAI, {metric})"
        self.settings = tuple(cached_qualities(architecture, metric)) if unusable() is None else ()

    def missing(self) -> str | None:
        return unusable() or (None if self.settings else f"no weights are cached in {cache()}")

    def version(self) -> str:
        return f"compressai {metadata.version('compressai')}"

    def use_threads(self, threads: int) -> None:
        import torch

        super().use_threads(threads)
        torch.set_num_threads(threads)

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        import torch

        height, width = pixels.shape[:2]
        with torch.inference_mode():
            packed = load(self.architecture, self.metric, round(setting)).compress(padded(pixels))
        strings = [batch[0] for batch in packed["strings"]]
        rows, columns = packed["shape"]
        head = bytes([round(setting)]) + HEADER.pack(width, height, rows, columns, len(strings))
        return head + b"".join(struct.pack("<I", len(s)) + s for s in strings)

    def decode(self, data: bytes) -> Pixels:
        import torch

        width, height, rows, columns, count = HEADER.unpack_from(data, 1)
        at, strings = 1 + HEADER.size, []
        for _ in range(count):
            (size,) = struct.unpack_from("<I", data, at)
            strings.append([data[at + 4 : at + 4 + size]])
            at += 4 + size
        network = load(self.architecture, self.metric, data[0])
        with torch.inference_mode():
            x_hat = network.decompress(strings, (rows, columns))["x_hat"][0, :, :height, :width]
        levels = (x_hat.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
        return np.ascontiguousarray(levels.numpy())


def padded(pixels: Pixels) -> Any:
    """(H, W, 3) uint8 -> what networks take: (1, 3, H', W') in [0, 1], edges repeated to whole squares of the grid."""
    import torch
    from torch.nn import functional as F

    height, width = pixels.shape[:2]
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    return F.pad(x, (0, -width % GRID, 0, -height % GRID), mode="replicate")


def cache() -> Path:
    """Where torch keeps the weights it once downloaded."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


@functools.cache
def unusable() -> str | None:
    """Why no model of CompressAI can run here."""
    if importlib.util.find_spec("compressai") is None:
        return "compressai is not installed (pip install -e '.[compressai]')"
    if not cache().is_dir():  # importing takes seconds: not for nothing
        return f"no weights are cached in {cache()}"
    try:
        importlib.import_module("compressai.zoo.image")
    except Exception as error:  # a torchvision of another torch raises RuntimeError, and what comes next is unknown
        return f"compressai does not import: {str(error).splitlines()[0]}"
    return None


def cached_qualities(architecture: str, metric: str) -> list[int]:
    """The qualities whose weights lie in the cache, under the names of their addresses."""
    urls: dict[int, str] = importlib.import_module("compressai.zoo.image").model_urls[architecture].get(metric, {})
    return sorted(q for q, url in urls.items() if (cache() / url.rsplit("/", 1)[1]).is_file())


@functools.lru_cache(maxsize=2)  # a sweep asks for one quality after the other
def load(architecture: str, metric: str, quality: int) -> Any:
    """A network, ready to compress."""
    zoo = importlib.import_module("compressai.zoo")
    network = zoo.image_models[architecture](quality=quality, metric=metric, pretrained=True, progress=False)
    return network.eval()
