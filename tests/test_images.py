"""Reading and writing pictures: the same picture in and out, or a sentence, never silently less."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from neurocodec import images
from neurocodec.errors import ImageError
from neurocodec.images import Picture
from neurocodec.metadata import Metadata
from neurocodec.unhindered import pillow_limit, unhindered
from tests.drawing import draw
from tests.files import LIMIT, SRGB, again, encode, exif, read


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000", "TGA", "PCX", "SGI"])
def test_rgb_and_grey_come_back(form: str) -> None:
    pixels = draw("shapes", 20, 30)
    lossless = {"lossless": True} if form == "WEBP" else {}
    if form != "GIF":
        picture = read(encode(Image.fromarray(pixels), form, **lossless))
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert not picture.grey
    if form != "WEBP":
        picture = read(encode(Image.fromarray(pixels[:, :, 0]), form))
        np.testing.assert_array_equal(picture.pixels[:, :, 1], pixels[:, :, 0])
        assert picture.grey


def test_one_bit_and_palette() -> None:
    bits = Image.fromarray(draw("noise", 9, 13)[:, :, 0] > 128)
    assert read(encode(bits, "PNG")).grey
    palette = Image.fromarray(draw("shapes", 9, 13)).quantize(16)
    picture = read(encode(palette, "PNG"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("mode", "form", "grey"),
    [
        ("RGBA", "PNG", False),
        ("RGBA", "WEBP", False),
        ("RGBA", "TIFF", False),
        ("LA", "PNG", True),
        ("LA", "TIFF", True),
    ],
)
def test_alpha_comes_back(mode: str, form: str, grey: bool) -> None:
    values = draw("shapes", 20, 30)
    alpha = draw("noise", 20, 30)[:, :, 0]
    channels = [values[:, :, :1] if grey else values, alpha[:, :, None]]
    lossless = {"lossless": True, "exact": True} if form == "WEBP" else {}
    picture = read(encode(Image.fromarray(np.concatenate(channels, 2)), form, **lossless))
    assert (picture.grey, picture.notes) == (grey, ())
    assert picture.alpha is not None
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels, np.repeat(values[:, :, :1], 3, 2) if grey else values)


def test_transparent_colours() -> None:
    palette = Image.fromarray(draw("shapes", 9, 13)).quantize(16)
    index = np.asarray(palette)
    found = read(encode(palette, "PNG", transparency=3)).alpha
    assert found is not None
    np.testing.assert_array_equal(found, np.where(index == 3, 0, 255))
    grey = draw("shapes", 9, 13)[:, :, 0]
    picture = read(encode(Image.fromarray(grey), "PNG", transparency=int(grey[2, 3])))
    assert picture.alpha is not None
    assert picture.grey
    np.testing.assert_array_equal(picture.alpha, np.where(grey == grey[2, 3], 0, 255))
    pixels = draw("shapes", 9, 13)
    picture = read(encode(Image.fromarray(pixels), "PNG", transparency=tuple(int(v) for v in pixels[0, 0])))
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert not picture.grey


@pytest.mark.parametrize(
    ("values", "form", "wanted", "note"),
    [
        (np.array([[0, 128, 129, 65535]], np.uint16), "PNG", [0, 0, 1, 255], "16 bits"),
        (np.array([[0, 128, 129, 65535]], np.uint16), "TIFF", [0, 0, 1, 255], "16 bits"),
        (np.array([[0, 200, 255]], np.int32), "TIFF", [0, 200, 255], None),
        (np.array([[0, 65535, 40000]], np.int32), "TIFF", [0, 255, 156], "16 bits"),
        (np.array([[0, 0.5, 1]], np.float32), "TIFF", [0, 128, 255], "floating-point"),
        (np.array([[0, 12.4, 255]], np.float32), "TIFF", [0, 12, 255], "taken as 0 to 255"),
    ],
)
def test_deep_greys_are_reduced_with_a_note(values: Any, form: str, wanted: list[int], note: str | None) -> None:
    picture = read(encode(Image.fromarray(values), form))
    assert picture.grey
    assert picture.pixels[0, :, 0].tolist() == wanted
    assert any(note in n for n in picture.notes) if note else picture.notes == ()


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (np.array([[0, 1e6]], np.float32), "HDR"),
        (np.array([[-1, 0]], np.float32), "HDR"),
        (np.array([[np.nan, 0]], np.float32), "not all finite"),
        (np.array([[0, 70000]], np.int32), "beyond 16 bits"),
    ],
)
def test_what_eight_bits_cannot_stand_for_is_refused(values: Any, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        read(encode(Image.fromarray(values), "TIFF"))


def png(depth: int, colour: int, row: bytes, rows: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, rows, depth, colour, 0, 0, 0))
    return data + chunk(b"IDAT", zlib.compress((b"\0" + row) * rows)) + chunk(b"IEND", b"")


def test_sixteen_bit_colours_are_reduced_with_a_note() -> None:
    picture = read(png(16, 2, bytes(range(12)), 2))
    assert picture.pixels[0].tolist() == [[0, 2, 4], [6, 8, 10]]
    assert any("16 bits" in note for note in picture.notes)
    picture = read(png(16, 6, bytes(range(16)), 2))
    assert picture.alpha is not None
    assert any("16 bits" in note for note in picture.notes)
    assert any("16 bits" in note for note in read(b"P6 1 1 65535\n" + bytes(6)).notes)


def test_twelve_bits_keep_their_brightness() -> None:
    values = np.array([[0, 1000, 2048, 4095]], np.uint16)
    packed = bytes(b for a, c in values.reshape(-1, 2).tolist() for b in (a >> 4, (a & 15) << 4 | c >> 8, c & 255))
    tags = [(256, 3, 4), (257, 3, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 1)]
    tags.append((279, 4, len(packed)))
    where = 8 + len(packed)
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in tags)
    picture = read(struct.pack("<2sHI", b"II", 42, where) + packed + directory + bytes(4))
    assert picture.pixels[0, :, 0].tolist() == [0, 62, 128, 255]
    assert picture.notes == ("its 12 bits a channel are reduced to 8.",)


def test_whole_numbers_in_memory_are_those_of_a_picture() -> None:
    grey = Image.fromarray(draw("shapes", 20, 30)[:, :, 0])
    np.testing.assert_array_equal(images.from_pillow(grey.convert("I")).pixels[:, :, 0], np.asarray(grey))


def test_threads_leave_pillow_as_it_was() -> None:
    data = encode(Image.fromarray(draw("shapes", 200, 200)), "PNG")
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, [data] * 200))
    assert limit is not None
    assert limit == Image.MAX_IMAGE_PIXELS == pillow_limit()
    assert warnings.filters == filters
    with unhindered():
        assert pillow_limit() == limit
        assert Image.MAX_IMAGE_PIXELS is None


def test_images_in_memory_that_are_none_are_refused() -> None:
    cut = encode(Image.fromarray(draw("noise", 60, 60)), "PNG")[:3000]
    with pytest.raises(ImageError, match="damaged"):
        images.from_pillow(Image.open(io.BytesIO(cut)))
    with pytest.raises(ImageError, match="0x5 pixels is empty"):
        images.from_pillow(Image.new("RGB", (0, 5)))


def test_lab_is_converted() -> None:
    grey = Image.new("RGB", (8, 8), (120, 120, 120))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(grey, srgb, lab, outputMode="LAB")
    assert image is not None
    picture = read(encode(image, "TIFF"))
    assert np.abs(picture.pixels.astype(int) - 120).max() <= 2
    assert any("Lab" in note for note in picture.notes)


@pytest.mark.parametrize("mode", ["YCbCr"])
def test_other_colours_are_converted(mode: str) -> None:
    image = Image.fromarray(draw("gradient", 16, 16)).convert(mode)
    picture = read(encode(image, "TIFF"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("extension", [".png", ".webp", ".tif", ".jp2", ".avif"])
@pytest.mark.parametrize("grey", [False, True])
def test_alpha_is_written(extension: str, grey: bool) -> None:
    pixels = draw("shapes", 40, 50)
    pixels = np.repeat(pixels[:, :, :1], 3, 2) if grey else pixels
    picture = Picture(pixels, grey, alpha=draw("gradient", 40, 50)[:, :, 0])
    found = again(picture, extension)
    assert found.alpha is not None
    if extension != ".avif":
        np.testing.assert_array_equal(found.alpha, picture.alpha)
        np.testing.assert_array_equal(found.pixels, pixels)
    assert found.grey == (grey and extension not in (".webp", ".avif"))


def test_one_transparent_grey_of_sixteen_bits() -> None:
    values = np.array([[0, 300, 65535]], np.uint16)
    alpha = read(encode(Image.fromarray(values), "PNG", transparency=300)).alpha
    assert alpha is not None
    assert alpha.tolist() == [[255, 0, 255]]


def test_background() -> None:
    alpha = np.array([[0, 255, 128]], np.uint8)
    picture = Picture(np.full((1, 3, 3), 100, np.uint8), True, alpha)
    laid = images.laid_on(picture, (200, 200, 200))
    assert laid.pixels[0, :, 0].tolist() == [200, 100, 150]
    assert (laid.grey, laid.alpha) == (True, None)
    assert not images.laid_on(picture, (200, 0, 0)).grey


def test_frames() -> None:
    frames = [Image.fromarray(draw("flat", 4, 6, s)) for s in (1, 2, 3)]
    data = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert "first of its 3 frames" in " ".join(read(data).notes)
    found = list(images.read_frames(data, LIMIT))
    assert len(found) == 3
    for picture, frame in zip(found, frames, strict=True):
        np.testing.assert_array_equal(picture.pixels, np.asarray(frame))


@pytest.mark.parametrize("data", [b"", b"hello", encode(Image.fromarray(draw("noise", 50, 50)), "PNG")[:900]])
def test_damaged_pictures(data: bytes) -> None:
    with pytest.raises(ImageError):
        read(data)


def test_too_many_pixels() -> None:
    with pytest.raises(ImageError, match="limit of 99"):
        images.read(encode(Image.fromarray(draw("flat", 10, 10)), "PNG"), 99)
    with pytest.raises(ImageError, match="so narrow"):
        images.read(b"P6 999999 1 255\n", LIMIT)


@pytest.mark.parametrize("extension", [e for e in images.OUTPUTS if e not in (".jpg", ".jpeg", ".avif")])
@pytest.mark.parametrize("grey", [False, True])
def test_lossless_outputs(extension: str, grey: bool) -> None:
    pixels = draw("shapes", 20, 30)
    pixels = np.repeat(pixels[:, :, :1], 3, 2) if grey else pixels
    written = Image.open(io.BytesIO(images.write(Picture(pixels, grey), extension)[0]))
    assert written.mode == ("L" if grey and extension != ".webp" else "RGB")
    np.testing.assert_array_equal(np.asarray(written.convert("RGB")), pixels)


@pytest.mark.parametrize("extension", [".JPG", ".avif"])
def test_lossy_outputs_are_near(extension: str) -> None:
    pixels = draw("gradient", 64, 64)
    written = Image.open(io.BytesIO(images.write(Picture(pixels), extension)[0]))
    assert np.abs(np.asarray(written).astype(int) - pixels).mean() < 4


def test_unknown_extension_and_too_large_for_a_format() -> None:
    with pytest.raises(ImageError, match=r"\.xyz"):
        images.check_extension(".xyz")
    with pytest.raises(ImageError, match="WEBP"):
        images.write(Picture(np.zeros((1, 16384, 3), np.uint8)), ".webp")


def hiding(width: int, depth: int, colours: int, row: bytes, hidden: bytes) -> bytes:
    """A PNG of one row, with a colour that is not to be seen: Pillow writes neither 2 nor 4 bits."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, 1, depth, colours, 0, 0, 0)
    parts = {b"IHDR": head, b"tRNS": hidden, b"IDAT": zlib.compress(b"\0" + row), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts.items())


@pytest.mark.parametrize(
    ("file", "alpha"),
    [
        (hiding(2, 1, 0, b"\x40", b"\0\1"), [255, 0]),
        (hiding(4, 2, 0, b"\x1b", b"\0\3"), [255, 255, 255, 0]),
        (hiding(2, 4, 0, b"\x1f", b"\0\x0f"), [255, 0]),
        (hiding(2, 4, 0, b"\x1f", b"\0\1"), [0, 255]),
        (hiding(2, 8, 0, b"\7\x09", b"\0\x09"), [255, 0]),
        (hiding(2, 16, 0, b"\x12\x34\xff\xff", b"\x12\x34"), [0, 255]),
        (hiding(2, 16, 2, b"\x12\x34" * 3 + b"\xff" * 6, b"\x12\x34" * 3), [0, 255]),
    ],
)
def test_a_colour_that_a_png_hides(file: bytes, alpha: list[int]) -> None:
    found = read(file).alpha
    assert found is not None
    assert found.tolist() == [alpha]


def test_a_profile_of_greys_is_not_given_to_colours() -> None:
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    pixels = draw("gradient", 9, 9)[:, :, :1].repeat(3, axis=2)
    half = np.full((9, 9), 128, np.uint8)
    grey = Picture(pixels, True, half, Metadata(icc=profile, exif=exif()[6:]))
    for data in (images.write(grey, ".webp")[0], images.write(images.laid_on(grey, (255, 0, 0)), ".png")[0]):
        found = read(data)
        assert (found.metadata.icc, found.notes) == (b"", ())
        assert found.metadata.exif
    assert images.laid_on(grey, (9, 9, 9)).metadata.icc == profile


def test_dark_pictures_of_sixteen_bits_are_dark() -> None:
    for form in ("PPM", "PNG", "TIFF"):
        found = read(encode(Image.fromarray(np.full((9, 9), 200, np.uint16)), form))
        assert int(found.pixels.max()) == 1
        assert found.notes == ("its 16 bits a channel are reduced to 8.",)
