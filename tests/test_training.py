"""Training: it learns, it goes on where it stopped, and what it exports compresses pictures."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from neurocodec import api, metrics, precision, weights
from neurocodec.cli import main
from neurocodec.errors import TrainingError
from neurocodec.networks import Config
from neurocodec.training import loop
from neurocodec.training.data import load_folder, random_batch
from neurocodec.training.export import mean_of
from neurocodec.training.init import klt_init
from neurocodec.training.loop import random_positions, train
from neurocodec.training.objective import (
    FactorizedPrior,
    TrainingModel,
    bits,
    bound,
    gaussian_pmf,
    loss_of,
)
from neurocodec.training.recipe import LAMBDAS, MIX, MSE, TUNES, phase_at
from neurocodec.training.run import Settings, read_checkpoint
from neurocodec.training.tables import SymbolCounter, counted_tables, model_tables
from tests.drawing import draw

TINY = Config(24, 32, 32, 16, 8, 24, (1, 1), (1, 1), 3)
CPU = torch.device("cpu")
SETTINGS = Settings(steps=6, batch=2, patch=192)


def quiet(line: str) -> None:
    """Reports go nowhere."""


def parameters(run: Path, which: str = "model") -> torch.Tensor:
    return torch.cat([v.flatten() for v in read_checkpoint(run)[which].values()])


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(pictures: Path, tmp_path: Path, optimizer: str) -> None:
    settings = replace(SETTINGS, optimizer=optimizer)
    train(pictures, tmp_path / "whole", settings, device=CPU, config=TINY, report=quiet)
    stop_after(pictures, tmp_path / "parts", 3, settings)
    assert read_checkpoint(tmp_path / "parts")["step"] == 3
    train(pictures, tmp_path / "parts", settings, device=CPU, config=TINY, report=quiet)
    for which in ("model", "average"):
        assert torch.equal(parameters(tmp_path / "whole", which), parameters(tmp_path / "parts", which))


def stop_after(pictures: Path, out: Path, steps: int, settings: Settings) -> None:
    """Train, and send ourselves SIGINT while the given step runs."""
    seen = 0

    def counting(batch: int, anchors: int, generator: torch.Generator, lean: float) -> torch.Tensor:
        nonlocal seen
        seen += 1
        if seen == steps:
            os.kill(os.getpid(), signal.SIGINT)
        return random_positions(batch, anchors, generator, lean)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "random_positions", counting)
        train(pictures, out, settings, device=CPU, config=TINY, report=quiet)


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_it_learns(pictures: Path, tmp_path: Path, optimizer: str) -> None:
    settings = replace(SETTINGS, steps=60, tune="psnr", optimizer=optimizer)
    crops = load_folder(pictures, 192, CPU)
    x = random_batch(crops, 6, 192, torch.Generator().manual_seed(9))
    t = torch.linspace(0, 2, 6)

    def loss(run: Path) -> float:
        torch.manual_seed(5)
        model = TrainingModel(TINY)
        model.load_state_dict(read_checkpoint(run)["model"])
        with torch.no_grad():
            return loss_of(model.eval(), x, t, MSE, 3)[1]["loss"]

    train(pictures, tmp_path / "run", replace(settings, steps=1), device=CPU, config=TINY, report=quiet)
    before = loss(tmp_path / "run")
    train(pictures, tmp_path / "run", settings, device=CPU, config=TINY, report=quiet)
    assert loss(tmp_path / "run") < 0.9 * before


def test_metrics_and_validation_are_written(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run", SETTINGS, pictures, CPU, TINY, quiet)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["step"] == "6"
    assert float(row["bpp"]) > 0
    with (tmp_path / "run" / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(r["t"]) for r in rows] == [0, 1, 2]
    assert all(0 < float(r["ms_ssim"]) < 1 for r in rows)


def test_export_makes_a_model_that_compresses(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run", replace(SETTINGS, steps=40), device=CPU, config=TINY, report=quiet)
    out = tmp_path / "mine.safetensors"
    arguments = ["export", tmp_path / "run", "--out", out, "--pictures", pictures, "--valid", pictures]
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "fixed point" in result.stderr
    again = CliRunner().invoke(main, [str(a) for a in arguments])
    assert again.exit_code == 1
    assert "--force" in again.stderr
    pixels = draw("shapes", 200, 250, 99)
    data = [api.compress(pixels, q, str(out)) for q in (1, 100)]
    quality = [metrics.psnr(api.decompress(d, str(out)).pixels, pixels) for d in data]
    assert len(data[0]) < len(data[1])
    assert quality[0] < quality[1]
    loaded = weights.load(str(out), CPU)
    positions = [loaded.position(q) for q in range(100, 10001, 50)]
    assert positions == sorted(positions)
    assert positions[0] == 0
    assert positions[-1] == 2 * 4096


@pytest.mark.parametrize("arguments", [["--tune", "psnr"], ["--seed", "5"], ["--optimizer", "soap"], ["--beta", "0"]])
def test_another_run_is_not_continued(pictures: Path, tmp_path: Path, arguments: list[str]) -> None:
    train(pictures, tmp_path, replace(SETTINGS, steps=1), device=CPU, config=TINY, report=quiet)
    command = ["train", str(pictures), "--out", str(tmp_path), "--device", "cpu", *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "choose another --out" in result.stderr


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no picture"):
        load_folder(tmp_path, 192, CPU)
    (tmp_path / "bad.png").write_bytes(b"hello")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_folder(tmp_path, 192, CPU)


def test_several_runs_are_exported_as_their_mean(pictures: Path, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("first", "second", "third")]
    for steps, run in enumerate(runs, start=1):
        train(pictures, run, replace(SETTINGS, steps=steps, seed=steps), device=CPU, config=TINY, report=quiet)
    model, tune, steps_of = mean_of(runs)
    assert (tune, steps_of) == ("ms-ssim", "step 1 and 2 and 3")
    for name, value in model.state_dict().items():
        each = torch.stack([read_checkpoint(run)["average"][name] for run in runs])
        assert torch.allclose(value, each.mean(0), atol=1e-6), name
    train(pictures, tmp_path / "other", replace(SETTINGS, steps=1, tune="psnr"), device=CPU, config=TINY, report=quiet)
    with pytest.raises(TrainingError, match="no mean"):
        mean_of([runs[0], tmp_path / "other"])


def test_export_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no checkpoint\.pt"):
        read_checkpoint(tmp_path)


def test_torchrun_trains_on_several(pictures: Path, tmp_path: Path) -> None:
    """Two processes, gloo: both see other crops, and end with the same weights, saved once."""
    code = (
        "from pathlib import Path; import sys; from dataclasses import replace; import torch;"
        "from tests.test_training import SETTINGS, TINY; from neurocodec.training.loop import train;"
        f"train(Path({str(pictures)!r}), Path({str(tmp_path)!r}), SETTINGS, device=torch.device('cpu'), config=TINY)"
    )
    script = tmp_path / "go.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(tmp_path)["step"] == 6
    assert done.stdout.count("step 6/6") == 1


def test_sigterm_saves(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neurocodec", "train", str(pictures), "--out", str(tmp_path / "run")]
    command += ["--device", "cpu", "--batch", "1", "--patch", "192", "--checkpoint-minutes", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"checkpoint at step {read_checkpoint(tmp_path / 'run')['step']}:" in errors.decode()


def test_phases_cover_the_run() -> None:
    for tune, phases in TUNES.items():
        assert abs(sum(p.share for p in phases) - 1) < 1e-9
        rates = []
        for step in range(1000):
            phase, inside, length = phase_at(tune, step, 1000)
            assert 0 <= inside < length
            rates.append(phase.rate_at(inside, length))
        assert max(rates) == phases[0].rate
        assert 0 < rates[-1] < 0.03 * phases[-1].rate
    assert phase_at("ms-ssim", 0, 10, trained=True) == (TUNES["ms-ssim"][-1], 0, 10)
    with pytest.raises(TrainingError, match="not known"):
        phase_at("loud", 0, 10)


def test_quality_positions_cover_the_range() -> None:
    t = random_positions(8, 8, torch.Generator().manual_seed(0))
    assert [int(v / 7 * 8) for v in t] == list(range(8))
    lam = MSE.multiplier(torch.tensor([0.0, 7.0]), 8)
    assert torch.allclose(lam, torch.tensor(LAMBDAS["psnr"]))


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


def test_factorized_prior_is_a_distribution() -> None:
    prior = FactorizedPrior(3, 4)
    z = torch.arange(-300.0, 301.0)[None, :, None].expand(2, -1, 4)
    torch.testing.assert_close(prior.pmf(z, torch.tensor([0, 2])).sum(1), torch.ones(2, 4))


def test_counted_tables_follow_the_counts_and_keep_every_symbol_possible() -> None:
    believed, _ = model_tables(FactorizedPrior(3, 4))
    counter = SymbolCounter()
    rng = np.random.default_rng(0)
    symbols = np.round(rng.laplace(0, 1.0, 200_000)).astype(np.int32)
    counter.push(symbols, np.full(len(symbols), 20, np.uint8), believed)
    before = counter.bits
    counted = counted_tables(believed, counter.of(believed), symmetric=True)
    counter = SymbolCounter()
    counter.push(symbols, np.full(len(symbols), 20, np.uint8), counted)
    assert counter.bits < before
    np.testing.assert_array_equal(counted.row(20)[:-1], counted.row(20)[:-1][::-1])
    assert counted.frequencies.min() >= 1


def test_the_klt_start_is_a_transform_codec(pictures: Path) -> None:
    """Without a step of training, the finest quality already gives the picture back."""
    torch.manual_seed(0)
    crops = load_folder(pictures, 192, CPU)
    x = random_batch(crops, 8, 192, torch.Generator().manual_seed(0))
    start = TrainingModel(replace(TINY, width_8=192, width_16=256, latents=256)).eval()
    t = torch.full((8,), 2.0)
    with torch.no_grad():
        random = float((start(x, t)[0] - x).square().mean())
        klt_init(start.networks, x)
        klt = float((start(x, t)[0] - x).square().mean())
    assert klt < 0.1 * random
    assert klt < 10**-2.4  # 24 dB


def test_divergence_stops_the_run_and_keeps_the_checkpoint(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(pictures, tmp_path, replace(SETTINGS, steps=2), device=CPU, config=TINY, report=quiet)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(loop, "random_batch", lambda *a: torch.full((2, 192, 192, 3), torch.nan))
    with pytest.raises(TrainingError, match="no finite gradient"):
        train(pictures, tmp_path, replace(SETTINGS, steps=200), device=CPU, config=TINY, report=quiet)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


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


@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_the_loss_is_finite_on_extreme_pictures(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.from_numpy(draw(kind, 192, 192))[None].float() / 255
    model = TrainingModel(TINY)
    loss, parts = loss_of(model, x, torch.tensor([2.0]), MIX, 3)
    torch.autograd.backward(loss)
    assert torch.isfinite(loss)
    assert 0 <= parts["1-msssim"] <= 1
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
