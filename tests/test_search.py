"""The search for the quality that meets a target, on known curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neurocodec import targets
from neurocodec.targets import Target, search


@given(
    st.sampled_from(["size", "psnr", "msssim", "ssimulacra2"]),
    st.floats(2, 7),
    st.floats(0.4, 2.5),
    st.integers(0, 10200),
)
@example("psnr", 2.0, 2.5, 111)  # flat where it starts
@example("psnr", 5.5, 2.5, 350)
@example("msssim", 7.0, 1.5, 121)
@example("ssimulacra2", 7.0, 0.4, 9900)
def test_search_finds_the_crossing(kind: str, rise: float, bend: float, quality: int) -> None:
    """Search curves of every steepness and bend, with plateaus of whole bytes, and targets beyond their ends."""
    tried: list[int] = []

    def curve(quality: int) -> float:
        share = ((quality - 100) / 9900) ** bend if quality > 100 else 0.0
        if kind == "size":
            return float(round(2 ** (9 + rise * share)))
        if kind == "ssimulacra2":
            return 20 + 11 * rise * share
        return 20 + 3 * rise * share if kind == "psnr" else 1 - 10 ** (-(6 + 3 * rise * share) / 10)

    def measure(quality: int) -> float:
        tried.append(quality)
        return curve(quality)

    value = curve(min(max(quality, 100), 10000)) * (0.9 if quality < 100 else 1)
    value = value if quality <= 10000 else value * (0.5 if kind == "size" else 1 + 1e-4)
    target = Target(kind, value)
    found, met = search(measure, target)
    assert len(tried) == len(set(tried)) <= 14
    assert met == target.met_by(curve(found))
    if not met:
        assert found == (targets.LOWEST if target.how.at_most else targets.HIGHEST)
    else:
        better = found + 1 if target.how.at_most else found - 1
        near = abs(target.how.scale(curve(found)) - target.how.scale(value)) <= target.how.tolerance
        assert near or not targets.LOWEST <= better <= targets.HIGHEST or not target.met_by(curve(better))


def test_few_trials_find_a_score() -> None:
    """Search recorded scores of chelsea.png. Neighbouring scores differ by up to half a point."""
    qualities = [100, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000]
    scores = [-25.4, -17.5, 5.7, 20.9, 34.2, 41.7, 48.7, 53.1, 58.7, 63.7, 72.3, 84.9]
    counts = []
    for wanted in range(10, 85, 5):
        tried: list[int] = []

        def measure(quality: int, tried: list[int] = tried) -> float:
            tried.append(quality)
            return float(np.interp(quality, qualities, scores)) + 0.5 * math.sin(quality**2)

        found, met = search(measure, Target("ssimulacra2", wanted))
        assert met
        assert wanted <= measure(found) < wanted + 2
        counts.append(len(set(tried)))
    assert sum(counts) / len(counts) < 6.5


def test_the_end_of_the_scale_need_not_be_the_nearest() -> None:
    """Search a curve that falls towards its end, as the fidelity of a flat picture may."""
    values = {q: 40.0 - abs(q - 7000) / 1000 for q in range(100, 10001)}
    found, met = search(values.__getitem__, Target("psnr", 60))
    assert not met
    assert values[found] > values[10000]


@pytest.mark.parametrize("kind", ["size", "psnr"])
@pytest.mark.parametrize("trials", [1, 2, 3, 4])
def test_search_stops_after_its_trials(kind: str, trials: int) -> None:
    tried: list[int] = []

    def curve(quality: int) -> float:
        tried.append(quality)
        return 1000 * 2 ** (quality / 2000) if kind == "size" else 20 + quality / 500

    target = Target(kind, 8000 if kind == "size" else 32)  # quality 6000
    slope = target.slope_at(6100, {5000: curve(5000), 6200: curve(6200), 9000: curve(9000)})
    assert slope == pytest.approx(1 / 2000 if kind == "size" else 1 / 500)
    assert target.slope_at(6100, {5000: 1.0}) is None
    noisy = {6099: curve(6099) * 0.99, 6100: curve(6100), 8100: curve(8100)}  # neighbours differ by rounding
    assert target.slope_at(6100, noisy) == pytest.approx(slope)
    tried.clear()
    found, met = search(curve, target, 6100, slope, trials)
    assert tried[0] == 6100
    assert len(tried) <= trials
    assert found in tried
    assert met == target.met_by(curve(found))
    assert met == any(target.met_by(curve(q)) for q in list(tried))
    if trials == 4:
        assert abs(found - 6000) <= 10


def test_infinite_psnr_has_a_place_on_the_scale() -> None:
    assert targets.KINDS["psnr"].scale(math.inf) == 99
