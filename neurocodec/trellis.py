"""Trellis-coded quantization: which of two quantizers a latent has depends on the symbols before it.

Quantizer 0 has the even points of a fine grid, quantizer 1 the odd ones and zero, so that either is coarse and cheap.
Their numbers' parities drive a state machine, whose state says which one the next latent has: a decoder just follows,
and an encoder finds the way that leads nearest to all its latents with Viterbi's algorithm. So points are dense, as
they are packed in many dimensions, for the bits of a coarse quantizer (Marcellin and Fischer 1990, "Trellis coded
quantization of memoryless and Gauss-Markov sources"; with zero in both and entropy coding as VVC's dependent
quantization, Schwarz et al. 2019). The trellis is Ungerboeck's (1982) of 64 states.

Elements are independent given their tables, so any order will do: they are sorted by table and laid out in rows, in
which lanes run side by side, each a trellis of its own. So a row has few tables, and is decoded at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
Numbers = NDArray[Any]  # small and not negative: of tables, quantizers, states
Floats = NDArray[np.float32]
Weights = NDArray[np.int16]

ROWS = 128  # of a lane, at most
STATES = 64
FEEDBACK, INPUT = 33, 10  # what a quantizer, and a level's parity, turn in the state
STEP = 164  # a step of the fine grid, in units of 2**-8 of the plain quantizer's step
# What an encoder weighs: bits per squared step of the plain quantizer (12 / ln 2, the curvature of a rate by which
# such a step is worth its bits), and bits, of which it saves fewer than that suggests: an encoder that was trained
# with real rounding already stands where they would move it.
CURVATURE, RATE = 17.3, 0.6
# Weights are counted in 16 bits, in 32nds of a bit. A step costs at most a few dozen bits, states of a lane are a few
# steps apart at most, and every OFTEN rows the cheapest one's total is taken from all.
FINENESS, LIMIT, OFTEN = 32, 1 << 13, 8
MOST = 40 * FINENESS  # of a step: far latents, the clipped ones, cost as much whichever way
CHUNK = 1 << 10  # lanes that an encoder works at together: they stay in the cache
FARTHEST = 1 << 14  # points from zero


def _transitions() -> tuple[Numbers, NDArray[np.int64], NDArray[np.int64]]:
    """The state behind each for either parity, and the two states before each and the subsets of the fine grid, 2 *
    quantizer + parity of the level, that lead from there: (STATES, 2) each."""
    after = np.empty((STATES, 2), np.uint8)
    before, subset = np.empty((2, STATES, 2), np.int64)
    for state in range(STATES):
        for parity in (0, 1):
            to = state >> 1 ^ FEEDBACK * (state & 1) ^ INPUT * parity
            after[state, parity] = to
            before[to, parity] = state
            subset[to, parity] = 2 * (state & 1) + parity
    return after, before, subset


_AFTER, _BEFORE, _SUBSET = _transitions()


class Lanes:
    """Elements of pairs of tables, numbered in table (N,), in the order in which they are coded: side by side in rows,
    the last one shorter. Symbols and levels below are in this order, too."""

    def __init__(self, table: Numbers) -> None:
        self.order = np.argsort(table, kind="stable")
        self.table, self.count = table[self.order], max(1, -(-len(table) // ROWS))
        starts = np.arange(0, len(table), self.count)
        self.rows = [slice(start, min(start + self.count, len(table))) for start in starts.tolist()]
        changes = np.flatnonzero(np.diff(self.table)) + 1
        # Runs of one table within a row.
        self.starts = np.union1d(starts, changes)
        self.stops = np.append(self.starts[1:], len(table))[: len(self.starts)]

    def quantizers(self, symbols: Symbols) -> Numbers:
        """That of each point of the fine grid, where a trellis leads to all of them."""
        found, parity = np.empty(len(symbols), np.uint8), ((np.abs(symbols) + 1) >> 1 & 1).astype(np.uint8)
        state = np.zeros(self.count, np.uint8)
        for row in self.rows:
            state = state[: row.stop - row.start]
            np.bitwise_and(state, 1, out=found[row])
            state = _AFTER.ravel().take(2 * state + parity[row])
        return found

    def symbols(self, pull: Callable[[slice, int, Numbers], Symbols]) -> Symbols:
        """The points that levels lead to; pull gives the levels of a run and its table, given their quantizers."""
        symbols = np.empty(len(self.order), np.int32)
        state = np.zeros(self.count, np.uint8)
        runs = zip(self.starts.tolist(), self.stops.tolist(), self.table[self.starts].tolist(), strict=True)
        for row in self.rows:
            state = state[: row.stop - row.start]
            quantizer = state & 1
            levels = symbols[row]
            stop = row.start
            while stop < row.stop:
                start, stop, number = next(runs)
                here = slice(start - row.start, stop - row.start)
                levels[here] = pull(slice(start, stop), number, quantizer[here])
            state = _AFTER.ravel().take(2 * state + (levels & 1).astype(np.uint8))
            levels[:] = point(levels, quantizer)
        return symbols


def level(points: Symbols, quantizer: Numbers) -> Symbols:
    """The number of points in their quantizer: half of it, of an odd one away from zero."""
    levels: Symbols = (points + quantizer * np.sign(points)) // 2
    return levels


def point(levels: Symbols, quantizer: Numbers) -> Symbols:
    """The inverse of :func:`level`."""
    points: Symbols = 2 * levels - quantizer * np.sign(levels)
    return points


def quantize(values: Floats, table: Numbers, costs: Floats) -> Symbols:
    """values (N,) in steps of the plain quantizer -> the points of the fine grid (N,) that a trellis leads to with the
    least squared error and bits. costs (T, 2, R + 1): bits of levels 0 .. R, or of those below zero, of each table and
    quantizer."""
    if not len(values):
        return np.empty(0, np.int32)
    lanes = Lanes(table)
    shape = len(lanes.rows), lanes.count
    # Lanes that the last row lacks have something there that costs nothing.
    order = np.resize(lanes.order, shape)
    last = len(values) - (len(lanes.rows) - 1) * lanes.count
    found = np.empty(shape, np.int32)

    for start in range(0, lanes.count, CHUNK):
        some = order[:, start : start + CHUNK]
        points, weights = _candidates(values[some], table[some], costs)
        weights[:, -1, max(last - start, 0) :] = 0
        subset = _way(np.ascontiguousarray(weights.swapaxes(0, 1)))
        found[:, start : start + CHUNK] = np.take_along_axis(points, subset[None], 0)[0]
    symbols = np.empty(len(values), np.int32)
    symbols[lanes.order] = found.reshape(-1)[: len(values)]
    return symbols


# Of each subset of the fine grid, 2 * quantizer + parity of the level, the first point on the right of zero.
_FIRST = np.array([0, 2, 3, 1], np.float32)[:, None, None]
_QUANTIZER = np.array([0, 0, 1, 1], np.float32)[:, None, None]


def _candidates(values: Floats, table: Numbers, costs: Floats) -> tuple[Symbols, Weights]:
    """values and table (L, W) -> of each subset the nearest point, and what it costs, (4, L, W)."""
    step, reach = np.float32(STEP / 256), costs.shape[2] - 1
    farthest = (FARTHEST - 4) * step
    x = np.clip(values, -farthest, farthest) / step
    away = np.abs(x)
    points = np.subtract(away, _FIRST)  # every fourth is of the same subset
    points *= np.float32(0.25)
    np.rint(points, out=points)
    np.maximum(points, 0, out=points)
    points *= 4
    points += _FIRST
    points[2, away < 1.5] = 0  # zero is a point of quantizer 1, too, and its level is even
    weights = away - points
    np.square(weights, out=weights)
    weights *= np.float32(FINENESS * CURVATURE * step**2)
    levels = np.minimum((points + _QUANTIZER) * np.float32(0.5), reach).astype(np.int32)
    levels += table.astype(np.int32) * (2 * costs.shape[2])
    levels += _QUANTIZER.astype(np.int32) * costs.shape[2]
    weights += costs.reshape(-1).take(levels) * np.float32(FINENESS * RATE)
    np.minimum(weights, MOST, out=weights)
    np.copysign(points, x, out=points)
    return points.astype(np.int32), weights.astype(np.int16)


def _flipped(x: Floats, mask: int) -> Floats:
    """A view of x (2**n, W), whose row i is row i xor mask; in n + 1 dimensions."""
    bits = len(x).bit_length() - 1
    turned = tuple(slice(None, None, -1 if mask >> bit & 1 else 1) for bit in reversed(range(bits)))
    return x.reshape(*(2,) * bits, x.shape[1])[turned]


def _way(weights: Weights) -> NDArray[np.int64]:
    """The cheapest way through a trellis: weights (L, 4, W) of subsets -> which one at each row of each lane (L, W)."""
    length, _, lanes = weights.shape
    half = STATES // 2  # the states that quantizer 0 leads to, and behind them those of quantizer 1
    total = np.full((STATES, lanes), LIMIT, np.int16)
    total[0] = 0
    turns = np.empty((length, STATES, lanes), np.bool_)
    sums = np.empty((2, 2, half, lanes), np.int16)  # of quantizers and parities
    # Row i of each pair is what parity 0 and 1 lead to state i of a half with.
    pairs = [
        (_flipped(sums[q, 0], back), _flipped(sums[q, 1], back ^ INPUT)) for q, back in enumerate((0, FEEDBACK ^ half))
    ]
    shape = pairs[0][0].shape
    before, ends = total.reshape(half, 2, lanes).swapaxes(0, 1)[:, None], total.reshape(2, *shape)
    for i, (row, turn) in enumerate(zip(weights.reshape(length, 2, 2, 1, lanes), turns, strict=True)):
        np.add(before, row, out=sums)
        for (even, odd), end, choice in zip(pairs, ends, turn.reshape(2, *shape), strict=True):
            np.less(odd, even, out=choice)
            np.minimum(even, odd, out=end)
        if i % OFTEN == OFTEN - 1:
            total -= total.min(axis=0)
    # And back from the cheapest end.
    from_state, subset_of = _BEFORE.ravel(), _SUBSET.ravel()
    state, lane = total.argmin(0), np.arange(lanes)
    ways = np.empty((length, lanes), np.int64)
    for way, turn in zip(ways[::-1], turns[::-1], strict=True):
        at = 2 * state + turn.ravel()[state * lanes + lane]
        way[:] = subset_of[at]
        state = from_state[at]
    return ways
