"""The benchmark's smaller commands: calibration, pictures at several sizes, times against rivals."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from benchmarks import calibration, resized, rivals
from neurocodec import metrics
from neurocodec.training.calibration import jpeg_round_trip
from neurocodec.training.export import calibration_pictures, load_crops
from tests.drawing import draw
from tests.golden.make import TINY


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(2):
        Image.fromarray(draw("shapes", 200, 300, seed)).save(folder / f"{seed}.png")
    return folder


def test_calibration_uses_the_measure_of_the_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "QUALITIES", (10, 50))
    out = tmp_path / "calibration.csv"
    result = CliRunner().invoke(calibration.main, [str(folder), "--reduced", "--out", str(out)])
    with out.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["quality", "jpeg_ssimulacra2", "ours_ssimulacra2"]
    assert [row[0] for row in rows] == ["10", "50"]
    pictures = calibration_pictures(load_crops(folder))
    assert [p.shape for p in pictures] == [(161, 242, 3)] * 2  # reduced, but not under what MS-SSIM takes
    jpeg = sum(metrics.ssimulacra2(p, jpeg_round_trip(10, p)) for p in pictures) / 2
    assert float(rows[0][1]) == pytest.approx(jpeg, abs=1e-3)
    worst = max(abs(float(row[2]) - float(row[1])) for row in rows)
    assert result.exit_code == (1 if worst > calibration.LARGEST["ssimulacra2"] else 0)
    assert f"largest difference {worst:.4f} of ssimulacra2 on 2 pictures; allowed 0.5" in result.output


def test_a_model_that_does_not_say_its_tune_has_no_calibration(folder: Path, untold: Path) -> None:
    result = CliRunner().invoke(calibration.main, [str(folder), "--model", str(untold)])
    assert result.exit_code == 1
    assert "does not say what it was tuned for" in result.output


def test_pictures_are_reduced_to_megapixels(folder: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(resized.main, [str(folder), str(tmp_path), "--megapixels", "0.015,0.05"])
    assert result.exit_code == 0, result.output
    assert result.output.count("too small for 0.05 megapixels") == 2
    with Image.open(tmp_path / "0.015" / "0.png") as picture:
        assert picture.size == (150, 100)
    assert not (tmp_path / "0.05").exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")  # CompressAI uses what torch means to drop
def test_rivals_run_or_say_what_they_need(folder: Path) -> None:
    result = CliRunner().invoke(rivals.main, [str(folder), "--limit", "1", "--model", str(TINY)])
    if importlib.util.find_spec("compressai") is None:
        assert result.exit_code == 1
        assert "bench,compressai" in result.output
    else:
        assert result.exit_code == 0, result.output
        assert result.output.count("median") == 4 * len(rivals.POINTS)
