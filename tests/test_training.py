"""Training: it learns, and it goes on where it stopped."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from neurocodec.cli import main
from neurocodec.errors import NeurocodecError, TrainingError
from neurocodec.networks import Config
from neurocodec.training import loop
from neurocodec.training.data import load_folder, random_batch
from neurocodec.training.init import klt_init
from neurocodec.training.loop import random_positions, train
from neurocodec.training.objective import TrainingModel, loss_of
from neurocodec.training.recipe import LAMBDAS, MSE, TUNES, phase_at
from neurocodec.training.run import Run, Settings, read_checkpoint
from tests.commands import PATIENCE
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


def test_a_run_as_long_as_a_time(pictures: Path, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=10**6, minutes=0.02, tune="psnr", rate=1e-3)
    train(pictures, tmp_path, settings, device=CPU, config=TINY, report=quiet)
    state = read_checkpoint(tmp_path)
    assert state["seconds"] >= 1.2
    assert 0 < state["step"] < settings.steps
    # The time is that of the whole run: none is left, and more of it is more steps.
    train(pictures, tmp_path, settings, device=CPU, report=quiet)
    assert read_checkpoint(tmp_path)["step"] == state["step"]
    train(pictures, tmp_path, replace(settings, minutes=0.04), device=CPU, report=quiet)
    assert read_checkpoint(tmp_path)["step"] > state["step"]
    assert read_checkpoint(tmp_path)["seconds"] >= 2.4


def test_the_rate_falls_with_the_clock(tmp_path: Path) -> None:
    run = Run(tmp_path, replace(SETTINGS, minutes=10.0, tune="psnr", rate=1e-3), TINY, CPU)
    assert run.phase_and_rate()[1] == pytest.approx(1e-3 / 200)  # no pace yet: the first step of the warm-up
    for seconds, rate in ((240, 1.0), (450, 0.51), (599, 0.02)):
        run.step, run.seconds = 3000, seconds
        assert run.phase_and_rate()[1] == pytest.approx(1e-3 * rate, rel=1e-2)
    run.seconds = 600
    assert run.steps == run.step


@pytest.mark.parametrize("tune", ["visual", "psnr"])
def test_the_prior_alone_learns_from_the_rate_alone(tmp_path: Path, tune: str) -> None:
    run = Run(tmp_path, replace(SETTINGS, tune=tune, rounded=True, prior_only=True), TINY, CPU)
    objective = run.phase_and_rate()[0].objective
    assert (objective.mse, objective.ms_ssim, objective.coarse, objective.ssimulacra2) == (0, 0, 0, 0)


def test_several_processes_need_steps(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(TrainingError, match="--minutes is for one process"):
        train(pictures, tmp_path, replace(SETTINGS, minutes=1.0), device=CPU, config=TINY, report=quiet)


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
        with pytest.raises(KeyboardInterrupt):
            train(pictures, out, settings, device=CPU, config=TINY, report=quiet)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("soap", marks=pytest.mark.slow)])
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
            return float(loss_of(model.eval(), x, t, MSE, 3)[1]["loss"])

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


@pytest.mark.parametrize(
    "arguments",
    [["--tune", "psnr"], ["--seed", "5"], ["--optimizer", "soap"], ["--beta", "0"], ["--analysis-blocks", "2", "1"]],
)
def test_another_run_is_not_continued(pictures: Path, tmp_path: Path, arguments: list[str]) -> None:
    train(pictures, tmp_path, replace(SETTINGS, steps=1), device=CPU, config=TINY, report=quiet)
    command = ["train", str(pictures), "--out", str(tmp_path), "--device", "cpu", *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "choose another --out" in result.stderr


def test_a_full_disk_ends_a_run_only_at_its_end(pictures: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    reports: list[str] = []
    settings = replace(SETTINGS, steps=3, checkpoint_minutes=0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # bytes: a checkpoint has more
    try:
        with pytest.raises(NeurocodecError, match=r"checkpoint\.pt: cannot be written"):
            train(pictures, tmp_path, settings, device=CPU, config=TINY, report=reports.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sum("The run goes on." in line for line in reports) == settings.steps
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]  # and nothing half-written


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK" + bytes(100))
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: the checkpoint is damaged"):
        read_checkpoint(tmp_path)
    others: list[Any] = [{"model": {}}, [1]]
    for other in others:
        torch.save(other, tmp_path / "checkpoint.pt")
        with pytest.raises(TrainingError, match="no checkpoint of `neurocodec train`"):
            read_checkpoint(tmp_path)


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no picture"):
        load_folder(tmp_path, 192, CPU)
    (tmp_path / "bad.png").write_bytes(b"hello")
    with pytest.raises(TrainingError, match="cannot be read"):
        load_folder(tmp_path, 192, CPU)


@pytest.mark.slow
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert read_checkpoint(tmp_path)["step"] == 6
    assert done.stdout.count("step 6/6") == 1


@pytest.mark.slow
def test_sigterm_saves(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neurocodec", "train", str(pictures), "--out", str(tmp_path / "run")]
    command += ["--device", "cpu", "--batch", "1", "--patch", "192", "--checkpoint-minutes", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while not (tmp_path / "run" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
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
    assert phase_at("visual", 0, 10, trained=True) == (TUNES["visual"][-1], 0, 10)
    with pytest.raises(TrainingError, match="not known"):
        phase_at("loud", 0, 10)


def test_quality_positions_cover_the_range() -> None:
    t = random_positions(8, 8, torch.Generator().manual_seed(0))
    assert [int(v / 7 * 8) for v in t] == list(range(8))
    lam = MSE.multiplier(torch.tensor([0.0, 7.0]), 8)
    assert torch.allclose(lam, torch.tensor(LAMBDAS["psnr"]))


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


@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_a_bad_batch_is_left_out(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    drawn: list[torch.Tensor] = []

    def fourth_is_bad(*arguments: Any) -> torch.Tensor:
        drawn.append(random_batch(*arguments))
        return drawn[-1] * torch.nan if len(drawn) == 4 else drawn[-1]  # the first is for the first weights

    monkeypatch.setattr(loop, "random_batch", fourth_is_bad)
    settings = replace(SETTINGS, optimizer=optimizer)
    train(pictures, tmp_path, settings, device=CPU, config=TINY, report=quiet)
    assert len(drawn) == 1 + settings.steps
    for which in ("model", "average"):
        assert bool(parameters(tmp_path, which).isfinite().all())


def test_a_folder_of_pictures_with_others_in_it(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    deep = Image.fromarray(draw("gradient", 200, 200)[:, :, 0].astype(np.uint16) * 257)
    deep.save(tmp_path / "folder.png" / "deep.png")
    (tmp_path / "._deep.png").write_bytes(b"Mac OS X")
    (crop,) = load_folder(tmp_path, 192, CPU)
    assert (crop.numpy()[:, :, 0] == draw("gradient", 200, 200)[:, :, 0]).all()  # not clipped to white
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    with pytest.raises(TrainingError, match=r"bad\.png"):
        load_folder(tmp_path, 192, CPU)
