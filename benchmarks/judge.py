"""Judge decoded pictures by ColorVideoVDP, a measure that no neurocodec model is trained for.

Mantiuk et al. 2024, "ColorVideoVDP: A visual difference predictor for image, video and display distortions". The scale
is JOD, just-objectionable differences: 10 is equal to the original, lower is worse.

The package ``cvvdp`` requires libraries that still pictures do not need: video readers, and a torchvision that replaces
the installed torch. :func:`_stand_ins` replaces these libraries while the package is imported. So
``pip install --no-deps cvvdp`` is enough. The package contains the data files of the measure; nothing is downloaded.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.codecs.base import Pixels

NAME = "cvvdp"
INSTALL = f"pip install --no-deps {NAME}"
DISPLAY = "standard_4k"  # the package's default: a 30-inch 4K monitor of 200 cd/m2, seen from 0.75 m in an office
PACKAGE = "pycvvdp"
REPLACED = {PACKAGE, "interp", "third_party", "torchvision", "tqdm"}  # modules replaced during the import


def missing() -> str | None:
    """Return the reason why pictures cannot be judged here, or None."""
    if importlib.util.find_spec(PACKAGE) is None:
        return f"{NAME}: not installed; run {INSTALL}."
    return None


def version() -> str:
    """Return the name and version of the measure, and the display that it assumes."""
    return f"{NAME} {metadata.version(NAME)}, {DISPLAY}"


def jod(original: Pixels, decoded: Pixels) -> float:
    """Return the quality of a decoded picture in JOD, on the CPU.

    Args:
        original: (H, W, 3) uint8, sRGB.
        decoded: the same shape.

    Raises:
        ValueError: the shapes differ.
        ModuleNotFoundError: the package is not installed.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"pictures: shapes {original.shape} and {decoded.shape} differ; pass pictures of one size.")
    with torch.inference_mode(), _plain_convolutions():
        quality, _ = _metric().predict(decoded, original, dim_order="HWC")
    return float(quality)


@contextmanager
def _plain_convolutions() -> Iterator[None]:
    """Disable oneDNN inside the block, because its one-channel convolution takes three times as long as torch's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns about Intel GPUs whenever these flags are set
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@functools.cache
def _metric() -> Any:
    """Import the package and return its metric, which is built once per process."""
    with _stand_ins():
        module = importlib.import_module(f"{PACKAGE}.cvvdp_metric")
    return module.cvvdp(display_name=DISPLAY, device=torch.device("cpu"), quiet=True)


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Replace the modules that the package imports but pictures do not need. Restore them at the end.

    The package's own ``__init__`` is also replaced, because it imports video readers and networks that are downloaded.
    The package adds top-level modules and a search path. Both are removed at the end.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(missing())
    stand_ins = (
        _module(PACKAGE, __path__=list(spec.submodule_search_locations), __file__=spec.origin),
        _module(f"{PACKAGE}.dump_channels", DumpChannels=None),  # writes the channels as a video
        _module("torchvision"),
        _module("torchvision.transforms", GaussianBlur=GaussianBlur),
        _module("tqdm", tqdm=_no_progress),
        _module("third_party"),
        _module("third_party.cpuinfo", cpuinfo=None),  # starts processes for an unused result
    )
    before, path = dict(sys.modules), list(sys.path)
    sys.modules.update({module.__name__: module for module in stand_ins})
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in REPLACED]:
            del sys.modules[name]
        sys.modules.update({name: module for name, module in before.items() if name.split(".")[0] in REPLACED})
        sys.path[:] = path


def _module(name: str, **attributes: object) -> ModuleType:
    """Return a module that has only these attributes."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__dict__.update(attributes)
    return module


def _no_progress(frames: Iterable[int], disable: bool) -> Iterable[int]:
    """Return the frames without a progress bar, in place of tqdm."""
    return frames


class GaussianBlur:
    """A Gaussian blur with mirrored edges, like torchvision's class of this name.

    Shifted sums blur one axis after the other. They are six times as fast as a convolution of one channel.
    """

    def __init__(self, kernel_size: int, sigma: float) -> None:
        self.half = kernel_size // 2
        offsets = torch.arange(-self.half, self.half + 1, dtype=torch.float32)
        weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
        self.weights: list[float] = (weights / weights.sum()).tolist()

    def forward(self, x: Tensor) -> Tensor:
        """Return a blurred copy of x, (B, 1, H, W) float32. H and W must exceed half the window."""
        x = F.pad(x, [self.half] * 4, mode="reflect")
        return self._along(self._along(x, 3), 2)

    def _along(self, x: Tensor, axis: int) -> Tensor:
        """Return the weighted sums along an axis, without `half` elements at each end."""
        length = x.shape[axis] - 2 * self.half
        total = x.narrow(axis, 0, length) * self.weights[0]
        for start, weight in enumerate(self.weights[1:], 1):
            total.add_(x.narrow(axis, start, length), alpha=weight)
        return total
