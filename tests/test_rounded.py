"""The last phase: rates are those of files, and whole symbols go to the decoder."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import skimage
import torch
from click.testing import CliRunner
from PIL import Image

from neurocodec import catalogue, weights
from neurocodec.cli import main
from neurocodec.errors import TrainingError
from neurocodec.fixedpoint import ONE
from neurocodec.precision import autocast
from neurocodec.relaxed import RelaxedPrior
from neurocodec.training.data import load_folder
from neurocodec.training.export import export, mean_of
from neurocodec.training.loop import train
from neurocodec.training.recipe import MSE
from neurocodec.training.rounded import AT_THE_TOP, SHARPNESS, RoundedModel, SampledRounding
from neurocodec.training.run import Settings, read_checkpoint
from neurocodec.training.tables import SymbolCounter
from neurocodec.training.thaw import thaw
from neurocodec.training.validation import validate
from tests.drawing import draw
from tests.golden.make import TINY

CPU = torch.device("cpu")
SETTINGS = Settings(steps=4, batch=2, patch=192, tune="psnr", rounded=True, rate=1e-3)


def quiet(line: str) -> None:
    """Reports go nowhere."""


def test_samples_are_whole_and_right_in_the_mean() -> None:
    v = torch.tensor([-1.3, -0.2, 0.1, 0.5, 2.4]).repeat(40_000, 1).requires_grad_(True)
    rounding = SampledRounding(torch.tensor(3.0))
    symbols, priced = rounding.symbols("y", v)
    assert torch.equal(symbols, rounding.symbols("y", v)[0])  # one draw for all that ask
    whole = symbols.detach().round()
    assert torch.allclose(symbols.detach(), whole, atol=1e-5)
    assert bool(((whole >= v.floor()) & (whole <= v.floor() + 1)).all())
    assert torch.allclose(whole.mean(0), priced[0].detach(), atol=0.01)
    assert priced[0, 3].item() == pytest.approx(0.5)
    # Both have the gradient of the mean: three times as steep in the middle as a straight line.
    for value in (symbols, priced):
        (slope,) = torch.autograd.grad(value.sum(), v, retain_graph=True)
        assert slope[0, 3].item() == pytest.approx(3, rel=1e-3)
    nearly = SampledRounding(torch.tensor(1000.0)).z(v)[0].detach()
    assert torch.allclose(nearly[:, :3], v[:, :3].round(), atol=1e-5)


@pytest.mark.parametrize("t", [0.75, 3.5, 4.0, 6.25])
def test_rates_and_latents_are_those_of_a_file(t: float) -> None:
    codec = weights.load("visual", CPU).codec
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        x = torch.from_numpy(np.array(image)[:192, 100:356])
    model = RoundedModel(codec.networks, RelaxedPrior.of(codec)).eval()
    counter = SymbolCounter()
    with torch.no_grad(), autocast(CPU):
        y_hat = codec.push_latents(x, round(t * 4096), counter) / ONE
        x_hat, bits_y, bits_z = model(x[None] / 255, torch.tensor([t]))
        decoded = codec.networks.g_s(y_hat, torch.tensor([t]))
    assert float(bits_y + bits_z) == pytest.approx(counter.bits, rel=0.02)
    errors = [float((v - x / 255).abs().mean()) for v in (x_hat, decoded)]
    # Latents on the edge between two symbols fall to either side, depending on the processor.
    # They shift the mean by part of the error: by at most 3 % of it in bfloat16, and 6 % in float32.
    assert float((x_hat - decoded).mean().abs()) < 0.1 * errors[1]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_each_picture_has_its_quality(tiny: weights.LoadedModel) -> None:
    model = RoundedModel(tiny.codec.networks, RelaxedPrior.of(tiny.codec)).eval()
    x = torch.stack([torch.from_numpy(draw("shapes", 192, 192, seed)) for seed in range(3)]) / 255
    t = torch.tensor([0.0, 0.75, 2.0])
    with torch.no_grad():
        together = model(x, t)
        for i in range(3):
            alone = model(x[i : i + 1], t[i : i + 1])
            for both, one in zip(together, alone, strict=True):
                assert torch.allclose(both[i], one[0], rtol=1e-3, atol=1e-3)


def test_it_gets_sharper(tiny: weights.LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    model = RoundedModel(tiny.codec.networks, RelaxedPrior.of(tiny.codec)).train()
    before = SampledRounding.__init__

    def watched(self: SampledRounding, sharpness: torch.Tensor, draws: bool) -> None:
        seen.append(sharpness.flatten())
        assert draws
        before(self, sharpness)

    monkeypatch.setattr(SampledRounding, "__init__", watched)
    for done in (0.0, 1.0):
        model.done.fill_(done)
        model(torch.rand(2, 64, 64, 3), torch.tensor([0.0, 2.0]))
    for sharpness, wanted in zip(seen, SHARPNESS, strict=True):
        assert torch.allclose(sharpness, torch.tensor([wanted, wanted * AT_THE_TOP]))


def test_all_networks_learn_and_a_run_goes_on(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "whole", SETTINGS, pictures, CPU, start=TINY, report=quiet)
    after, before = read_checkpoint(tmp_path / "whole")["model"], thaw(TINY).state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        learns = name.startswith("networks.")
        if name.endswith("weight") or not learns:
            assert torch.equal(value, after[name]) != learns, name
    assert (tmp_path / "whole" / "validation.csv").exists()
    # Stopped and gone on with, without the weights file.
    settings = replace(SETTINGS, checkpoint_minutes=0)
    train(pictures, tmp_path / "parts", replace(settings, steps=2), device=CPU, start=TINY, report=quiet)
    train(pictures, tmp_path / "parts", settings, device=CPU, report=quiet)
    assert read_checkpoint(tmp_path / "parts")["step"] == 4
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # training leaves no handler behind
    with pytest.raises(TrainingError, match="choose another --out"):
        train(pictures, tmp_path / "parts", replace(settings, rounded=False), device=CPU, report=quiet)


@pytest.mark.slow
def test_it_may_become_deeper(tiny: weights.LoadedModel, pictures: Path, tmp_path: Path) -> None:
    command = [
        "train",
        str(pictures),
        "--out",
        str(tmp_path / "run"),
        "--rounded",
        "--start",
        str(TINY),
        "--steps",
        "1",
    ]
    command += ["--batch", "1", "--patch", "192", "--device", "cpu", "--tune", "psnr", "--rate", "1e-9"]
    result = CliRunner().invoke(main, [*command, "--synthesis-blocks", "2", "1"])
    assert result.exit_code == 0, result.output
    config, deeper = tiny.codec.config, read_checkpoint(tmp_path / "run")
    assert deeper["config"]["synthesis_blocks"] == (2, 1) != config.synthesis_blocks
    assert deeper["config"]["analysis_blocks"] == config.analysis_blocks
    # At first it computes what it did, but for a step of next to nothing.
    out = tmp_path / "out.safetensors"
    export([tmp_path / "run"], out, pictures, report=quiet)
    codec = weights.load(str(out), CPU).codec
    y_hat = codec.networks.g_a(torch.rand(1, 64, 64, 3), torch.tensor([1.0])).round()
    t = torch.tensor([1.0])
    assert torch.allclose(codec.networks.g_s(y_hat, t), tiny.codec.networks.g_s(y_hat, t), atol=1e-3)
    # And flatter again.
    flat = ["--synthesis-only", "--synthesis-blocks", *map(str, config.synthesis_blocks)]
    start = [*command[:3], str(tmp_path / "flat"), "--rounded", "--start", str(out), *command[7:], *flat]
    result = CliRunner().invoke(main, start)
    assert result.exit_code == 0, result.output
    after, before = read_checkpoint(tmp_path / "flat"), thaw(TINY).state_dict()
    assert after["config"]["synthesis_blocks"] == config.synthesis_blocks
    for name, value in after["average"].items():
        assert torch.allclose(value, before[name], atol=0.01), name


@pytest.mark.slow
def test_the_prior_alone_learns_what_the_encoder_sends(pictures: Path, tmp_path: Path) -> None:
    tiny = weights.load(str(TINY), CPU).codec
    crops = load_folder(pictures, 192, CPU)
    before = validate(RoundedModel(tiny.networks, RelaxedPrior.of(tiny)).eval(), crops)
    settings = replace(SETTINGS, steps=90, rate=2e-3, average=10, batch=4, prior_only=True)
    run = train(pictures, tmp_path, settings, pictures, CPU, start=TINY, report=quiet).parent
    rows = [line.split(",") for line in (run / "validation.csv").read_text().split()[1:]]
    assert sum(float(row[2]) for row in rows) < 0.98 * sum(row["bpp"] for row in before)
    after, start = read_checkpoint(tmp_path)["model"], thaw(TINY).state_dict()
    for name, value in start.items():
        learns = name.startswith(tuple(f"networks.{part}." for part in ("h_a", *catalogue.EXACT_PARTS)))
        if name.endswith("weight") or not learns:
            assert torch.equal(value, after[name]) != learns, name


def test_without_draws_the_nearer_symbol_is_taken() -> None:
    v = torch.tensor([-1.3, -0.2, 0.1, 0.6, 2.4])
    rounding = SampledRounding(torch.tensor(3.0), draws=False)
    symbols, priced = rounding.symbols("y", v)
    assert torch.allclose(symbols, v.round(), atol=1e-6)
    assert torch.equal(priced, SampledRounding(torch.tensor(3.0)).symbols("y", v)[1])


@pytest.mark.slow
def test_the_loss_of_files_falls(tiny: weights.LoadedModel, pictures: Path, tmp_path: Path) -> None:
    """On the pictures it learns from, by the rates that files have."""
    settings = replace(SETTINGS, steps=60, rate=2e-3, average=10, batch=4)
    run = train(pictures, tmp_path, settings, pictures, CPU, start=TINY, report=quiet).parent
    rows = [line.split(",") for line in (run / "validation.csv").read_text().split()[1:]]
    before = validate(
        RoundedModel(tiny.codec.networks, RelaxedPrior.of(tiny.codec)).eval(), load_folder(pictures, 192, CPU)
    )

    def losses(rates: list[tuple[float, float]]) -> list[float]:
        lams = MSE.multiplier(torch.arange(3.0), 3).tolist()
        return [bpp + lam * 255**2 * 10 ** (-psnr / 10) for lam, (bpp, psnr) in zip(lams, rates, strict=True)]

    old = losses([(row["bpp"], row["psnr"]) for row in before])
    new = losses([(float(row[2]), float(row[4])) for row in rows])
    assert sum(new) < 0.95 * sum(old)


@pytest.mark.slow
def test_the_mean_of_runs_becomes_a_weights_file(pictures: Path, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("first", "second")]
    for seed, run in enumerate(runs):
        train(pictures, run, replace(SETTINGS, seed=seed, steps=30), device=CPU, start=TINY, report=quiet)
    out = tmp_path / "out.safetensors"
    export(runs, out, pictures, report=quiet)
    before, after = safetensors.torch.load_file(TINY), safetensors.torch.load_file(out)
    assert before.keys() == after.keys()
    for name in ("g_a.enter.weight", "g_s.leave.weight", "context.join.weight"):
        assert not torch.equal(before[name], after[name]), name
    # By its own tables it spends about what the mean of the runs did by those that they were priced by.
    codec, model = weights.load(str(out), CPU).codec, mean_of(runs)[0]
    n = model.networks
    priced = RelaxedPrior(weights.load(str(TINY), CPU).codec, n.hyper_context, n.h_s, n.context)
    crops = load_folder(pictures, 192, CPU)
    wanted = validate(RoundedModel(model.networks, priced).eval(), crops)
    got = validate(RoundedModel(codec.networks, RelaxedPrior.of(codec)).eval(), crops)
    for one, other in zip(wanted, got, strict=True):
        assert other["bpp"] == pytest.approx(one["bpp"], rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name one as --start"),
        (["--start", "."], "name one as --start"),
        (["--start", str(catalogue.weights_folder() / catalogue.ENCODERS[0].file)], "holds no tables"),
        (["--start", str(TINY), "--beta", "0.5"], "neither"),
        (["--start", str(TINY), "--tune", "restore"], "neither"),
        (["--start", str(TINY), "--prior-only", "--synthesis-only"], "does not go with"),
        (["--start", str(TINY), "--synthesis-only", "--analysis-blocks", "1", "1"], "does not go with"),
        (["--start", str(TINY), "--refined", "0.5"], "--refined goes with --synthesis-only"),
    ],
)
def test_what_it_cannot_do(pictures: Path, tmp_path: Path, arguments: list[str], told: str) -> None:
    command = ["train", str(pictures), "--out", str(tmp_path / "run"), "--rounded", "--device", "cpu", *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert told in result.stderr


@pytest.mark.parametrize("option", ["--prior-only", "--keep-synthesis", "--synthesis-only"])
def test_some_learn_from_rounded_latents_only(pictures: Path, tmp_path: Path, option: str) -> None:
    command = ["train", str(pictures), "--out", str(tmp_path / "run"), option, "--start", str(TINY)]
    result = CliRunner().invoke(main, [*command, "--device", "cpu"])
    assert result.exit_code == 1
    assert f"{option} goes with --rounded" in result.stderr


def test_the_synthesis_may_stay(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path, replace(SETTINGS, keep_synthesis=True), device=CPU, start=TINY, report=quiet)
    after, before = read_checkpoint(tmp_path)["average"], thaw(TINY).state_dict()
    for name, value in before.items():
        if name.endswith("weight"):
            assert torch.equal(value, after[name]) == name.startswith("networks.g_s."), name
