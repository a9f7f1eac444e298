"""Comparing two rate-distortion curves: the Bjontegaard rate difference, and sizes at one quality.

Bjontegaard 2001 (VCEG-M33), with piecewise cubic Hermite interpolation (PCHIP) of log rate over
quality, as is usual today: it does not overshoot between points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.interpolate import PchipInterpolator


@dataclass(frozen=True)
class Curve:
    """A rate-distortion curve: rates in bits per pixel and qualities in units of their measure, both rising."""

    rates: tuple[float, ...]
    qualities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rates) != len(self.qualities) or len(self.rates) < 4:
            raise ValueError("a curve needs at least four points, each with a rate and a quality")
        for name, values in (("rates", self.rates), ("qualities", self.qualities)):
            if any(b <= a for a, b in pairwise(values)):
                raise ValueError(f"the {name} of a curve must rise: {values}")

    def log_rate(self) -> PchipInterpolator:
        """log2 of the rate as a function of quality."""
        return PchipInterpolator(self.qualities, np.log2(self.rates))

    def rate_at(self, quality: float) -> float:
        """The rate that a quality costs; nan outside the curve."""
        if not self.qualities[0] <= quality <= self.qualities[-1]:
            return math.nan
        return float(2 ** self.log_rate()(quality))


def curve(rates: Sequence[float], qualities: Sequence[float]) -> Curve:
    """A curve of points in any order."""
    pairs = sorted(zip(rates, qualities, strict=True))
    return Curve(tuple(r for r, _ in pairs), tuple(q for _, q in pairs))


def bd_rate(
    reference: Curve, test: Curve, lowest: float = -math.inf, narrowest: float = 1.0, unit: str = "dB"
) -> tuple[float, tuple[float, float]]:
    """Return the mean difference in rate at equal quality in percent, and the window of qualities that both reach.

    The difference is negative if test needs less than reference. The window does not start below lowest.

    Raises:
        ValueError: the window is narrower than narrowest, in the unit of the qualities.
    """
    low = max(reference.qualities[0], test.qualities[0], lowest)
    high = min(reference.qualities[-1], test.qualities[-1])
    if high - low < narrowest:
        least = f"{narrowest:g} {unit}".strip()
        raise ValueError(f"the curves overlap by less than {least}: {low:.2f} to {high:.2f}")
    difference = test.log_rate().integrate(low, high) - reference.log_rate().integrate(low, high)
    return 100 * (2 ** float(difference / (high - low)) - 1), (low, high)
