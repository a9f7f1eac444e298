"""Profile, EXIF and XMP: kept with the picture, and turned into pixels where they must be."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neurocodec import images
from neurocodec.errors import ImageError
from neurocodec.images import Picture
from neurocodec.metadata import Metadata, believed
from tests.drawing import draw
from tests.files import SRGB, XMP, again, encode, exif, read
from tests.hostile import header, ifd

TURNED_XMP = XMP.replace(b"/><", b' tiff:Orientation="6"/><')


def test_cmyk_goes_through_its_profile_or_without() -> None:
    cmyk = Image.fromarray(draw("shapes", 16, 16)).convert("CMYK")
    picture = read(encode(cmyk, "TIFF"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(cmyk.convert("RGB")))
    assert any("without a profile" in note for note in picture.notes)
    picture = read(encode(cmyk, "JPEG", quality=95, icc_profile=b"not a profile"))
    assert picture.metadata.icc == b""
    assert any("CMYK" in note for note in picture.notes)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_exactly_once(form: str, orientation: int) -> None:
    pixels = draw("gradient", 10, 16)
    options: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    data = encode(Image.fromarray(pixels), form, exif=exif(orientation), **options.get(form, {}))
    turned = [pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1], pixels.transpose(1, 0, 2)]
    turned += [np.rot90(pixels, -1), pixels[::-1, ::-1].transpose(1, 0, 2), np.rot90(pixels)]
    picture = read(data)
    assert picture.pixels.shape == turned[orientation - 1].shape
    assert np.abs(picture.pixels.astype(int) - turned[orientation - 1]).mean() < 4
    assert Image.Exif().get(0x0112) is None
    kept = Image.Exif()
    kept.load(picture.metadata.exif)
    assert kept.get(0x0112, 1) == 1
    np.testing.assert_array_equal(again(picture, ".png").pixels, picture.pixels)


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_metadata_come_back(extension: str) -> None:
    data = encode(Image.fromarray(draw("shapes", 20, 30)), "JPEG", exif=exif(), xmp=XMP, icc_profile=SRGB)
    picture = read(data)
    assert picture.notes == ()
    written, notes = images.write(picture, extension)
    assert notes == []
    found = read(written).metadata
    assert found.icc == SRGB
    assert found.xmp == XMP
    tags = Image.Exif()
    tags.load(found.exif)
    assert tags[0x010F] == "Acme"
    assert tags.get_ifd(0x8769)[0x9003] == "2026:11:21 12:00:00"
    if extension not in (".tif", ".avif"):  # Pillow writes those anew
        assert found.exif == picture.metadata.exif


def test_xmp_does_not_turn_an_upright_picture() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = read(encode(Image.fromarray(draw("shapes", 20, 30)), "JPEG", exif=exif(6), xmp=TURNED_XMP))
    assert picture.width == 20
    assert picture.metadata.xmp == XMP


def test_formats_that_cannot_hold_say_so() -> None:
    picture = Picture(draw("shapes", 9, 9), metadata=Metadata(SRGB, exif().removeprefix(b"Exif\0\0"), b""))
    for extension in (".bmp", ".ppm", ".jp2"):
        (note,) = images.write(picture, extension)[1]
        assert "colour profile, EXIF" in note
    see_through = Picture(draw("shapes", 9, 9), alpha=draw("noise", 9, 9)[:, :, 0])
    for extension in (".jpg", ".bmp", ".ppm"):
        with pytest.raises(ImageError, match="--background"):
            images.write(see_through, extension)


def test_profiles_that_do_not_fit_are_left_out_with_a_note() -> None:
    grey_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    for profile, word in (
        (b"some profile", "damaged"),
        (grey_profile, "for grey"),
        (SRGB[:16] + b"CMYK" + SRGB[20:], "CMYK"),
    ):
        picture = read(encode(Image.fromarray(draw("shapes", 9, 9)), "TIFF", icc_profile=profile))
        assert picture.metadata.icc == b""
        assert any(word in note for note in picture.notes)
    assert read(encode(Image.fromarray(draw("shapes", 9, 9)[:, :, 0]), "PNG", icc_profile=grey_profile)).metadata.icc


def test_damaged_exif_costs_only_the_exif() -> None:
    for damaged in (b"II*\0\xff\xff\xff\x7f", b"junk", b"MM\0*\0\0\0", b"II*\0\x08\0\0\0\x09\0"):
        picture = read(encode(Image.fromarray(draw("shapes", 9, 9)), "JPEG", exif=b"Exif\0\0" + damaged))
        assert (picture.width, picture.metadata.exif) == (9, b"")
        assert any("EXIF data are damaged" in note for note in picture.notes)


def test_strip_drops_all_and_keeps_the_looks() -> None:
    pixels = draw("gradient", 20, 30)
    picture = images.stripped(Picture(pixels, metadata=Metadata(SRGB, b"II*\0", XMP)))
    assert picture.metadata == Metadata()
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 1
    broken = images.stripped(Picture(pixels, metadata=Metadata(b"damaged")))
    np.testing.assert_array_equal(broken.pixels, pixels)
    assert any("without being applied" in note for note in broken.notes)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 13])
@pytest.mark.parametrize("order", ["<", ">"])
def test_no_orientation_is_left_in_any_form(kind: int, order: str) -> None:
    """Of any type, twice, and in a container that should not have one: what is written is not turned again."""
    entries = [(0x0112, kind, 1, 6 << 16 if order == ">" else 6), (0x0112, 3, 1, 8 << 16 if order == ">" else 8)]
    hostile = header(order) + ifd(order, entries, 0)
    kept, notes = believed(Metadata(exif=hostile, xmp=b"<x tiff:Orientation=\"6 tiff:Orientation='8'/>"))
    assert notes == []
    assert b'tiff:Orientation="1' in kept.xmp
    pixels = draw("shapes", 12, 20)
    for extension in (".png", ".webp", ".tif"):
        back = again(Picture(pixels, metadata=kept), extension)
        np.testing.assert_array_equal(back.pixels, pixels)


def test_damaged_exif_of_a_container_is_dropped_with_a_note() -> None:
    for damaged in (b"junk", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff"):
        assert believed(Metadata(exif=damaged)) == (Metadata(), ["its EXIF data are damaged and not kept."])


def test_tiff_takes_nothing_of_exif_that_describes_storage() -> None:
    """Bits, widths and strips of EXIF are those of another file; the maker is kept."""
    lies = [
        (0x0100, 4, 1, 7),
        (0x0101, 4, 1, 7),
        (0x0102, 2, 4, 0x41414141),
        (0x0111, 4, 1, 0),
        (0x0117, 4, 1, 1 << 30),
    ]
    hostile = header("<") + ifd("<", [*lies, (0x010F, 2, 4, 0x00656D63)], 0)
    pixels = draw("shapes", 12, 20)
    data, notes = images.write(Picture(pixels, metadata=Metadata(exif=hostile)), ".tif")
    assert notes == []
    back = read(data)
    np.testing.assert_array_equal(back.pixels, pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[0x010F] == "cme"


def test_exif_that_a_format_cannot_hold_is_left_out_with_a_note() -> None:
    large = Metadata(exif=header("<") + ifd("<", [(0x010F, 2, 4, 0x00656D63)], 0) + bytes(70_000), xmp=XMP)
    pixels = draw("shapes", 12, 20)
    data, notes = images.write(Picture(pixels, metadata=large), ".jpg")
    assert notes == ["its EXIF could not be written into JPEG and is left out (EXIF data is too long)."]
    assert (read(data).metadata.exif, read(data).metadata.xmp) == (b"", XMP)
    with pytest.raises(ImageError, match="does not fit into JPEG"):
        images.write(Picture(np.zeros((1, 70_000, 3), np.uint8), metadata=large), ".jpg")


def test_metadata_that_are_made_to_take_long_do_not() -> None:
    """Read hostile metadata in a process that is ended after a minute of processor time.

    Reading used to take hours. It now takes a hundredth of the minute, even on a busy machine.
    """
    code = """if True:
        import resource
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
        from tests.test_metadata import read_hostile
        read_hostile()
    """
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[1]).returncode == 0


def read_hostile() -> None:
    """Read EXIF with many orientations, and XMP that consists of blanks."""
    entries = 65535
    directory = struct.pack("<H", entries) + struct.pack("<HHIHH", 274, 3, 1, 6, 0) * entries
    hostile = struct.pack("<2sHI", b"II", 42, 8) + directory + bytes(1 << 23)
    found, _ = believed(Metadata(exif=hostile, xmp=b" " * (1 << 23)))
    assert found.xmp == b" " * (1 << 23)
    assert struct.unpack_from("<HHIHH", found.exif, 10 + 12 * (entries - 1)) == (274, 3, 1, 1, 0)


def test_an_xmp_that_is_a_number_is_none() -> None:
    image = Image.new("RGB", (8, 8))
    image.info["xmp"] = 16_000_000
    assert images.from_pillow(image).metadata.xmp == b""


def test_exif_that_is_not_equal_to_itself_stays_to_the_byte() -> None:
    """Cameras write 0/0 where they do not know; the note behind it would be lost if EXIF were written anew."""
    entries = struct.pack("<HHHIIHHII", 2, 0x9206, 5, 1, 26, 0x927C, 7, 4, 0x01020304)
    tags = struct.pack("<HHHIII", 1, 0x8769, 4, 1, 34, 0)
    block = struct.pack("<2sHI", b"II", 42, 8) + tags + struct.pack("<II", 0, 0) + entries + bytes(4)
    data = encode(Image.fromarray(draw("shapes", 16, 16)), "JPEG", exif=b"Exif\0\0" + block)
    with Image.open(io.BytesIO(data)) as image:
        assert str(image.getexif().get_ifd(0x8769)[0x9206]) == "nan"
    assert read(data).metadata.exif == block


def test_what_a_program_has_changed_in_exif_is_kept_so() -> None:
    tags = Image.Exif()
    tags[0x010F] = "Acme"
    tags.get_ifd(0x8825)[1] = "N"
    data = encode(Image.fromarray(draw("shapes", 16, 16)), "JPEG", exif=tags)
    with Image.open(io.BytesIO(data)) as image:
        untouched = images.from_pillow(image).metadata.exif
    assert untouched == read(data).metadata.exif
    with Image.open(io.BytesIO(data)) as image:
        del image.getexif()[0x8825]
        image.getexif()[0x010F] = "Changed"
        found = Image.Exif()
        found.load(images.from_pillow(image).metadata.exif)
    assert dict(found) == {0x010F: "Changed"}
    assert not found.get_ifd(0x8825)
    with Image.open(io.BytesIO(data)) as image:
        image.getexif().get_ifd(0x8825)[1] = "S"
        found.load(images.from_pillow(image).metadata.exif)
    assert found.get_ifd(0x8825) == {1: "S"}


@pytest.mark.parametrize(("gamma", "told"), [(100000, True), (45455, False)])
def test_gamma_that_is_not_applied_is_told(gamma: int, told: bool) -> None:
    png = encode(Image.new("RGB", (8, 8)), "PNG")
    chunk = b"gAMA" + struct.pack(">I", gamma)
    png = png[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    assert any("gamma of 1 is not applied" in note for note in read(png).notes) is told
