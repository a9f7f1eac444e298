"""The prior as a differentiable function, and rounding that is relaxed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurocodec import refine, weights
from neurocodec.fixedpoint import UNIT
from neurocodec.refine import (
    Refiner,
)
from neurocodec.relaxed import Rounding, SoftRounding, between, costs, interpolate
from neurocodec.tables import PRECISION
from neurocodec.training.recipe import MSE
from neurocodec.training.tables import SymbolCounter
from tests.test_refine import POSITION, pixels, plain


def test_costs_are_what_the_tables_say(tiny: weights.LoadedModel) -> None:
    tables = tiny.codec.y_tables.without_pairs()
    rows = costs(tables, range(len(tables.radius)))
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, len(tables.radius), 500)
    symbols = rng.integers(-3, 4, 500) * rng.integers(0, 12, 500)
    symbols = np.clip(symbols, -(rows.shape[1] // 2), rows.shape[1] // 2).astype(np.int32)
    symbols[numbers < tables.silent] = 0  # nothing else can be coded there
    assert float(between(rows, torch.tensor([1.0]), torch.tensor([0.0]))) > PRECISION
    counter = SymbolCounter()
    counter.push(symbols, numbers, tables)
    found = between(rows, torch.from_numpy(symbols).float(), torch.from_numpy(numbers).float())
    assert float(found.sum()) == pytest.approx(counter.bits, rel=1e-4)
    # Between whole symbols and whole tables: between their costs, with a gradient.
    halfway = torch.tensor([0.5], requires_grad=True)
    cost = interpolate(rows, halfway, torch.tensor([5]))
    middle = rows.shape[1] // 2
    assert cost.item() == pytest.approx(float(rows[5, middle] + rows[5, middle + 1]) / 2, rel=1e-5)
    (slope,) = torch.autograd.grad(cost.sum(), halfway)
    assert slope.item() == pytest.approx(float(rows[5, middle + 1] - rows[5, middle]), rel=1e-4)


def test_float_twins_agree_with_the_exact_path(tiny: weights.LoadedModel) -> None:
    codec, x = tiny.codec, pixels(192, 256)
    refiner = Refiner(codec, MSE)
    z = plain(codec, x).z.round()
    exact = codec.networks.h_s(z * UNIT, codec.t(POSITION)) / UNIT
    twin = refiner.prior.h_s(z, codec.t(POSITION).float())
    assert float((exact - twin).abs().max()) < 0.1  # a few roundings to 2**-7
    # The loss of really rounded latents is what the coder spends, and what the decoder gets wrong.
    latents = plain(codec, x)
    told = refiner.value(refiner.coded(latents, POSITION), x, POSITION) * x.shape[0] * x.shape[1]
    whole = ((0, latents.z.shape[1]), (0, latents.z.shape[2]))
    window = refine.Window(refiner, latents, whole, whole, x[None], (192, 256), POSITION)
    assert float(window.loss(latents, Rounding())) == pytest.approx(told, rel=0.02)


def test_soft_rounding_becomes_rounding() -> None:
    v = torch.tensor([-1.3, -0.2, 0.1, 0.9, 2.4]).repeat(400, 1)
    generator = torch.Generator().manual_seed(1)
    soft = SoftRounding(2.5, 0.1, generator)
    symbols, priced = soft.z(v)
    assert torch.equal(symbols, priced)
    assert torch.equal(symbols, soft.z(v)[0])  # one sample for all that ask
    assert not torch.equal(symbols, SoftRounding(2.5, 0.1, generator).z(v)[0])
    assert bool(((symbols >= v.floor()) & (symbols <= v.floor() + 1)).all())
    hard = SoftRounding(1000, 0.01, generator).z(v)[0]
    assert torch.allclose(hard, v.round(), atol=1e-3)


def test_soft_rounding_is_as_steep_and_as_unsteady_as_it_says() -> None:
    middle = torch.full((20000,), 0.5, requires_grad=True)
    still = SoftRounding(2.5, 0.0, torch.Generator()).z(middle)[0]
    (slope,) = torch.autograd.grad(still.sum(), middle)
    assert slope[0].item() == pytest.approx(2.5, rel=1e-4)
    # Near the middle, noise moves a latent by the jitter before it is rounded.
    moved = SoftRounding(2.5, 0.02, torch.Generator().manual_seed(2)).z(middle)[0]
    assert float((moved.detach() - 0.5).std()) == pytest.approx(2.5 * 0.02, rel=0.03)


def test_the_straight_share_leads_away_from_whole_numbers() -> None:
    for straight in (0.0, 0.4):
        v = torch.tensor([3.0], requires_grad=True)
        symbols = SoftRounding(8.0, 0.0, torch.Generator(), straight).z(v)[0]
        assert symbols.item() == pytest.approx(3.0, abs=1e-4)  # what is decoded stays the same
        (slope,) = torch.autograd.grad(symbols.sum(), v)
        assert slope.item() == pytest.approx(straight, abs=1e-3)
