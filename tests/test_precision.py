"""bfloat16 is for processors that have it: the choice is theirs, and never changes what is left as it is."""

from __future__ import annotations

import pytest
import torch

from neurocodec import layers, precision, weights
from neurocodec.layers import Block
from tests.drawing import draw

CPU = torch.device("cpu")
POSITION = 9 << 11  # a middling quality


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
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not precision.has_bfloat16(CPU)


def test_float32_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setenv("NEUROCODEC_FLOAT32", "1")
    assert not precision.has_bfloat16(CPU)


@pytest.mark.parametrize("model", ["ms-ssim", "psnr"])
def test_transforms_round_by_little(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = weights.load(model, CPU).codec
    pixels = torch.from_numpy(draw("shapes", 256, 320, seed=4))
    with torch.inference_mode():
        # Where the processor has none, it emulates them: slow, but not for one small picture.
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


@pytest.mark.parametrize("has", [True, False])
def test_blocks_add_up_in_float32_whatever_is_in_the_cache(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few rows at a time, or in the pass of a convolution: the same numbers as in training."""
    torch.manual_seed(0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: has)
    block, x = Block(16).requires_grad_(False), torch.randn(2, 12, 20, 16)
    with precision.autocast(CPU):
        h = x + block.look(x)
        wanted = h + block.mix(h)
    assert wanted.dtype == torch.float32
    for in_cache in (1 << 17, 5 * 20 * 16, 1):  # all at once, rows that do not divide 12, and one by one
        monkeypatch.setattr(layers, "IN_CACHE", in_cache)
        with torch.inference_mode(), precision.autocast(CPU):
            found = block(x.clone())
        # Convolutions and products sum in another order, which bfloat16 may then round the other way.
        assert torch.allclose(found, wanted, atol=0.02 if has else 1e-5)
        assert float((found - wanted).abs().mean()) < 1e-3
