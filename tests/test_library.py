"""The library: wrong arguments are a sentence of the right kind, and a program that calls it is left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import neurocodec
from neurocodec import api, images
from neurocodec.errors import DeviceError, ImageError, NeurocodecError
from tests.drawing import draw
from tests.golden.make import TINY


def test_a_library_says_what_is_wrong_with_arguments() -> None:
    pixels = draw("shapes", 40, 40)
    for wrong in (
        {"effort": 1.5},
        {"device": "zz"},
        {"effort": -1},
        {"device": None},
        {"model": None},
        {"device": "meta"},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} .*{next(iter(wrong.values()))}"):
            neurocodec.compress(pixels, **cast(Any, {"model": str(TINY)} | wrong))
    with pytest.raises(DeviceError, match="no device cuda:77"):
        api.torch_device("cuda:77")
    data = neurocodec.compress(pixels, model=TINY)
    assert data == neurocodec.compress(pixels, model=str(TINY))
    assert neurocodec.decompress(data, TINY).width == 40
    for odd in ({"scale": 2.0}, {"max_pixels": None}, {"max_pixels": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(odd))} {next(iter(odd.values()))}"):
            neurocodec.decompress(data, TINY, **cast(Any, odd))
    with pytest.raises(ValueError, match="'1kB' is no number"):
        neurocodec.Target("size", cast(Any, "1kB"))
    with pytest.raises(ValueError, match="is no Target"):
        neurocodec.compress_to(pixels, cast(Any, ("size", 1000)))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_numpy_has_numbers_and_matrices_of_its_own() -> None:
    """Of a uint8 a hundred times as much does not fit into it, and a matrix stays one with what is done to it."""
    pixels = draw("shapes", 40, 41)
    wanted = neurocodec.compress(pixels, 50, model=str(TINY))
    for number in (np.uint8(50), np.int8(50), np.float32(50)):
        assert neurocodec.compress(pixels, cast(Any, number), model=str(TINY)) == wanted
    grey = neurocodec.compress(np.asmatrix(pixels[:, :, 0]), model=str(TINY))
    assert grey == neurocodec.compress(pixels[:, :, 0], model=str(TINY))


def test_a_dash_is_a_name_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the library: standard input is the program's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(neurocodec.compress(draw("shapes", 40, 40), model=TINY))
    assert neurocodec.info("-").width == 40
    with pytest.raises(NeurocodecError):  # which kind of it, depends on whether Pillow knows .nc files by now
        neurocodec.compress(Path("-"), model=TINY)


def test_a_library_may_allow_larger_files(here: Path) -> None:
    with pytest.raises(ImageError, match="limit of 100 "):
        neurocodec.compress(here / "in.png", model=TINY, max_pixels=100)
    assert neurocodec.compress(here / "in.png", model=TINY, max_pixels=120 * 90)


def test_sides_that_jpeg_cannot_have_are_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match="65501x1 picture does not fit into JPEG"):
        images.write(images.Picture(np.zeros((1, 65501, 3), np.uint8)), ".jpg")
    assert capfd.readouterr().err == ""


def test_random_numbers_of_a_program_stay_as_they_are() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    neurocodec.compress(draw("shapes", 170, 170), effort=1)
    assert torch.equal(torch.get_rng_state(), before)
