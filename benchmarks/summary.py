"""What the measurements say: a curve for each codec, and each codec against the reference."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from benchmarks import codecs, qualities
from benchmarks.bd_rate import Curve, bd_rate, curve
from benchmarks.measure import Measurement
from benchmarks.qualities import Quality
from benchmarks.timings import Memory, Timing
from neurocodec import metrics

SIMILARITIES = (0.90, 0.95, 0.98)
SCORES = (30, 50, 70, 80, 90)  # SSIMULACRA 2: low, medium, high, very high quality, visually lossless


@dataclass(frozen=True)
class Point:
    """One codec at one setting: means over all pictures."""

    setting: float
    bpp: float
    psnr: float  # dB
    ms_ssim: float
    ssimulacra2: float | None = None
    jod: float | None = None

    @property
    def ms_ssim_db(self) -> float:
        return metrics.decibels(self.ms_ssim)

    def at(self, quality: Quality) -> float | None:
        """Return the value of a measure, or None if it was not measured."""
        value: float | None = getattr(self, quality.field)
        return value


@dataclass(frozen=True)
class BdRate:
    """Percent of rate against the reference, over the window of qualities both reach; or why not."""

    percent: float | None = None
    low: float = math.nan  # start of the window, in the unit of the quality
    high: float = math.nan
    refused: str = ""


@dataclass(frozen=True)
class EqualSize:
    """The rate that an MS-SSIM costs, and how much more that is than the reference's, in percent."""

    ms_ssim: float
    bpp: float | None
    percent: float | None


@dataclass(frozen=True)
class EqualScore:
    """The rate of a codec at a SSIMULACRA 2 score, and its difference from the reference's rate in percent."""

    score: float
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
    bd_ssimulacra2: BdRate = field(default_factory=BdRate)
    bd_jod: BdRate = field(default_factory=BdRate)
    scores: list[EqualScore] = field(default_factory=list)
    encode_s_per_mp: float | None = None
    decode_s_per_mp: float | None = None
    encode_mb: float | None = None
    decode_mb: float | None = None

    @property
    def is_ours(self) -> bool:
        return self.codec.startswith(codecs.OURS)

    def fields(self) -> dict[str, object]:
        return asdict(self)

    def bd(self, quality: Quality) -> BdRate:
        """Return the BD-rate by a measure."""
        value: BdRate = getattr(self, f"bd_{quality.field.removesuffix('_db')}")
        return value

    def curve(self, quality: Quality) -> list[tuple[float, float]]:
        """Return (bits per pixel, quality) of the points that hold a measure, lowest rate first."""
        return [(p.bpp, value) for p in self.points if (value := p.at(quality)) is not None]


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
            _mean([r.ssimulacra2 for r in group], 4),
            _mean([r.jod for r in group], 5),
        )
        for setting, group in by_setting.items()
        if len(group) == pictures
    ]
    return sorted(points, key=lambda p: p.bpp)


def _mean(values: Sequence[float | None], digits: int) -> float | None:
    """Return the rounded mean, or None if any value is missing, because means must be over the same pictures."""
    known = [value for value in values if value is not None]
    return round(statistics.fmean(known), digits) if len(known) == len(values) else None


def measured(summaries: Sequence[Summary]) -> list[Quality]:
    """Return the measures that at least one curve holds. That of the optional judge may be missing."""
    return [q for q in qualities.ALL if any(s.curve(q) for s in summaries)]


def compare(summary: Summary, reference: Summary) -> None:
    """Fill in the comparisons of a summary with the reference."""
    by_quality = {}
    for quality in measured([reference]):
        by_quality[quality] = bd_rate_of(reference.curve(quality), summary.curve(quality), quality)
    none = BdRate()
    summary.bd_psnr = by_quality.get(qualities.PSNR, none)
    summary.bd_ms_ssim = by_quality.get(qualities.MS_SSIM, none)
    summary.bd_ssimulacra2 = by_quality.get(qualities.SSIMULACRA2, none)
    summary.bd_jod = by_quality.get(qualities.JOD, none)
    summary.sizes = []
    for similarity in SIMILARITIES:
        rates = _rates(summary, reference, qualities.MS_SSIM, metrics.decibels(similarity))
        summary.sizes.append(EqualSize(similarity, *rates))
    summary.scores = []
    if qualities.SSIMULACRA2 in by_quality:
        summary.scores = [EqualScore(s, *_rates(summary, reference, qualities.SSIMULACRA2, s)) for s in SCORES]


def bd_rate_of(
    reference: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], quality: Quality
) -> BdRate:
    """Return the BD-rate of two curves of (bpp, quality), or the reason for its refusal."""
    try:
        percent, (low, high) = bd_rate(
            _curve(reference, quality), _curve(test, quality), quality.lowest, quality.narrowest, quality.unit
        )
    except ValueError as error:
        return BdRate(refused=str(error))
    return BdRate(round(percent, 2), round(low, 2), round(high, 2))


def _curve(pairs: Sequence[tuple[float, float]], quality: Quality) -> Curve:
    """Make a curve for interpolation. Only the last point below the lowest meaningful quality is kept."""
    below = sum(value < quality.lowest for _, value in pairs)
    used = sorted(pairs)[max(below - 1, 0) :]
    return curve([rate for rate, _ in used], [value for _, value in used])


def _rates(summary: Summary, reference: Summary, quality: Quality, value: float) -> tuple[float | None, float | None]:
    """Return the rate at a quality, and its difference from the reference's rate in percent."""
    ours, theirs = (_rate_at(s.curve(quality), quality, value) for s in (summary, reference))
    percent = None if ours is None or theirs is None else round(100 * (ours / theirs - 1), 2)
    return None if ours is None else round(ours, 4), percent


def _rate_at(pairs: Sequence[tuple[float, float]], quality: Quality, value: float) -> float | None:
    try:
        rate = _curve(pairs, quality).rate_at(value)
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
