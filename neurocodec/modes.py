"""Any mode of a Pillow image -> 8 bits: RGB or grey, and alpha. What is not kept exactly is noted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neurocodec import metadata
from neurocodec.errors import ImageError
from neurocodec.layouts import Layout

Pixels = NDArray[np.uint8]

WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
GREYS = ("1", "L", "LA", "La", "I", "F")
SRGB_GAMMA, GAMMA_SLACK = 0.45455, 0.01  # as PNG's gAMA has it
KNOWN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", *WITH_ALPHA)


@dataclass(frozen=True)
class EightBit:
    """An image in 8 bits."""

    pixels: Pixels  # (H, W, 3)
    grey: bool
    alpha: Pixels | None  # (H, W)
    icc: bytes  # the profile that fits these pixels, or none
    notes: list[str]


def to_eight_bits(image: Image.Image, icc: bytes, layout: Layout) -> EightBit:
    """The pixels of an image that was stored so.

    Raises ImageError for modes and values that 8 bits cannot stand for.
    """
    mode, notes = image.mode, []
    if mode not in KNOWN and not mode.startswith("I;"):
        raise ImageError(f"pictures of mode {mode} are not supported: convert it to 8-bit RGB or grey.")
    if mode in ("I", "F") or mode.startswith("I;"):
        values, note = _narrow(image, layout.bits)
        values = 255 - values if layout.negative else values
        hidden = image.info.get("transparency")  # one value that is not seen
        shown = np.where(np.asarray(image) == hidden, 0, 255).astype(np.uint8) if isinstance(hidden, int) else None
        return _with_profile(_three(values), True, shown, icc, [note] if note else [])
    if layout.bits > 8:
        notes.append(f"its {layout.bits} bits a channel are reduced to 8.")
    if mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        image, icc, note = _to_rgb(image, icc)
        notes.append(note)
    transparent = image.mode in WITH_ALPHA or "transparency" in image.info
    transparent = transparent or (image.mode == "P" and image.palette is not None and image.palette.mode == "RGBA")
    alpha = None
    if image.mode == "La":
        image = image.convert("LA")
    if transparent:
        whole = np.asarray(image.convert("RGBA"))
        pixels, alpha = np.ascontiguousarray(whole[:, :, :3]), np.ascontiguousarray(whole[:, :, 3])
    elif image.mode in ("1", "L"):
        pixels = _three(np.asarray(image.convert("L")))
    else:
        pixels = np.asarray(image.convert("RGB") if image.mode != "RGB" else image)
    grey = layout.grey or mode in GREYS or (mode in ("P", "PA") and _is_grey(pixels))
    return _with_profile(pixels, grey, alpha, icc, notes)


def unheeded_gamma(image: Image.Image) -> str | None:
    """A note of a PNG's brightness that is not that of sRGB, and that nothing here knows of."""
    gamma = image.info.get("gamma")
    if not gamma or "icc_profile" in image.info or "srgb" in image.info or abs(gamma - SRGB_GAMMA) < GAMMA_SLACK:
        return None
    return f"its gamma of {gamma:g} is not applied: the pixels are taken as sRGB, whose gamma is about {SRGB_GAMMA:g}."


def _with_profile(pixels: Pixels, grey: bool, alpha: Pixels | None, icc: bytes, notes: list[str]) -> EightBit:
    fitting, note = metadata.fitting_profile(icc, grey)
    return EightBit(pixels, grey, alpha, fitting, [*notes, note] if note else notes)


def _three(values: Pixels) -> Pixels:
    return np.repeat(values[:, :, None], 3, axis=2)


def _is_grey(pixels: Pixels) -> bool:
    return bool((pixels == pixels[:, :, :1]).all())


def _narrow(image: Image.Image, deep: int) -> tuple[Pixels, str | None]:
    """The one channel of a mode of more than 8 bits -> (H, W), and a note of what was done to it."""
    values = np.asarray(image)
    if image.mode == "F":
        return _from_float(values)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"its values from {low} to {high} are beyond 16 bits (HDR): convert it to 8 or 16 bits.")
    if image.mode == "I" and deep != 16 and high < 256:  # 32-bit integers with 8 bits in them
        return values.astype(np.uint8), None
    # A TIFF's 12 bits come as they are; 16 bits of anything else, and of what has no file, are 16.
    top = (1 << deep) - 1 if 8 < deep < 16 and high < 1 << deep else 65535
    deep = top.bit_length()
    return (
        ((values.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8),
        f"its {deep} bits a channel are reduced to 8.",
    )


def _from_float(values: NDArray[np.float32]) -> tuple[Pixels, str | None]:
    if not np.isfinite(values).all():
        raise ImageError("its floating-point pixels are not all finite (HDR): convert it to 8-bit RGB or grey.")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255:
        raise ImageError(
            f"its floating-point values from {low:g} to {high:g} are neither within 0 to 1 nor within 0 to 255 (HDR): "
            "convert it to 8-bit RGB or grey."
        )
    scale = 255 if high <= 1 else 1
    note = f"its floating-point values, taken as 0 to {255 // scale}, are reduced to 8 bits."
    return (values * scale).round().astype(np.uint8), note


def _to_rgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes, str]:
    """An image of another colour space in RGB, the profile that it then has, and a note."""
    name = {"LAB": "Lab"}.get(image.mode, image.mode)
    if image.mode == "LAB" or (image.mode == "CMYK" and icc):
        try:
            how = " through its profile" if image.mode == "CMYK" else ""
            return metadata.to_srgb(image, icc), b"", f"its {name} colours are converted to sRGB{how}."
        except Exception as error:  # little-cms: a damaged profile, or one for other pixels
            if image.mode == "LAB":
                raise ImageError(f"its Lab colours cannot be converted: {error}") from error
    note = f"its {name} colours are converted to RGB" + (", without a profile." if image.mode == "CMYK" else ".")
    # A profile of YCbCr and HSV pixels is that of the RGB behind them; one for CMYK was of no use.
    return image.convert("RGB"), b"" if image.mode == "CMYK" else icc, note
