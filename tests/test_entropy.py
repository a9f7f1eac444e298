"""The entropy coder: exact, close to the entropy, linear, and safe with damaged bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurocodec.entropy import Decoder, Encoder
from neurocodec.errors import FormatError
from neurocodec.tables import EXCESS_BITS, PRECISION, Tables
from neurocodec.training.tables import freeze


def gaussian_tables(scales: list[float], radius: int) -> Tables:
    k = np.arange(-radius, radius + 1)
    return freeze([np.append(np.exp(-0.5 * (k / s) ** 2), 1e-4) for s in scales])


TABLES = gaussian_tables([0.2, 0.7, 3.0, 12.0], 20)


def draw(count: int, seed: int) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Symbols that follow TABLES, escapes left out, and their tables."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, count).astype(np.uint8)
    symbols = np.zeros(count, np.int32)
    for i in range(4):
        row = TABLES.row(i)[:-1].astype(np.float64)
        symbols[table == i] = rng.choice(len(row), np.count_nonzero(table == i), p=row / row.sum()) - 20
    return symbols, table


@given(
    st.lists(st.tuples(st.integers(-(1 << EXCESS_BITS), 1 << EXCESS_BITS), st.integers(0, 3)), max_size=60),
    st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3)), max_size=60),
)
def test_round_trip(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    parts = [np.array(p, np.int32).reshape(-1, 2) for p in (first, second)]
    encoder = Encoder()
    for p in parts:
        encoder.push(p[:, 0].copy(), p[:, 1].astype(np.uint8), TABLES)
    decoder = Decoder(encoder.finish())
    for p in parts:
        np.testing.assert_array_equal(decoder.pull(p[:, 1].astype(np.uint8), TABLES), p[:, 0])


IN_ORDER = Tables(TABLES.frequencies, TABLES.radius, in_order=True)


@given(st.lists(st.lists(st.tuples(st.integers(-90, 90), st.integers(0, 3)), max_size=60), max_size=5))
def test_round_trip_in_order(lists: list[list[tuple[int, int]]]) -> None:
    parts = [np.array(p, np.int32).reshape(-1, 2) for p in lists]
    encoder = Encoder()
    for p in parts:
        encoder.push(p[:, 0], p[:, 1].astype(np.int16), IN_ORDER)
    decoder = Decoder(encoder.finish())
    for p in parts:
        np.testing.assert_array_equal(decoder.pull(p[:, 1].astype(np.int16), IN_ORDER), p[:, 0])


def test_in_order_they_are_coded_as_one_by_one() -> None:
    symbols, table = draw(500, 3)
    symbols[::100] = 25  # escapes, the last symbols of their calls
    encoder, one_by_one = Encoder(), Encoder()
    for start in range(0, 500, 100):
        turned = slice(start + 99, start - 1 if start else None, -1)
        encoder.push(symbols[turned], table[turned], IN_ORDER)
        for i in range(start + 99, start - 1, -1):
            one_by_one.push(symbols[i : i + 1], table[i : i + 1], TABLES)
    assert encoder.finish() == one_by_one.finish()


def test_in_order_all_tables_have_one_reach() -> None:
    narrow = gaussian_tables([0.5], 5)
    both = np.concatenate([TABLES.frequencies, narrow.frequencies])
    with pytest.raises(ValueError, match="one reach"):
        Tables(both, np.append(TABLES.radius, narrow.radius), in_order=True)


def test_tables_are_whole_and_sum_up() -> None:
    for i in range(4):
        assert TABLES.row(i).sum() == 1 << PRECISION
        assert TABLES.row(i).min() >= 1
        assert len(TABLES.row(i)) == 2 * TABLES.radius[i] + 2


def test_within_a_thousandth_of_the_entropy() -> None:
    symbols, table = draw(400_000, 1)
    encoder = Encoder()
    encoder.push(symbols, table, TABLES)
    ideal = sum(float((PRECISION - np.log2(TABLES.row(i)[symbols[table == i] + 20])).sum()) for i in range(4))
    assert 8 * len(encoder.finish()) / ideal - 1 < 0.001


def steps(do: Callable[[], object]) -> int:
    """Count the lines and calls that Python executes in a function."""
    count = 0

    def step(frame: FrameType, event: str, argument: Any) -> Callable[[FrameType, str, Any], Any]:
        nonlocal count
        count += 1
        return step

    before = sys.gettrace(), sys.getprofile()
    sys.settrace(step)
    sys.setprofile(step)
    try:
        do()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return count


@pytest.mark.parametrize("tables", [TABLES, IN_ORDER], ids=["grouped", "in order"])
def test_python_takes_as_many_steps_for_many_symbols_as_for_few(tables: Tables) -> None:
    """Check that whole arrays go to the coder, because a loop in Python would take a hundred times as long."""
    taken = []
    for count in (7_500, 7_500, 750_000):  # the first round fills the cache of models
        symbols, table = draw(count, 2)
        symbols[::50] = 25  # escapes in each group
        encoder = Encoder()
        encode = steps(partial(encoder.push, symbols, table, tables))
        data = encoder.finish()
        decode = steps(partial(Decoder(data).pull, table, tables))
        np.testing.assert_array_equal(Decoder(data).pull(table, tables), symbols)
        taken.append((encode, decode))
    assert taken[1] == taken[2]


@settings(max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_decode_within_limits_or_are_refused(data: bytes) -> None:
    table = np.arange(40, dtype=np.uint8) % 4
    try:
        symbols = Decoder(data).pull(table, TABLES)
    except FormatError:
        return
    assert np.abs(symbols).max() <= 20 + (1 << EXCESS_BITS)


def test_truncated_bytes() -> None:
    symbols, table = draw(500, 3)
    encoder = Encoder()
    encoder.push(symbols, table, TABLES)
    data = encoder.finish()
    for length in range(len(data)):
        try:
            Decoder(data[:length]).pull(table, TABLES)
        except FormatError:
            continue


def test_silent_tables_code_nothing() -> None:
    """Two tables that are certain of their zero, before the others."""
    silent, none = np.array([1 << PRECISION, 0] * 2, np.int32), np.zeros(2, np.int32)
    tables = Tables(np.concatenate([silent, TABLES.frequencies]), np.concatenate([none, TABLES.radius]))
    assert (tables.silent, TABLES.silent) == (2, 0)
    np.testing.assert_array_equal(tables.row(2), TABLES.row(0))
    symbols, table = draw(5000, 4)
    encoder, plain = Encoder(), Encoder()
    plain.push(symbols, table, TABLES)
    quiet = np.repeat(np.array([0, 1], np.uint8), 300)
    encoder.push(np.concatenate([np.zeros(600, np.int32), symbols]), np.concatenate([quiet, table + 2]), tables)
    data = encoder.finish()
    assert data == plain.finish()
    np.testing.assert_array_equal(Decoder(data).pull(np.concatenate([table + 2, quiet]), tables)[:5000], symbols)
    assert not Decoder(b"").pull(quiet, tables).any()
    loud = tables.loud()
    assert (loud.silent, loud.radius[:2].tolist()) == (0, [1, 1])
    np.testing.assert_array_equal(loud.row(1), [1, (1 << PRECISION) - 3, 1, 1])
    np.testing.assert_array_equal(loud.row(5), tables.row(5))
    assert TABLES.loud() is TABLES
    strays = np.array([0, 0, -1, 900, 0], np.int32)
    encoder = Encoder()
    encoder.push(strays, np.zeros(5, np.uint8), loud)
    np.testing.assert_array_equal(Decoder(encoder.finish()).pull(np.zeros(5, np.uint8), loud), strays)
    with pytest.raises(ValueError, match="certain"):
        Tables(np.concatenate([TABLES.frequencies, silent]), np.concatenate([TABLES.radius, none]))


def test_a_symbol_beyond_the_escape_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond"):
        Encoder().push(np.array([1 << 16], np.int32), np.zeros(1, np.uint8), TABLES)
