"""Every codec the benchmark knows, by name: the one table of them.

Importing it imports neither torch nor a codec's library: the memory of a process that only writes
JPEG is JPEG's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from benchmarks.codecs.base import Codec
from benchmarks.codecs.compressai_zoo import ARCHITECTURES, METRICS, ZooModel
from benchmarks.codecs.ours import Neurocodec
from benchmarks.codecs.pillow_formats import Avif, Jpeg, Jpeg444, Jpeg2000, JpegDefault, JpegXl, WebP

OURS = "neurocodec-"  # what the names of our codecs start with
REFERENCE = Jpeg.name  # what every comparison is against
FORMATS: dict[str, Callable[[], Codec]] = {
    c.name: c for c in (Jpeg, JpegDefault, Jpeg444, WebP, Avif, Jpeg2000, JpegXl)
}
ZOO = {f"{a}-{m}": partial(ZooModel, a, m) for a in ARCHITECTURES for m in METRICS}


def names() -> list[str]:
    """All names. Ours first, one for every model that is shipped."""
    from neurocodec import weights  # loads torch

    return [*(f"{OURS}{m.name}" for m in weights.MODELS), *FORMATS, *ZOO]


def make(name: str) -> Codec:
    """The codec of a name, or of the path of a private model's .safetensors file. Raises KeyError."""
    if name.endswith(".safetensors"):
        return Neurocodec(name)
    if name.startswith(OURS):
        return Neurocodec(name.removeprefix(OURS))
    return (FORMATS | ZOO)[name]()
