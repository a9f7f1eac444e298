"""The alpha section: lossless, bounded, and never believed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from neurocodec import alpha, api
from neurocodec.errors import FormatError
from tests.drawing import draw
from tests.golden.make import TINY

ROOT = Path(__file__).parents[1]


@settings(deadline=None)  # the machine may be busy
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


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    """Whatever the strips, a section and what it unpacks to are the same; a height that is no multiple of them too."""
    channel = draw("noise", 53, 31)[:, :, 0]
    out = io.BytesIO()
    Image.fromarray(channel).convert(mode).save(out, "WEBP" if mode == "RGB" else "PNG", lossless=True)
    whole = alpha.reduce_levels(channel, 40)
    for strip in (1, 31, 100, 1000):
        monkeypatch.setattr(alpha, "STRIP", strip)
        np.testing.assert_array_equal(alpha.reduce_levels(channel, 40), whole)
        found = alpha.unpack(b"\1" + out.getvalue(), 53, 31)
        np.testing.assert_array_equal(found, channel)
        assert found.flags.owndata


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by /proc (Linux)")
def test_memory_beyond_input_and_output_is_small() -> None:
    """20 megapixels, in a process of its own: with every level and with few, and the way back."""
    code = """if True:
        import numpy as np
        from neurocodec import alpha
        from benchmarks.alone import peak_memory
        rng = np.random.default_rng(0)
        ramp = np.linspace(0, 250, 4000)[:, None].astype(np.uint8)
        channel = np.repeat(ramp, 5000, axis=1)
        channel += rng.integers(0, 2, channel.shape, dtype=np.uint8)
        before = peak_memory()
        for quality in (100, 50):
            section = alpha.pack(channel, quality)
        back = alpha.unpack(section, *channel.shape)
        print(peak_memory() - before, channel.size)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    grown, pixels = map(int, done.stdout.split())
    assert grown < 3.5 * pixels  # levels or Pillow's copy, the output, and sections
