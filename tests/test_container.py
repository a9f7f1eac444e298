"""The container: every field survives, every defect is noticed."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neurocodec
from neurocodec.container import MAGIC, PNG, PRIVATE_MODEL, SIDE_LIMIT, Container, pack, unpack
from neurocodec.errors import FormatError

EXAMPLE = Container(1, 7500, 768, 512, False, bytes(range(200)))

containers = st.builds(
    Container,
    model_id=st.integers(1, 254),
    quality=st.integers(100, 10000),
    width=st.integers(1, SIDE_LIMIT),
    height=st.integers(1, SIDE_LIMIT),
    grey=st.booleans(),
    latents=st.binary(max_size=300),
    alpha=st.just(b"")
    | st.binary(min_size=1, max_size=1).map(b"\0".__add__)
    | st.binary(max_size=50).map((b"\1" + PNG).__add__),
    icc=st.binary(max_size=50),
    exif=st.binary(max_size=50),
    xmp=st.binary(max_size=50),
)
DEFLATION = 11  # bytes that zlib adds at most to so few


def reseal(body: bytes) -> bytes:
    """A body with a fresh checksum: what is then wrong is for the other checks to find."""
    return body + struct.pack("<I", zlib.crc32(body))


@given(containers)
def test_round_trip(c: Container) -> None:
    data = pack(c)
    assert unpack(data, max_pixels=SIDE_LIMIT**2) == c
    extra = [c.alpha, *(section for section in (c.icc, c.exif, c.xmp) if section)]
    payload = len(c.latents) + sum(map(len, extra))
    assert len(data) - payload <= 25 + len(extra) * (1 + DEFLATION)


def test_private_model_carries_its_fingerprint() -> None:
    c = Container(PRIVATE_MODEL, 100, 1, 1, True, b"abcd", fingerprint=b"\x01\x02\x03\x04")
    assert unpack(pack(c)) == c
    with pytest.raises(FormatError, match="fingerprint"):
        Container(PRIVATE_MODEL, 100, 1, 1, True, b"abcd")


def test_truncation_at_every_byte() -> None:
    data = pack(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:length])


def test_what_is_cut_off_is_told_from_other_damage() -> None:
    for c in (EXAMPLE, Container(PRIVATE_MODEL, 100, 1, 1, True, b"abcd", xmp=b"x", fingerprint=b"\x01\x02\x03\x04")):
        data = pack(c)
        for length in (len(data) - 1, len(data) - 5, 30):
            with pytest.raises(FormatError, match=f"cut off, or is damaged: {length} bytes, .* of {len(data)}"):
                unpack(data[:length])
        for more in (1, 300):
            with pytest.raises(FormatError, match=f"is {more} bytes? too long: what follows its first {len(data)}"):
                unpack(data + bytes(more))
        for other in (data[:-6] + b"?" + data[-5:], data[:20] + b"\xff" * 12 + data[32:]):
            with pytest.raises(FormatError, match="checksum"):
                unpack(other)


def test_every_bit_flipped() -> None:
    data = pack(EXAMPLE)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            unpack(bytes(damaged))


def test_random_damage_behind_a_repaired_checksum_is_refused_or_a_container() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        body = bytearray(pack(EXAMPLE)[:-4])
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(4, 20)] = rng.randrange(256)
        try:
            c = unpack(reseal(bytes(body)))
        except FormatError:
            continue
        assert pack(c) == reseal(bytes(body))


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\x89", "not a neurocodec file"),
        (4, b"\x01", "format version is 1"),
        (5, b"\x00", "model id 0"),
        (6, b"\x20", "flags"),
        (7, struct.pack("<H", 99), "quality 0.99"),
        (7, struct.pack("<H", 10001), "quality 100.01"),
        (9, b"\x80\x00", "shortest form"),
        (9, b"\xff\xff\xff\xff", "does not end"),
    ],
)
def test_each_defect_has_its_sentence(at: int, value: bytes, message: str) -> None:
    body = bytearray(pack(EXAMPLE)[:-4])
    body[at : at + len(value)] = value
    with pytest.raises(FormatError, match=message):
        unpack(reseal(bytes(body)))


def test_zero_width() -> None:
    body = pack(Container(1, 100, 1, 1, False, b"1234"))[:-4]
    with pytest.raises(FormatError, match="width 0"):
        unpack(reseal(body[:9] + b"\x00" + body[10:]))


def test_trailing_bytes() -> None:
    data = pack(EXAMPLE)
    with pytest.raises(FormatError):
        unpack(data + b"\x00")
    with pytest.raises(FormatError, match="where the header says 200"):
        unpack(reseal(data[:-4] + b"\x00"))


def sealed_with(flag: int, section: bytes) -> bytes:
    """A file of one pixel with one more section, of whatever bytes."""
    head = pack(Container(1, 100, 1, 1, False, b"1234"))[:11]
    body = head[:6] + bytes([flag]) + head[7:] + b"\x04" + bytes([len(section)]) + b"1234" + section
    return reseal(body)


@pytest.mark.parametrize("flag", [0x04, 0x08, 0x10])
def test_deflated_sections(flag: int) -> None:
    name = {0x04: "icc", 0x08: "exif", 0x10: "xmp"}[flag]
    assert getattr(unpack(sealed_with(flag, zlib.compress(b"hello"))), name) == b"hello"
    whole = zlib.compress(b"hello")
    for damaged in (b"hello", whole[:-1], whole + b"x", zlib.compress(b""), b""):
        with pytest.raises(FormatError, match=name):
            unpack(sealed_with(flag, damaged))


def test_a_section_cannot_fill_the_memory() -> None:
    bomb = zlib.compress(bytes(1 << 25), 9)
    head = pack(Container(1, 100, 1, 1, False, b""))[:11]
    length = bytes([len(bomb) & 0x7F | 0x80, len(bomb) >> 7 & 0x7F | 0x80, len(bomb) >> 14])
    body = head[:6] + b"\x10" + head[7:] + b"\x00" + length + bomb
    with pytest.raises(FormatError, match="16777216 bytes"):
        unpack(reseal(body))
    with pytest.raises(FormatError, match="limit"):
        pack(Container(1, 100, 1, 1, False, b"", xmp=bytes((1 << 24) + 1)))


def test_a_section_that_the_header_has_no_length_for_is_refused() -> None:
    with pytest.raises(FormatError, match="268435456 bytes"):
        pack(Container(1, 5000, 40, 30, False, b"", alpha=bytes(1 << 28)))


def test_narrow_pictures_count_as_they_are_coded() -> None:
    with pytest.raises(FormatError, match="so narrow"):
        unpack(pack(Container(1, 100, SIDE_LIMIT, 1, False, b"")), max_pixels=SIDE_LIMIT)


def test_pixel_limit() -> None:
    with pytest.raises(FormatError, match="limit of 393215"):
        unpack(pack(EXAMPLE), max_pixels=768 * 512 - 1)


def test_format_document_describes_the_header() -> None:
    """The table of FORMAT.md, read by this test, parses a file."""
    text = (Path(neurocodec.__file__).parent / "FORMAT.md").read_text()
    rows = [line.split("|")[1:5] for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    fixed = {name.strip(): (int(o), int(n)) for o, n, name, _ in rows if o.strip().isdigit() and n.strip().isdigit()}
    data = pack(EXAMPLE)
    fields = {name: data[o : o + n] for name, (o, n) in fixed.items()}
    assert fields == {
        "magic": MAGIC,
        "version": b"\x04",
        "model id": b"\x01",
        "flags": b"\x00",
        "quality": struct.pack("<H", 7500),
    }
    assert data[9:15] == b"\x80\x06" + b"\x80\x04" + b"\xc8\x01"
