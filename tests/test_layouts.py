"""How files hold their pixels: where Pillow takes them wrongly, or does not say what it made of them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from neurocodec import images
from neurocodec.errors import ImageError
from neurocodec.images import Picture
from neurocodec.layouts import SIZ, layout_of
from neurocodec.metadata import Metadata
from tests.drawing import draw
from tests.files import LIMIT, SRGB, encode, exif, read

PNG = b"\x89PNG\r\n\x1a\n"


def tiff(values: NDArray[np.generic], photometric: int, planes: int = 1) -> bytes:
    """An uncompressed little-endian TIFF of values (H, W), or (3, H, W) in planes of their own."""
    height, width = values.shape[-2:]
    channels = values.size // (height * width)
    bits, kind = 8 * values.itemsize, 3 if values.dtype.kind == "f" else 1
    size = values.nbytes // planes if planes == 1 else values.nbytes // channels
    data_at = 8 + 2 + 12 * 11 + 4
    behind = data_at + values.nbytes
    strips = [data_at + size * i for i in range(channels if planes == 2 else 1)]
    where = (len(strips), strips[0]) if len(strips) == 1 else (len(strips), behind)
    sizes = (len(strips), size) if len(strips) == 1 else (len(strips), behind + 4 * len(strips))
    depths = (1, bits) if channels == 1 else (channels, behind + 8 * len(strips))
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, *depths),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, *where),
        (277, 3, 1, channels),
        (278, 3, 1, height),
        (279, 4, *sizes),
        (284, 3, 1, planes),
        (339, 3, 1, kind) if channels == 1 else (339, 3, 1, 1),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    lists = struct.pack(f"<{len(strips)}I", *strips) + struct.pack("<I", size) * len(strips)
    body: bytes = values.astype(values.dtype.newbyteorder("<")).tobytes()
    whole: bytes = b"II*\0" + struct.pack("<I", 8) + directory + body + lists + struct.pack("<H", bits) * channels
    return whole


RAMP = np.linspace(0, 65535, 12).astype(np.uint16).reshape(3, 4)
EIGHT = ((RAMP.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


@pytest.mark.parametrize("negative", [False, True])
def test_white_may_be_zero_in_any_depth(negative: bool) -> None:
    wanted = 255 - EIGHT if negative else EIGHT
    for values in (RAMP, (RAMP / 65535).astype(np.float32), EIGHT):
        np.testing.assert_array_equal(read(tiff(values, 0 if negative else 1)).pixels[:, :, 0], wanted)


def test_deep_planes_are_refused_and_others_are_read() -> None:
    planes = np.stack([RAMP, RAMP // 2, RAMP[::-1]])
    with pytest.raises(ImageError, match="16 bits a channel in planes of their own"):
        read(tiff(planes, 2, planes=2))
    flat = np.stack([EIGHT, EIGHT // 2, EIGHT[::-1]])
    np.testing.assert_array_equal(read(tiff(flat, 2, planes=2)).pixels, flat.transpose(1, 2, 0))


def test_deep_colours_of_jpeg_2000_are_refused() -> None:
    """Pillow's sum of a level and half a step overflows: white becomes black. 8 bits and deep greys are right."""
    pixels = draw("shapes", 20, 30)
    data = bytearray(encode(Image.fromarray(pixels), "JPEG2000", irreversible=False))
    np.testing.assert_array_equal(read(bytes(data)).pixels, pixels)
    at = data.index(SIZ) + 42
    for i in range(3):
        data[at + 3 * i] = 15  # 16 bits
    with pytest.raises(ImageError, match="16 bits a channel"):
        read(bytes(data))
    grey = read(encode(Image.fromarray(RAMP.repeat(8, 0).repeat(8, 1)), "JPEG2000", irreversible=False))
    np.testing.assert_array_equal(grey.pixels[:, :, 0], EIGHT.repeat(8, 0).repeat(8, 1))
    assert grey.notes == ("its 16 bits a channel are reduced to 8.",)


def test_deeper_files_are_noted() -> None:
    assert read(encode(Image.fromarray(draw("shapes", 9, 13)), "SGI", bpc=2)).notes == (
        "its 16 bits a channel are reduced to 8.",
    )
    data = bytearray(encode(Image.fromarray(draw("shapes", 32, 32)), "AVIF"))
    for flags, bits in ((0, 8), (0x40, 10), (0x60, 12)):
        data[data.index(b"av1C") + 6] = flags
        image: Any = Image.new("RGB", (32, 32))  # Pillow writes 8 bits alone, and opens no file that lies
        image.format, image.fp = "AVIF", io.BytesIO(bytes(data))
        assert layout_of(image).bits == bits


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth: int, colour: int, rows: list[bytes], *others: bytes) -> bytes:
    """A PNG 4 pixels wide and a row high; of several rows, an APNG of as many frames."""
    packed = [zlib.compress(b"\0" + row) for row in rows]
    head = PNG + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0))
    if len(rows) == 1:
        return head + b"".join(others) + chunk(b"IDAT", packed[0]) + chunk(b"IEND", b"")
    place = [struct.pack(">IIIIIHHBB", max(0, 2 * i - 1), 4, 1, 0, 0, 1, 10, 0, 0) for i in range(len(rows))]
    more = [
        chunk(b"fcTL", place[i]) + chunk(b"fdAT", struct.pack(">I", 2 * i) + packed[i]) for i in range(1, len(rows))
    ]
    first = chunk(b"acTL", struct.pack(">II", len(rows), 0)) + b"".join(others) + chunk(b"fcTL", place[0])
    return head + first + chunk(b"IDAT", packed[0]) + b"".join(more) + chunk(b"IEND", b"")


def test_deep_grey_with_alpha_stays_grey() -> None:
    picture = read(png(16, 4, [struct.pack(">8H", 0, 65535, 32896, 0, 65535, 65535, 257, 257)]))
    assert picture.grey
    assert picture.pixels[0, :, 0].tolist() == [0, 128, 255, 1]
    assert picture.alpha is not None
    assert picture.alpha[0].tolist() == [255, 0, 255, 1]


@pytest.mark.parametrize(
    ("depth", "colour", "hidden", "seen"),
    [
        (2, 0, bytes([0b01010101]), bytes([0b10010101])),
        (16, 2, struct.pack(">12H", *[0x4000] * 12), struct.pack(">12H", *[64] * 3, *[0x4000] * 9)),
    ],
)
def test_the_hidden_colour_is_the_same_in_all_frames(depth: int, colour: int, hidden: bytes, seen: bytes) -> None:
    trns = chunk(b"tRNS", struct.pack(">H", 1) if depth == 2 else struct.pack(">HHH", *[0x4000] * 3))
    found = list(images.read_frames(png(depth, colour, [hidden, hidden, seen], trns), LIMIT))
    alphas = [picture.alpha[0].tolist() for picture in found if picture.alpha is not None]
    assert alphas == [[0, 0, 0, 0], [0, 0, 0, 0], [255, 0, 0, 0]]
    with Image.open(io.BytesIO(png(depth, colour, [hidden], trns))) as image:
        for _ in range(2):  # of an image that it has loaded, too
            alpha = images.from_pillow(image).alpha
            assert alpha is not None
            assert not alpha.any()


def test_an_icon_is_refused_before_it_is_decoded() -> None:
    large = encode(Image.new("1", (300, 200)), "PNG").replace(b"IDAT", b"IDAT\xff", 1)  # which cannot be decoded
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 1, len(large), 22)
    icon = struct.pack("<HHH", 0, 1, 1) + entry + large
    with pytest.raises(ImageError, match="300x200"):
        images.read(icon, 1000)
    for end in (5, 6, 10, 22, 40):
        with pytest.raises(ImageError):
            images.read(icon[:end], 1000)
    small = encode(Image.fromarray(draw("shapes", 32, 32)), "ICO", sizes=[(32, 32)])
    np.testing.assert_array_equal(read(small).pixels, draw("shapes", 32, 32))


def test_a_psd_is_one_picture() -> None:
    planes = draw("shapes", 20, 30).transpose(2, 0, 1)
    head = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 20, 30, 8, 3) + bytes(12)
    (frame,) = images.read_frames(head + struct.pack(">H", 0) + planes.tobytes(), LIMIT)
    np.testing.assert_array_equal(frame.pixels, planes.transpose(1, 2, 0))


def test_greys_of_an_rgb_profile_are_written_with_three_channels() -> None:
    """libpng refuses such a profile beside one channel; other readers misapply it."""
    grey = np.repeat(draw("shapes", 9, 13)[:, :, :1], 3, axis=2)
    for extension, mode in ((".png", "RGB"), (".tif", "RGB"), (".jpg", "RGB")):
        data, notes = images.write(Picture(grey, grey=True, metadata=Metadata(icc=SRGB)), extension)
        with Image.open(io.BytesIO(data)) as image:
            assert (image.mode, image.info["icc_profile"], notes) == (mode, SRGB, [])
    for icc, extension in ((b"", ".png"), (SRGB, ".ppm")):
        data, _ = images.write(Picture(grey, grey=True, metadata=Metadata(icc=icc)), extension)
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "L"


def test_what_webp_makes_of_greys_and_of_what_is_hidden() -> None:
    grey = np.repeat(draw("shapes", 9, 13)[:, :, :1], 3, axis=2)
    profile = b"\0" * 16 + b"GRAY" + b"\0" * 16 + b"acsp" + bytes(88)
    for icc, words in ((profile, ["grey profile is applied"]), (b"", [])):
        notes = images.write(Picture(grey, grey=True, metadata=Metadata(icc=icc)), ".webp")[1]
        assert all(any(word in note for note in notes) for word in words)
        assert bool(notes) == bool(words)
    alpha = np.zeros((9, 13), np.uint8)
    hidden = read(images.write(Picture(draw("shapes", 9, 13), alpha=alpha), ".webp")[0])
    np.testing.assert_array_equal(hidden.pixels, draw("shapes", 9, 13))


def test_what_tiff_does_not_get_of_damaged_exif_is_noted(recwarn: pytest.WarningsRecorder) -> None:
    whole = exif().removeprefix(b"Exif\0\0")
    assert images.write(Picture(draw("shapes", 9, 9), metadata=Metadata(exif=whole)), ".tif")[1] == []
    at = whole.index(struct.pack(">HHI", 0x9003, 2, 20)) if whole[:2] == b"MM" else whole.index(b"\x03\x90\x02\0")
    beyond = bytearray(whole)
    order = ">" if whole[:2] == b"MM" else "<"
    struct.pack_into(f"{order}I", beyond, at + 8, 60_000)  # where there is nothing
    _, notes = images.write(Picture(draw("shapes", 9, 9), metadata=Metadata(exif=bytes(beyond))), ".tif")
    assert notes == ["what is damaged of its EXIF is left out of TIFF."]
    assert not recwarn.list


def test_formats_without_pixels_are_no_pictures() -> None:
    assert {".png", ".tif", ".psd", ".ico"} <= images.readable_extensions()
    assert not {".mpg", ".h5", ".grib", ".bufr"} & images.readable_extensions()
