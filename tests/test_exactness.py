"""The benchmark of window sizes, on a small drawn picture; and that it finds a difference where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks import exactness
from neurocodec.model import Codec
from tests.golden.make import TINY

ARGUMENTS = ["--model", str(TINY), "--megapixels", "0.06", "--windows", "1,2,24"]


def test_windows_make_no_difference() -> None:
    result = CliRunner().invoke(exactness.main, ARGUMENTS)
    assert result.exit_code == 0, result.output
    assert "283x212, windows (1, 2, 24): latents " in result.output
    assert result.output.rstrip().endswith(": 0 differences")


def test_a_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Codec.decode_latents

    def dishonest(self: Codec, data: bytes, height: int, width: int, position: int) -> torch.Tensor:
        latents = honest(self, data, height, width, position).clone()
        latents[0, -1, -1, 0] += 16 * (self.window == 2)
        return latents

    monkeypatch.setattr(Codec, "decode_latents", dishonest)
    result = CliRunner().invoke(exactness.main, ARGUMENTS)
    assert result.exit_code == 1
    assert "windows of 2 decode to other latents" in result.output


def test_pictures_are_drawn_alike_whatever_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = exactness.draw(150, 90)
    monkeypatch.setattr(exactness, "STRIP", 64)
    np.testing.assert_array_equal(exactness.draw(150, 90), whole)


@pytest.mark.parametrize("arguments", [[], ["--megapixels", "0"], ["--megapixels", "much"]])
def test_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(exactness.main, arguments).exit_code == 2
