"""Samples of the prior: they follow its tables, they are what files could hold, and seeds decide them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from neurocodec import weights
from neurocodec.entropy import Encoder
from neurocodec.explore.sample import Die, reshaped, sample_like
from neurocodec.explore.usage import costs_of
from neurocodec.fixedpoint import ONE, POSITION_BITS
from neurocodec.quantization import hyper_symbols
from neurocodec.tables import Tables
from tests.commands import MODEL, assert_error, opened, run
from tests.drawing import draw

POSITION = 3 << (POSITION_BITS - 1)  # between two anchors


class Witness(Die):
    """A die that remembers, and codes what it drew."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.encoder, self.drawn = Encoder(), list[tuple[NDArray[np.int32], NDArray[Any], Tables]]()

    def pull(self, table: NDArray[Any], tables: Tables) -> NDArray[np.int32]:
        symbols = super().pull(table, tables)
        self.encoder.push(symbols, table, tables)
        self.drawn.append((symbols, table, tables))
        return symbols


def entropy(tables: Tables, number: int) -> float:
    p = tables.row(number)[tables.row(number) > 0] / tables.row(number).sum()
    return float(-(p * np.log2(p)).sum())


def test_symbols_come_as_often_as_the_tables_say(tiny: weights.LoadedModel) -> None:
    tables, count = tiny.codec.y_tables, 200_000
    for number in (0, 20, 41, 63):
        drawn = Die(tiny.codec, 1.0, 5).pull(np.full(count, number, np.uint8), tables)
        row, radius = tables.row(number)[:-1], int(tables.radius[number])
        seen = np.bincount(drawn + radius, minlength=len(row))
        expected = count * (row / row.sum())
        assert len(seen) == len(row)
        assert (np.abs(seen - expected) < 5 * np.sqrt(expected) + 5).all()


def test_temperature_reshapes() -> None:
    row = np.array([1, 6, 20, 6, 1], np.int32)
    np.testing.assert_allclose(reshaped(row, 1.0), row / 34)
    np.testing.assert_allclose(reshaped(row, 0.5), row**2 / (row.astype(float) ** 2).sum())
    np.testing.assert_array_equal(reshaped(row, 0.0), [0, 0, 1, 0, 0])
    assert reshaped(row, 1e-3)[2] == 1
    assert reshaped(row, 10.0).max() < 0.3


def test_a_sample_is_a_file_and_typical_of_the_prior(tiny: weights.LoadedModel) -> None:
    """What is drawn can be coded, decodes to the same latents, and takes the bits that the prior expects."""
    codec, (height, width) = tiny.codec, (300, 420)
    die = Witness(codec, 1.0, 7)
    y_hat = codec.pull_latents(die, height, width, POSITION)
    assert torch.equal(codec.decode_latents(die.encoder.finish(), height, width, POSITION), y_hat)
    spent = sum(costs_of(*d).sum() for d in die.drawn)
    expected = sum(entropy(d[2], n) for d in die.drawn for n in d[2].coded(d[0], d[1])[1].tolist())
    assert spent == pytest.approx(expected, rel=0.03)


def test_like_keeps_the_hyper_latents(tiny: weights.LoadedModel) -> None:
    codec, pixels = tiny.codec, torch.from_numpy(draw("shapes", 130, 200))
    z = hyper_symbols(codec.hyper_analyse(codec.analyse(pixels, POSITION), POSITION))
    die = Witness(codec, 1.0, 7)
    y_hat = codec.pull_latents(die, 130, 200, POSITION, z_symbols=z)
    assert all(tables is not codec.z_tables for *_, tables in die.drawn)
    _, decoded = codec.encode_latents(y_hat / ONE, z.float(), POSITION)
    assert torch.equal(decoded, y_hat.float())  # for these hyper-latents, what was drawn is a picture's
    assert sample_like(codec, POSITION, pixels, 1.0, 7).shape == (130, 200, 3)


def test_seeds_decide(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        result = run("sample", tmp_path / f"{name}.png", "--size", "100x70", "--seed", seed, *MODEL)
        assert result.exit_code == 0, result.output
    a, b, c = (np.asarray(opened(tmp_path / f"{n}.png")) for n in "abc")
    assert a.shape == (70, 100, 3)
    np.testing.assert_array_equal(a, b)
    assert (a != c).mean() > 0.5
    cold = [tmp_path / "d.png", tmp_path / "e.png"]
    for out, seed in zip(cold, (1, 2), strict=True):
        assert run("sample", out, "--temperature", 0, "--seed", seed, *MODEL).exit_code == 0
    assert cold[0].read_bytes() == cold[1].read_bytes()  # the likeliest latents know no dice
    assert opened(cold[0]).size == (512, 384)


def test_like_a_picture(tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 1, 1)).save(tmp_path / "dot.png")
    result = run("sample", tmp_path / "x.webp", "--like", tmp_path / "dot.png", *MODEL, "--json")
    assert result.exit_code == 0, result.output
    assert opened(tmp_path / "x.webp").size == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.xyz"], [".xyz", ".png"]),
        (["in.png"], ["in.png exists", "--force"]),
        (["x.png", "--like", "none.png"], ["none.png", "No such file"]),
        (["x.png", "--like", "text.png"], ["text.png", "not a picture"]),
        (["x.png", "--size", "9999999x9999999"], ["limit"]),
        (["x.png", "--size", "200x200", "--max-pixels", "100"], ["limit of 100"]),
        (["in.png", "--like", "in.png", "--force"], ["itself"]),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(draw("shapes", 20, 20)).save("in.png")
    Path("text.png").write_text("hello")
    before = {p: p.read_bytes() for p in Path().iterdir()}
    assert_error(run("sample", *arguments, *MODEL), *words)
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


@pytest.mark.parametrize("arguments", [["--size", "12"], ["--size", "0x5"], ["--temperature", "-1"], ["--seed", "-1"]])
def test_wrong_usage(tmp_path: Path, arguments: list[str]) -> None:
    result = run("sample", tmp_path / "x.png", *arguments, *MODEL)
    assert result.exit_code == 2
    assert not (tmp_path / "x.png").exists()
    assert run("sample", tmp_path / "x.png", "--size", "9x9", "--like", "a.png").exit_code == 2


def test_a_size_that_is_not_asked_for_is_no_limit(tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 64, 64)).save(tmp_path / "s.png")
    result = run("sample", tmp_path / "o.png", "--like", tmp_path / "s.png", "--max-pixels", 10000)
    assert result.exit_code == 0, result.output
