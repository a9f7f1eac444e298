"""SSIMULACRA 2 and its differentiable form against the published package."""

from __future__ import annotations

import io
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from ssimulacra2 import compute_ssimulacra2

from neurocodec import metrics, ssimulacra2
from neurocodec.ssimulacra2_loss import ssimulacra2_error
from tests.drawing import draw

Pixels = NDArray[np.uint8]


def photograph(name: str, height: int, width: int, mode: str = "RGB") -> Pixels:
    """Return a crop of one of scikit-image's pictures, (height, width, 3)."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        pixels = np.array(image.convert(mode).convert("RGB"))[-height:, -width:]
    assert pixels.shape == (height, width, 3)
    return pixels


def as_png(pixels: Pixels) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.array(image)


def published(original: Pixels, decoded: Pixels) -> float:
    """Compute the score with the package ``ssimulacra2``, which reads files."""
    return float(compute_ssimulacra2(as_png(original), as_png(decoded)))


def as_batch(*pictures: Pixels) -> torch.Tensor:
    return torch.tensor(np.stack(pictures)).float() / 255


def score_of_loss(original: Pixels, decoded: Pixels) -> float:
    error = float(ssimulacra2_error(as_batch(decoded), as_batch(original)))
    return 100 - 10 * math.pow(error, ssimulacra2.POWER)


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "rocket.jpg"])
@pytest.mark.parametrize("quality", [5, 30, 60, 85, 98])
def test_both_forms_agree_with_the_published_package(name: str, quality: int) -> None:
    original = photograph(name, 300, 400)
    decoded = jpeg(original, quality)
    wanted = published(original, decoded)
    assert wanted < 95
    assert metrics.ssimulacra2(original, decoded) == pytest.approx(wanted, abs=0.01)
    assert score_of_loss(original, decoded) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("quality", [5, 50, 95])
@pytest.mark.parametrize(
    "size", [(8, 8), (8, 9), (15, 16), (9, 300), (300, 9), (64, 64), (113, 200), (224, 225), (225, 226), (255, 257)]
)
def test_sizes_agree_with_the_published_package(size: tuple[int, int], quality: int) -> None:
    """Compare pictures with sides of 8 to 300 pixels, odd and even, with one to six scales."""
    original = photograph("coffee.png", *size)
    decoded = jpeg(original, quality)
    wanted = published(original, decoded)
    assert metrics.ssimulacra2(original, decoded) == pytest.approx(wanted, abs=0.01)
    if min(size) >= 225:
        assert score_of_loss(original, decoded) == pytest.approx(wanted, abs=0.1)


def test_a_large_picture_agrees_with_the_published_package() -> None:
    original = photograph("hubble_deep_field.jpg", 512, 768)
    decoded = jpeg(original, 40)
    wanted = published(original, decoded)
    assert metrics.ssimulacra2(original, decoded) == pytest.approx(wanted, abs=0.01)
    assert score_of_loss(original, decoded) == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("quality", [10, 90])
def test_grey_pictures_agree_with_the_published_package(quality: int) -> None:
    original = photograph("camera.png", 256, 300, "L")
    decoded = np.repeat(jpeg(original, quality)[:, :, :1], 3, 2)
    wanted = published(original, decoded)
    assert metrics.ssimulacra2(original, decoded) == pytest.approx(wanted, abs=0.01)
    assert score_of_loss(original, decoded) == pytest.approx(wanted, abs=0.1)


def test_the_order_of_the_pictures_matters() -> None:
    """Compare a blurred picture both ways: blur counts as lost detail, and its removal as an artifact."""
    sharp = photograph("chelsea.png", 240, 240)
    blurred = np.array(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(1)))
    found = [metrics.ssimulacra2(*pair) for pair in ((sharp, blurred), (blurred, sharp))]
    assert abs(found[0] - found[1]) > 1
    assert found == pytest.approx([published(sharp, blurred), published(blurred, sharp)], abs=0.01)


@pytest.mark.parametrize("size", [(8, 8), (77, 130), (300, 240)])
@pytest.mark.parametrize("kind", ["noise", "flat", "shapes"])
def test_equal_pictures_are_100(kind: str, size: tuple[int, int]) -> None:
    pixels = draw(kind, *size)
    assert metrics.ssimulacra2(pixels, pixels.copy()) == 100
    assert metrics.ssimulacra2(pixels, 255 - pixels) < 97


def test_the_loss_of_equal_pictures_is_100() -> None:
    """Allow one point, because the loss keeps roots above zero."""
    picture = draw("shapes", 240, 240)
    assert score_of_loss(picture, picture) == pytest.approx(100, abs=1)


@pytest.mark.parametrize("size", [(301, 123), (64, 65)])
def test_strips_of_any_height_give_the_same(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    original = photograph("coffee.png", *size)
    decoded = jpeg(original, 30)
    monkeypatch.setattr(ssimulacra2, "STRIP", 1000)
    whole = metrics.ssimulacra2(original, decoded)
    for rows in (2, 6, 64, 150, 300):
        monkeypatch.setattr(ssimulacra2, "STRIP", rows)
        assert metrics.ssimulacra2(original, decoded) == pytest.approx(whole, abs=1e-4)


def test_memory_is_bounded() -> None:
    """Check the docstring's promise of 7.5 bytes per pixel and 5 kB per column."""
    height, width = 4000, 200
    original = draw("noise", height, width)
    decoded = 255 - original
    tracemalloc.start()
    metrics.ssimulacra2(original, decoded)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7.5 * height * width + 5000 * width


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ((7, 300, 3), (7, 300, 3), "8 pixels"),
        ((300, 7, 3), (300, 7, 3), "8 pixels"),
        ((20, 20, 3), (20, 21, 3), "one shape"),
        ((20, 20), (20, 20), "one shape"),
        ((20, 20, 4), (20, 20, 4), "one shape"),
    ],
)
def test_pictures_that_cannot_be_compared(first: tuple[int, ...], second: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.ssimulacra2(np.zeros(first, np.uint8), np.zeros(second, np.uint8))


def test_the_loss_refuses_small_pictures() -> None:
    assert ssimulacra2_error(*[torch.zeros(1, 113, 113, 3)] * 2).isfinite().all()
    with pytest.raises(ValueError, match="113"):
        ssimulacra2_error(*[torch.zeros(1, 113, 112, 3)] * 2)


def test_a_batch_is_its_pictures() -> None:
    originals = [photograph(name, 226, 300) for name in ("coffee.png", "chelsea.png", "rocket.jpg")]
    decoded = [jpeg(pixels, quality) for pixels, quality in zip(originals, (10, 50, 90), strict=True)]
    together = ssimulacra2_error(as_batch(*decoded), as_batch(*originals))
    alone = [ssimulacra2_error(as_batch(d), as_batch(o)) for d, o in zip(decoded, originals, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quality", [10, 60])
def test_the_gradient_of_the_loss_is_its_slope(quality: int) -> None:
    """Compare finite differences along the gradient, and along a part of it."""
    original = photograph("coffee.png", 120, 140)
    o, d = as_batch(original), as_batch(jpeg(original, quality)).clamp(0.01, 0.99)
    d.requires_grad_()
    (gradient,) = torch.autograd.grad(ssimulacra2_error(d, o).sum(), d)
    some = torch.rand(gradient.shape, generator=torch.Generator().manual_seed(1)) < 0.3
    for direction in (gradient, gradient * some):
        slope = float((gradient * direction).sum())
        step = 0.002 / float(direction.abs().max())
        with torch.no_grad():
            ends = [float(ssimulacra2_error(d + sign * step * direction, o)) for sign in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=0.02)


def test_the_loss_has_a_gradient_everywhere() -> None:
    """Test black and equal areas, where roots are steep, and values beyond [0, 1], which decoders return."""
    o = as_batch(draw("shapes", 120, 120))
    o[:, :40] = 0
    d = o.clone()
    d[:, 60:] = (o[:, 60:] * 1.6 - 0.3).roll(1, 2)
    d.requires_grad_()
    (gradient,) = torch.autograd.grad(ssimulacra2_error(d, o).sum(), d)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
