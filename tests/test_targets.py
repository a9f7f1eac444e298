"""Sizes and fidelities that are asked for, and got."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from click.testing import CliRunner
from PIL import Image

from neurocodec import api, fields, metrics, weights
from neurocodec.cli import main
from neurocodec.errors import VerificationError
from neurocodec.images import Picture
from neurocodec.targets import Target, parse_size
from neurocodec.training.recipe import MSE
from tests.drawing import draw
from tests.golden.make import TINY

MODEL = str(TINY)


@pytest.mark.parametrize(
    ("text", "size"), [("40000", 40000), ("40kB", 40000), ("1.5 MB", 1_500_000), ("200KiB", 204800), (".5k", 500)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "kB", "-3", "40 GB", "4e3", "0", "0.1", "40kb2", "9" * 400])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|byte|file"):
        parse_size(text)


def test_targets_are_met_by_the_file() -> None:
    pixels = draw("shapes", 200, 260)
    fidelities = (Target("psnr", 24), Target("msssim", 0.9), Target("ssimulacra2", 15))
    for target in (Target("size", 2000), Target("bpp", 0.4), *fidelities):
        fitted = api.compress_to(pixels, target, MODEL)
        decoded = api.decompress(fitted.data, MODEL).pixels
        size = len(fitted.data)
        real = {"size": size, "bpp": metrics.bits_per_pixel(size, 260, 200), "psnr": metrics.psnr(decoded, pixels)}
        real["msssim"] = metrics.ms_ssim(decoded, pixels)
        real["ssimulacra2"] = metrics.ssimulacra2(original=pixels, decoded=decoded)
        assert fitted.met
        assert target.met_by(real[target.kind])
        assert fitted.value == pytest.approx(real[target.kind], rel=1e-6)
        if target.how.at_most:
            assert len(api.compress(pixels, fitted.quality + 1, MODEL)) > size
        assert fields.info(fitted.data).quality == fitted.quality


@pytest.fixture
def with_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model, as if its file said what it was trained for."""
    loaded = weights.load(MODEL, torch.device("cpu"))
    monkeypatch.setitem(weights._loaded, (MODEL, "cpu"), ((), replace(loaded, objective=MSE)))


@pytest.mark.usefixtures("with_objective")
@pytest.mark.parametrize(
    "target", [Target("size", 2500), pytest.param(Target("psnr", 27), marks=pytest.mark.slow)], ids=["size", "psnr"]
)
def test_refinement_counts_towards_the_target(target: Target) -> None:
    pixels, done = draw("shapes", 200, 260), list[float]()
    plain = api.compress_to(pixels, target, MODEL)
    fitted = api.compress_to(pixels, target, MODEL, effort=3, progress=done.append, verify=True)
    assert fitted.met
    assert done == sorted(done)
    assert done[-1] == 1
    psnr = [metrics.psnr(api.decompress(f.data, MODEL).pixels, pixels) for f in (plain, fitted)]
    if target.kind == "size":
        assert len(fitted.data) <= 2500
        assert psnr[1] > psnr[0]
    else:
        assert psnr[1] >= 27
        assert len(fitted.data) < len(plain.data)
    # It is the file of that quality and effort.
    assert fitted.data == api.compress(pixels, fitted.quality, MODEL, effort=3)


@pytest.mark.slow
def test_refinement_that_meets_what_nothing_else_does() -> None:
    with Image.open(Path(skimage.__file__).parent / "data" / "chelsea.png") as image:
        pixels = np.array(image)[60:188, 100:228].copy()
    highest = metrics.psnr(api.decompress(api.compress(pixels, 100, "psnr")).pixels, pixels)
    target = Target("psnr", highest + 0.1)
    assert not api.compress_to(pixels, target, "psnr").met
    assert api.compress_to(pixels, target, "psnr", effort=3).met
    beyond = api.compress_to(pixels, Target("psnr", highest + 9), "psnr", effort=1)
    assert (beyond.met, beyond.quality) == (False, 100)
    assert beyond.value > highest


@pytest.mark.parametrize("effort", [0, 1])
def test_progress_of_a_search_is_told(effort: int) -> None:
    told: list[float] = []
    api.compress_to(draw("shapes", 64, 64), Target("size", 900), "psnr", effort=effort, progress=told.append)
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == 1


def test_of_what_misses_a_target_the_nearest_is_taken() -> None:
    noise = draw("noise", 64, 64)
    plain = api.compress_to(noise, Target("size", 20), "psnr")
    refined = api.compress_to(noise, Target("size", 20), "psnr", effort=1)
    assert (plain.met, refined.met) == (False, False)
    assert refined.value <= plain.value


@pytest.mark.usefixtures("with_objective")
def test_refinement_that_does_no_better_is_left() -> None:
    flat, target = np.full((64, 64, 3), 200, np.uint8), Target("psnr", 20)
    smallest = api.compress_to(flat, target, MODEL)
    assert len(api.compress_to(flat, target, MODEL, effort=1).data) <= len(smallest.data)


def test_grey_and_alpha_count() -> None:
    pixels = draw("shapes", 200, 200)
    grey = Picture(np.repeat(pixels[:, :, :1], 3, 2), True, alpha=draw("noise", 200, 200)[:, :, 0])
    fitted = api.compress_to(grey, Target("size", 44_000), MODEL)
    assert 40_000 < len(fitted.data) <= 44_000  # the alpha alone takes 40,000


def test_what_cannot_be_met(tmp_path: Path) -> None:
    Image.fromarray(draw("noise", 180, 180)).save(tmp_path / "x.png")
    command = ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), "--model", MODEL]
    for kind, value in {"size": "20", "psnr": "70", "msssim": "0.9999", "ssimulacra2": "99.9"}.items():
        result = CliRunner().invoke(main, [*command, f"--target-{kind}", value])
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "the nearest is" in result.stderr
        assert not (tmp_path / "x.nc").exists()
    result = CliRunner().invoke(main, [*command, "--target-size", "20", "--nearest", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["quality"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target-size", "huge"],
        ["--target-size", "1kB", "--quality", "50"],
        ["--target-bpp", "1", "--target-psnr", "30"],
        ["--target-bpp", "-1"],
        ["--target-bpp", "nan"],
        ["--target-msssim", "1"],
        ["--target-ssimulacra2", "100"],
        ["--target-ssimulacra2", "0"],
        ["--target-ssimulacra2", "-5"],
        ["--target-ssimulacra2", "nan"],
        ["--target-ssimulacra2", "70", "--target-msssim", "0.9"],
        ["--target-psnr", "inf"],
        ["--nearest"],
    ],
)
def test_wrong_targets(tmp_path: Path, arguments: list[str]) -> None:
    Image.fromarray(draw("flat", 20, 20)).save(tmp_path / "x.png")
    result = CliRunner().invoke(main, ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), *arguments])
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "x.nc").exists()


@pytest.mark.parametrize(
    ("kind", "value", "smallest", "message"),
    [
        ("msssim", "0.001", 161, "MS-SSIM needs sides of at least 161 pixels"),
        ("ssimulacra2", "1", 8, "SSIMULACRA 2 needs sides of at least 8 pixels"),
    ],
)
def test_a_picture_too_small_for_the_measure_is_refused(
    tmp_path: Path, kind: str, value: str, smallest: int, message: str
) -> None:
    command = ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), f"--target-{kind}", value, "--model", MODEL]
    for side, code in ((smallest - 1, 1), (smallest, 0)):
        Image.fromarray(draw("flat", side, 170)).save(tmp_path / "x.png")
        result = CliRunner().invoke(main, command)
        assert result.exit_code == code
        assert (message in result.stderr) == (code == 1)


def test_a_score_is_reported(tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 200, 260)).save(tmp_path / "x.png")
    command = ["compress", "-f", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), "--model", MODEL]
    command += ["--target-ssimulacra2", "10"]
    assert re.search(r"quality [\d.]+, 1[0-9.]+ SSIMULACRA 2, \d+ bytes", CliRunner().invoke(main, command).output)
    report = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert report["met"]
    assert 10 <= report["value"] < 12


@pytest.mark.usefixtures("with_objective")
def test_verify_finds_a_faulty_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = draw("shapes", 90, 120)
    assert api.compress(pixels, 50, MODEL, verify=True) == api.compress(pixels, 50, MODEL)
    assert api.compress(pixels, 50, MODEL, effort=1, verify=True)
    codec = weights.load(MODEL, torch.device("cpu")).codec
    real = codec.decode_latents

    def faulty(data: bytes, height: int, width: int, position: int) -> torch.Tensor:
        y_hat = real(data, height, width, position).clone()
        y_hat[0, 0, 0, 0] += 1
        return y_hat

    monkeypatch.setattr(codec, "decode_latents", faulty)
    with pytest.raises(VerificationError, match="nothing is written"):
        api.compress(pixels, 50, MODEL, verify=True)


def test_verify_command(tmp_path: Path, golden: Path) -> None:
    data = (golden / "shapes-1x1-q50.nc").read_bytes()
    (tmp_path / "good.nc").write_bytes(data)
    (tmp_path / "bad.nc").write_bytes(data[:-1])
    good, bad, missing = (str(tmp_path / name) for name in ("good.nc", "bad.nc", "missing.nc"))
    run = CliRunner().invoke
    assert run(main, ["verify", good]).exit_code == 0
    assert run(main, ["verify", "--deep", "--model", MODEL, good]).exit_code == 0
    result = run(main, ["verify", good, bad, missing])
    assert result.exit_code == 1
    assert "2 of 3 files are not whole" in result.stderr
    lines = [json.loads(line) for line in run(main, ["verify", "--json", good, bad]).stdout.splitlines()]
    assert [line["whole"] for line in lines] == [True, False]
    result = run(main, ["verify", bad])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"Error: {bad}: the file was cut off")
    assert result.stderr.count("\n") == 1


def test_verify_folders(tmp_path: Path, golden: Path) -> None:
    data = (golden / "shapes-1x1-q50.nc").read_bytes()
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one.nc").write_bytes(data)
    (tmp_path / "a" / "notes.txt").write_text("no file of ours")
    (tmp_path / "a" / "b" / "two.nc").write_bytes(data + b"?")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "nowhere").symlink_to(tmp_path / "missing")
    folder, single = str(tmp_path / "a"), str(tmp_path / "a" / "b" / "two.nc")
    run = CliRunner().invoke
    result = run(main, ["verify", folder])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a' / 'one.nc'}: whole\n")
    assert "-r takes it, too" in result.stderr
    result = run(main, ["verify", "-r", folder])
    assert result.exit_code == 1
    assert f"{single}: the file is 1 byte too long" in result.stderr
    assert "1 of 2 files is not whole" in result.stderr
    none = str(tmp_path / "none")
    assert f"Error: {none}: there is no .nc file" in run(main, ["verify", none]).stderr
    result = run(main, ["verify", none, folder, "--max-pixels", "1"])  # nothing is decoded: of any size
    assert (result.exit_code, result.stdout) == (1, f"{tmp_path / 'a' / 'one.nc'}: whole\n")
    (tmp_path / "none" / "link.nc").symlink_to(tmp_path / "missing")
    assert "link.nc: cannot be read" in run(main, ["verify", none]).stderr
    result = run(main, ["verify", "-r", single])
    assert result.exit_code == 2
    assert "-r (--recursive) is for folders" in result.stderr
