"""How an image file holds its pixels: what Pillow forgets once they are loaded, and where it takes them wrongly."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from PIL import Image

from neurocodec.errors import ImageError

FEW_GREYS = {"L;2": 85, "L;4": 17}  # how far apart levels of so few bits are in 8, by Pillow's names of layouts
TIFF_BITS, TIFF_COMPRESSION, TIFF_PHOTOMETRIC, TIFF_PLANES = 258, 259, 262, 284  # tags
SIZ = b"\xff\x4f\xff\x51"  # begins a JPEG 2000 codestream, and what tells of its components
AV1_CONFIG = b"av1C\x81"
BEGINNING = 1 << 20  # bytes of a file in which it tells of itself: profiles may come before
PNG = b"\x89PNG\r\n\x1a\n"
ICON = b"\0\0\1\0"


@dataclass(frozen=True)
class Layout:
    """What a file says of its pixels."""

    bits: int = 8  # a channel: Pillow reduces deeper files to 8 without saying so
    grey: bool = False  # though Pillow's mode has colours
    negative: bool = False  # 0 is white, and Pillow leaves it there


def layout_of(image: Image.Image) -> Layout:
    """How an image is stored that is not loaded yet. Raises ImageError for what Pillow would decode wrongly."""
    rawmode = _rawmode(image)
    if image.format == "PNG":
        return Layout(16 if ";16" in rawmode else 8, grey=rawmode.startswith("LA"))
    if image.format == "PPM":
        highest = _arguments(image)[-1]
        return Layout(16 if rawmode.startswith("I;16") or (isinstance(highest, int) and highest > 255) else 8)
    if image.format == "SGI":
        return Layout(16 if _codec(image) == "SGI16" or _arguments(image)[-1] == 2 else 8)  # bytes a channel
    if image.format == "AVIF":
        return Layout(_bits_of_av1(_beginning(image)))
    if image.format == "JPEG2000":
        return _of_jpeg_2000(image)
    return _of_tiff(image) if image.format == "TIFF" else Layout()


def _of_tiff(image: Image.Image) -> Layout:
    tags: Any = getattr(image, "tag_v2", {})
    found = tags.get(TIFF_BITS, (8,))
    bits = int(max(found)) if isinstance(found, tuple) else int(found)
    deep = image.mode == "F" or image.mode.startswith("I")
    if bits > 8 and not deep and tags.get(TIFF_PLANES) == 2 and tags.get(TIFF_COMPRESSION, 1) == 1:
        raise ImageError(
            f"its {bits} bits a channel in planes of their own are decoded wrongly by Pillow: compress it (LZW, ZIP) "
            "or convert it to 8 bits."
        )
    return Layout(bits, negative=deep and tags.get(TIFF_PHOTOMETRIC) == 0)


def _of_jpeg_2000(image: Image.Image) -> Layout:
    start = _beginning(image)
    at = start.find(SIZ)
    try:
        (components,) = struct.unpack_from(">H", start, at + 40)
        bits = max((start[at + 42 + 3 * i] & 0x7F) + 1 for i in range(components)) if at >= 0 else 8
    except (struct.error, IndexError, ValueError):  # cut off: Pillow will say so
        bits = 8
    if image.mode == "I;16":
        return Layout(16)  # whatever they were, Pillow has scaled them
    if bits > 8:
        raise ImageError(
            f"its {bits} bits a channel, of more than greys, are decoded wrongly by Pillow, which makes black "
            "of white: convert it to PNG or to 8 bits."
        )
    return Layout()


def _bits_of_av1(start: bytes) -> int:
    at = start.find(AV1_CONFIG)
    flags = start[at + 6] if 0 <= at < len(start) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


class _Level(int):
    """A grey in the 8 bits that pixels are going to have."""


class _Colour(tuple[int, ...]):
    """A colour of those."""

    __slots__ = ()


def scale_transparency(image: Image.Image) -> None:
    """Bring the one colour that a PNG hides into the 8 bits that its pixels are going to have: Pillow scales these
    alone. For an image that is not loaded yet. All frames share it: by its type the next one knows that it is done."""
    hidden, rawmode = image.info.get("transparency"), _rawmode(image)
    if image.format != "PNG" or isinstance(hidden, (_Level, _Colour)):
        return
    if isinstance(hidden, int) and rawmode in FEW_GREYS:
        image.info["transparency"] = _Level(hidden * FEW_GREYS[rawmode])
    elif isinstance(hidden, tuple) and rawmode == "RGB;16B":
        image.info["transparency"] = _Colour(v >> 8 for v in hidden)


def icon_sides(data: bytes) -> list[tuple[int, int]]:
    """Widths and heights of the PNGs in an ICO, which Pillow decodes as it opens the file."""
    if not data.startswith(ICON):
        return []
    found = []
    for entry in range(*struct.unpack_from("<H", data.ljust(6, b"\0"), 4)):
        place = data[6 + 16 * entry + 12 : 6 + 16 * entry + 16]
        at = int.from_bytes(place, "little")
        if len(place) == 4 and data.startswith(PNG, at) and len(data) >= at + 24:
            found.append(struct.unpack_from(">II", data, at + 16))
    return found


def _beginning(image: Image.Image) -> bytes:
    file: Any = getattr(image, "fp", None)
    if file is None:
        return b""
    at = file.tell()
    file.seek(0)
    start: bytes = file.read(BEGINNING)
    file.seek(at)
    return start


def _codec(image: Image.Image) -> str:
    tile = getattr(image, "tile", [])
    return str(tile[0][0]) if tile else ""


def _arguments(image: Image.Image) -> tuple[Any, ...]:
    """How Pillow will decode an image that is not loaded yet."""
    tile = getattr(image, "tile", [])  # (decoder, extent, offset, arguments)
    arguments = tile[0][3] if tile else ""
    return arguments if isinstance(arguments, tuple) and arguments else (arguments,)


def _rawmode(image: Image.Image) -> str:
    """The layout of its pixels in the file, as Pillow calls it."""
    return str(_arguments(image)[0])
