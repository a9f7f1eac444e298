"""neurocodec: a neural image codec with bundled weights, one model for every rate.

    import neurocodec
    data = neurocodec.compress(array, quality=75)      # (H, W, 3) uint8 -> bytes
    array = neurocodec.decompress(data).pixels         # and back

Importing this package is light; torch is loaded when a name below is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from neurocodec.errors import (
    FormatError,
    ImageError,
    NeurocodecError,
    TrainingError,
    VerificationError,
    WeightsError,
)

if TYPE_CHECKING:
    from neurocodec.api import Fitted, compress, compress_to, decompress
    from neurocodec.fields import Info, info
    from neurocodec.images import Picture
    from neurocodec.targets import Target

__version__ = "0.1.0"

__all__ = [
    "Fitted",
    "FormatError",
    "ImageError",
    "Info",
    "NeurocodecError",
    "Picture",
    "Target",
    "TrainingError",
    "VerificationError",
    "WeightsError",
    "__version__",
    "compress",
    "compress_to",
    "decompress",
    "info",
]

_HOMES = {
    "compress": "neurocodec.api",
    "compress_to": "neurocodec.api",
    "Fitted": "neurocodec.api",
    "Target": "neurocodec.targets",
    "decompress": "neurocodec.api",
    "info": "neurocodec.fields",
    "Info": "neurocodec.fields",
    "Picture": "neurocodec.images",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
