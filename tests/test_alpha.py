"""The alpha section: lossless, bounded, and never believed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neurocodec import alpha, api
from neurocodec.errors import FormatError
from tests.drawing import draw
from tests.golden.make import TINY


@given(st.sampled_from(["noise", "flat", "gradient", "shapes"]), st.integers(1, 70), st.integers(1, 70))
def test_lossless(kind: str, height: int, width: int) -> None:
    channel = draw(kind, height, width)[:, :, 0]
    np.testing.assert_array_equal(alpha.unpack(alpha.pack(channel), height, width), channel)


def test_a_constant_takes_two_bytes() -> None:
    assert alpha.pack(np.full((500, 400), 77, np.uint8)) == b"\0\x4d"


@pytest.mark.parametrize("quality", [0, 10, 50, 80, 99])
def test_levels(quality: int) -> None:
    channel = draw("noise", 128, 128)[:, :, 0]
    reduced = alpha.reduce_levels(channel, quality)
    levels = np.unique(reduced)
    assert len(levels) <= (2 + quality // 5 if quality <= 70 else 16 + (quality - 70) * 8)
    assert {0, 255} <= set(levels.tolist())
    assert (reduced[channel == 0] == 0).all()
    assert (reduced[channel == 255] == 255).all()
    assert np.abs(reduced.astype(int) - channel).max() <= 255 / len(levels)
    assert len(alpha.pack(channel, quality)) < len(alpha.pack(channel))


def sections() -> dict[str, bytes]:
    def image(form: str, mode: str, side: int) -> bytes:
        out = io.BytesIO()
        Image.new(mode, (side, side)).save(out, form)
        return b"\1" + out.getvalue()

    whole = image("PNG", "L", 8)
    found = {"kind": b"\2abc", "short": b"\0", "empty": b"", "none": b"\1", "junk": b"\1hello", "cut": whole[:40]}
    return found | {"size": image("PNG", "L", 9), "mode": image("PNG", "I;16", 8), "format": image("BMP", "L", 8)}


@pytest.mark.parametrize("name", sections())
def test_damaged_sections(name: str) -> None:
    with pytest.raises(FormatError):
        alpha.unpack(sections()[name], 8, 8)


def test_hidden_colours_become_smooth_and_visible_ones_stay() -> None:
    pixels, channel = draw("noise", 90, 70), draw("shapes", 90, 70)[:, :, 0]
    channel = np.where(channel < 100, 0, channel)
    filled = alpha.fill_hidden(pixels, channel)
    np.testing.assert_array_equal(filled[channel > 0], pixels[channel > 0])
    hidden = channel == 0
    assert filled[hidden].std() < 0.7 * pixels[hidden].std()
    assert (alpha.fill_hidden(pixels, np.zeros_like(channel)) == 128).all()
    assert alpha.fill_hidden(pixels, np.full_like(channel, 3)) is pixels


def test_hidden_colours_cost_next_to_nothing() -> None:
    noise, seen = draw("noise", 128, 128), draw("flat", 128, 128)
    channel = np.zeros((128, 128), np.uint8)
    channel[:64] = 255
    pixels = np.where(channel[:, :, None] > 0, seen, noise)
    with_alpha = api.compress(np.concatenate([pixels, channel[:, :, None]], 2), 75, str(TINY))
    assert len(with_alpha) < len(api.compress(pixels, 75, str(TINY))) / 2
    found = api.decompress(with_alpha, str(TINY)).alpha
    assert found is not None
    np.testing.assert_array_equal(found, channel)
