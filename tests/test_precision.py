"""bfloat16 is for processors that have it: the choice is theirs, and never changes what is left as it is."""

from __future__ import annotations

import copy

import pytest
import torch

from neurocodec import layers, precision, weights
from neurocodec.layers import Block
from tests.drawing import draw

CPU = torch.device("cpu")
POSITION = 9 << 11  # a middling quality


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test compute in bfloat16 on any processor, with torch's own products if oneDNN has none.

    A processor with the instructions has no fallback, so a product that fails is an error there.
    """
    hardware = precision.has_bfloat16(CPU)
    monkeypatch.delenv(precision.FLOAT32, raising=False)
    one = torch.ones(1, 1, dtype=torch.bfloat16)
    if not hardware and layers.FUSED is not None and layers.LAY_OUT is not None:
        try:
            layers.FUSED(one, layers.LAY_OUT(one, layers.ROWS), one[0], "none", [], "")
        except RuntimeError:  # "bf16 path needs the cpu support avx_ne_convert or avx512bw, ..."
            monkeypatch.setattr(layers, "FUSED", None)


@pytest.mark.usefixtures("bfloat16")
def test_it_follows_what_the_processor_has(monkeypatch: pytest.MonkeyPatch) -> None:
    a = torch.ones(4, 4)
    for has, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False)
        assert precision.has_bfloat16(CPU) is has
        with precision.autocast(CPU):
            assert (a @ a).dtype == dtype
        with precision.autocast(CPU, enabled=False):
            assert (a @ a).dtype == torch.float32


def test_a_torch_that_does_not_tell_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(precision.FLOAT32, raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not precision.has_bfloat16(CPU)


def test_float32_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setenv("NEUROCODEC_FLOAT32", "1")
    assert not precision.has_bfloat16(CPU)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("model", ["visual", "psnr"])
def test_transforms_round_by_little(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = weights.load(model, CPU).codec
    pixels = torch.from_numpy(draw("shapes", 256, 320, seed=4))
    with torch.inference_mode():
        # bfloat16 is emulated on processors without it, which is fast enough for one small picture.
        monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
        rounded = codec.analyse(pixels, POSITION)
        z_rounded = codec.hyper_analyse(rounded, POSITION)
        y_hat = (rounded * 256).round()
        shown = codec.synthesise(y_hat, 256, 320, POSITION)
        monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
        full = codec.analyse(pixels, POSITION)
        assert not torch.equal(full, rounded)
        # Quantization adds 1/12 of variance, whatever the latents are.
        assert (full - rounded).square().mean() < 1e-3 / 12
        assert (codec.hyper_analyse(rounded, POSITION) - z_rounded).square().mean() < 1e-2 / 12
        # And so do the levels of pixels.
        apart = (codec.synthesise(y_hat, 256, 320, POSITION).int() - shown.int()).abs()
        print(apart.flatten().bincount())
        assert 0 < (apart > 0).float().mean() < 0.2
        assert apart.max() <= 2
        assert (apart > 1).float().mean() < 1e-4


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("has", [True, False])
def test_blocks_add_up_in_float32_in_any_parts(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time, or in the pass of a convolution: the same numbers as in training."""
    torch.manual_seed(0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    block, x = Block(16).requires_grad_(False), torch.randn(2, 12, 20, 16)
    with precision.autocast(CPU):
        h = x + block.look(x)
        wanted = h + block.mix(h)
    assert wanted.dtype == torch.float32
    for at_once in (1 << 17, 5 * 20 * 16, 1):  # all at once, rows that do not divide 12, and one by one
        monkeypatch.setattr(layers, "AT_ONCE", at_once)
        with torch.inference_mode(), precision.autocast(CPU):
            found = block(x.clone())
        # Convolutions and products sum in another order, which bfloat16 may then round the other way.
        assert torch.allclose(found, wanted, atol=0.02 if has else 1e-5)
        assert float((found - wanted).abs().mean()) < 1e-3


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("has", [True, False])
def test_a_frozen_layer_computes_what_it_did(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights laid out for the processor, with any number of positions and threads, and without what torch may lack."""
    torch.manual_seed(0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    layer, x = layers.Pointwise(24, 40, activation=True), torch.randn(1, 5, 7, 24)

    def run(x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), precision.autocast(CPU):
            found: torch.Tensor = layer(x)
        return found

    plain = run(x)
    layers.freeze(layer)
    frozen = run(x)
    assert torch.equal(frozen, plain)
    assert torch.equal(run(x), frozen)
    near = 0.05 if has else 1e-5  # sums in another order, which bfloat16 may then round the other way
    assert torch.allclose(run(x[:, :1, :1]).float(), frozen[:, :1, :1].float(), atol=near)
    layer = copy.deepcopy(layer)
    assert torch.equal(run(x), frozen)
    monkeypatch.setattr(layers, "FUSED", None)
    layer = copy.deepcopy(layer)  # which forgets how its weights were laid out
    assert torch.allclose(run(x).float(), frozen.float(), atol=near)


@pytest.mark.usefixtures("bfloat16")
def test_a_layer_that_learns_is_not_laid_out() -> None:
    """Validation runs it without a gradient, between steps that change its weights."""
    layer, x = layers.Pointwise(8, 8), torch.randn(1, 2, 3, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        before = layer(x)
        layer.weight.mul_(2)
        layer.bias.add_(1)
        assert torch.allclose(layer(x), 2 * before + 1, atol=0.1)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_factor_is_taken_before_or_behind_a_layer(batch: int) -> None:
    torch.manual_seed(0)
    layer, x, factor = layers.Pointwise(8, 6), torch.randn(batch, 3, 4, 8), torch.rand(batch, 1, 1, 6) + 0.5
    wanted = layers.in_full(layer, x) * factor
    assert torch.equal(layers.in_full(layer, x, factor), wanted)
    with torch.inference_mode():
        assert torch.allclose(layers.in_full(layer, x, factor), wanted, atol=1e-5)


def test_products_do_not_depend_on_threads_nor_on_how_many_there_are() -> None:
    """So that windows, and what a machine has of cores, change nothing where nothing else does."""
    x, weight, bias = torch.randn(1000, 768), torch.randn(288, 768), torch.randn(288)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append(layers.product(x, weight, bias))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(v, found[0]) for v in found)
    for rows in (1, 17, 400):
        assert torch.allclose(layers.product(x[:rows], weight, bias), found[0][:rows], atol=1e-4)
    assert torch.allclose(found[0], x @ weight.T + bias, atol=1e-3)
