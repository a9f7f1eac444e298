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
from neurocodec.container import MAGIC, PRIVATE_MODEL, SIDE_LIMIT, Container, pack, unpack
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
)


def reseal(body: bytes) -> bytes:
    """A body with a fresh checksum: what is then wrong is for the other checks to find."""
    return body + struct.pack("<I", zlib.crc32(body))


@given(containers)
def test_round_trip(c: Container) -> None:
    data = pack(c)
    assert unpack(data, max_pixels=SIDE_LIMIT**2) == c
    assert len(data) - len(c.latents) <= 25


def test_private_model_carries_its_fingerprint() -> None:
    c = Container(PRIVATE_MODEL, 100, 1, 1, True, b"abcd", b"\x01\x02\x03\x04")
    assert unpack(pack(c)) == c
    with pytest.raises(FormatError, match="fingerprint"):
        Container(PRIVATE_MODEL, 100, 1, 1, True, b"abcd")


def test_truncation_at_every_byte() -> None:
    data = pack(EXAMPLE)
    for length in range(len(data)):
        with pytest.raises(FormatError):
            unpack(data[:length])


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
        (4, b"\x02", "version 2"),
        (5, b"\x00", "model id 0"),
        (6, b"\x02", "flags"),
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
        "version": b"\x01",
        "model id": b"\x01",
        "flags": b"\x00",
        "quality": struct.pack("<H", 7500),
    }
    assert data[9:15] == b"\x80\x06" + b"\x80\x04" + b"\xc8\x01"
