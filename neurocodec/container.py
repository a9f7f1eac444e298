"""The file: header and sections <-> bytes. FORMAT.md describes every byte; standard library only."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from neurocodec.errors import FormatError
from neurocodec.limits import DEFAULT_MAX_PIXELS, SECTION_LIMIT, excess

MAGIC = b"\xceNC\n"  # not ASCII at first, a line feed at last: text conversions destroy it visibly
VERSION = 4
FLAG_GREY = 0x01
SECTIONS = {"alpha": 0x02, "icc": 0x04, "exif": 0x08, "xmp": 0x10}  # flag of each, in the order of the file
DEFLATED = ("icc", "exif", "xmp")
ALPHA_CONSTANT, ALPHA_IMAGE = b"\0", b"\1"  # the first byte of an alpha section
PNG, LOSSLESS_WEBP = b"\x89PNG\r\n\x1a\n", b"RIFFWEBPVP8L"  # how such an image begins, but for a length
PRIVATE_MODEL = 255  # a model that is not shipped: its fingerprint follows the fixed fields
QUALITY_STEPS = 100  # the quality field counts hundredths
SIDE_LIMIT = (1 << 28) - 1  # what four bytes of a varint hold

_FIXED = struct.Struct("<4sBBBH")
_CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Container:
    """Everything a file says: the fields of FORMAT.md under the same names."""

    model_id: int  # 1 to 255
    quality: int  # hundredths, 100 to 10000
    width: int  # pixels of the picture
    height: int
    grey: bool
    latents: bytes
    alpha: bytes = b""  # as in ``alpha.pack``; all of these are empty where there are none
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    fingerprint: bytes = b""  # of a private model: the first 4 bytes of its weights' SHA-256

    def __post_init__(self) -> None:
        if not 1 <= self.model_id <= 255:
            raise FormatError(f"model id {self.model_id} is outside 1 to 255.")
        if len(self.fingerprint) != (4 if self.model_id == PRIVATE_MODEL else 0):
            raise FormatError(f"a fingerprint of {len(self.fingerprint)} bytes for model id {self.model_id}.")
        if not QUALITY_STEPS <= self.quality <= 100 * QUALITY_STEPS:
            raise FormatError(f"quality {self.quality / QUALITY_STEPS:g} is outside 1 to 100.")
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= SIDE_LIMIT:
                raise FormatError(f"{name} {side} is outside 1 to {SIDE_LIMIT}.")


def pack(c: Container) -> bytes:
    """The bytes of a whole file."""
    flags, sections = FLAG_GREY if c.grey else 0, [c.latents]
    for name, flag in SECTIONS.items():
        if section := getattr(c, name):
            flags |= flag
            sections.append(_deflate(name, section) if name in DEFLATED else section)
    head = _FIXED.pack(MAGIC, VERSION, c.model_id, flags, c.quality)
    sizes = [c.width, c.height, *(len(section) for section in sections)]
    body = b"".join([head, c.fingerprint, *(_varint(size) for size in sizes), *sections])
    return body + _CRC.pack(zlib.crc32(body))


def _deflate(name: str, section: bytes) -> bytes:
    if len(section) > SECTION_LIMIT:
        raise FormatError(f"{len(section)} bytes of {name} are more than the limit of {SECTION_LIMIT}.")
    return zlib.compress(section, 9)


def _inflate(name: str, data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        section = inflater.decompress(data, SECTION_LIMIT)
    except zlib.error:
        raise FormatError(f"the {name} section does not inflate.") from None
    if not inflater.eof or inflater.unused_data or not section:
        raise FormatError(f"the {name} section is not one whole deflated stream of 1 to {SECTION_LIMIT} bytes.")
    return section


def unpack(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Container:
    """Check everything, then believe it. Raises FormatError with one sentence for each defect."""
    if len(data) < _FIXED.size + 3 + _CRC.size:
        raise FormatError(
            f"too short for a neurocodec file ({len(data)} bytes): it was cut off, or it is no such file."
        )
    magic, version, model_id, flags, quality = _FIXED.unpack_from(data)
    if magic != MAGIC:
        raise FormatError("not a neurocodec file: it does not start with the right four bytes.")
    if version != VERSION:
        which = "the checkout" if version < VERSION else "the release"
        raise FormatError(
            f"its format version is {version}, and this release reads version {VERSION}: use {which} that wrote it."
        )
    if damage := _damage(data):
        raise FormatError(f"{damage} (fetch or copy it again).")
    body = data[: -_CRC.size]
    if flags & ~(FLAG_GREY | sum(SECTIONS.values())):
        raise FormatError(f"flags 0x{flags:02x} are not known to this release: a newer one wrote this file.")
    at = _FIXED.size + (4 if model_id == PRIVATE_MODEL else 0)
    fingerprint = body[_FIXED.size : at]
    (width, height, *sizes), at = _read_sizes(body, at, flags)
    if sentence := excess(width, height, max_pixels):
        raise FormatError(sentence)
    lengths = dict(zip(_names(flags), sizes, strict=True))
    if len(body) - at != sum(lengths.values()):
        raise FormatError(f"{len(body) - at} bytes of sections where the header says {sum(lengths.values())}.")
    sections = {}
    for name, length in lengths.items():
        if not length and name != "latents":
            raise FormatError(f"the {name} section is empty.")
        sections[name], at = body[at : at + length], at + length
    if "alpha" in sections:
        check_alpha(sections["alpha"])
    sections = {name: _inflate(name, data) if name in DEFLATED else data for name, data in sections.items()}
    return Container(model_id, quality, width, height, bool(flags & FLAG_GREY), fingerprint=fingerprint, **sections)


def check_alpha(section: bytes) -> None:
    """Raise FormatError for an alpha that does not begin as one does."""
    image, webp = section[1:], section[1:5] + section[9:17]
    if section[:1] == ALPHA_CONSTANT and len(section) == 2:
        return
    if section[:1] != ALPHA_IMAGE or not (image.startswith(PNG) or webp == LOSSLESS_WEBP):
        raise FormatError("the alpha section is of no kind that this release knows.")


def _damage(data: bytes) -> str:
    """What is wrong with a file whose checksum does not match, or nothing."""
    if _is_sealed(data):
        return ""
    wanted = _whole_size(data)
    if wanted is not None and len(data) < wanted:
        return f"the file was cut off, or is damaged: {len(data)} bytes, where its header tells of {wanted}"
    if wanted is not None and _is_sealed(data[:wanted]):
        more = len(data) - wanted
        return f"the file is {more} byte{'s' * (more > 1)} too long: what follows its first {wanted} is none of it"
    return "the file is damaged: its checksum does not match"


def _is_sealed(data: bytes) -> bool:
    """Whether the checksum at the end is that of what comes before."""
    return data[-_CRC.size :] == _CRC.pack(zlib.crc32(memoryview(data)[: -_CRC.size]))


def _whole_size(data: bytes) -> int | None:
    """The bytes of a whole file, as its first ones tell them, whatever has become of the rest."""
    _, _, model_id, flags, _ = _FIXED.unpack_from(data)
    try:
        (_, _, *lengths), at = _read_sizes(data, _FIXED.size + (4 if model_id == PRIVATE_MODEL else 0), flags)
    except FormatError:
        return None
    return at + sum(lengths) + _CRC.size


def _names(flags: int) -> list[str]:
    """The sections that a file with these flags has, in their order."""
    return ["latents", *(name for name, flag in SECTIONS.items() if flags & flag)]


def _read_sizes(data: bytes, at: int, flags: int) -> tuple[list[int], int]:
    """Width, height and the length of each section, and where the sections begin."""
    sizes = []
    for name in ("width", "height", *(f"length of the {name}" for name in _names(flags))):
        size, at = _read_varint(data, at, name)
        sizes.append(size)
    return sizes, at


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more follow. At most four bytes. Raises FormatError."""
    if value > SIDE_LIMIT:
        raise FormatError(f"{value} bytes of one kind are more than the format holds, which is {SIDE_LIMIT}.")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int, name: str) -> tuple[int, int]:
    value = 0
    for index in range(4):
        if at >= len(data):
            break
        byte = data[at]
        value |= (byte & 0x7F) << (7 * index)
        at += 1
        if byte < 0x80:
            if index and not byte:
                raise FormatError(f"the {name} is not in its shortest form.")
            return value, at
    raise FormatError(f"the {name} does not end.")
