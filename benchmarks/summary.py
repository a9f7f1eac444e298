"""What the measurements say: a curve for each codec, and each codec against the reference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from benchmarks import codecs
from benchmarks.bd_rate import Curve, bd_rate, curve
from benchmarks.measure import Measurement
from benchmarks.timings import Memory, Timing
from neurocodec import metrics

SIMILARITIES = (0.90, 0.95, 0.98)


@dataclass(frozen=True)
class Point:
    """One codec at one setting: means over all pictures."""

    setting: float
    bpp: float
    psnr: float  # dB
    ms_ssim: float

    @property
    def ms_ssim_db(self) -> float:
        return metrics.decibels(self.ms_ssim)


@dataclass(frozen=True)
class BdRate:
    """Percent of rate against the reference, over the window of qualities both reach; or why not."""

    percent: float | None = None
    low: float = math.nan  # dB
    high: float = math.nan
    refused: str = ""


@dataclass(frozen=True)
class EqualSize:
    """The rate that an MS-SSIM costs, and how much more that is than the reference's, in percent."""

    ms_ssim: float
    bpp: float | None
    percent: float | None


@dataclass
class Summary:
    """A codec's line of the table."""

    codec: str
    label: str
    points: list[Point]
    bd_psnr: BdRate = field(default_factory=BdRate)
    bd_ms_ssim: BdRate = field(default_factory=BdRate)
    sizes: list[EqualSize] = field(default_factory=list)
    encode_s_per_mp: float | None = None
    decode_s_per_mp: float | None = None
    encode_mb: float | None = None
    decode_mb: float | None = None

    @property
    def is_ours(self) -> bool:
        return self.codec.startswith(codecs.OURS)

    def fields(self) -> dict[str, object]:
        return asdict(self)


def points_of(codec: str, rows: Sequence[Measurement], pictures: int) -> list[Point]:
    """Means over the pictures, lowest rate first; only settings that every picture was measured at."""
    by_setting: dict[float, list[Measurement]] = {}
    for row in rows:
        if row.codec == codec:
            by_setting.setdefault(row.setting, []).append(row)
    points = [
        Point(
            setting,
            round(statistics.fmean(r.bpp for r in group), 5),
            round(statistics.fmean(r.psnr for r in group), 4),
            round(statistics.fmean(r.ms_ssim for r in group), 6),
        )
        for setting, group in by_setting.items()
        if len(group) == pictures
    ]
    return sorted(points, key=lambda p: p.bpp)


def compare(summary: Summary, reference: Summary) -> None:
    """Fill in what a summary says against the reference."""
    summary.bd_psnr = bd_rate_of([(p.bpp, p.psnr) for p in reference.points], [(p.bpp, p.psnr) for p in summary.points])
    summary.bd_ms_ssim = bd_rate_of(_similarity(reference.points), _similarity(summary.points))
    summary.sizes = []
    for similarity in SIMILARITIES:
        ours, theirs = (_rate_at(s.points, similarity) for s in (summary, reference))
        percent = None if ours is None or theirs is None else round(100 * (ours / theirs - 1), 2)
        summary.sizes.append(EqualSize(similarity, None if ours is None else round(ours, 4), percent))


def _similarity(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(p.bpp, p.ms_ssim_db) for p in points]


def _curve(pairs: Sequence[tuple[float, float]]) -> Curve:
    return curve([rate for rate, _ in pairs], [quality for _, quality in pairs])


def bd_rate_of(reference: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]]) -> BdRate:
    """The BD-rate of two curves of (bpp, dB)."""
    try:
        percent, (low, high) = bd_rate(_curve(reference), _curve(test))
    except ValueError as error:
        return BdRate(refused=str(error))
    return BdRate(round(percent, 2), round(low, 2), round(high, 2))


def _rate_at(points: Sequence[Point], similarity: float) -> float | None:
    try:
        rate = _curve(_similarity(points)).rate_at(metrics.decibels(similarity))
    except ValueError:
        return None
    return None if math.isnan(rate) else rate


def add_times(summary: Summary, timings: Sequence[Timing], memory: Sequence[Memory]) -> None:
    """Medians of seconds per megapixel, and peak memory."""
    own = [t for t in timings if t.codec == summary.codec]
    if own:
        summary.encode_s_per_mp = round(statistics.median(t.encode_s / t.megapixels for t in own), 4)
        summary.decode_s_per_mp = round(statistics.median(t.decode_s / t.megapixels for t in own), 4)
    for row in memory:
        if row.codec == summary.codec:
            summary.encode_mb, summary.decode_mb = row.encode_mb, row.decode_mb


def ratios(timings: Sequence[Timing], codec: str, other: str) -> tuple[float, float] | None:
    """How many times as long `codec` takes as `other` to encode, and to decode: medians over pictures."""
    a, b = ({t.digest: t for t in timings if t.codec == name} for name in (codec, other))
    both = [(a[d], b[d]) for d in a if d in b]
    if not both:
        return None
    return (
        statistics.median(x.encode_s / y.encode_s for x, y in both),
        statistics.median(x.decode_s / y.decode_s for x, y in both),
    )
