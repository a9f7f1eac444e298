"""neurocodec itself, through its library: the same bytes that its command writes."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import neurocodec
from benchmarks.codecs.base import Codec, Pixels
from neurocodec import catalogue
from neurocodec.errors import NeurocodecError


class Neurocodec(Codec):
    """A shipped tune by its name, or a private model by the path of its weights; plain, or refined."""

    settings = (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95)

    def __init__(self, model: str, effort: int = 0) -> None:
        self.model, self.effort = model, effort
        private = model.endswith(".safetensors")
        self.path = model if private else None
        shown = Path(model).stem if private else model
        self.name = f"neurocodec-{shown}" + (f"-effort-{effort}" if effort else "")
        self.label = f"neurocodec ({shown}" + (f", effort {effort})" if effort else ")")

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        return neurocodec.compress(pixels, setting, self.model, effort=self.effort)

    def decode(self, data: bytes) -> Pixels:
        return neurocodec.decompress(data, self.path).pixels

    def version(self) -> str:
        weights_hash = file_hash(self.path) if self.path else catalogue.find(self.model).sha256
        return f"neurocodec {neurocodec.__version__}, code {code_hash()}, weights {weights_hash[:8]}"

    def missing(self) -> str | None:
        if self.path is None:
            return None
        import torch

        from neurocodec import weights

        try:
            weights.load(self.path, torch.device("cpu"))
        except NeurocodecError as error:
            return str(error)
        return None

    def use_threads(self, threads: int) -> None:
        import torch

        super().use_threads(threads)
        torch.set_num_threads(threads)


@functools.cache
def file_hash(path: str) -> str:
    """Once a process, for every row asks."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@functools.cache
def code_hash() -> str:
    """Over the package's modules: a figure measured with other code is measured again."""
    folder = Path(neurocodec.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:8]
