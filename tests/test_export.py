"""Export: from one run or several to a weights file that compresses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from neurocodec import api, catalogue, metrics, weights
from neurocodec.catalogue import EXACT_PARTS
from neurocodec.cli import main
from neurocodec.errors import TrainingError
from neurocodec.fixedpoint import UNIT
from neurocodec.training.export import load_crops, mean_of
from neurocodec.training.loop import train
from neurocodec.training.objective import TrainingModel
from neurocodec.training.rounding import best, best_reaches, to_integers
from neurocodec.training.run import averaged, read_checkpoint
from neurocodec.training.tables import SymbolCounter, counted_tables, model_tables, silenced
from neurocodec.training.thaw import thaw
from tests.drawing import draw
from tests.golden.make import TINY as TINY_FILE
from tests.test_training import CPU, SETTINGS, TINY, quiet


@pytest.mark.slow
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
    (tmp_path / "none").mkdir()
    other = [*arguments[:3], tmp_path / "other.safetensors", *arguments[4:-1], tmp_path / "none"]
    without = CliRunner().invoke(main, [str(a) for a in other])
    assert (without.exit_code, (tmp_path / "other.safetensors").exists()) == (1, False)
    assert "no picture" in without.stderr
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


@pytest.mark.slow
def test_several_runs_are_exported_as_their_mean(pictures: Path, tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("first", "second", "third")]
    for steps, run in enumerate(runs, start=1):
        train(pictures, run, replace(SETTINGS, steps=steps, seed=steps), device=CPU, config=TINY, report=quiet)
    model, tune, steps_of = mean_of(runs)
    assert (tune, steps_of) == ("visual", "step 1 and step 2 and step 3")
    for name, value in model.state_dict().items():
        each = torch.stack([read_checkpoint(run)["average"][name] for run in runs])
        assert torch.allclose(value, each.mean(0), atol=1e-6), name
    train(pictures, tmp_path / "other", replace(SETTINGS, steps=1, tune="psnr"), device=CPU, config=TINY, report=quiet)
    with pytest.raises(TrainingError, match="no mean"):
        mean_of([runs[0], tmp_path / "other"])


def test_a_weights_file_counts_for_a_run(pictures: Path, tmp_path: Path) -> None:
    config = weights.load(str(TINY_FILE), CPU).codec.config
    settings = replace(SETTINGS, steps=2)
    train(pictures, tmp_path, settings, device=CPU, config=config, start=TINY_FILE, report=quiet)
    model, _, steps_of = mean_of([tmp_path, TINY_FILE])
    assert steps_of == f"step 2 and {TINY_FILE.name}"
    ours, theirs = averaged(read_checkpoint(tmp_path)).state_dict(), thaw(TINY_FILE).state_dict()
    for name, value in model.state_dict().items():
        assert torch.allclose(value, (ours[name] + theirs[name]) / 2, atol=1e-6), name
    with pytest.raises(TrainingError, match="name a run first"):
        mean_of([TINY_FILE, tmp_path])
    shipped = catalogue.weights_folder() / catalogue.MODELS[0].file
    with pytest.raises(TrainingError, match="another config"):
        mean_of([tmp_path, shipped])


def test_export_needs_a_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no checkpoint\.pt"):
        read_checkpoint(tmp_path)


def test_counted_tables_follow_the_counts_and_keep_every_symbol_possible() -> None:
    believed, of_z = model_tables(8)
    counter = SymbolCounter()
    rng = np.random.default_rng(0)
    symbols = np.round(rng.laplace(0, 1.0, 200_000)).astype(np.int32)
    counter.push(symbols, np.full(len(symbols), 20, np.uint8), believed)
    before = counter.bits
    counted = counted_tables(believed, counter.of(believed))
    counter = SymbolCounter()
    counter.push(symbols, np.full(len(symbols), 20, np.uint8), counted)
    assert counter.bits < before
    np.testing.assert_array_equal(counted.row(20)[:-1], counted.row(20)[:-1][::-1])
    assert counted.frequencies.min() >= 1
    quiet = silenced(counted)
    assert (quiet.silent, len(quiet.radius)) == (1, len(counted.radius))
    np.testing.assert_array_equal(quiet.row(20), counted.row(20))
    # Those of z are coded in order: none is silent, and each holds all symbols.
    counter = SymbolCounter()
    counter.push(np.abs(symbols), np.full(len(symbols), 20, np.int16), of_z)
    counted = counted_tables(of_z, counter.of(of_z))
    assert counted.in_order
    np.testing.assert_array_equal(counted.radius, of_z.radius)
    assert counted.row(20)[of_z.radius[20] + 2] > 10 * counted.row(20)[of_z.radius[20] - 2]


def test_a_reach_is_where_a_layer_errs_least() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 128) * 0.1
    x = torch.randn(4000, 128)
    middling = best(weight, x, UNIT)
    assert 2**middling >= 3 * UNIT  # three standard deviations
    assert best(weight, x * 8, UNIT) == middling + 3
    # Three standard deviations are not the largest input: those few that are larger are clamped.
    assert 2**middling < float(x.abs().max()) * UNIT


def test_every_layer_of_the_prior_gets_a_reach(pictures: Path) -> None:
    model = TrainingModel(TINY).eval()
    names = set()
    for part in EXACT_PARTS:
        integers = to_integers(model.networks.get_submodule(part))
        names |= {f"{part}.{k.removesuffix('.reach')}" for k in integers if k.endswith(".reach")}
    reaches = best_reaches(model, load_crops(pictures)[:2])
    assert reaches.keys() == names
    assert len(reaches["context.join"]) == 3
