"""Our curves against published ones: what others measured on the same pictures is taken at its word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import qualities
from benchmarks.published import PublishedCurve
from benchmarks.qualities import Quality
from benchmarks.summary import BdRate, Summary, bd_rate_of


@dataclass(frozen=True)
class Against:
    """One of our codecs against a published curve: BD-rates, negative where ours is smaller."""

    curve: str
    codec: str
    label: str
    bd_ms_ssim: BdRate
    bd_psnr: BdRate

    def fields(self) -> dict[str, object]:
        return asdict(self)


def compare(summaries: Sequence[Summary], curves: Sequence[PublishedCurve]) -> list[Against]:
    """Each of our codecs against each curve, by the measures that it has."""
    return [
        Against(
            curve.name,
            s.codec,
            s.label,
            _bd_rate(curve.ms_ssim_db, s, qualities.MS_SSIM),
            _bd_rate(curve.psnr, s, qualities.PSNR),
        )
        for s in summaries
        if s.is_ours
        for curve in curves
    ]


def _bd_rate(published: Sequence[tuple[float, float]], summary: Summary, quality: Quality) -> BdRate:
    """Return the BD-rate against a published curve, or an empty one if the curve lacks the measure."""
    return bd_rate_of(published, summary.curve(quality), quality) if published else BdRate()
