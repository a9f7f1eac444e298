"""Any image file <-> Picture. What this release cannot keep is refused by name, never dropped."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from neurocodec.errors import ImageError

# Extension -> Pillow's format and options. JPEG and WebP are lossy again, so near their best.
OUTPUTS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".ppm": ("PPM", {}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
    ".webp": ("WEBP", {"lossless": True}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
}
REFUSED = {
    "RGBA": "transparency",
    "LA": "transparency",
    "PA": "transparency",
    "RGBa": "transparency",
    "La": "transparency",
    "CMYK": "CMYK colours",
    "YCbCr": "YCbCr colours",
    "LAB": "Lab colours",
    "HSV": "HSV colours",
    "I": "more than 8 bits a channel",
    "F": "floating-point pixels",
}


@dataclass(frozen=True)
class Picture:
    """Pixels and what the codec keeps of the rest."""

    pixels: NDArray[np.uint8]  # (H, W, 3), sRGB as the file gives it
    grey: bool = False  # all three channels are equal and the file had one
    notes: tuple[str, ...] = field(default=(), compare=False)  # what reading it left out, in sentences

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


def read(data: bytes, max_pixels: int) -> Picture:
    """The picture in an image file's bytes. Raises ImageError in one sentence."""
    previous, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the limit below is ours
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{image.width}x{image.height} pixels are more than the limit of {max_pixels} "
                    "(--max-pixels raises it)."
                )
            notes = _refuse_or_note(image)
            upright = ImageOps.exif_transpose(image)
            return from_pillow(upright, notes)
    except UnidentifiedImageError:
        raise ImageError("not a picture in a format that Pillow reads.") from None
    except ImageError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise anything for damaged files
        raise ImageError(f"the picture is damaged: {error}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = previous


def _refuse_or_note(image: Image.Image) -> tuple[str, ...]:
    what = REFUSED.get(image.mode) or ("more than 8 bits a channel" if image.mode.startswith("I;") else None)
    if what is None and "transparency" in image.info:
        what = "transparency"
    if what is None and _bits(image) > 8:
        what = "more than 8 bits a channel"
    if what is not None:
        raise ImageError(
            f"the picture has {what} (mode {image.mode}), which this release cannot keep: "
            "convert it to 8-bit RGB or grey first."
        )
    if image.mode not in ("1", "L", "P", "RGB", "RGBX"):
        raise ImageError(f"pictures of mode {image.mode} are not supported: convert it to 8-bit RGB or grey.")
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"only the first of {getattr(image, 'n_frames', 1)} frames is kept.")
    if image.info.get("icc_profile"):
        notes.append("its colour profile is not kept: the pixel values are stored as they are.")
    if image.info.get("exif") or image.info.get("xmp"):
        notes.append("its EXIF and XMP metadata are not kept (its orientation is applied).")
    return tuple(notes)


def _bits(image: Image.Image) -> int:
    """Bits a channel, where Pillow reduces deeper files to 8 without saying so."""
    tile = getattr(image, "tile", [])  # how Pillow will decode: (decoder, extent, offset, arguments)
    arguments = tile[0][3] if tile else ""
    if image.format == "PNG":
        rawmode = arguments if isinstance(arguments, str) else str(arguments[0])
        return 16 if ";16" in rawmode else 8
    if image.format == "PPM" and isinstance(arguments, tuple):
        return 16 if isinstance(arguments[-1], int) and arguments[-1] > 255 else 8
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def from_pillow(image: Image.Image, notes: tuple[str, ...] = ()) -> Picture:
    """A picture of an 8-bit Pillow image in mode 1, L, P or RGB."""
    grey = image.mode in ("1", "L")
    pixels = np.array(image.convert("L").convert("RGB") if grey else image.convert("RGB"))
    return Picture(pixels, grey, notes)


def check_extension(extension: str) -> None:
    """Raise ImageError unless :func:`write` knows the file extension."""
    if extension.lower() not in OUTPUTS:
        raise ImageError(f"cannot write {extension or 'a file without extension'}: use one of {', '.join(OUTPUTS)}.")


def write(picture: Picture, extension: str) -> bytes:
    """The picture as an image file's bytes, in the format of a file extension such as ".png"."""
    check_extension(extension)
    form, options = OUTPUTS[extension.lower()]
    pixels = picture.pixels[:, :, 0] if picture.grey and extension.lower() != ".webp" else picture.pixels
    out = io.BytesIO()
    try:
        Image.fromarray(pixels).save(out, form, **options)
    except (OSError, ValueError) as error:
        raise ImageError(f"a {picture.width}x{picture.height} picture does not fit into {form}: {error}") from error
    return out.getvalue()
