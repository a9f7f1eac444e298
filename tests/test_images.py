"""Reading and writing pictures: right, or refused in a sentence, never silently less."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from neurocodec import images
from neurocodec.errors import ImageError
from tests.drawing import draw

LIMIT = 10**6


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_rgb_and_grey_come_back(form: str) -> None:
    pixels = draw("shapes", 20, 30)
    lossless = {"lossless": True} if form == "WEBP" else {}
    if form != "GIF":
        picture = images.read(encode(Image.fromarray(pixels), form, **lossless), LIMIT)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert not picture.grey
    if form != "WEBP":
        picture = images.read(encode(Image.fromarray(pixels[:, :, 0]), form), LIMIT)
        np.testing.assert_array_equal(picture.pixels[:, :, 1], pixels[:, :, 0])


def test_one_bit_and_palette() -> None:
    bits = Image.fromarray(draw("noise", 9, 13)[:, :, 0] > 128)
    assert images.read(encode(bits, "PNG"), LIMIT).grey
    palette = Image.fromarray(draw("shapes", 9, 13)).quantize(16)
    picture = images.read(encode(palette, "PNG"), LIMIT)
    np.testing.assert_array_equal(picture.pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("image", "form", "what"),
    [
        (Image.new("RGBA", (4, 4)), "PNG", "transparency"),
        (Image.new("LA", (4, 4)), "PNG", "transparency"),
        (Image.new("CMYK", (4, 4)), "JPEG", "CMYK"),
        (Image.new("I;16", (4, 4)), "PNG", "more than 8 bits"),
        (Image.new("I;16", (4, 4)), "TIFF", "more than 8 bits"),
        (Image.new("F", (4, 4)), "TIFF", "floating-point"),
        (Image.new("LAB", (4, 4)), "TIFF", "Lab"),
    ],
)
def test_what_would_be_lost_is_refused(image: Image.Image, form: str, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        images.read(encode(image, form), LIMIT)


def test_transparent_palette_is_refused() -> None:
    palette = Image.fromarray(draw("shapes", 9, 13)).quantize(16)
    with pytest.raises(ImageError, match="transparency"):
        images.read(encode(palette, "PNG", transparency=3), LIMIT)


def test_sixteen_bit_rgb_png_is_refused() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\x00" + bytes(range(12)) for _ in range(2))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(ImageError, match="more than 8 bits"):
        images.read(data, LIMIT)


def test_sixteen_bit_ppm_is_refused() -> None:
    with pytest.raises(ImageError, match="more than 8 bits"):
        images.read(b"P6 1 1 65535\n" + bytes(6), LIMIT)


def test_orientation_is_applied_once_and_noted() -> None:
    pixels = draw("shapes", 10, 16)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    picture = images.read(encode(Image.fromarray(pixels), "PNG", exif=exif), LIMIT)
    np.testing.assert_array_equal(picture.pixels, np.rot90(pixels, -1))
    assert any("EXIF" in note for note in picture.notes)


def test_profile_and_frames_are_noted() -> None:
    first, second = (Image.fromarray(draw("flat", 4, 4, s)) for s in (1, 2))
    data = encode(first, "TIFF", save_all=True, append_images=[second], icc_profile=b"some profile")
    notes = " ".join(images.read(data, LIMIT).notes)
    assert "first of 2 frames" in notes
    assert "colour profile" in notes


@pytest.mark.parametrize("data", [b"", b"hello", encode(Image.fromarray(draw("noise", 50, 50)), "PNG")[:900]])
def test_damaged_pictures(data: bytes) -> None:
    with pytest.raises(ImageError):
        images.read(data, LIMIT)


def test_too_many_pixels() -> None:
    with pytest.raises(ImageError, match="limit of 99"):
        images.read(encode(Image.fromarray(draw("flat", 10, 10)), "PNG"), 99)


@pytest.mark.parametrize("extension", [e for e in images.OUTPUTS if e not in (".jpg", ".jpeg")])
@pytest.mark.parametrize("grey", [False, True])
def test_lossless_outputs(extension: str, grey: bool) -> None:
    pixels = draw("shapes", 20, 30)
    pixels = np.repeat(pixels[:, :, :1], 3, 2) if grey else pixels
    written = Image.open(io.BytesIO(images.write(images.Picture(pixels, grey), extension)))
    assert written.mode == ("L" if grey and extension != ".webp" else "RGB")
    np.testing.assert_array_equal(np.asarray(written.convert("RGB")), pixels)


def test_jpeg_output_is_near() -> None:
    pixels = draw("gradient", 64, 64)
    written = Image.open(io.BytesIO(images.write(images.Picture(pixels), ".JPG")))
    assert np.abs(np.asarray(written).astype(int) - pixels).mean() < 4


def test_what_a_format_cannot_hold() -> None:
    with pytest.raises(ImageError, match="does not fit"):
        images.write(images.Picture(np.zeros((1, 70000, 3), np.uint8)), ".jpg")
    with pytest.raises(ImageError, match="cannot write"):
        images.write(images.Picture(np.zeros((1, 1, 3), np.uint8)), ".xyz")
