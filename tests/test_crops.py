"""The sheets of python -m benchmarks.crops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, features

from benchmarks import codecs, crops
from benchmarks.codecs.base import Pixels
from tests.drawing import draw
from tests.files import write_sources

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow is built without AVIF")
OURS = f"{codecs.OURS}psnr"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sources(tmp_path_factory.mktemp("pictures"))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(crops.main, [str(a) for a in arguments])


def read(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


@pytest.mark.parametrize(
    ("images", "out", "options", "said"),
    [
        ("damaged.png", "x.png", "", "damaged"),
        ("transparent.png", "x.png", "", "has transparency"),
        ("none.png", "x.png", "", "none.png: not a file"),
        ("small.png", "x.png", "", "300x160 pixels are too few for MS-SSIM"),
        ("coffee.png", "x.png", "--side 181", "200x180 pixels are fewer than the part's 181x181"),
        ("coffee.png coffee.png@21,0", "x.png", "--side 180", "the part at 21,0 extends beyond the picture"),
        ("coffee.png@0,1", "x.png", "--side 180", "give a corner of at most 20,0"),
        ("coffee.png", "x.gif", "", "not a .png or .jpg file"),
        ("coffee.png", "none/x.png", "", "in a folder that exists"),
        ("coffee.png", "x.png", f"--codecs gif,{OURS}", "'gif' is not known; use some of neurocodec-"),
        ("coffee.png", "x.png", "--side 60 --codecs neurocodec-nope", "'nope' is not known"),
        ("coffee.png", "x.png", "--codecs none.safetensors", "none.safetensors cannot run here"),
        ("coffee.png", "x.png", "--codecs jpeg,avif", "no neurocodec model; add one"),
    ],
)
def test_errors_are_one_sentence(folder: Path, tmp_path: Path, images: str, out: str, options: str, said: str) -> None:
    result = run(*(folder / name for name in images.split()), tmp_path / out, *options.split())
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [["--quality", "20", "--bpp", "0.2"], ["--quality", "nan"], ["--bpp", "nan"], ["--bpp", "0"]]
)
def test_options_that_exclude_each_other_or_are_out_of_range(
    folder: Path, tmp_path: Path, options: Sequence[str]
) -> None:
    assert run(folder / "coffee.png", tmp_path / "x.png", *options).exit_code == 2


def test_a_row_per_picture_and_a_column_per_codec(folder: Path, tmp_path: Path) -> None:
    images = (f"{folder / 'chelsea.png'}@30,10", folder / "coffee.png")
    names = f"jpeg,avif,{OURS}"
    result = run(*images, tmp_path / "x.png", "--codecs", names, "--quality", "60", "--side", "150", "--zoom", "2")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["chelsea.png"] * 3 + ["coffee.png"] * 3
    assert lines[2].startswith("chelsea.png: neurocodec (psnr), setting 60: ")
    assert all(" bits per pixel, SSIMULACRA 2 " in line and ", MS-SSIM 0." in line for line in lines)
    sizes = [int(line.split(" bytes")[0].split()[-1].replace(",", "")) for line in lines]
    for row in (sizes[:3], sizes[3:]):
        assert row == pytest.approx([row[-1]] * 3, rel=0.08)  # one step of JPEG's quality changes the size by 5 % here
    across, down = 300 + crops.MARGIN, 300 + crops.CAPTION + crops.MARGIN
    found = read(tmp_path / "x.png")
    assert found.shape == (2 * down - crops.MARGIN, 4 * across - crops.MARGIN, 3)
    original, ours = read(folder / "chelsea.png"), codecs.make(OURS)
    assert (found[:300:2, :300:2] == original[10:160, 30:180]).all()
    decoded = ours.decode(ours.encode(original, 60))[10:160, 30:180]
    assert (found[1:300:2, 3 * across + 1 :: 2] == decoded).all()
    captions = found[300 : 300 + crops.CAPTION]
    assert all(captions[:, x * across : (x + 1) * across].min() < 100 for x in range(4))


def test_the_bytes_follow_the_rate_and_the_ending_sets_the_format(folder: Path, tmp_path: Path) -> None:
    result = run(folder / "coffee.png", tmp_path / "x.JPG", "--codecs", f"{OURS},jpeg", "--bpp", "0.08", "--side", "60")
    assert result.exit_code == 0, result.output
    assert int(result.stdout.split(" bytes")[0].split()[-1].replace(",", "")) == pytest.approx(360, rel=0.05)
    assert "JPEG (optimized, progressive): +" in result.stderr  # its smallest file is larger than wanted
    with Image.open(tmp_path / "x.JPG") as image:
        assert image.format == "JPEG"
        assert image.info.get("progressive") is None
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined] # 4:4:4


def test_sheets_of_every_number_of_columns_fit(folder: Path) -> None:
    for columns in range(2, 9):
        zoom = crops.zoom_for(columns, 192)
        assert zoom == 1 or columns * (192 * zoom + crops.MARGIN) - crops.MARGIN <= crops.WIDEST
    assert crops.zoom_for(4, 192) == 2


def test_captions_do_not_overlap() -> None:
    panel = crops.Panel(draw("shapes", 20, 20), ("a caption that is much wider than twenty pixels",) * 3)
    sheet = np.array(crops.sheet([[panel, panel]], 1))
    across = (sheet.shape[1] + crops.MARGIN) // 2
    assert (sheet[20:, across - crops.MARGIN : across] == 255).all()
    assert sheet[20:, :across].min() < 100
