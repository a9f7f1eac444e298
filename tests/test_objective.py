"""The loss and what it is made of: likelihoods with gradients everywhere, and beta's place in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from neurocodec import precision
from neurocodec.objective import Objective
from neurocodec.prior import Halves, mask_1
from neurocodec.relaxed import bound
from neurocodec.training.objective import TrainingModel, bits, gaussian_pmf, loss_of
from neurocodec.training.recipe import LOOKS, MSE
from tests.drawing import draw
from tests.test_training import TINY

PARTLY = replace(LOOKS, ssimulacra2=0.0)  # a distortion with a part that has no weight


def test_gaussian_pmf_sums_to_one_and_never_loses_its_gradient() -> None:
    symbols = torch.arange(-2000.0, 2001.0)
    for table in (0.0, 20.0, 63.0):
        assert abs(float(gaussian_pmf(symbols, torch.full_like(symbols, table)).sum()) - 1) < 1e-3
    v = torch.tensor([30.0], requires_grad=True)
    torch.autograd.backward(bits(gaussian_pmf(v, torch.zeros(1))[None]).sum())  # 270 standard deviations away
    assert v.grad is not None
    assert float(v.grad) > 0.01


def test_bound_only_leads_back() -> None:
    table = torch.tensor([-5.0, -5.0, 70.0, 70.0, 10.0], requires_grad=True)
    torch.autograd.backward(bound(table), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]))
    assert table.grad is not None
    assert table.grad.tolist() == [0, -1, 1, 0, 1]


def test_beta_weighs_the_rate_for_the_analysis_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # In bfloat16, where the processor has it, differences of gradients are mostly rounding.
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    x, t = torch.from_numpy(draw("shapes", 192, 192))[None].float() / 255, torch.tensor([1.0])

    def gradients(beta: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        model = TrainingModel(TINY)
        torch.manual_seed(4)
        loss, _ = loss_of(model, x, t, MSE, 3, beta=beta)
        torch.autograd.backward(loss)
        return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}

    # g_a's gradient is that of the distortion, and beta times that of the rate; all others stay.
    free, once, twice = gradients(0.0), gradients(1.0), gradients(2.0)
    for name, gradient in once.items():
        if name.startswith("networks.g_a"):
            torch.testing.assert_close(twice[name] - gradient, gradient - free[name], rtol=1e-2, atol=1e-4)
            assert not torch.equal(free[name], gradient), name
        else:
            torch.testing.assert_close(twice[name], gradient)
            torch.testing.assert_close(free[name], gradient)


@pytest.mark.parametrize("objective", [PARTLY, LOOKS], ids=["partly", "looks"])
@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_the_loss_is_finite_on_extreme_pictures(kind: str, objective: Objective) -> None:
    torch.manual_seed(0)
    x = torch.from_numpy(draw(kind, 192, 192))[None].float() / 255
    model = TrainingModel(TINY)
    loss, parts = loss_of(model, x, torch.tensor([2.0]), objective, 3)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert (parts["ssimulacra2_error"] >= 0) == (objective is LOOKS)  # NaN for other objectives
    assert 0 <= parts["1-msssim"] <= 1
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those within the compiler
@pytest.mark.parametrize("objective", [PARTLY, LOOKS], ids=["partly", "looks"])
def test_a_compiler_takes_a_step_as_one_graph_and_it_computes_the_same(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compile the step that a GPU runs (``training.compiled``), without the last stage of the compiler."""
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    torch.manual_seed(0)
    x = torch.from_numpy(np.stack([draw("shapes", 192, 192), draw("noise", 192, 192)])).float() / 255
    t = torch.tensor([0.3, 2.0])
    model = TrainingModel(TINY)
    whole, distortion_of = (
        torch.compile(v, backend="aot_eager", fullgraph=True) for v in (model, Objective.distortion)
    )

    def found(model: Any, distortion_of: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        loss, _ = loss_of(model, x, t, objective, 3, distortion_of=distortion_of)
        gradients = torch.autograd.grad(loss, list(parameters))
        return {"loss": loss.detach()} | dict(zip(names, gradients, strict=True))

    names, parameters = zip(*model.named_parameters(), strict=True)
    plain, compiled = found(model, Objective.distortion), found(whole, distortion_of)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()))


def test_the_mask_of_step_1_is_what_step_1_codes() -> None:
    for height, width, channels in ((4, 8, 6), (6, 10, 2)):
        y = torch.arange(height * width * channels).view(1, height, width, channels)
        halves = Halves(height, width, channels, y.device)
        assert sorted(y[0][mask_1(y)].tolist()) == sorted(halves.take(1, y).flatten().tolist())
