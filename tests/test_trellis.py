"""Trellis-coded quantization: the state machine, the encoder's search, and symbols through the coder and back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from neurocodec import trellis
from neurocodec.entropy import Decoder, Encoder
from neurocodec.errors import FormatError
from neurocodec.prior import SCALE_MIN, SCALE_OCTAVE, TABLES
from neurocodec.tables import Tables
from neurocodec.training.tables import model_tables, silenced

Y_TABLES = silenced(model_tables(8)[0])
STEP = trellis.STEP / 256
FREE = np.zeros((TABLES, 2, 4000), np.float32)  # costs that leave the squared error alone


def drawn(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Laplacian values in steps, and table numbers that suit them."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 40, count).astype(np.uint8)
    return (rng.laplace(0, 0.7, count) * SCALE_MIN * 2 ** (table / SCALE_OCTAVE)).astype(np.float32), table


def followed(symbols: NDArray[np.int32], table: NDArray[np.uint8]) -> tuple[list[int], list[int]]:
    """Levels and quantizers as FORMAT.md says it, element by element."""
    order = sorted(range(len(symbols)), key=lambda i: int(table[i]))
    length = -(-len(symbols) // 128)
    state, levels, quantizers = [0] * length, [0] * len(symbols), [0] * len(symbols)
    for place, i in enumerate(order):
        lane, s = place % length, int(symbols[i])
        q = state[lane] % 2
        sign = (s > 0) - (s < 0)
        assert (s + q * sign) % 2 == 0, "a point that is none of its quantizer's"
        levels[i], quantizers[i] = (s + q * sign) // 2, q
        state[lane] = state[lane] // 2 ^ 33 * q ^ 10 * (levels[i] % 2)
    return levels, quantizers


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 129, 1000, 5000])
def test_the_encoders_points_are_those_that_a_decoder_reaches(count: int) -> None:
    values, table = drawn(count, count)
    symbols = trellis.quantize(values, table, Y_TABLES.pair_costs)
    lanes = trellis.Lanes(table)
    ordered = symbols[lanes.order]
    quantizers = lanes.quantizers(ordered)
    levels = trellis.level(ordered, quantizers)
    wanted = followed(symbols, table)
    assert levels.tolist() == [wanted[0][i] for i in lanes.order]
    assert quantizers.tolist() == [wanted[1][i] for i in lanes.order]

    def pull(run: slice, number: int, of: NDArray[np.uint8]) -> NDArray[np.int32]:
        assert set(table[lanes.order[run]].tolist()) == {number}
        np.testing.assert_array_equal(of, quantizers[run])
        part: NDArray[np.int32] = levels[run]
        return part

    np.testing.assert_array_equal(lanes.symbols(pull), ordered)


@given(st.integers(0, 10_000), st.integers(1, 7))
def test_the_search_finds_the_cheapest_way(seed: int, count: int) -> None:
    """Of all levels near the values, of as many elements as can be tried."""
    values, table = drawn(count, seed)
    values *= 2
    table[:] = table[0]  # one after the other, in a lane
    costs = Y_TABLES.pair_costs

    def cost(symbols: NDArray[np.int32]) -> float:
        quantizers = trellis.Lanes(table).quantizers(symbols)
        levels = trellis.level(symbols, quantizers)
        bits = costs[table, quantizers, np.minimum(abs(levels), costs.shape[2] - 1)].sum()
        return float(trellis.CURVATURE * ((values - STEP * symbols) ** 2).sum() + trellis.RATE * bits)

    best = np.inf
    for parities in itertools.product((0, 1), repeat=count):
        state, symbols = 0, np.empty(count, np.int32)
        for i, parity in enumerate(parities):
            q = state & 1
            levels = np.arange(-200, 201, dtype=np.int32)
            points = trellis.point(levels, np.array(q))[levels % 2 == parity]
            symbols[i] = points[np.argmin(abs(values[i] / STEP - points))]
            state = state >> 1 ^ trellis.FEEDBACK * q ^ trellis.INPUT * parity
        best = min(best, cost(symbols))
    assert best - 1e-3 <= cost(trellis.quantize(values, table, costs)) <= best + count / trellis.FINENESS


def test_points_are_packed_more_densely_than_rounding_packs_them() -> None:
    """Ungerboeck's trellis of 64 states gains 1.2 dB over a quantizer with the steps that either of its own has; the
    start of each lane costs a little of it."""
    values = np.random.default_rng(0).uniform(-30, 30, 128 * 2000).astype(np.float32)
    symbols = trellis.quantize(values, np.full(len(values), 40, np.uint8), FREE)
    error = np.mean((values - STEP * symbols) ** 2)
    assert 1.1 < 10 * np.log10((2 * STEP) ** 2 / 12 / error) < 1.25


def test_far_values_end_at_a_point_that_the_format_holds() -> None:
    values = np.array([1e6, -1e6, 3.0e38, 0.0], np.float32)
    symbols = trellis.quantize(values, np.full(4, 63, np.uint8), Y_TABLES.pair_costs)
    assert (abs(symbols) <= trellis.FARTHEST).all()
    assert abs(symbols[0]) > trellis.FARTHEST - 8


@pytest.mark.parametrize("count", [0, 1, 70, 6000])
def test_symbols_come_back_through_the_coder(count: int) -> None:
    """Plain ones and pairs in one call, with silent tables and escapes."""
    values, number = drawn(count, 3)
    values[::97] *= 400  # beyond what tables reach
    table = np.where(number >= 14, number + TABLES, number).astype(np.uint8)
    symbols = np.rint(values).astype(np.int32) * (number >= Y_TABLES.silent)
    pairs = number >= 14
    symbols[pairs] = trellis.quantize(values[pairs], number[pairs], Y_TABLES.pair_costs)
    encoder = Encoder()
    encoder.push(symbols, table, Y_TABLES)
    data = encoder.finish()
    np.testing.assert_array_equal(Decoder(data).pull(table, Y_TABLES), symbols)


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4]))
def test_any_bytes_decode_to_something_or_are_refused(data: bytes) -> None:
    table = np.arange(TABLES, 2 * TABLES, dtype=np.uint8).repeat(5)
    try:
        symbols = Decoder(data).pull(table, Y_TABLES)
    except FormatError:
        return
    followed(symbols, (table - TABLES).astype(np.uint8))


def test_where_pairs_begin_is_between_that_of_the_anchors() -> None:
    tables = Tables(Y_TABLES.frequencies, Y_TABLES.radius, pairs_from=(22, 20, 7))
    found = [tables.first_pair(position, 12) for position in (0, 2047, 2048, 4096, 4097, 8191, 8192)]
    assert found == [22, 21, 21, 20, 19, 7, 7]
    assert tables.without_pairs().first_pair(8192, 12) == TABLES


def test_plain_tables_are_the_first_of_all() -> None:
    plain = Y_TABLES.without_pairs()
    assert plain.plain == len(plain.radius) == TABLES == Y_TABLES.plain
    assert plain.silent == Y_TABLES.silent == 1
    for number in range(TABLES):
        np.testing.assert_array_equal(plain.row(number), Y_TABLES.row(number))
    assert Y_TABLES.loud().pairs_from == Y_TABLES.pairs_from
    np.testing.assert_array_equal(Y_TABLES.loud().pair_costs, Y_TABLES.pair_costs)


def test_tables_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="two tables of a pair"):
        Tables(Y_TABLES.frequencies, Y_TABLES.radius[:-1], pairs_from=(7, 7))


def test_totals_stay_within_their_sixteen_bits() -> None:
    """The dearest ways there are, in all lanes: no total runs over, or an end would seem cheap."""
    rng = np.random.default_rng(4)
    dear = np.full((trellis.ROWS, 4, 300), trellis.MOST, np.int16)
    dear[:, rng.integers(0, 4, 300), np.arange(300)] = 0  # one subset is free, in each lane another
    ways = trellis._way(dear)
    spent = np.take_along_axis(dear.astype(np.int64), ways[:, None], 1)[:, 0].sum(0)
    totals = np.full((trellis.STATES, 300), 1 << 40)
    totals[0] = 0
    for row in dear.astype(np.int64):
        totals = (totals[trellis._BEFORE] + row[trellis._SUBSET]).min(axis=1)
    np.testing.assert_array_equal(spent, totals.min(axis=0))
