"""Every codec the benchmark knows, by name: the one table of them.

Importing it imports neither torch nor a codec's library: the memory of a process that only writes
JPEG is JPEG's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from benchmarks.codecs.base import Codec
from benchmarks.codecs.compressai_zoo import ARCHITECTURES, METRICS, ZooModel
from benchmarks.codecs.jpegli import Jpegli
from benchmarks.codecs.ours import Neurocodec
from benchmarks.codecs.pillow_formats import Avif, Jpeg, Jpeg444, Jpeg2000, JpegDefault, JpegXl, WebP
from neurocodec import catalogue

OURS = "neurocodec-"  # what the names of our codecs start with
REFERENCE = Jpeg.name  # what every comparison is against
FORMATS: dict[str, Callable[[], Codec]] = {
    c.name: c for c in (Jpeg, JpegDefault, Jpeg444, Jpegli, WebP, Avif, Jpeg2000, JpegXl)
}
ZOO = {f"{a}-{m}": partial(ZooModel, a, m) for a in ARCHITECTURES for m in METRICS}


def names() -> list[str]:
    """The names of a run that chooses none. Ours first, one for every model that is shipped.

    Refinement takes seconds to minutes a picture and has to be asked for: NAME-effort-1 to NAME-effort-9.
    """
    return [*(f"{OURS}{m.name}" for m in catalogue.MODELS), *FORMATS, *ZOO]


def make(name: str) -> Codec:
    """The codec of a name, or of the path of a private model's .safetensors file. Raises KeyError."""
    if name in FORMATS | ZOO:
        return (FORMATS | ZOO)[name]()
    model, effort = split(name)
    if not model.startswith(OURS) and not model.endswith(".safetensors"):
        raise KeyError(name)
    return Neurocodec(model.removeprefix(OURS), effort)


def split(name: str) -> tuple[str, int]:
    """ "x-effort-3" -> ("x", 3); "x" -> ("x", 0)."""
    found = re.fullmatch(r"(.+)-effort-([1-9])", name)
    return (found[1], int(found[2])) if found else (name, 0)
