"""Any image file <-> Picture: pixels in 8 bits, upright, and what came with them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from neurocodec import metadata
from neurocodec.errors import ImageError, NeurocodecError
from neurocodec.layouts import icon_sides, layout_of, scale_transparency
from neurocodec.limits import excess
from neurocodec.metadata import Metadata
from neurocodec.modes import to_eight_bits, unheeded_gamma
from neurocodec.unhindered import unhindered

# Extension -> Pillow's format and options. Without loss where the format can; else near its best.
OUTPUTS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".bmp": ("BMP", {}),
    ".ppm": ("PPM", {}),
    ".jp2": ("JPEG2000", {"irreversible": False}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".avif": ("AVIF", {"quality": 95, "subsampling": "4:4:4"}),
}
LOSSLESS = (".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".jp2")  # of OUTPUTS
WITH_ALPHA = ("PNG", "WEBP", "TIFF", "JPEG2000", "AVIF")
# What is tried to be left out, if a file with all of it cannot be written: as little as can be.
LEFT_OUT = ((), ("exif",), ("xmp",), ("icc",), ("exif", "xmp"), ("exif", "xmp", "icc"))
WITH_PROFILE = ("PNG", "TIFF", "JPEG")  # of those that have a channel of greys
COLOUR_ONLY = ("WEBP", "AVIF")  # no channel of greys
# Formats that Pillow knows the name of and, without what other programs bring, no pixels; WMF on Windows alone.
_NAMED_ONLY = ("MPEG", "BUFR", "GRIB", "HDF5", *(() if sys.platform == "win32" else ("WMF",)))
LAID_PIXELS = 1 << 20  # at a time
SIDES = {"JPEG": 65500, "WEBP": 16383}  # pixels at most: the limits of libjpeg and of the format
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, eq=False)  # arrays are not equal or unequal
class Picture:
    """Pixels and what the codec keeps of the rest."""

    pixels: NDArray[np.uint8]  # (H, W, 3), in the colours of the profile, else sRGB
    grey: bool = False  # all three channels are equal and the file had one
    alpha: NDArray[np.uint8] | None = None  # (H, W), 0 is transparent
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()  # what reading it changed or left out, in sentences

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def read(data: bytes, max_pixels: int) -> Picture:
    """The picture in an image file's bytes, the first one if there are several. Raises ImageError in one sentence."""
    with opened(data, max_pixels) as image:
        count = _frames_of(image)
        notes = [f"only the first of its {count} frames is kept (`compress --frames` keeps all)."] if count > 1 else []
        return from_pillow(image, notes)


def count_frames(data: bytes, max_pixels: int) -> int:
    """How many pictures :func:`read_frames` finds, as the file tells. Raises ImageError in one sentence."""
    with opened(data, max_pixels) as image:
        return _frames_of(image)


def read_frames(data: bytes, max_pixels: int) -> Iterator[Picture]:
    """The pictures in an image file's bytes, one by one. Raises ImageError in one sentence."""
    with opened(data, max_pixels) as image:
        count = _frames_of(image)
        for frame in range(count):
            if count > 1:
                image.seek(frame)
            check_size(image, max_pixels)
            yield from_pillow(image)


def _frames_of(image: Image.Image) -> int:
    """A PSD's layers are no pictures but parts of one, which is in it, too."""
    return 1 if image.format == "PSD" else max(1, getattr(image, "n_frames", 1))


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """A Pillow image of a file's bytes, within the limit; what Pillow raises within is an ImageError."""
    for width, height in icon_sides(data):
        if sentence := excess(width, height, max_pixels):
            raise ImageError(sentence)
    try:
        # The limit is ours; warnings are of damage that costs no pixels, and what it costs, notes say.
        with _telling_damage(), unhindered(), Image.open(io.BytesIO(data)) as image:
            check_size(image, max_pixels)
            yield image
    except UnidentifiedImageError:
        raise ImageError(
            "not a picture in a format that Pillow reads." if data else "empty: there is no picture in it."
        ) from None


@contextmanager
def _telling_damage() -> Iterator[None]:
    """What Pillow's readers raise, which may be anything, is an ImageError."""
    try:
        yield
    except (NeurocodecError, UnidentifiedImageError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error.__cause__, NeurocodecError):  # of our own plugin, which says it better
            raise error.__cause__ from None
        raise ImageError(f"the picture is damaged: {str(error).rstrip('.')}.") from error


def readable_extensions() -> set[str]:
    """The extensions of files that Pillow, and so :func:`read`, may open; ".png" and the like."""
    Image.init()
    return {extension for extension, form in Image.EXTENSION.items() if form in Image.OPEN and form not in _NAMED_ONLY}


def check_size(image: Image.Image, max_pixels: int) -> None:
    """Raise ImageError for an image that is too large."""
    if sentence := excess(image.width, image.height, max_pixels):
        raise ImageError(sentence)


def from_pillow(image: Image.Image, notes: list[str] | None = None) -> Picture:
    """A picture of a Pillow image in any mode, upright. Raises ImageError."""
    if not (image.width and image.height):
        raise ImageError(f"a picture of {image.width}x{image.height} pixels is empty.")
    with _telling_damage():
        return _loaded(image, notes or [])


def _loaded(image: Image.Image, notes: list[str]) -> Picture:
    layout = layout_of(image)  # before the pixels are loaded, and Pillow forgets
    scale_transparency(image)
    image.load()  # Pillow turns TIFF itself, and only then knows it
    found, orientation, lost = metadata.read(image)
    if orientation in TURNS:
        palette, info = image.palette, image.info
        image = image.transpose(TURNS[orientation])
        image.palette, image.info = palette, info
    eight = to_eight_bits(image, found.icc, layout)
    kept = Metadata(eight.icc, found.exif, found.xmp)
    gamma = unheeded_gamma(image)
    told = (*notes, *lost, *eight.notes, *([gamma] if gamma else []))
    return Picture(eight.pixels, eight.grey, eight.alpha, kept, told)


def stripped(picture: Picture) -> Picture:
    """A picture without profile, EXIF and XMP, that looks the same: colours are converted to sRGB."""
    return replace(in_srgb(picture), metadata=Metadata())


def in_srgb(picture: Picture) -> Picture:
    """A picture without its profile, that looks the same."""
    pixels, notes = picture.pixels, picture.notes
    if picture.metadata.icc:
        try:
            image = Image.fromarray(pixels[:, :, 0] if picture.metadata.icc[16:20] == b"GRAY" else pixels)
            pixels = np.asarray(metadata.to_srgb(image, picture.metadata.icc))
        except Exception as error:  # little-cms: a damaged profile
            notes = (*notes, f"its colour profile is dropped without being applied ({error}).")
    return replace(picture, pixels=pixels, metadata=replace(picture.metadata, icc=b""), notes=notes)


def in_colours(picture: Picture) -> Picture:
    """A picture whose pixels may have colours; a profile of greys, which says nothing about them, is applied."""
    if picture.metadata.icc[16:20] == b"GRAY":
        picture = in_srgb(picture)
    return replace(picture, grey=False)


def laid_on(picture: Picture, colour: tuple[int, int, int]) -> Picture:
    """A picture without transparency: what shows through is a colour."""
    alpha = picture.alpha
    if alpha is None:
        return picture
    grey = picture.grey and len(set(colour)) == 1
    if not grey:
        picture = in_colours(picture)
    pixels = np.empty_like(picture.pixels)
    step = max(1, LAID_PIXELS // picture.width)
    for top in range(0, picture.height, step):  # floats of a whole picture are four times its size, and several
        rows = slice(top, top + step)
        share = alpha[rows, :, None].astype(np.float32) / 255
        mixed = picture.pixels[rows] * share + np.array(colour, np.float32) * (1 - share)
        pixels[rows] = mixed.round().astype(np.uint8)
    return replace(picture, pixels=pixels, grey=grey, alpha=None)


def check_extension(extension: str, also: Iterable[str] = ()) -> None:
    """Raise ImageError unless :func:`write` knows the file extension; also: others that would do."""
    if extension.lower() not in OUTPUTS:
        known = ", ".join([*OUTPUTS, *(e for e in also if e not in OUTPUTS)])
        raise ImageError(f"cannot write {extension or 'a file without extension'}: use one of {known}.")


def check_fits(extension: str, width: int, height: int, alpha: bool = False) -> None:
    """Before any work: raise ImageError unless :func:`write` can write such a picture with the file extension."""
    check_extension(extension)
    form, _ = OUTPUTS[extension.lower()]
    if alpha and form not in WITH_ALPHA:
        raise ImageError(
            f"{form} cannot hold its transparency: use .png (`decompress` has --background to lay it on a colour)."
        )
    if max(width, height) > SIDES.get(form, max(width, height)):  # or libjpeg prints what it thinks of it
        raise ImageError(
            f"a {width}x{height} picture does not fit into {form}, whose sides end at {SIDES[form]} pixels: use .png."
        )


def to_pillow(picture: Picture) -> Image.Image:
    """A Pillow image in mode RGB, RGBA, L or LA."""
    pixels = picture.pixels[:, :, :1] if picture.grey else picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha[:, :, None]], axis=2)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def write(picture: Picture, extension: str) -> tuple[bytes, list[str]]:
    """The picture as an image file's bytes, in the format of a file extension such as ".png", and notes of
    what the format cannot hold. Raises ImageError, for transparency that would be lost too."""
    check_fits(extension, picture.width, picture.height, picture.alpha is not None)
    form, options = OUTPUTS[extension.lower()]
    known, told = len(picture.notes), list[str]()
    if picture.grey and form in COLOUR_ONLY:
        if picture.metadata.icc[16:20] == b"GRAY":
            told.append(f"its grey profile is applied to its pixels, for {form} has no channel of greys.")
        picture = in_colours(picture)
    if picture.metadata.icc[16:20] == b"RGB " and form in WITH_PROFILE:  # readers reject such a one beside one channel
        picture = replace(picture, grey=False)
    changed, image = told + list(picture.notes[known:]), to_pillow(picture)
    failures: list[Exception] = []
    for names in LEFT_OUT:
        if not all(getattr(picture.metadata, name) for name in names):
            continue
        kept, out = replace(picture.metadata, **dict.fromkeys(names, b"")), io.BytesIO()
        try:
            with unhindered():  # Pillow warns of what is damaged in EXIF; notes say so
                extra, notes = metadata.options(form, kept)
                image.save(out, form, **(options | extra))
        except MemoryError:
            raise
        except Exception as error:  # Pillow's writers raise anything for damaged EXIF
            failures.append(error)
            continue
        called = " and ".join(metadata.NAMES[name] for name in names)
        lost = [f"its {called} could not be written into {form} and is left out ({failures[0]})."] if names else []
        return out.getvalue(), changed + notes + lost
    raise ImageError(
        f"a {picture.width}x{picture.height} picture does not fit into {form}: {failures[-1]}"
    ) from failures[-1]
