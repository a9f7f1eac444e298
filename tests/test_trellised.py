"""Latents on a trellis while networks learn: points of files, with the gradient of what comes of them in the mean."""

from __future__ import annotations

import pytest
import torch

from neurocodec import weights
from neurocodec.fixedpoint import ONE
from neurocodec.model import Codec
from neurocodec.quantization import dequantize, quantize
from neurocodec.relaxed import Rounding
from neurocodec.training.rounded import SampledRounding
from neurocodec.training.run import Settings
from neurocodec.training.trellised import Means, TrellisRounding, pair_bits
from neurocodec.trellis import STEP

CPU = torch.device("cpu")
SETTINGS = Settings(steps=4, batch=2, patch=192, tune="psnr", rounded=True, rate=1e-3)


@pytest.fixture(scope="module")
def codec() -> Codec:
    """Return the shipped codec."""
    return weights.load("visual", CPU).codec


@pytest.fixture(scope="module")
def means(codec: Codec) -> Means:
    """Return the means of the shipped codec's trellis, which take seconds to compute."""
    return Means(codec.y_tables)


@pytest.mark.slow
def test_it_learns_from_the_points_of_a_trellis(codec: Codec, means: Means) -> None:
    torch.manual_seed(0)
    t = torch.tensor([0.5, 4.5])
    first = [codec.y_tables.first_pair(round(float(at) * 4096), 12) for at in t]
    v = (3 * torch.randn(2, 8, 8, codec.config.latents)).requires_grad_(True)
    table = (28 * torch.rand(v.shape)).requires_grad_(True)
    held = TrellisRounding(codec, t, Rounding())
    learnt = TrellisRounding(codec, t, SampledRounding(torch.tensor(4.0)), means)
    symbols, priced = learnt.y(v, table)
    pairs = ~learnt.dear.isnan()
    assert torch.equal(pairs, table.round() >= torch.tensor(first)[:, None, None, None])
    expected = held.y(v.detach(), table.detach())[0]
    torch.testing.assert_close(symbols[pairs].detach(), expected[pairs])
    torch.testing.assert_close(learnt.bits(priced)[pairs].detach(), held.dear[pairs])
    # Nearer than the quantizers alone, whose points are two fine steps apart.
    assert 0.5 < float((symbols - v).detach()[pairs].square().mean()) / ((2 * STEP / 256) ** 2 / 12) < 0.8
    whole = symbols[~pairs].detach()
    torch.testing.assert_close(whole, whole.round())
    # All of it has a gradient, and the bits of pairs one that only their own latents and tables have.
    for of_what, by in ((symbols, v), (learnt.bits(priced)[pairs], v), (learnt.bits(priced)[pairs], table)):
        (slope,) = torch.autograd.grad(of_what.sum(), by, retain_graph=True)
        assert bool(slope.isfinite().all())
        assert bool(slope[pairs].any())
        assert of_what is symbols or not slope[~pairs].any()


@pytest.mark.slow
def test_means_match_the_trellis(codec: Codec, means: Means) -> None:
    tables = codec.y_tables
    torch.manual_seed(1)
    for number, spread in ((9, 0.31), (17, 0.78), (30, 3.5)):
        v = spread * torch.randn(40_000)
        numbers = torch.full(v.shape, tables.plain + number, dtype=torch.uint8)
        points = quantize(v, numbers, tables)
        bits = pair_bits(points, numbers, tables)[0]
        found = dequantize(points, numbers, tables) / ONE
        value, mean_bits = means.at(v, torch.full(v.shape, number))
        # Of each eighth of them, in the mean.
        order = v.argsort().view(8, -1)
        torch.testing.assert_close(found[order].mean(1), value[order].mean(1), atol=0.03, rtol=0.02)
        torch.testing.assert_close(bits[order].mean(1), mean_bits[order].mean(1), atol=0.2, rtol=0.05)
    # Little of what is near zero in a narrow table arrives, and as much as there is far away.
    v = torch.tensor([0.1, 0.12, -0.1, -0.12, 3.0, 3.1, 900.0], requires_grad=True)
    (slope,) = torch.autograd.grad(means.at(v, torch.tensor(9))[0].sum(), v)
    assert float(slope[:4].max()) < 0.3
    (slope,) = torch.autograd.grad(means.at(v, torch.tensor(63))[0].sum(), v)
    assert float(slope[6]) == pytest.approx(1, abs=0.02)
    value, bits = means.at(v, torch.tensor(9))
    torch.testing.assert_close(value[:2], -value[2:4])
    torch.testing.assert_close(bits[:2], bits[2:4])
    assert float(value[6].detach()) == 900
