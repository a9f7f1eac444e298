"""Time and memory, in a serial pass of their own: nothing else of the benchmark runs beside it.

Models are loaded and warm, pixels and files are in memory. Each picture goes through all codecs
before the next one does, so that a machine whose speed drifts drifts for all of them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks import alone, pictures
from benchmarks.codecs.base import Codec
from benchmarks.measure import Measurement, codec_of
from benchmarks.pictures import Source

T = TypeVar("T")
TYPICAL_BPP = 0.5  # each codec is timed at the setting whose mean rate is nearest: a good web picture


@dataclass(frozen=True)
class Observation:
    """What rows of timings.csv and memory.csv have in common."""

    codec: str
    version: str
    picture: str
    digest: str
    setting: float
    threads: int

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.codec, self.version, self.digest, self.threads


@dataclass(frozen=True)
class Timing(Observation):
    """A row of timings.csv."""

    megapixels: float
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Memory(Observation):
    """A row of memory.csv: peak resident memory of a whole process that does one thing."""

    encode_mb: float
    decode_mb: float


def typical_setting(codec: Codec, rows: Sequence[Measurement]) -> float:
    """The measured setting whose mean rate is nearest to TYPICAL_BPP."""
    rates: dict[float, list[float]] = {}
    for row in rows:
        if row.codec == codec.name:
            rates.setdefault(row.setting, []).append(row.bpp)
    return min(rates, key=lambda s: abs(sum(rates[s]) / len(rates[s]) - TYPICAL_BPP))


def time_all(
    settings: Mapping[str, float],
    sources: Sequence[Source],
    threads: int,
    measured: set[tuple[str, str]],
    known: set[object],
    report: Report,
) -> Iterator[Timing]:
    """Timings of all codecs (name -> setting) on each picture that misses one, so that what is compared is
    of one pass. measured: (codec, digest) of the pictures that each codec can take."""
    used = {name: codec_of(name) for name in settings}

    def misses(source: Source) -> bool:
        pairs = [c for c in used.values() if (c.name, source.digest) in measured]
        return any((c.name, c.version(), source.digest, threads) not in known for c in pairs)

    left = [source for source in sources if misses(source)]
    for codec in used.values():
        codec.use_threads(threads)
    warm: set[str] = set()
    for done, source in enumerate(left):
        pixels = pictures.read(source.path)
        for name, codec in used.items():
            if (codec.name, source.digest) not in measured:
                continue
            if codec.name not in warm:  # loads the model, and the library behind the codec
                codec.decode(codec.encode(pixels, settings[name]))
                warm.add(codec.name)
            encode_s, data = timed(partial(codec.encode, pixels, settings[name]))
            decode_s, _ = timed(partial(codec.decode, data))
            yield Timing(
                codec=codec.name,
                version=codec.version(),
                picture=source.name,
                digest=source.digest,
                setting=settings[name],
                threads=threads,
                megapixels=source.megapixels,
                encode_s=round(encode_s, 5),
                decode_s=round(decode_s, 5),
            )
        report(f"timed {done + 1} of {len(left)} pictures")


Report = Callable[[str], None]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call took, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def memory_of(name: str, setting: float, source: Source, threads: int) -> Memory:
    """Peak memory of encoding, and of decoding, each in a fresh process."""
    codec = codec_of(name)
    with tempfile.TemporaryDirectory() as folder:
        encode, decode = alone.peaks(name, setting, pictures.read(source.path), threads, Path(folder))
    return Memory(
        codec=codec.name,
        version=codec.version(),
        picture=source.name,
        digest=source.digest,
        setting=setting,
        threads=threads,
        encode_mb=round(encode / 1e6, 1),
        decode_mb=round(decode / 1e6, 1),
    )
