"""What turns gradients into steps."""

from __future__ import annotations

import pytest
import torch

from neurocodec.errors import TrainingError
from neurocodec.training.optimizers import Soap, cholesky_qr, make_optimizers


def test_unknown_optimizers_are_refused() -> None:
    with pytest.raises(TrainingError, match="not known"):
        make_optimizers(torch.nn.Linear(2, 2), "newton")


def test_soap_turns_a_stretched_valley_round() -> None:
    """On a quadratic whose axes are turned and of very different steepness, it beats Adam by far."""
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(12, 12))[0]
    steepness = turn @ torch.diag(torch.logspace(-3, 1, 12)) @ turn.T
    target = torch.randn(12, 8)
    lost = {}
    for name in ("adamw", "soap"):
        layer = torch.nn.Linear(8, 12)
        torch.nn.init.zeros_(layer.weight)
        optimizers = make_optimizers(layer, name)
        for step in range(300):
            for optimizer in optimizers:
                optimizer.zero_grad()
            difference = layer.weight - target
            loss = (difference * (steepness @ difference)).sum()
            torch.autograd.backward(loss)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = 0.05 * (1 - step / 300)
                optimizer.step()
        lost[name] = loss.item()
    assert lost["soap"] < 0.5 * lost["adamw"]


def test_the_basis_that_a_gpu_finds_is_householders() -> None:
    torch.manual_seed(0)
    columns = torch.randn(4, 40, 40)
    columns[1] = torch.diag(torch.logspace(0, -9, 40)) @ columns[1]
    columns[2, :, 3] = 0
    columns[3, 0, 0] = torch.inf
    basis, sound = cholesky_qr(columns)
    assert sound.tolist() == [True, True, False, False]
    expected = torch.linalg.qr(columns[:2])[0]
    turned = (basis[:2] * expected).sum(1, keepdim=True).sign()  # a column may have either sign
    torch.testing.assert_close(basis[:2] * turned, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_gradients_with_many_silent_channels(seed: int) -> None:
    # As the context of z has them for a first batch: in float32 the eigenvectors were nan, or a LinAlgError.
    generator = torch.Generator().manual_seed(seed)
    weight = torch.nn.Parameter(torch.zeros(128, 388))
    gradient = torch.randn(128, 89, generator=generator) @ torch.randn(89, 388, generator=generator)
    gradient *= 1e-6 * torch.logspace(0, -4, 388)
    gradient[:, torch.randperm(388, generator=generator)[:200]] = 0
    weight.grad = gradient
    Soap([weight]).step()
    assert bool(weight.isfinite().all())
    assert float(weight.detach().abs().max()) > 0
