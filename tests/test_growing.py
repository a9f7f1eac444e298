"""Runs that start from others: growing models, other tunes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from neurocodec import catalogue, weights
from neurocodec.errors import TrainingError
from neurocodec.training.data import load_folder, random_batch
from neurocodec.training.export import float_tensors
from neurocodec.training.grow import grow
from neurocodec.training.init import klt_init
from neurocodec.training.loop import train
from neurocodec.training.objective import TrainingModel
from neurocodec.training.rounding import to_integers
from neurocodec.training.run import read_checkpoint
from tests.golden.make import TINY as GOLDEN
from tests.test_training import CPU, SETTINGS, TINY, quiet


def test_a_grown_model_computes_what_it_did_before(pictures: Path) -> None:
    torch.manual_seed(0)
    crops = load_folder(pictures, 192, CPU)
    sample = random_batch(crops, 8, 192, torch.Generator().manual_seed(0))
    small = TrainingModel(TINY)
    klt_init(small.networks, sample)
    small.eval()
    large = grow(small, replace(TINY, width_16=TINY.width_16 + 8, latents=TINY.latents + 8), sample).eval()
    kept = [*range(TINY.latents // 2), *range(TINY.latents // 2 + 4, TINY.latents + 4)]
    with torch.no_grad():
        for anchor in (0.0, 1.5):
            t = torch.full((8,), anchor)
            y, y_large = small.networks.g_a(sample, t), large.networks.g_a(sample, t)
            assert torch.allclose(y_large[..., kept], y, atol=1e-4)
            quiet_new = torch.zeros_like(y_large)
            quiet_new[..., kept] = y
            assert torch.allclose(large.networks.g_s(quiet_new, t), small.networks.g_s(y, t), atol=1e-5)
            assert torch.allclose(large.networks.h_a(y_large, t), small.networks.h_a(y, t), atol=1e-4)
        # What is new pays at the highest quality, where it is not rounded away.
        top = torch.full((8,), TINY.anchors - 1.0)
        before = (small.networks.g_s(small.networks.g_a(sample, top), top) - sample).square().mean()
        after = (large.networks.g_s(large.networks.g_a(sample, top), top) - sample).square().mean()
    assert after < before


def test_new_anchors_leave_the_others_as_they_are(pictures: Path) -> None:
    torch.manual_seed(0)
    sample = random_batch(load_folder(pictures, 192, CPU), 4, 192, torch.Generator().manual_seed(0))
    small = TrainingModel(TINY).eval()
    torch.nn.init.normal_(small.networks.g_a.log_gain.table)
    large = grow(small, replace(TINY, anchors=TINY.anchors + 2), sample).eval()
    t = torch.tensor([0.0, 0.5, 1.2, TINY.anchors - 1.0])
    with torch.no_grad():
        for before, after in zip(small(sample, t), large(sample, t), strict=True):
            assert torch.equal(before, after)
    # The gains of the new anchors continue the step between the last two old anchors.
    steps = large.networks.g_a.log_gain.table.diff(dim=0)
    torch.testing.assert_close(steps[-2:], steps[-3].expand(2, -1))


def test_new_blocks_and_larger_kernels_change_nothing(pictures: Path) -> None:
    torch.manual_seed(0)
    sample = random_batch(load_folder(pictures, 192, CPU), 4, 192, torch.Generator().manual_seed(0))
    config = replace(TINY, kernels=(3, 3))
    small = TrainingModel(config)
    klt_init(small.networks, sample)
    deep = replace(config, analysis_blocks=(2, 1), synthesis_blocks=(1, 2), kernels=(3, 5))
    wide = replace(deep, width_16=TINY.width_16 + 8, latents=TINY.latents + 8)
    t = torch.tensor([0.0, 0.5, 1.2, 2.0])
    with torch.no_grad():
        large = grow(small.eval(), deep, sample).eval()
        for before, after in zip(small(sample, t), large(sample, t), strict=True):
            assert torch.allclose(before, after, rtol=1e-4, atol=1e-5)
        # All at once: as deep, and the new channels pay at the highest quality.
        top = torch.full((4,), TINY.anchors - 1.0)
        both = grow(small, wide, sample).eval()
        assert both.networks.config == wide
        errors = [(model(sample, top)[0] - sample).square().mean() for model in (small, both)]
    assert errors[1] < errors[0]


def test_nothing_else_grows_and_widths_together(pictures: Path) -> None:
    sample = torch.rand(1, 64, 64, 3)
    for wrong in (
        replace(TINY, latents=40),
        replace(TINY, latents=33, width_16=33),
        replace(TINY, width_8=30),
        replace(TINY, kernels=(3, 3)),
        replace(TINY, synthesis_blocks=(0, 1)),
    ):
        with pytest.raises(TrainingError, match="cannot grow"):
            grow(TrainingModel(TINY), wrong, sample)


@pytest.mark.slow
def test_a_run_starts_from_another_tune_and_says_so(tmp_path: Path, pictures: Path) -> None:
    train(pictures, tmp_path / "first", SETTINGS, device=CPU, config=TINY, report=quiet)
    settings = replace(SETTINGS, tune="psnr", steps=1)
    wider = replace(TINY, width_16=TINY.width_16 + 8, latents=TINY.latents + 8)
    start = tmp_path / "first"
    train(pictures, tmp_path / "second", settings, device=CPU, config=wider, start=start, report=quiet)
    state = read_checkpoint(tmp_path / "second")
    assert state["step"] == 1
    assert state["origin"]["step"] == SETTINGS.steps
    assert state["origin"]["settings"]["tune"] == "visual"
    # It goes on from its own checkpoint, whatever --start says.
    train(pictures, tmp_path / "second", replace(settings, steps=2), device=CPU, start=start, report=quiet)
    state = read_checkpoint(tmp_path / "second")
    assert (state["step"], state["origin"]["step"]) == (2, SETTINGS.steps)


def real(integers: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> torch.Tensor:
    """What a tensor of a layer stands for."""
    layer, kind = name.rsplit(".", 1)
    if kind == "shift":
        return torch.zeros(())
    if kind not in ("weight", "bias"):
        return value.float()
    shift = integers[f"{layer}.shift"].float()
    rows = value.float().view(len(value), -1)
    if kind == "weight" and len(shift) > 1:  # of a join: features, and two halves of the latents
        half = TINY.latents // 2
        parts = torch.split(rows, [rows.shape[1] - 2 * half, half, half], dim=1)
        return torch.cat([part * torch.exp2(-s)[:, None] for part, s in zip(parts, shift, strict=True)], dim=1)
    return rows * torch.exp2(-shift[0])[:, None]


def test_a_run_starts_from_a_weights_file(tmp_path: Path, pictures: Path) -> None:
    loaded = weights.load(str(GOLDEN), CPU)
    settings = replace(SETTINGS, steps=1, rate=1e-9)
    train(pictures, tmp_path, settings, device=CPU, config=loaded.codec.config, start=GOLDEN, report=quiet)
    state = read_checkpoint(tmp_path)
    assert state["origin"] == {"weights": GOLDEN.name}
    # Such a small rate changes nothing: what export would round is what the file held.
    model = TrainingModel(loaded.codec.config)
    model.load_state_dict(state["average"])
    file = safetensors.torch.load_file(GOLDEN)
    for name, tensor in float_tensors(model, "g_a", "g_s", "h_a").items():
        assert torch.allclose(tensor.float(), file[name].float(), atol=1e-4), name
    for part in catalogue.EXACT_PARTS:
        prefix = f"{part}."
        of_file = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
        reaches = {k.removesuffix(".reach"): v.tolist() for k, v in of_file.items() if k.endswith(".reach")}
        integers = to_integers(model.networks.get_submodule(part), reaches)
        assert integers.keys() == of_file.keys()
        for name, value in integers.items():
            # A row that just did not fit a finer step before it was rounded may do so now: the same numbers.
            assert torch.equal(real(integers, name, value), real(of_file, name, of_file[name])), name


def test_the_rate_is_that_of_the_last_phase(tmp_path: Path, pictures: Path) -> None:
    settings = replace(SETTINGS, steps=3, rate=1e-2, tune="psnr")
    train(pictures, tmp_path, settings, device=CPU, config=TINY, report=quiet)
    last = (tmp_path / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert float(last[2]) == pytest.approx(1e-2 * 3 / 200)  # the third of 200 steps of warm-up
