"""Measures and the comparison of curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_msssim.ssim import ms_ssim as pytorch_ms_ssim

from benchmarks.bd_rate import bd_rate, curve
from neurocodec import metrics
from neurocodec.ms_ssim import ms_ssim
from tests.drawing import draw


def test_psnr() -> None:
    a = np.zeros((4, 4, 3), np.uint8)
    assert metrics.psnr(a, a) == math.inf
    assert metrics.psnr(a, a + 1) == pytest.approx(20 * math.log10(255))
    assert metrics.psnr(a, a + 255) == 0  # no wrap-around of bytes


def test_ms_ssim() -> None:
    a = draw("shapes", 200, 220)
    assert metrics.ms_ssim(a, a) == pytest.approx(1, abs=1e-6)
    noisy = np.clip(a.astype(int) + draw("noise", 200, 220).astype(int) // 8 - 16, 0, 255).astype(np.uint8)
    assert 0.5 < metrics.ms_ssim(a, noisy) < 0.999
    with pytest.raises(ValueError, match="161"):
        metrics.ms_ssim(a[:160], a[:160])


@pytest.mark.parametrize("size", [(161, 300), (175, 202), (256, 256)])
def test_the_loss_is_the_measure(size: tuple[int, int]) -> None:
    """Value and gradients of our MS-SSIM against those of pytorch-msssim."""
    first = np.stack([draw(kind, *size) for kind in ("shapes", "gradient", "noise")])
    a = (torch.tensor(first).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    b = (a + 0.1 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))).detach().requires_grad_()
    weights = torch.tensor([1.0, -2.0, 3.0])  # so that a picture's gradient is seen to be its own
    found = []
    for values in (ms_ssim(b, a), pytorch_ms_ssim(b, a, data_range=1.0, size_average=False)):
        found.append((values.detach(), *torch.autograd.grad((values * weights).sum(), (a, b))))
    (ours, *our_gradients), (theirs, *their_gradients) = found
    torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=0)
    for our, their in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(our, their, atol=1e-3 * float(their.abs().max()), rtol=0)


def test_the_loss_of_opposites_has_a_gradient() -> None:
    a = torch.tensor(draw("noise", 161, 161)).permute(2, 0, 1)[None].float() / 255
    b = (1 - a).requires_grad_()
    value = ms_ssim(b, a)
    (gradient,) = torch.autograd.grad(value.sum(), b)
    assert 0 <= float(value.detach()) < 0.05
    assert gradient.isfinite().all()
    with pytest.raises(ValueError, match="161"):
        ms_ssim(a[..., :160], a[..., :160])


@pytest.mark.parametrize("size", [(161, 300), (599, 202)])
def test_strips_are_the_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    a = draw("shapes", *size)
    b = np.clip(a.astype(int) + draw("noise", *size).astype(int) // 8 - 16, 0, 255).astype(np.uint8)
    whole = metrics.ms_ssim(a, b), metrics.psnr(a, b)
    monkeypatch.setattr(metrics, "WHOLE", 0)
    monkeypatch.setattr(metrics, "PSNR_ROWS", 7)
    assert metrics.ms_ssim(a, b) == pytest.approx(whole[0], abs=1e-6)
    assert metrics.psnr(a, b) == pytest.approx(whole[1])


def test_bits_per_pixel() -> None:
    assert metrics.bits_per_pixel(1000, 100, 40) == 2.0
    assert metrics.decibels(0.9) == pytest.approx(10)


def test_bd_rate_of_known_curves() -> None:
    rates, qualities = [0.1, 0.2, 0.4, 0.8, 1.6], [25.0, 28.0, 31.0, 34.0, 37.0]
    reference = curve(rates, qualities)
    percent, window = bd_rate(reference, curve([r / 2 for r in reversed(rates)], list(reversed(qualities))))
    assert percent == pytest.approx(-50)
    assert window == (25, 37)
    percent, window = bd_rate(reference, curve(rates, [q + 3 for q in qualities]))
    assert percent == pytest.approx(-50)
    assert window == (28, 37)
    assert reference.rate_at(31) == pytest.approx(0.4)
    assert math.isnan(reference.rate_at(40))


def test_curves_that_cannot_be_compared() -> None:
    good = curve([1, 2, 3, 4], [30, 31, 32, 33])
    with pytest.raises(ValueError, match="must rise"):
        curve([1, 2, 3, 4], [30, 32, 31, 33])
    with pytest.raises(ValueError, match="four points"):
        curve([1, 2, 3], [30, 31, 32])
    with pytest.raises(ValueError, match="overlap by less than 1 dB"):
        bd_rate(good, curve([1, 2, 3, 4], [33, 34, 35, 36]))
