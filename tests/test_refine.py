"""Refinement at encode time: relaxations are exact where they must be, and it never makes things worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image

import neurocodec
from neurocodec import refine, weights
from neurocodec.errors import WeightsError
from neurocodec.fixedpoint import POSITION_BITS
from neurocodec.model import Codec
from neurocodec.objective import Objective
from neurocodec.prior import TABLES, mask_1
from neurocodec.refine import (
    ADAM_RATE,
    EFFORT_STEPS,
    FEW,
    HARD_END,
    HASTE,
    JITTER,
    LAST_RATE,
    MANY,
    PACE,
    RATE,
    SHARPNESS,
    Latents,
    Refiner,
    Schedule,
)
from neurocodec.relaxed import SoftRounding
from neurocodec.training.recipe import LOOKS, MSE
from tests.drawing import draw

POSITION = 3 << (POSITION_BITS - 1)  # between two anchors


def pixels(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(draw("shapes", height, width, seed))


def plain(codec: Codec, x: torch.Tensor) -> Latents:
    return plain_at(codec, x, POSITION)


def plain_at(codec: Codec, x: torch.Tensor, position: int) -> Latents:
    with torch.inference_mode():
        y = codec.analyse(x, position)
        z = codec.hyper_analyse(y, position)
    return Latents(y, z).clone()


@pytest.mark.parametrize("objective", [MSE, LOOKS], ids=["mse", "looks"])
def test_it_helps_and_is_repeatable(tiny: weights.LoadedModel, objective: Objective) -> None:
    x, done = pixels(180, 200), list[float]()
    refiner = Refiner(tiny.codec, objective)
    refined = refiner.refine(x, POSITION, 20, done.append)
    assert refiner.value(refined, x, POSITION) < refiner.value(
        refiner.coded(plain(tiny.codec, x), POSITION), x, POSITION
    )
    assert done == sorted(done)
    assert done[-1] == 1
    again = refiner.refine(x, POSITION, 20)
    assert refined.data == again.data
    assert torch.equal(refined.y_hat, again.y_hat)


def test_windows(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "WINDOW", 2)
    monkeypatch.setattr(refine, "HALO", 1)
    x = pixels(300, 270)  # 5 x 5 units: 3 x 3 windows, the first ones of 1
    refiner = Refiner(tiny.codec, MSE)
    before, after = refiner.coded(plain(tiny.codec, x), POSITION), refiner.refine(x, POSITION, 10)
    assert refiner.value(after, x, POSITION) < refiner.value(before, x, POSITION)
    moved = (after.y_hat != before.y_hat).any(-1)[0]
    assert all(bool(p.any()) for row in torch.split(moved, [4, 8, 8]) for p in torch.split(row, [4, 8, 8], dim=1))


@pytest.mark.parametrize("side", [1, 15, 16, 17, 33, 400])
def test_windows_hold_everything_once_and_are_about_as_large(side: int) -> None:
    windows = list(refine._windows(side, 3))
    held = [row for (rows, _), _ in windows for row in range(*rows)]
    assert held == list(range(side))
    sizes = [rows[1] - rows[0] for (rows, _), _ in windows]
    assert max(sizes) <= refine.WINDOW
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == -(-side // refine.WINDOW)
    for (rows, columns), (outer_rows, outer_columns) in windows:
        assert outer_rows == (max(rows[0] - refine.HALO, 0), min(rows[1] + refine.HALO, side))
        assert columns == outer_columns == (0, 3)


def test_the_last_window_is_wide_enough_for_ms_ssim(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refine, "WINDOW", 4)
    x = pixels(200, 8 * 64 + 1)  # 9 units, the last of one column of pixels: windows of 3
    refiner = Refiner(tiny.codec, LOOKS)
    after = refiner.refine(x, POSITION, 2)
    assert refiner.value(after, x, POSITION) <= refiner.value(
        refiner.coded(plain(tiny.codec, x), POSITION), x, POSITION
    )


def test_what_is_too_small_to_refine_is_what_effort_0_writes() -> None:
    """To the byte: whatever it is compared with is that, too."""
    x = draw("shapes", 100, 400)
    assert neurocodec.compress(x, 75, effort=2) == neurocodec.compress(x, 75)


def test_nothing_to_do(tiny: weights.LoadedModel) -> None:
    x = pixels(100, 200)  # too small for MS-SSIM
    for objective, steps in ((LOOKS, 5), (MSE, 0)):
        assert Refiner(tiny.codec, objective).refine(x, POSITION, steps).data == tiny.codec.compress(x, POSITION)


@pytest.mark.slow
def test_a_photograph_with_the_shipped_model() -> None:
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        photograph = np.array(image)
    model = weights.load("visual", torch.device("cpu"))
    assert model.objective is not None
    assert model.objective.ssimulacra2 > 0
    refiner, position = Refiner(model.codec, model.objective), model.position(5000)
    # Of one small part, some bytes more or less are a third of what the first effort saves.
    parts = [torch.from_numpy(photograph[i : i + 240, j : j + 240].copy()) for i, j in ((0, 0), (60, 200), (30, 100))]
    before = sum(refiner.value(refiner.coded(plain_at(model.codec, x, position), position), x, position) for x in parts)
    # Bits and distortion together: of a small picture, bytes alone come in steps of a fifth of a percent.
    values = [
        sum(refiner.value(refiner.refine(x, position, EFFORT_STEPS[effort]), x, position) for x in parts)
        for effort in (1, 4)
    ]
    assert values[0] < 0.985 * before
    assert values[1] < 0.97 * before
    x = parts[0]
    data = [neurocodec.compress(x.numpy(), 50, effort=effort) for effort in (0, 4)]
    # Files hold what was refined, as a better picture or as fewer bytes.
    told = []
    for file in data:
        decoded = torch.from_numpy(neurocodec.decompress(file).pixels.copy())
        bits = 8 * len(file) / (x.shape[0] * x.shape[1])
        told.append(bits + refiner.multiplier(position) * refiner.distortion(decoded, x))
    assert told[1] < 0.98 * told[0]


def test_wrong_efforts(untold: Path) -> None:
    x = draw("shapes", 64, 64)
    for effort in (-1, 10):
        with pytest.raises(ValueError, match="outside 0 to 9"):
            neurocodec.compress(x, effort=effort)
    with pytest.raises(WeightsError, match="export it again"):
        neurocodec.compress(x, model=str(untold), effort=1)


def test_objectives_that_are_none() -> None:
    good = {"lambdas": [0.1, 1.0], "mse": 1, "ms_ssim": 0}
    assert Objective.of(good) == Objective((0.1, 1.0), 1.0, 0.0)
    assert Objective.of(good | {"coarse": 2}).coarse == 2.0
    for bad in ({"lambdas": [1.0, 0.1]}, {"mse": -1}, {"coarse": -1}, {"lambdas": [0.1, 0.2, 0.3]}):
        with pytest.raises(ValueError, match=r"objective|unpack"):
            Objective.of(good | bad)


def test_the_coarse_term_holds_colour_and_not_texture() -> None:
    """A shift of everything costs what it costs in MSE; a fine pattern of the same energy costs nothing."""
    x = torch.full((1, 176, 176, 3), 0.5)
    pattern = 0.01 * (1 - 2 * (torch.arange(176) % 2)).view(1, 1, -1, 1)
    coarse = Objective((0.1, 1.0), mse=0.0, ms_ssim=0.0, coarse=1.0)
    shifted, mse, *_ = coarse.distortion(x + 0.01, x)
    assert shifted.item() == pytest.approx(mse.item(), rel=1e-4) == pytest.approx(255**2 * 1e-4, rel=1e-3)
    assert coarse.distortion(x + pattern, x)[0].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 20, 100, 101, 1000])
def test_schedules_cool_down(steps: int) -> None:
    schedule, generator = Schedule(steps), torch.Generator()
    rates, z_rates = zip(*(schedule.rates(step) for step in range(steps)), strict=True)
    roundings = [schedule.rounding(step, generator, TABLES) for step in range(steps)]
    sharpness, jitter = [r.sharpness for r in roundings], [r.jitter for r in roundings]
    parts = rates[: schedule.decided_at], rates[schedule.decided_at :]  # behind it the rest makes haste
    assert all(list(part) == sorted(part, reverse=True) for part in parts)
    assert len(parts[1]) == (0 if steps == 1 else pytest.approx(0.2 * steps, abs=0.5))
    assert list(z_rates) == sorted(z_rates, reverse=True)
    assert sharpness == sorted(sharpness)
    assert jitter == sorted(jitter, reverse=True)
    assert sharpness[0] == SHARPNESS[0]
    assert z_rates[0] == pytest.approx(ADAM_RATE)
    if steps > MANY:
        assert rates == z_rates
        assert sharpness[-1] == pytest.approx(HARD_END)
    else:
        assert rates[0] == pytest.approx(RATE)
    if FEW <= steps <= MANY:
        # as cautious at the end as curvature asks for, which goes with the square of the slope
        assert rates[-1] == pytest.approx(HASTE * RATE * LAST_RATE * (SHARPNESS[0] / SHARPNESS[1]) ** 2)
        assert sharpness[-1] == pytest.approx(SHARPNESS[1])
    if steps >= FEW:
        assert jitter[-1] == pytest.approx(JITTER[1])
    else:  # in a hurry
        assert jitter[0] < JITTER[0]
    assert all((r.straight > 0) == (steps < FEW) for r in roundings)


def test_latents_on_a_trellis_are_not_rounded_meanwhile() -> None:
    v = torch.tensor([0.3, 0.3, 1.4], requires_grad=True)
    table = torch.tensor([9.4, 9.6, 200.0])  # the third ran out of the tables there are
    rounding = SoftRounding(25.0, 0.0, torch.Generator(), first_pair=10)
    symbols, priced = rounding.y(v, table)
    assert rounding.pairs is not None
    assert rounding.pairs.tolist() == [False, True, True]
    assert torch.equal(symbols, priced)
    assert symbols.tolist() == pytest.approx([0.0, 0.3, 1.4], abs=1e-4)
    schedule, y = Schedule(12), torch.zeros(3, requires_grad=True)
    y.grad = torch.ones(3)
    last = schedule.rates(11)[0]
    schedule.pace(y, rounding.pairs, 11)
    steps = [last * g / HASTE for g in y.grad.tolist()]
    assert steps == pytest.approx([last / HASTE, PACE * RATE * LAST_RATE, PACE * RATE * LAST_RATE])


def test_what_is_decided_on_stays(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """In all windows, while the other half moves on, by descent and by Adam."""
    monkeypatch.setattr(refine, "WINDOW", 3)
    x, codec = pixels(200, 330), tiny.codec
    refiner, latents = Refiner(codec, MSE), plain(codec, x)
    codec.decide(latents.y, latents.z, POSITION)
    decided = Latents(latents.y, latents.z, decided=True)
    for schedule in (Schedule(20), Schedule(MANY + 1)):
        moved = decided.clone()
        steps = range(schedule.decided_at, schedule.decided_at + 3)
        refiner._move(moved, x, POSITION, schedule, steps, lambda done: None)
        first = mask_1(moved.y)
        assert torch.equal(moved.z, decided.z)
        assert torch.equal(moved.y[:, first], decided.y[:, first])
        assert float((moved.y != decided.y)[:, ~first].float().mean()) > 0.5
        values = [refiner.value(refiner.coded(v, POSITION), x, POSITION) for v in (moved, decided)]
        assert values[0] < values[1]


@pytest.mark.parametrize("effort", [1, 3])
def test_refinement_gains_where_latents_are_on_a_trellis(effort: int) -> None:
    codec = weights.load("visual", torch.device("cpu")).codec
    pixels = torch.from_numpy(draw("shapes", 192, 192))
    refiner = Refiner(codec, LOOKS)
    position = 5 << POSITION_BITS
    best = refiner.refine(pixels, position, EFFORT_STEPS[effort])
    plain = refiner.coded(plain_at(codec, pixels, position), position)
    assert refiner.value(best, pixels, position) < refiner.value(plain, pixels, position)
