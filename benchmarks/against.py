"""Our curves against published ones: what others measured on the same pictures is taken at its word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.published import PublishedCurve
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
            bd_rate_of(curve.ms_ssim_db, [(p.bpp, p.ms_ssim_db) for p in s.points]) if curve.ms_ssim_db else BdRate(),
            bd_rate_of(curve.psnr, [(p.bpp, p.psnr) for p in s.points]) if curve.psnr else BdRate(),
        )
        for s in summaries
        if s.is_ours
        for curve in curves
    ]
