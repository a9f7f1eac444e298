"""The Pillow plugin, previews, and all that the library takes for a picture or a file."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image, ImageCms, UnidentifiedImageError

import neurocodec.pillow
from neurocodec import api, fields
from neurocodec.container import pack, unpack
from neurocodec.errors import ImageError, NeurocodecError, WeightsError
from neurocodec.images import Picture, to_pillow
from neurocodec.metadata import Metadata
from tests.drawing import draw
from tests.golden.make import TINY

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pillow") / "x.nc"
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    pixels = np.concatenate([draw("shapes", 130, 200), draw("gradient", 130, 200)[:, :, :1]], 2)
    Image.fromarray(pixels).save(path, quality=60, icc_profile=SRGB, exif=exif, xmp=b"<xmp/>")
    return path


def test_open_knows_before_it_decodes(saved: Path) -> None:
    with Image.open(saved) as image:
        assert (image.format, image.size, image.mode) == (neurocodec.pillow.FORMAT, (200, 130), "RGBA")
        assert (image.info["quality"], image.info["icc_profile"], image.info["xmp"]) == (60, SRGB, b"<xmp/>")
        assert image.getexif()[0x010F] == "Acme"
        assert Image.MIME[neurocodec.pillow.FORMAT] == "image/x-neurocodec"
        np.testing.assert_array_equal(np.asarray(image)[:, :, :3], api.decompress(saved).pixels)


@pytest.mark.parametrize("size", [(8, 8), (40, 50)])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes(mode: str, size: tuple[int, int], tmp_path: Path) -> None:
    """From memory and from a file, which may be larger than the pixels of a small picture or of a preview."""
    path = tmp_path / "x.nc"
    Image.fromarray(draw("shapes", *size)).convert(mode).save(path)
    pixels = np.asarray(to_pillow(api.decompress(path)))
    for source in (path, io.BytesIO(path.read_bytes())):
        with Image.open(source) as image:
            assert (image.mode, image.size) == (mode, size[::-1])
            np.testing.assert_array_equal(np.asarray(image), pixels)
        with Image.open(source) as image:
            image.draft(None, (1, 1))
            assert image.size == (-(-size[1] // 8), -(-size[0] // 8))
            np.testing.assert_array_equal(np.asarray(image), np.asarray(to_pillow(api.decompress(path, scale=8))))
        # What was loaded lives on without the file.
        image = Image.open(source)
        image.load()
        assert image.copy().convert("RGB").getpixel((3, 3)) is not None


def test_draft_and_thumbnail_decode_previews(saved: Path) -> None:
    whole = api.decompress(saved)
    with Image.open(saved) as image:
        image.draft("RGB", (60, 40))
        assert image.size == (100, 65)
        half = np.asarray(image).astype(int)
    means = whole.pixels.reshape(65, 2, 100, 2, 3).mean((1, 3))
    assert np.abs(half[:, :, :3] - means).max() <= 1
    with Image.open(saved) as image:
        image.thumbnail((25, 25))
        assert image.size == (25, 16)
    with Image.open(saved) as image:
        assert image.draft("RGB", (300, 300)) is None


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_previews_are_reduced_pictures(scale: int) -> None:
    pixels, alpha = draw("shapes", 131, 77), draw("gradient", 131, 77)[:, :, 0]
    data = api.compress(Picture(pixels, alpha=alpha), 80)
    whole, preview = api.decompress(data), api.decompress(data, scale=scale)
    assert preview.alpha is not None
    assert preview.pixels.shape == (-(-131 // scale), -(-77 // scale), 3)
    assert preview.alpha.shape == preview.pixels.shape[:2]
    inside = whole.pixels[: 131 // scale * scale, : 77 // scale * scale].astype(float)
    means = inside.reshape(131 // scale, scale, 77 // scale, scale, 3).mean((1, 3))
    assert np.abs(preview.pixels[: 131 // scale, : 77 // scale] - means).max() <= 1
    with pytest.raises(ValueError, match="1, 2, 4, 8"):
        api.decompress(data, scale=3)


def test_damaged_files_are_not_images(saved: Path) -> None:
    data = saved.read_bytes()
    for damaged in (data[:-1], data[:40], data[:100] + b"x" + data[101:]):
        with pytest.raises(UnidentifiedImageError, match="damaged"):
            Image.open(io.BytesIO(damaged))
    c = unpack(data)
    huge = pack(type(c)(**{**vars(c), "width": 10**6, "height": 10**6}))
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(huge))


def test_damage_that_is_found_while_an_image_loads_is_pillows_error(saved: Path) -> None:
    c = unpack(saved.read_bytes())
    broken = pack(type(c)(**{**vars(c), "latents": c.latents[:8]}))
    with Image.open(io.BytesIO(broken)) as image, pytest.raises(OSError, match="do not decode"):
        image.load()
    private = api.compress(draw("shapes", 40, 40), model=TINY)
    with pytest.raises(WeightsError, match=r"private model .* name its file"):
        api.compress(private)


def test_metadata_go_on_as_pillow_hands_them_on(saved: Path, tmp_path: Path) -> None:
    with Image.open(saved) as image:
        image.convert("RGB").save(tmp_path / "x.jpg", exif=image.info["exif"], xmp=image.info["xmp"])
        image.save(tmp_path / "x.nc", exif=image.info["exif"], xmp="<xmp/>")
    for name in ("x.jpg", "x.nc"):
        with Image.open(tmp_path / name) as again:
            assert again.getexif()[0x010F] == "Acme"
            assert again.info["xmp"] == b"<xmp/>"


def test_arguments_that_are_no_picture(tmp_path: Path) -> None:
    pixels = draw("shapes", 20, 30)
    (tmp_path / "x.txt").write_text("hello")
    with (tmp_path / "x.txt").open() as file, pytest.raises(ImageError, match="open it in binary mode"):
        api.compress(cast(Any, file))
    with pytest.raises(ImageError, match="alpha of"):
        api.compress(Picture(pixels, alpha=np.zeros((3, 3), np.uint8)))
    with pytest.raises(ImageError, match=r"\(H, W, 3\)"):
        api.compress(Picture(pixels[:, :, 0]))
    with pytest.raises(ValueError, match=r"alpha quality 50\.5 is no whole number"):
        api.compress(pixels, alpha_quality=cast(Any, 50.5))
    assert api.compress(Picture(pixels[::-1])) == api.compress(pixels[::-1].copy())
    assert Picture(pixels) != Picture(pixels.copy())  # and no error


def test_damaged_exif_is_not_saved() -> None:
    with pytest.raises(ImageError, match="EXIF"):
        Image.fromarray(draw("flat", 9, 9)).save(io.BytesIO(), "NEUROCODEC", exif=b"Exif\0\0junk")


def test_every_kind_of_source_gives_the_same_file(tmp_path: Path) -> None:
    pixels = draw("shapes", 60, 70)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    wanted = api.compress(pixels)
    with path.open("rb") as file, Image.open(path) as image:
        for source in (path, str(path), path.read_bytes(), file, image, Picture(pixels)):
            assert api.compress(source) == wanted
    (tmp_path / "x.nc").write_bytes(wanted)
    with (tmp_path / "x.nc").open("rb") as file:
        for packed in (tmp_path / "x.nc", str(tmp_path / "x.nc"), wanted, file):
            assert api.decompress(packed).width == 70
    assert fields.info(tmp_path / "x.nc").width == 70
    with pytest.raises(NeurocodecError, match=r"missing\.png"):
        api.compress(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="not a list"):
        api.compress(cast(Any, [[1, 2], [3, 4]]))


@pytest.mark.parametrize("way", [lambda image: pickle.loads(pickle.dumps(image)), copy.deepcopy, copy.copy])
def test_copies_have_the_pixels(saved: Path, way: Callable[[Image.Image], Image.Image]) -> None:
    with Image.open(saved) as image:
        copied = way(image)
        assert copied.size == (200, 130)
        np.testing.assert_array_equal(np.asarray(copied), np.asarray(image))
        copied.thumbnail((20, 20))


def test_what_save_is_given_has_to_fit_too() -> None:
    """A profile of other pixels, and an orientation in XMP, which the file's pixels do not have."""
    out = io.BytesIO()
    xmp = b'<x tiff:Orientation="6"/>'
    Image.fromarray(draw("shapes", 9, 9)).save(
        out, neurocodec.pillow.FORMAT, icc_profile=SRGB[:16] + b"CMYK" + SRGB[20:], xmp=xmp
    )
    kept = unpack(out.getvalue(), 10**6)
    assert kept.icc == b""
    assert kept.xmp == b"<x/>"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_an_orientation_that_save_is_given(as_bytes: bool) -> None:
    pixels, out, exif = draw("shapes", 90, 40), io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(pixels).save(out, neurocodec.pillow.FORMAT, quality=90, exif=exif.tobytes() if as_bytes else exif)
    assert out.getvalue() == api.compress(
        Picture(
            np.ascontiguousarray(np.rot90(pixels, -1)), False, None, Metadata(exif=unpack(out.getvalue(), 10**6).exif)
        ),
        quality=90,
    )


def test_a_draft_may_be_followed_by_a_larger_one(saved: Path) -> None:
    with Image.open(saved) as image:
        for wanted in ((25, 16), (200, 130)):
            image.draft(None, wanted)
            assert image.size == wanted if wanted[0] > 100 else image.size[0] < 100
