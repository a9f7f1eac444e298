"""EXIF and ICC that are well formed outside and nonsense inside, and pictures that carry them.

Random bytes rarely get past a parser's first check. These keep the outside right, and lie about counts, offsets,
types and nesting: loops of directories, directories within directories, tables that claim gigabytes.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

from tests.drawing import draw

TYPES = (1, 2, 3, 4, 5, 7, 9, 10, 11, 12)
SUB_IFDS = (0x8769, 0x8825, 0xA005, 0x014A)  # EXIF, GPS, interoperability, others
TAGS = (0x010F, 0x0112, 0x0100, 0x0102, 0x0111, 0x02BC, 0x8773, 0x927C, 0x9286, 0x0201, 0xC4A5, *SUB_IFDS)
HUGE = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000, 0xFFFFFFF0)
Entry = tuple[int, int, int, int]  # tag, type, count, value or offset


def ifd(order: str, entries: list[Entry], following: int, claimed: int | None = None) -> bytes:
    """A directory of tags; it may claim to hold more than it does."""
    count = len(entries) if claimed is None else claimed
    packed = b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries)
    return struct.pack(f"{order}H", count) + packed + struct.pack(f"{order}I", following)


def header(order: str, start: int = 8) -> bytes:
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)


def loop(rng: random.Random, order: str) -> bytes:
    """A directory whose next, or whose own sub-directory, is itself."""
    entries = [(tag, 4, 1, 8) for tag in SUB_IFDS if rng.random() < 0.7]
    return header(order) + ifd(order, [(0x0112, 3, 1, rng.randrange(9)), *entries], rng.choice((8, 0)))


def deep(rng: random.Random, order: str) -> bytes:
    """A chain of directories, each within or behind the one before, up to thousands."""
    depth, data, at = rng.choice((3, 40, 1000, 5000)), b"", 8
    for _ in range(depth):
        size = 2 + 12 + 4
        within = rng.random() < 0.8
        tag = rng.choice(SUB_IFDS)
        data += ifd(order, [(tag, 4, 1, at + size if within else 0)], 0 if within else at + size)
        at += size
    return header(order) + data


def wide(rng: random.Random, order: str) -> bytes:
    """Many entries, or the claim of many."""
    entries = [(rng.choice(TAGS), rng.choice(TYPES), 1, i) for i in range(rng.choice((0, 300, 4000)))]
    return header(order) + ifd(order, entries, 0, rng.choice((None, 0, 0xFFFF, 5000)))


def outside(rng: random.Random, order: str) -> bytes:
    """Offsets behind the end, before the start, into the header."""
    entries = [
        (rng.choice(TAGS), rng.choice(TYPES), rng.choice((1, 8, 100)), rng.choice((*HUGE, 4, 7))) for _ in range(6)
    ]
    return header(order, rng.choice((8, 8, 0, 4, 0xFFFFFFFF, 1 << 20))) + ifd(order, entries, rng.choice(HUGE))


def counts(rng: random.Random, order: str) -> bytes:
    """Counts of gigabytes."""
    entries = [(rng.choice(TAGS), rng.choice(TYPES), rng.choice(HUGE), rng.randrange(120)) for _ in range(8)]
    return header(order) + ifd(order, entries, 0) + rng.randbytes(60)


def types(rng: random.Random, order: str) -> bytes:
    """Types that a tag cannot have, or that there are not: an orientation that is a string or a fraction."""
    kinds = (*TYPES, 0, 13, 16, 255, 0xFFFF)
    entries = [(tag, rng.choice(kinds), rng.choice((0, 1, 2, 5)), rng.choice((8, 40, 6 << 16, 6))) for tag in TAGS]
    return header(order) + ifd(order, [(0x0112, rng.choice(kinds), 1, 6), *entries], 0) + rng.randbytes(80)


EXIF: tuple[Callable[[random.Random, str], bytes], ...] = (loop, deep, wide, outside, counts, types)


def exif(rng: random.Random) -> tuple[str, bytes]:
    """The kind of nonsense, and EXIF from its TIFF header on."""
    kind = rng.choice(EXIF)
    return f"EXIF {kind.__name__}", kind(rng, rng.choice("<>"))


def icc(rng: random.Random) -> tuple[str, bytes]:
    """The kind of nonsense, and a colour profile: a real one with a table of tags that lies."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = struct.unpack_from(">I", data, 128)[0]
    kind = rng.choice(("count", "offset", "size", "type", "length", "space", "inside", "same"))
    if kind == "count":
        struct.pack_into(">I", data, 128, rng.choice((0, 1, entries + 1, 100, 101, 0x15555555, 0xFFFFFFFF)))
    for i in range(entries):
        at = 132 + 12 * i
        place, size = struct.unpack_from(">II", data, at + 4)
        if kind in ("offset", "size") and rng.random() < 0.5:
            struct.pack_into(">I", data, at + (4 if kind == "offset" else 8), rng.choice((*HUGE, len(data) - 1, 130)))
        elif kind == "type" and rng.random() < 0.6:
            data[place : place + 4] = rng.choice(
                (b"curv", b"mft1", b"mft2", b"mAB ", b"desc", b"mluc", b"para", b"\0" * 4)
            )
        elif kind == "inside" and size > 12:  # the counts of curves and tables
            struct.pack_into(">I", data, place + 8, rng.choice(HUGE))
        elif kind == "same":
            struct.pack_into(">II", data, at + 4, 128, len(data) - 128)
    if kind == "length":
        struct.pack_into(">I", data, 0, rng.choice(HUGE))
    elif kind == "space":
        data[16:20] = rng.choice((b"CMYK", b"Lab ", b"GRAY", b"FCLR", b"XYZ ", b"\0\0\0\0"))
        data[12:16] = rng.choice((b"mntr", b"link", b"abst", b"nmcl", b"scnr"))
    return f"ICC {kind}", bytes(data)


def pixels(mode: str) -> Image.Image:
    drawn = draw("shapes", 20, 24)
    if mode == "RGBA":
        return Image.fromarray(np.concatenate([drawn, draw("noise", 20, 24)[:, :, :1]], 2))
    return Image.fromarray(drawn).convert(mode)


FORMS = (
    ("PNG", "RGBA"),
    ("PNG", "L"),
    ("JPEG", "RGB"),
    ("JPEG", "CMYK"),
    ("WEBP", "RGB"),
    ("TIFF", "CMYK"),
    ("AVIF", "RGB"),
)


def with_nested_tiff(rng: random.Random) -> tuple[str, bytes]:
    """A whole TIFF of one strip, whose own directory holds nonsense besides what the pixels need."""
    raw, order = draw("shapes", 10, 12).tobytes(), rng.choice("<>")
    at = 8 + len(raw)

    def short(value: int) -> int:
        return value << 16 if order == ">" else value

    needed: list[Entry] = [
        *((tag, 3, 1, short(value)) for tag, value in ((0x100, 12), (0x101, 10), (0x103, 1), (0x106, 2), (0x115, 3))),
        (0x102, 3, 1, short(8)),
        (0x111, 4, 1, 8),
        (0x116, 3, 1, short(10)),
        (0x117, 4, 1, len(raw)),
    ]
    lies: list[Entry] = []
    for tag in (0x0112, 0x02BC, 0x8773, 0xC4A5, *SUB_IFDS):
        kind, count = rng.choice((*TYPES, 13, 0)), rng.choice((1, 5, 200, *HUGE))
        lies.append((tag, kind, count, rng.choice((8, at, 0, *HUGE))))
    entries = sorted(needed + rng.sample(lies, rng.randint(1, len(lies))))
    return "TIFF directory", header(order, at) + raw + ifd(order, entries, rng.choice((0, at, *HUGE)))


def picture(rng: random.Random) -> tuple[str, bytes]:
    """An image file with hostile EXIF or a hostile profile, in a place where Pillow finds it."""
    if rng.random() < 0.25:
        return with_nested_tiff(rng)
    (form, mode), out = rng.choice(FORMS), io.BytesIO()
    kind, data = exif(rng) if rng.random() < 0.6 else icc(rng)
    if kind.startswith("ICC"):
        pixels(mode).save(out, form, icc_profile=data)
        return f"{kind} in {form}", out.getvalue()
    if form == "TIFF" or (form == "JPEG" and len(data) > 65_000):
        form, mode = "PNG", "L"  # a TIFF's own directory is nonsense enough above, and a JPEG's segments are short
    if form == "PNG":
        pixels(mode).save(out, form)
        return f"{kind} in {form}", with_chunk(out.getvalue(), b"eXIf", data)
    # Pillow reads some of what it writes, so that nonsense takes the place of something harmless.
    harmless = header("<") + ifd("<", [], 0) + b"harmless" * (len(data) // 8 + 1)
    data = data.ljust(30, b"\0")
    pixels(mode).save(out, form, exif=b"Exif\0\0" + harmless[: len(data)])
    file = out.getvalue()
    if harmless[: len(data)] not in file:
        raise ValueError(f"{form} does not hold the EXIF that it was given")
    return f"{kind} in {form}", file.replace(harmless[: len(data)], data)


def with_chunk(png: bytes, name: bytes, data: bytes) -> bytes:
    """A PNG with one more chunk behind its header, as Pillow would not write it."""
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return png[:33] + chunk + png[33:]


def sections(rng: random.Random) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Hostile sections for a container, without end: EXIF, a profile, or both."""
    while True:
        found = dict(zip(("exif", "icc"), (exif(rng), icc(rng)), strict=True))
        for name in rng.sample(("exif", "icc"), rng.randint(0, 1)):
            del found[name]
        yield "container, " + " and ".join(k for k, _ in found.values()), {n: data for n, (_, data) in found.items()}
