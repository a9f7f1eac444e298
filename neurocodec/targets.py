"""The quality whose file has a wanted size, or a wanted fidelity, with few trials.

Size, PSNR, MS-SSIM and SSIMULACRA 2 all rise with quality, smoothly except for the noise of rounding. So the search
brackets the crossing. The next trial is where a straight line between the brackets crosses. This is the false position
method, in which an end that does not move is pulled in (Anderson and Björck 1973).
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

LOWEST, HIGHEST, START = 100, 10000, 5000  # qualities in hundredths
APART = 200  # hundredths that qualities have to be apart for a slope
LOSSLESS = {"msssim": 1.0, "ssimulacra2": 100.0}  # values of equal pictures; targets must be lower
UNITS = {"": 1, "k": 1000, "m": 10**6, "ki": 1024, "mi": 1 << 20}


@dataclass(frozen=True)
class Kind:
    """What can be asked for: how it is measured, and on which scale it rises about evenly."""

    unit: str
    at_most: bool  # a limit for sizes, a floor for fidelities
    scale: Callable[[float], float]
    slope: float  # on the scale, per hundredth of quality: for the first step only
    tolerance: float  # on the scale: near enough on the good side


def _decibels(similarity: float) -> float:
    return -10 * math.log10(max(1 - similarity, 1e-9))


KINDS = {
    "size": Kind("bytes", True, lambda v: math.log2(max(v, 1)), 0.0006, 0.004),
    "bpp": Kind("bpp", True, lambda v: math.log2(max(v, 1e-9)), 0.0006, 0.004),
    "psnr": Kind("dB PSNR", False, lambda v: min(v, 99.0), 0.0016, 0.02),
    "msssim": Kind("MS-SSIM", False, _decibels, 0.0016, 0.02),
    # Scores of neighbouring qualities differ by about half a point, so a smaller tolerance costs more trials.
    "ssimulacra2": Kind("SSIMULACRA 2", False, lambda v: v, 0.006, 0.5),
}


@dataclass(frozen=True)
class Target:
    """A wanted size or fidelity; `kind` is a key of KINDS."""

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no target: use one of {', '.join(KINDS)}")
        if not isinstance(self.value, numbers.Real):
            raise ValueError(f"{self.value!r} is no number")
        highest = LOSSLESS.get(self.kind, math.inf)
        if not 0 < self.value < highest:
            limit = "finite" if math.isinf(highest) else f"below {highest:g}"
            raise ValueError(f"{self.value:g} is out of range: it must be above 0 and {limit}")

    @property
    def how(self) -> Kind:
        return KINDS[self.kind]

    def met_by(self, value: float) -> bool:
        return value <= self.value if self.how.at_most else value >= self.value

    def distance(self, value: float) -> float:
        """How far a value is from the wanted one, on the scale."""
        return abs(self.how.scale(value) - self.how.scale(self.value))

    def slope_at(self, quality: int, values: Mapping[int, float]) -> float | None:
        """How much the scale rises with a hundredth of quality there, by the values of the two nearest qualities."""
        first = min(values, key=lambda q: abs(q - quality))
        # Nearer ones differ by the noise of rounding.
        others = [q for q in values if abs(q - first) >= APART]
        if not others:
            return None
        other = min(others, key=lambda q: abs(q - quality))
        rise = (self.how.scale(values[other]) - self.how.scale(values[first])) / (other - first)
        return rise if rise > 0 else None

    def __str__(self) -> str:
        name, unit = {
            "size": ("size", " bytes"),
            "bpp": ("rate", " bpp"),
            "psnr": ("PSNR", " dB"),
            "msssim": ("MS-SSIM", ""),
            "ssimulacra2": ("SSIMULACRA 2 score", ""),
        }[self.kind]
        return f"a {name} of {'at most' if self.how.at_most else 'at least'} {self.value:g}{unit}"


@dataclass
class _End:
    """A tried quality, and how far its value is from the wanted one, on the scale."""

    quality: int
    off: float


def search(
    measure: Callable[[int], float],
    target: Target,
    start: int = START,
    slope: float | None = None,
    trials: float = math.inf,
) -> tuple[int, bool]:
    """The best quality in hundredths that meets a target, or if none does the nearest that was tried -> it, and whether
    it does.

    Best is the highest for a size and the lowest for a fidelity, within the tolerance of the kind.
    measure gives the size or fidelity at a quality; it is called once for each. start is tried first, and slope is how
    much the scale rises with a hundredth there, if known. After so many trials, the best or the nearest of them.
    """
    how, first_slope = target.how, slope
    # What lines are drawn to: the middle of what is near enough on the good side, or every other trial just misses.
    aim = how.scale(target.value) + how.tolerance / (-2 if how.at_most else 2)
    ends: dict[bool, _End] = {}  # by whether they lie below the crossing: the nearest one on each side
    widths: list[int] = []  # of what lay between the ends
    quality, step, last = start, 0.0, None
    tried: dict[int, float] = {}  # how far its value was from the wanted one
    while True:
        value = measure(quality)
        tried[quality] = target.distance(value)
        met, off = target.met_by(value), how.scale(value) - aim
        low = met == how.at_most
        if met and tried[quality] <= how.tolerance:
            return quality, True
        before = ends.get(low)
        ends[low] = _End(quality, off)
        if len(tried) >= trials:
            return (ends[how.at_most].quality, True) if how.at_most in ends else (_nearest(tried), False)
        if low in ends and (not low) in ends:
            widths.append(ends[False].quality - ends[True].quality)
            if widths[-1] <= 1:
                return ends[how.at_most].quality, True
            if last == low and before is not None:  # twice on the same side: pull the line over to it
                kept = off / before.off if before.off else 1.0
                ends[not low].off *= 1 - kept if 0 < kept < 1 else 0.5
            quality = _crossing(ends[True], ends[False])
            if len(widths) > 3 and widths[-1] > widths[-4] / 2:  # a curve that lines do not fit
                quality = (ends[True].quality + ends[False].quality) // 2
        else:
            if quality == (HIGHEST if low else LOWEST):
                return (quality, True) if met else (_nearest(tried), False)
            # One side only: along the slope as far as it is known, and further each time.
            slope = first_slope or how.slope
            if before is not None and (off - before.off) / (quality - before.quality) > 0:
                slope = (off - before.off) / (quality - before.quality)
            step = max(1.0 * abs(off) / slope, 2 * abs(step), 50)
            quality = round(min(max(quality + (step if low else -step), LOWEST), HIGHEST))
        last = low


def _nearest(tried: Mapping[int, float]) -> int:
    """Of a flat or tiny picture fidelity does not rise all the way: the end of the scale need not be the nearest."""
    return min(reversed(list(tried)), key=lambda quality: tried[quality])  # of equals the last


def _crossing(below: _End, above: _End) -> int:
    """Where the line between two ends crosses, strictly between them."""
    rise, width = above.off - below.off, above.quality - below.quality
    share = -below.off / rise if rise > 0 else 0.5
    return min(max(below.quality + round(share * width), below.quality + 1), above.quality - 1)


def parse_size(text: str) -> int:
    """ "40kB", "1.5 MB", "200 KiB" or "40000" -> bytes. Raises ValueError."""
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(|k|m|ki|mi)b?\s*", text.lower())
    if not found:
        raise ValueError(f"{text!r} is not a size: use 40000, 40kB, 1.5MB or 200KiB")
    wanted = float(found[1]) * UNITS[found[2]]
    if math.isinf(wanted):
        raise ValueError(f"{text!r} is more than any file has")
    size = int(wanted)
    if size < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return size
