"""Sizes and fidelities that are asked for, and got."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from neurocodec import api, fields, metrics, targets, weights
from neurocodec.cli import main
from neurocodec.errors import VerificationError
from neurocodec.images import Picture
from neurocodec.targets import Target, parse_size, search
from neurocodec.training.recipe import MSE
from tests.drawing import draw
from tests.golden.make import TINY

MODEL = str(TINY)


@given(
    st.sampled_from(["size", "psnr", "msssim"]),
    st.floats(2, 7),
    st.floats(0.4, 2.5),
    st.integers(0, 10200),
)
@example("psnr", 2.0, 2.5, 111)  # flat where it starts
@example("psnr", 5.5, 2.5, 350)
@example("msssim", 7.0, 1.5, 121)
def test_search_finds_the_crossing(kind: str, rise: float, bend: float, quality: int) -> None:
    """Curves of every steepness and bend, with the plateaus that whole bytes make, and targets beyond their ends."""
    tried: list[int] = []

    def curve(quality: int) -> float:
        share = ((quality - 100) / 9900) ** bend if quality > 100 else 0.0
        if kind == "size":
            return float(round(2 ** (9 + rise * share)))
        return 20 + 3 * rise * share if kind == "psnr" else 1 - 10 ** (-(6 + 3 * rise * share) / 10)

    def measure(quality: int) -> float:
        tried.append(quality)
        return curve(quality)

    value = curve(min(max(quality, 100), 10000)) * (0.9 if quality < 100 else 1)
    value = value if quality <= 10000 else value * (0.5 if kind == "size" else 1 + 1e-4)
    target = Target(kind, value)
    found, met = search(measure, target)
    assert len(tried) == len(set(tried)) <= 14
    assert met == target.met_by(curve(found))
    if not met:
        assert found == (targets.LOWEST if target.how.at_most else targets.HIGHEST)
    else:
        better = found + 1 if target.how.at_most else found - 1
        near = abs(target.how.scale(curve(found)) - target.how.scale(value)) <= target.how.tolerance
        assert near or not targets.LOWEST <= better <= targets.HIGHEST or not target.met_by(curve(better))


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
    for target in (Target("size", 2000), Target("bpp", 0.4), Target("psnr", 24), Target("msssim", 0.9)):
        fitted = api.compress_to(pixels, target, MODEL)
        decoded = api.decompress(fitted.data, MODEL).pixels
        size = len(fitted.data)
        real = {"size": size, "bpp": metrics.bits_per_pixel(size, 260, 200), "psnr": metrics.psnr(decoded, pixels)}
        real["msssim"] = metrics.ms_ssim(decoded, pixels)
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


def test_the_end_of_the_scale_need_not_be_the_nearest() -> None:
    """Of a flat picture fidelity does not rise all the way."""
    values = {q: 40.0 - abs(q - 7000) / 1000 for q in range(100, 10001)}
    found, met = search(values.__getitem__, Target("psnr", 60))
    assert not met
    assert values[found] > values[10000]


@pytest.mark.parametrize("kind", ["size", "psnr"])
@pytest.mark.parametrize("trials", [1, 2, 3, 4])
def test_search_stops_where_it_is_told_to(kind: str, trials: int) -> None:
    tried: list[int] = []

    def curve(quality: int) -> float:
        tried.append(quality)
        return 1000 * 2 ** (quality / 2000) if kind == "size" else 20 + quality / 500

    target = Target(kind, 8000 if kind == "size" else 32)  # quality 6000
    slope = target.slope_at(6100, {5000: curve(5000), 6200: curve(6200), 9000: curve(9000)})
    assert slope == pytest.approx(1 / 2000 if kind == "size" else 1 / 500)
    assert target.slope_at(6100, {5000: 1.0}) is None
    noisy = {6099: curve(6099) * 0.99, 6100: curve(6100), 8100: curve(8100)}  # neighbours differ by rounding
    assert target.slope_at(6100, noisy) == pytest.approx(slope)
    tried.clear()
    found, met = search(curve, target, 6100, slope, trials)
    assert tried[0] == 6100
    assert len(tried) <= trials
    assert found in tried
    assert met == target.met_by(curve(found))
    assert met == any(target.met_by(curve(q)) for q in list(tried))
    if trials == 4:
        assert abs(found - 6000) <= 10


def test_grey_and_alpha_count() -> None:
    pixels = draw("shapes", 200, 200)
    grey = Picture(np.repeat(pixels[:, :, :1], 3, 2), True, alpha=draw("noise", 200, 200)[:, :, 0])
    fitted = api.compress_to(grey, Target("size", 44_000), MODEL)
    assert 40_000 < len(fitted.data) <= 44_000  # the alpha alone takes 40,000


def test_what_cannot_be_met(tmp_path: Path) -> None:
    Image.fromarray(draw("noise", 180, 180)).save(tmp_path / "x.png")
    command = ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), "--model", MODEL]
    for target in (["--target-size", "20"], ["--target-psnr", "70"], ["--target-msssim", "0.9999"]):
        result = CliRunner().invoke(main, [*command, *target])
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
        ["--target-psnr", "inf"],
        ["--nearest"],
    ],
)
def test_wrong_targets(tmp_path: Path, arguments: list[str]) -> None:
    Image.fromarray(draw("flat", 20, 20)).save(tmp_path / "x.png")
    result = CliRunner().invoke(main, ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), *arguments])
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "x.nc").exists()


def test_ms_ssim_of_a_small_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(draw("flat", 160, 160)).save(tmp_path / "x.png")
    command = ["compress", str(tmp_path / "x.png"), str(tmp_path / "x.nc"), "--target-msssim", "0.9", "--model", MODEL]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "161" in result.stderr


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


def test_infinite_psnr_has_a_place_on_the_scale() -> None:
    assert targets.KINDS["psnr"].scale(math.inf) == 99
