"""The judge of the benchmark, ColorVideoVDP: its figures, its stand-ins, and its effect on a run."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import judge
from benchmarks.__main__ import main
from benchmarks.codecs.base import Pixels
from tests.drawing import draw

needs_judge = pytest.mark.skipif(judge.missing() is not None, reason=str(judge.missing()))
PIXELS = draw("shapes", 170, 200)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    with Image.open(out) as image:
        return np.array(image)


@needs_judge
def test_more_bytes_are_judged_better_and_equal_pictures_best() -> None:
    found = [judge.jod(PIXELS, jpeg(PIXELS, quality)) for quality in (5, 30, 90)]
    assert found == sorted(found)
    assert found[0] < 9.5
    assert judge.jod(PIXELS, PIXELS) == 10
    assert judge.jod(PIXELS, jpeg(PIXELS, 30)) == found[1]


@needs_judge
def test_no_stand_in_remains() -> None:
    """Check that stand-ins are removed, because other codecs in the process import the real torchvision and tqdm."""
    before = {name: sys.modules.get(name) for name in judge.REPLACED}
    path = list(sys.path)
    judge._metric.cache_clear()
    judge.jod(PIXELS, PIXELS)
    assert {name: sys.modules.get(name) for name in judge.REPLACED} == before
    assert sys.path == path
    assert torch.backends.mkldnn.enabled


@needs_judge
def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shapes \(170, 200, 3\) and \(170, 199, 3\) differ"):
        judge.jod(PIXELS, PIXELS[:, 1:])


def test_the_blur_is_a_convolution_with_mirrored_edges() -> None:
    x = torch.rand(2, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    blur = judge.GaussianBlur(13, 3.0)
    window = torch.exp(-0.5 * (torch.arange(-6.0, 7.0) / 3) ** 2)
    window = torch.outer(window, window) / window.sum() ** 2
    mirrored = torch.nn.functional.pad(x, (6, 6, 6, 6), mode="reflect")
    expected = torch.nn.functional.conv2d(mirrored, window[None, None])
    assert torch.allclose(blur.forward(x), expected, atol=1e-6)
    assert float((blur.forward(x) - x).abs().max()) > 0.1


def test_a_missing_package_is_reported_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / judge.PACKAGE).exists()])
    importlib.invalidate_caches()
    assert judge.missing() == "cvvdp: not installed; run pip install --no-deps cvvdp."
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path / "out"), "--judge", "cvvdp"])
    assert (result.exit_code, "run pip install --no-deps cvvdp" in result.output) == (2, True), result.output
    assert not (tmp_path / "out").exists()
    judge._metric.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="--no-deps cvvdp"):
        judge.jod(PIXELS, PIXELS)


def test_another_judge_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [str(tmp_path), "--out", str(tmp_path / "out"), "--judge", "vmaf"])
    assert (result.exit_code, "'vmaf' is not 'cvvdp'" in result.output) == (2, True), result.output


@needs_judge
def test_a_run_judges_files_that_an_earlier_run_did_not(tmp_path: Path) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    Image.fromarray(PIXELS).save(pictures / "x.png")
    arguments = [str(pictures), "--out", str(out), "--codecs", "jpeg,jpeg-444", "--jobs", "1", "--no-timings"]
    arguments += ["--qualities", "5,20,50,80,95", "--shown", "0"]
    plain = CliRunner().invoke(main, arguments)
    assert plain.exit_code == 0, plain.output
    assert "ColorVideoVDP" not in plain.output
    assert {(row["jod"], row["judge"]) for row in rows(out)} == {("", "")}
    assert not (out / "jod.svg").exists()
    judged = CliRunner().invoke(main, [*arguments, "--resume", "--judge", "cvvdp"])
    assert "measured 10 of 10 files" in judged.output
    assert "BD-rate ColorVideoVDP" in judged.output
    for row in rows(out):
        pixels = jpeg(PIXELS, round(float(row["setting"])))
        if row["codec"] == "jpeg":  # the pixels do not depend on progressive coding
            assert float(row["jod"]) == pytest.approx(judge.jod(PIXELS, pixels), abs=1e-4)
    assert {row["judge"] for row in rows(out)} == {judge.version()}
    content = json.loads((out / "results.json").read_text())
    assert content["conditions"]["judge"] == judge.version()
    reference, other = content["codecs"]
    assert len({point["jod"] for point in reference["points"]}) == 5
    assert other["bd_jod"]["percent"] != 0
    assert other["bd_jod"]["high"] < 10
    assert (out / "jod.svg").exists()
    assert "BD-rate ColorVideoVDP" in (out / "report.html").read_text()
    again = CliRunner().invoke(main, [*arguments, "--resume"])  # without the option, earlier results of the judge stay
    assert "measured" not in again.output
    assert "BD-rate ColorVideoVDP" in again.output


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))
