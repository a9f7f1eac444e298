"""Versions of a picture at nearly the same number of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import codecs, equal_bytes, packaged, pictures
from benchmarks.codecs.base import Codec, Pixels
from tests.drawing import draw


class Counting(Codec):
    """A codec whose files have a known size: 10 bytes per step of its setting."""

    name = label = "counting"
    settings = (1, 100)

    def __init__(self, whole: bool) -> None:
        self.setting_is_whole, self.trials = whole, 0

    def encode(self, pixels: Pixels, setting: float) -> bytes:
        self.trials += 1
        return bytes(round(10 * setting))

    def decode(self, data: bytes) -> Pixels:
        return draw("shapes", 170, 180)

    def version(self) -> str:
        return "0"


@pytest.mark.parametrize(
    ("whole", "size", "at_most", "setting"),
    [
        (True, 204, False, 20),
        (True, 206, False, 21),
        (True, 206, True, 20),
        (True, 3, True, 1),
        (True, 5000, False, 100),
        (False, 207, True, 20.75),  # highest of the tried settings with 207 bytes
    ],
)
def test_search_for_a_size(whole: bool, size: int, at_most: bool, setting: float) -> None:
    codec = Counting(whole)
    found = equal_bytes.version_near(codec, draw("shapes", 170, 180), size, at_most)
    assert found.setting == pytest.approx(setting, abs=0 if whole else 0.06)
    assert len(found.data) == round(10 * found.setting)
    assert codec.trials <= (7 if whole else 14)


def test_steps_of_a_search() -> None:
    assert list(codecs.make("avif").steps()) == list(range(1, 101))
    ours, rates = codecs.make("neurocodec-psnr").steps(), codecs.make("jpeg2000").steps()
    assert (len(ours), ours[0], ours[-1]) == (9901, 1, 100)
    pixels = draw("shapes", 170, 180)
    found = equal_bytes.version_near(codecs.make("jpeg2000"), pixels, 2000)
    assert len(found.data) == pytest.approx(2000, rel=0.05)
    assert found.setting in rates


def test_ours_has_no_more_bytes_than_the_reference(tmp_path: Path) -> None:
    packaged.main([str(tmp_path)], standalone_mode=False)
    pixels = pictures.read(tmp_path / "coffee.png")[60:240, 100:300]
    pair = equal_bytes.pair_of(codecs.make("jpeg"), codecs.make("neurocodec-visual"), pixels, 10)
    assert 0.97 * len(pair.reference.data) < len(pair.ours.data) <= len(pair.reference.data)
    assert pair.ours.ms_ssim > pair.reference.ms_ssim
    assert pair.ours.ssimulacra2 > pair.reference.ssimulacra2


def test_the_most_detailed_part() -> None:
    flat = np.full((200, 200, 3), 90, np.uint8)
    flat[20:40, 100:130] = draw("noise", 20, 30)
    assert equal_bytes.most_detailed(flat, 30) in {(x, y) for x in range(98, 103) for y in range(8, 22)}
