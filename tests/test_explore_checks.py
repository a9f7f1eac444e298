"""What is checked before any work of the exploring commands is done."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from neurocodec.model import Codec
from tests.commands import MODEL, assert_error, run


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["inpaint", "clear.png", "mask.png", "x.jpg", *MODEL], "x.jpg: JPEG cannot hold its transparency"),
        (["restore", "clear.png", "x.ppm"], "x.ppm: PPM cannot hold its transparency"),
        (["restore", "wide.png", "x.webp"], "17000x4 picture does not fit into WEBP, whose sides end at 16383"),
        (["sample", "x.webp", "--size", "17000x4", *MODEL], "17000x4 picture does not fit into WEBP"),
        (["interpolate", "wide.png", "wide.png", "x.webp.png", "--steps", "9", *MODEL], "strip of 153032 pixels"),
        (["traverse", "tall.png", "x.jpg", "--channels", "64", "--side", "16", *MODEL], "does not fit into JPEG"),
        (["decompress", "clear.nc", "x.bmp", *MODEL], "x.bmp: BMP cannot hold its transparency"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_what_a_file_cannot_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGBA", (12, 9), (9, 9, 9, 99)).save("clear.png")
    Image.new("L", (12, 9)).save("mask.png")
    Image.new("RGB", (17000, 4)).save("wide.png")
    Image.new("RGB", (8, 1100)).save("tall.png")
    assert run("compress", "clear.png", "clear.nc", *MODEL).exit_code == 0
    before = sorted(tmp_path.iterdir())

    def too_late(*arguments: object) -> None:
        pytest.fail("it began to work")

    for work in ("analyse", "decode_latents", "pull_latents", "synthesise"):
        monkeypatch.setattr(Codec, work, too_late)
    assert_error(run(*command), words)
    assert sorted(tmp_path.iterdir()) == before


def test_an_encoder_that_restores_has_no_loss(tmp_path: Path) -> None:
    Image.new("RGB", (70, 40)).save(tmp_path / "x.png")
    assert_error(run("explain", tmp_path / "x.png", tmp_path / "x.html", "--model", "restore"), "encoder that restores")
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("command", [["restore", "in.png"], ["explain", "in.png"], ["sample"]], ids=lambda v: v[0])
def test_a_model_that_means_nothing_is_wrong_usage(tmp_path: Path, command: list[str]) -> None:
    Image.new("RGB", (70, 40)).save(tmp_path / "in.png")
    sources = [str(tmp_path / name) for name in command[1:]]
    out = tmp_path / ("x.html" if command[0] == "explain" else "x.png")
    result = run(command[0], *sources, out, "--model", "foo")
    assert result.exit_code == 2
    assert "--model: model 'foo' is not known" in result.stderr


def test_the_command_on_a_page_makes_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (70, 40), (9, 99, 199)).save("it's a b.png")
    assert run("explain", "it's a b.png", "x.html", "--qualities", "75,20.5", *MODEL).exit_code == 0
    page = Path("x.html").read_text(encoding="utf-8")
    found = re.search("with <code>(.*)</code>", page)
    assert found is not None
    name, *arguments = shlex.split(html.unescape(found[1]))
    assert name == "neurocodec"
    assert run(*arguments).exit_code == 0
    assert Path("OUT.html").read_text(encoding="utf-8") == page
