"""Options, names and streams that mean nothing: one sentence each, and no half file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from neurocodec import catalogue, weights
from neurocodec.commands.shared import in_proportion
from tests.commands import MODEL, PATIENCE, assert_error, names, process, run
from tests.drawing import draw
from tests.golden.make import TINY


@pytest.mark.parametrize("command", [["compress", "in.png", "x.nc"], ["compress", "-r", "photos", "out"]])
def test_models_that_are_none_are_said_once(here: Path, command: list[str]) -> None:
    before = names(here)
    result = run(*command, "--model", "best")
    assert result.exit_code == 2
    assert result.stderr.count("Error:") == 1
    assert "'best' is not known: use one of visual, psnr, restore, or the path of a .safetensors file" in result.stderr
    (here / "text.safetensors").write_text("hello, this is not it")
    for name, words in (("none", "none.safetensors: the weights cannot be read"), ("text", "not a weights file")):
        result = run(*command, "--model", f"{name}.safetensors")
        assert_error(result, words)
        assert "png" not in result.stderr
    assert [n for n in names(here) if n != "text.safetensors"] == before


@pytest.mark.parametrize("many", [False, True])
def test_other_commands_say_it_too(here: Path, many: bool) -> None:
    source, target = ("photos", "out") if many else ("in.nc", "x.png")
    if many:
        for i in range(2):
            shutil.copy("in.nc", here / "photos" / f"{i}.nc")
    for command in (["decompress", source, target], ["verify", "--deep", "in.nc", "in.nc"]):
        for name in ("psnr", "best"):
            result = run(*command, "--model", name)
            assert (result.exit_code, f"{name!r} is no .safetensors file" in result.stderr) == (2, True)
        assert_error(run(*command, "--model", "none.safetensors"), "Error: none.safetensors: the weights cannot be")
    for direction in ("compress", "decompress"):
        assert run("bulk", direction, "photos", "out", "--model", "best").exit_code == 2
        assert_error(run("bulk", direction, "photos", "out", "--model", "none.safetensors"), "Error: none.safetensors")


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU where there is none")
def test_a_gpu_that_is_not_there(here: Path) -> None:
    for command in (
        ["compress", "in.png", "x.nc"],
        ["compress", "-r", "photos", "out"],
        ["decompress", "in.nc", "x.png"],
        ["verify", "--deep", "in.nc"],
        ["bulk", "compress", "photos", "out"],
    ):
        assert_error(run(*command, "--device", "cuda"), "Error: there is no CUDA device here: use --device cpu")
    assert not (here / "out").exists()


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_a_damaged_installation_is_said_once(here: Path, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """The shipped weights are other bytes: by a folder of weights that a copy of the package brings."""
    package = here / "site" / "neurocodec"
    shutil.copytree(Path(weights.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "_weights"))
    (package / "_weights").mkdir()
    for model in catalogue.MODELS:
        shutil.copy(TINY, package / "_weights" / model.file)
    monkeypatch.setenv("PYTHONPATH", str(here / "site"))
    command = [sys.executable, "-m", "neurocodec", "compress", "-r", "-j", workers, "photos", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    assert "install the package again" in done.stderr
    assert ".png" not in done.stderr
    assert names(here / "out") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "-r", "in.png", "x.nc"], "-r (--recursive) is for folders, and in.png is none"),
        (["compress", "-j", "2", "in.png", "x.nc"], "-j (--workers) is for folders, and in.png is none"),
        (["compress", "-j", "2", "-", "x.nc"], "and standard input is none"),
        (["decompress", "-r", "in.nc", "x.png"], "-r (--recursive) is for folders"),
        (["decompress", "--workers", "1", "in.nc", "x.png"], "-j (--workers) is for folders"),
        (["compress", "--skip-existing", "in.png", "-"], "OUT is standard output"),
        (["compress", "--skip-existing", "--force", "in.png", "x.nc"], "choose one"),
        (["decompress", "--skip-existing", "-f", "photos", "out"], "choose one"),
        (["compress", "--skip-existing", "--frames", "in.png", "out"], "--frames"),
        (["compress", "--frames", "-j", "2", "in.png", "out"], "-j (--workers) is for folders"),
        (["compress", "--nearest", "in.png", "x.nc"], "--nearest: no target is given"),
        (["verify", "--model", str(TINY), "in.nc"], "--model is for --deep"),
        (["verify", "--device", "cpu", "in.nc"], "--device is for --deep"),
        (["compress", "photos", "out.nc"], "OUT becomes a folder here, and out.nc is the name of a file"),
        (["compress", "--frames", "in.png", "out.nc"], "OUT becomes a folder here, and out.nc is the name of a file"),
        (["decompress", "photos", "out.PNG"], "OUT becomes a folder here"),
        (["compress", "-q", "good", "in.png", "x.nc"], "'good' is not a valid number."),
        (["compress", "--effort", "most", "in.png", "x.nc"], "'most' is not a valid whole number."),
        (["compress", "-q", "nan", "in.png", "x.nc"], "'nan' is not a number."),
        (["restore", "-q", "nan", "in.png", "x.png"], "'nan' is not a number."),
        (["sample", "--temperature", "nan", "x.png"], "'nan' is not a number."),
        (["sample", "--seed", str(1 << 64), "x.png"], "not in the range"),
        (["decompress", "--background", "rgb(300,0,0)", "in.nc", "x.jpg"], "is not an opaque colour"),
        (["decompress", "--background", "#ff000080", "in.nc", "x.jpg"], "is not an opaque colour"),
        (["compress", "--target-size", "9" * 400, "in.png", "x.nc"], "is more than any file has"),
    ],
)
def test_options_that_mean_nothing(here: Path, arguments: list[str], words: str) -> None:
    before = names(here)
    result = run(*arguments, stdin=b"")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("Error: ")
    assert names(here) == before


@pytest.mark.slow
def test_a_folder_of_any_other_name_will_do(here: Path) -> None:
    (here / "there.nc").mkdir()
    for out in ("version.1", "there.nc"):
        assert run("compress", "photos", out, *MODEL).exit_code == 0
        assert names(here / out)


@pytest.mark.slow
def test_what_nobody_asked_for_is_said(here: Path) -> None:
    (here / "photos" / "deep" / "er").mkdir(parents=True)
    shutil.copy(here / "in.png", here / "photos" / "deep" / "er")
    told = "photos: what is in its folders is left out (-r takes it, too).\n"
    assert told in run("compress", "photos", "flat", *MODEL).stderr
    assert told not in run("compress", "--quiet", "photos", "silent", *MODEL).stderr
    assert told not in run("compress", "-r", "photos", "all", *MODEL).stderr
    assert "all: what is in its folders is left out" in run("decompress", "all", "back", *MODEL).stderr
    assert "is left out" not in run("decompress", "flat", "back-2", *MODEL).stderr


@pytest.mark.slow
def test_files_that_are_passed_over_are_named(here: Path) -> None:
    """Who removes a folder once it is packed is told what was not."""
    for name in ("a.txt", ".hidden.png", "raw", "z.cr2", ".neurocodec-x.part"):
        (here / "photos" / name).write_bytes(b"")
    told = "photos: 4 files left out (hidden, or by the ending no picture): .hidden.png, a.txt, raw, ...\n"
    result = run("compress", "photos", "flat", *MODEL)
    assert (result.exit_code, told in result.stderr) == (0, True)
    assert "left out" not in run("compress", "--quiet", "photos", "silent", *MODEL).stderr
    assert "left out" not in run("verify", "flat", *MODEL).stderr


def test_what_a_target_came_to_is_told_once(here: Path) -> None:
    result = run("compress", "--target-size", "600", "in.png", "x.nc", *MODEL)
    size = (here / "x.nc").stat().st_size
    assert re.search(rf"-> x.nc: quality [0-9.]+, {size} bytes, [0-9.]+ bpp, ", result.stderr)
    result = run("compress", "-f", "--target-psnr", "12", "in.png", "x.nc", *MODEL)
    assert re.search(r"-> x.nc: quality [0-9.]+, [0-9.]+ dB PSNR, \d+ bytes, [0-9.]+ bpp, ", result.stderr)


def test_a_single_file_that_is_there_is_passed_over(here: Path) -> None:
    before = (here / "in.nc").read_bytes()
    result = run("compress", "--skip-existing", "in.png", "in.nc", "-q", "5", *MODEL)
    assert (result.exit_code, result.stderr) == (0, "in.png -> in.nc: it is there already, and skipped\n")
    result = run("decompress", "--skip-existing", "--json", "in.nc", "in.png")
    assert result.stdout == '{"in": "in.nc", "out": "in.png", "skipped": true}\n'
    assert (here / "in.nc").read_bytes() == before
    assert run("compress", "--skip-existing", "in.png", "new.nc", *MODEL).exit_code == 0
    assert (here / "new.nc").read_bytes() == before


def test_standard_streams_have_names(here: Path) -> None:
    data = (here / "in.nc").read_bytes()
    for arguments, words in (
        (["compress", "-", "x.nc"], "standard input: not a picture"),
        (["decompress", "-", "x.png", *MODEL], "standard input: too short"),
        (["info", "-"], "standard input: too short"),
    ):
        assert_error(run(*arguments, stdin=b"junk"), words)
    assert_error(run("compress", "-", "x.nc", stdin=data), "standard input: a neurocodec file already")
    result = run("compress", "-", "x.nc", *MODEL, stdin=(here / "in.png").read_bytes())
    assert result.stderr.startswith("standard input: 120x90, ")
    done = process("decompress", "in.nc", "-", *MODEL)
    assert f"in.nc: {len(data)} bytes -> standard output: 120x90, ".encode() in done.stderr
    assert run("verify", "-", stdin=data).stdout == "standard input: whole\n"
    result = run("verify", "-", "in.nc", stdin=data[:-1])
    assert (result.exit_code, result.stdout) == (1, "in.nc: whole\n")
    assert result.stderr.startswith("Error: standard input: the file was cut off")


def test_files_larger_than_their_pixels_are_called_so(here: Path) -> None:
    Image.fromarray(draw("noise", 3, 4)).save("small.png")
    result = run("compress", "small.png", "small.nc", *MODEL)
    size = (here / "small.nc").stat().st_size
    assert size > 36
    assert f"{size / 36:.3g} times as large as its pixels: PNG or WebP suits such a picture better" in result.stderr
    assert "smaller" not in result.stderr
    assert in_proportion(100, 100) == "1.0 times smaller than its pixels"
    assert in_proportion(101, 100).startswith("1.01 times as large")
    Image.new("1", (200, 200)).save("flat.png")
    before, result = (here / "flat.png").stat().st_size, run("compress", "flat.png", "flat.nc", *MODEL)
    grown = (here / "flat.nc").stat().st_size / before
    assert f"but {grown:.3g} times as large as the file it came from" in result.stderr


def test_names_of_pictures_are_not_for_our_files(here: Path) -> None:
    before = names(here)
    result = run("compress", "in.png", "out.jpg", *MODEL)
    assert result.exit_code == 1
    assert "out.jpg: what is written is no .jpg picture but a neurocodec file: name it .nc." in result.stderr
    assert names(here) == before


def test_the_nearest_to_a_target_says_that_it_missed(here: Path) -> None:
    asked = ["compress", "in.png", "near.nc", "--target-size", "10", *MODEL, "--json"]
    assert_error(run(*asked), "cannot be met")
    result = run(*asked, "--nearest")
    assert result.stderr == "Note: in.png: a size of at most 10 bytes cannot be met: this is the nearest.\n"
    told = json.loads(result.stdout)
    assert (told["met"], told["value"]) == (False, (here / "near.nc").stat().st_size)
    met = json.loads(run("compress", "in.png", "met.nc", "--target-psnr", "12", *MODEL, "--json").stdout)
    assert met["met"]
    assert met["value"] >= 12


def test_empty_files_are_said_to_be_empty(here: Path) -> None:
    (here / "empty.png").write_bytes(b"")
    assert_error(run("compress", "empty.png", "x.nc"), "empty.png: empty")


def test_a_note_about_standard_output_names_the_file(here: Path) -> None:
    exif = Image.Exif()
    exif[315] = "someone"
    Image.fromarray(draw("shapes", 20, 30)).save("noted.png", exif=exif)
    assert run("compress", "noted.png", "noted.nc", *MODEL).exit_code == 0
    done = process("decompress", "--format", "bmp", "noted.nc", "-", *MODEL)
    assert b"Note: noted.nc: BMP cannot hold its EXIF." in done.stderr
    assert done.stdout.startswith(b"BM")


@pytest.mark.parametrize(
    "command",
    [
        ["compress", "in.png", "new/"],
        ["decompress", "--format", "png", "in.nc", "new/"],
        ["restore", "in.png", "x.png/"],
    ],
)
def test_a_name_that_ends_like_a_folders_is_no_files(here: Path, command: list[str]) -> None:
    before = names(here)
    assert_error(run(*command), f"{command[-1]}: there is no such folder")
    assert names(here) == before


def test_frames_of_another_file_are_told(here: Path) -> None:
    frames = [Image.fromarray(draw("shapes", 20, 30, seed)) for seed in range(3)]
    frames[0].save("three.tif", save_all=True, append_images=frames[1:])
    frames[0].save("two.tif", save_all=True, append_images=frames[1:2])
    assert run("compress", "--frames", "three.tif", "out", *MODEL).exit_code == 0
    told = run("compress", "--frames", "--force", "two.tif", "out", *MODEL)
    assert told.exit_code == 0
    assert "Note: out/002.nc and what follows it are frames of another file." in told.stderr
    assert "Note:" not in run("compress", "--frames", "--force", "three.tif", "out", *MODEL).stderr
