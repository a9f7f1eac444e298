"""The prior in training computes what files will hold, and learns from it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from neurocodec import catalogue, weights
from neurocodec.fixedpoint import ONE, UNIT
from neurocodec.model import whole
from neurocodec.predictor import halves_of
from neurocodec.prior import TABLES, mask_1
from neurocodec.training.quantized import quantized
from neurocodec.training.thaw import thaw
from tests.golden.make import TINY

CPU = torch.device("cpu")
SHIPPED = catalogue.weights_folder() / catalogue.MODELS[0].file


@pytest.mark.parametrize("file", [TINY, SHIPPED], ids=["tiny", "shipped"])
@pytest.mark.parametrize("position", [0, 5631, 8192])
def test_it_computes_what_the_codec_does(file: Path, position: int) -> None:
    codec, float_twin, tensors = weights.load(str(file), CPU).codec, thaw(file).networks, weights.read_tensors(file)
    h_s, context = quantized(float_twin.h_s, tensors, "h_s."), quantized(float_twin.context, tensors, "context.")
    hyper_context = quantized(float_twin.hyper_context, tensors, "hyper_context.")
    generator, c = torch.Generator().manual_seed(0), codec.config
    z = torch.randn(1, 3, 2, c.hyper_latents, generator=generator).mul(3).round()
    y_hat = torch.randn(1, 12, 8, c.latents, generator=generator).mul(4 * ONE).round() / ONE
    with torch.inference_mode():
        mean, table = hyper_context(z, codec.t(position).float())
        exact_mean, exact_table = codec.networks.hyper_context(z * UNIT, codec.t(position), UNIT)
    assert torch.equal(mean * ONE, exact_mean)
    assert torch.equal(table.round().clamp(0, TABLES - 1), exact_table)
    with torch.no_grad():
        psi = h_s(z, codec.t(position).float())
        features = {1: psi, 2: context.features_2(psi, y_hat * mask_1(y_hat))}
        twins = {1: context.head_1(features[1]), 2: context.head_2(features[2])}
    predictor, halves = codec.predictor(z.int(), position), halves_of(12, 8, c.latents, CPU)
    for step, (mean, table) in twins.items():
        exact_mean, exact_table = predictor.predict(step, whole((3, 2)), y_hat * ONE)
        assert torch.equal(halves.take(step, mean * ONE).int(), exact_mean)
        assert torch.equal(halves.take(step, table).round().clamp(0, TABLES - 1).int(), exact_table.int())


def test_it_shares_parameters_and_hands_them_a_gradient() -> None:
    networks, tensors = thaw(TINY).networks, weights.read_tensors(TINY)
    h_s = quantized(networks.h_s, tensors, "h_s.")
    z = torch.randn(2, 2, 2, networks.config.hyper_latents, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.25, 1.5])
    h_s(z, t).sin().sum().backward()
    rounded = {name: p.grad for name, p in networks.h_s.named_parameters()}
    networks.zero_grad()
    networks.h_s(z, t).sin().sum().backward()
    for name, p in networks.h_s.named_parameters():
        ours, theirs = rounded[name], p.grad
        assert ours is not None, name
        assert theirs is not None, name
        assert float((ours - theirs).norm()) < 0.1 * float(theirs.norm()), name
    # What it computes follows the parameters as they move, in their integers' steps.
    before = h_s(z, t).detach()
    with torch.no_grad():
        networks.h_s.enter.bias.add_(1e-6)
    assert torch.equal(h_s(z, t), before)
    with torch.no_grad():
        networks.h_s.enter.bias.add_(0.1)
    assert not torch.equal(h_s(z, t), before)
