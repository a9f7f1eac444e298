"""Walks: their ends are files' pictures, their middles are made, and channels move as told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

from neurocodec import api, weights
from neurocodec.encoding import Pixels
from neurocodec.explore import sheet, walk
from neurocodec.explore.usage import measure
from neurocodec.fixedpoint import POSITION_BITS
from tests.commands import MODEL, assert_error, opened, run
from tests.drawing import draw
from tests.golden.make import TINY

POSITION = 3 << (POSITION_BITS - 1)  # between two anchors


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for seed, path in enumerate(paths):
        Image.fromarray(draw("shapes", 70, 90, seed)).save(path)
    return paths


def decoded(path: Path, quality: float) -> Pixels:
    return api.decompress(api.compress(path, quality, str(TINY)), str(TINY)).pixels


def level_apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Latents are equal to the bit; pixels are made in floating point, and may round one level otherwise."""
    return bool(np.abs(a.astype(int) - b).max() <= 1)


def test_the_ends_of_a_strip_are_what_files_decode_to(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "strip.png"
    result = run("interpolate", *two, out, "--steps", 5, "-q", 40, *MODEL)
    assert result.exit_code == 0, result.output
    strip = np.asarray(opened(out))
    assert strip.shape == (70, 5 * (90 + sheet.GAP) - sheet.GAP, 3)
    assert level_apart(strip[:, :90], decoded(two[0], 40))
    assert level_apart(strip[:, -90:], decoded(two[1], 40))
    middle = strip[:, 2 * (90 + sheet.GAP) :][:, :90].astype(float)
    distances = [np.abs(middle - decoded(path, 40)).mean() for path in two]
    apart = np.abs(decoded(two[0], 40).astype(float) - decoded(two[1], 40)).mean()
    assert max(distances) < apart  # it lies between
    assert min(distances) > 0.2 * apart


@pytest.mark.parametrize("extension", [".gif", ".webp", ".apng"])
def test_animations_go_there_and_back(two: tuple[Path, Path], tmp_path: Path, extension: str) -> None:
    out = tmp_path / f"film{extension}"
    assert run("interpolate", *two, out, "--steps", 4, *MODEL).exit_code == 0
    with Image.open(out) as film:
        assert len(ImageSequence.all_frames(film)) == 6
        assert film.size == (90, 70)
        assert film.info["loop"] == 0
        frames = []
        for i in range(6):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    for there, back in ((1, 5), (2, 4)):
        assert np.abs(frames[there] - frames[back]).mean() < 2
    if extension != ".gif":  # GIF has 256 colours
        assert level_apart(frames[0], decoded(two[0], 90))


def test_greys_stay_grey_and_transparency_is_laid_on_white(tmp_path: Path) -> None:
    grey, clear = draw("shapes", 30, 40)[:, :, 0], np.zeros((30, 40, 4), np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    Image.fromarray(grey.T.copy().T).save(tmp_path / "b.png")
    Image.fromarray(clear).save(tmp_path / "c.png")
    assert run("interpolate", tmp_path / "a.png", tmp_path / "b.png", tmp_path / "g.png", *MODEL).exit_code == 0
    assert opened(tmp_path / "g.png").mode == "L"
    result = run("interpolate", tmp_path / "a.png", tmp_path / "c.png", tmp_path / "h.png", *MODEL)
    assert "laid on white" in result.stderr
    assert np.asarray(opened(tmp_path / "h.png"))[:, -40:].mean() > 200


def test_one_channel_moves(tiny: weights.LoadedModel) -> None:
    """The middle column is the decoded picture; the others move by what was asked, both ways."""
    codec, pixels = tiny.codec, torch.from_numpy(draw("shapes", 150, 200))
    rows = list(walk.traverse(codec, POSITION, pixels, 3, 1))
    usage = measure(codec, pixels, POSITION)
    whole = codec.synthesise(usage.y_hat, 150, 200, POSITION).numpy()
    part = whole[64:128, 64:128]
    assert [r.channel for r in rows] == usage.channels.argsort(descending=True)[:3].tolist()
    assert sorted((r.share for r in rows), reverse=True) == [r.share for r in rows]
    for row in rows:
        shown = dict(zip(walk.MOVES, row.pictures, strict=True))
        assert np.abs(shown[0].astype(int) - part).max() <= 1
        away = [np.abs(shown[m].astype(int) - part).mean() for m in walk.MOVES]
        assert away[0] > away[1] > away[2] > away[3] < away[4] < away[5] < away[6]


def test_edges_are_cut_as_the_picture_is(tiny: weights.LoadedModel) -> None:
    rows = list(walk.traverse(tiny.codec, POSITION, torch.from_numpy(draw("shapes", 70, 3)), 2, 3))
    assert {p.shape for r in rows for p in r.pictures} == {(70, 3, 3)}


def test_a_contact_sheet(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    result = run("traverse", two[0], out, "--channels", 3, "--side", 1, *MODEL)
    assert result.exit_code == 0, result.output
    pixels = np.asarray(opened(out))
    assert pixels.shape == (sheet.HEADER + 3 * (64 + sheet.GAP), sheet.MARGIN + 7 * (64 + sheet.GAP), 3)
    for row in range(3):
        top = sheet.HEADER + row * (64 + sheet.GAP)
        assert (pixels[top : top + 64, : sheet.MARGIN] < 128).sum() > 100  # a label
    assert (pixels[: sheet.HEADER, sheet.MARGIN :] < 128).any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["interpolate", "a.png", "small.png", "x.png"], ["90x70", "20x20", "one size", "resize"]),
        (["interpolate", "a.png", "b.png", "x.xyz"], [".xyz", ".png"]),
        (["interpolate", "a.png", "b.png", "small.png"], ["small.png exists"]),
        (["interpolate", "a.png", "b.png", "b.png", "--force"], ["itself"]),
        (["interpolate", "a.png", "none.png", "x.gif"], ["none.png", "No such file"]),
        (["interpolate", "wide.png", "wide.png", "x.png", "--steps", "200"], ["strip", "--steps"]),
        (["traverse", "text.png", "x.png"], ["text.png", "not a picture"]),
        (["traverse", "a.png", "x"], ["without extension"]),
        (["traverse", "a.png", "b.png"], ["exists"]),
        (["traverse", "a.png", "x.png", "--max-pixels", "5"], ["limit of 5"]),
    ],
)
def test_bad_input(
    two: tuple[Path, Path], arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(two[0].parent)
    Image.fromarray(draw("shapes", 20, 20)).save("small.png")
    Image.fromarray(draw("flat", 1, 1000)).save("wide.png")
    Path("text.png").write_text("hello")
    before = {p: p.read_bytes() for p in Path().iterdir()}
    assert_error(run(*arguments, *MODEL), *words)
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


def test_wrong_usage(two: tuple[Path, Path], tmp_path: Path) -> None:
    assert run("interpolate", *two, tmp_path / "x.png", "--steps", 1).exit_code == 2
    assert run("traverse", two[0], tmp_path / "x.png", "--channels", 0).exit_code == 2
    assert not (tmp_path / "x.png").exists()
