"""Trellis-coded quantization: which of two quantizers a latent has depends on the symbols before it.

Quantizer 0 has the even points of a fine grid, quantizer 1 the odd ones and zero, so that either is coarse and cheap.
Their numbers' parities drive a state machine, whose state says which one the next latent has: a decoder just follows,
and an encoder finds the way that leads nearest to all its latents with Viterbi's algorithm. So points are dense, as
they are packed in many dimensions, for the bits of a coarse quantizer (Marcellin and Fischer 1990, "Trellis coded
quantization of memoryless and Gauss-Markov sources"; with zero in both and entropy coding as VVC's dependent
quantization, Schwarz et al. 2019). The trellis is Ungerboeck's (1982) of 16 states.

Elements are independent given their tables, so any order will do: they are sorted by table and laid out in rows of
LANES side by side, each lane a trellis of its own. A row has few tables, is coded at once, and lanes run in parallel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
Numbers = NDArray[Any]  # small and not negative: of tables, quantizers, states
Floats = NDArray[np.float32]

ROWS = 64  # of a lane, at most
STATES = 16
UNIT = 164  # a step of the fine grid, in units of 2**-8 of the plain quantizer's step
# What an encoder weighs: bits per squared step of the plain quantizer (12 / ln 2, the curvature of a rate by which
# such a step is worth its bits), and bits, of which it saves fewer than that suggests: an encoder that was trained
# with real rounding already stands where they would move it.
CURVATURE, RATE = 17.3, 0.3
CHUNK = 1 << 11  # lanes that an encoder works at together: they stay in the cache
FARTHEST = 1 << 14  # points from zero


def following(state: Numbers, levels: Symbols) -> Numbers:
    """The state behind levels, elementwise."""
    quantizer = state & 1
    after: Numbers = (state >> 1) ^ 9 * quantizer ^ 2 * (levels & 1).astype(np.uint8)
    return after


def rows(table: Numbers) -> list[NDArray[np.int64]]:
    """The elements (N,) of pairs of tables, numbered in table (N,), as rows of lanes, the last row shorter."""
    order = np.argsort(table, kind="stable")
    lanes = max(1, -(-len(order) // ROWS))
    return [order[start : start + lanes] for start in range(0, len(order), lanes)]


def levels_of(symbols: Symbols, table: Numbers) -> tuple[Symbols, Numbers]:
    """Points of the fine grid (N,) that a trellis leads to -> their levels and the quantizers that they are of (N,)."""
    levels, quantizers = np.empty_like(symbols), np.empty(len(symbols), np.uint8)
    state = np.zeros(-(-len(symbols) // ROWS), np.uint8)
    for row in rows(table):
        state = state[: len(row)]
        quantizers[row] = state & 1
        levels[row] = level(symbols[row], state & 1)
        state = following(state, levels[row])
    return levels, quantizers


def symbols_of(table: Numbers, pull: Callable[[Numbers, Numbers], Symbols]) -> Symbols:
    """The inverse of :func:`levels_of`; pull gives the levels of a row, of numbers of tables and quantizers."""
    symbols = np.empty(len(table), np.int32)
    state = np.zeros(-(-len(symbols) // ROWS), np.uint8)
    for row in rows(table):
        state = state[: len(row)]
        levels = pull(table[row], state & 1)
        symbols[row] = point(levels, state & 1)
        state = following(state, levels)
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
    symbols = np.empty(len(values), np.int32)
    if not len(values):
        return symbols
    order = np.argsort(table, kind="stable")
    lanes = -(-len(order) // ROWS)
    points, weights = _candidates(values[order], table[order], costs)
    padded = np.zeros((4, -(-len(order) // lanes) * lanes), np.float32)
    padded[:, : len(order)] = weights
    weights = padded.reshape(4, -1, lanes).swapaxes(0, 1)
    subset = np.empty((len(weights), lanes), np.int64)
    for start in range(0, lanes, CHUNK):
        some = slice(start, start + CHUNK)
        subset[:, some] = _way(np.ascontiguousarray(weights[:, :, some]))
    symbols[order] = np.take_along_axis(points, subset.reshape(1, -1)[:, : len(order)], 0)[0]
    return symbols


def _candidates(values: Floats, table: Numbers, costs: Floats) -> tuple[Symbols, Floats]:
    """Of each subset of the fine grid, 2 * quantizer + parity of the level, the nearest point and what it costs,
    (4, N)."""
    step, reach = np.float32(UNIT / 256), costs.shape[2] - 1
    farthest = (FARTHEST - 4) * step
    x = np.clip(values, -farthest, farthest) / step
    away = np.abs(x)
    # The points on the right of zero, first of each subset, and then every fourth.
    points = np.subtract(away, _FIRST)
    points *= np.float32(0.25)
    np.rint(points, out=points)
    np.maximum(points, 0, out=points)
    points *= 4
    points += _FIRST
    points[2, away < 1.5] = 0  # zero is a point of quantizer 1, too, and its level is even
    weights = away - points
    np.square(weights, out=weights)
    weights *= np.float32(CURVATURE * step**2)
    levels = np.minimum((points + _QUANTIZER) * np.float32(0.5), reach).astype(np.int32)
    levels += table.astype(np.int32) * (2 * costs.shape[2])
    levels += _QUANTIZER.astype(np.int32) * costs.shape[2]
    weights += costs.reshape(-1).take(levels) * np.float32(RATE)
    np.copysign(points, x, out=points)
    return points.astype(np.int32), weights


_FIRST = np.array([[0], [2], [3], [1]], np.float32)
_QUANTIZER = np.array([[0], [0], [1], [1]], np.float32)
_BEFORE = np.array(
    [[s for s in range(STATES) for p in (0, 1) if (s >> 1) ^ 9 * (s & 1) ^ 2 * p == after] for after in range(STATES)]
)  # the two states before each
_PARITY = np.array(
    [[p for s in range(STATES) for p in (0, 1) if (s >> 1) ^ 9 * (s & 1) ^ 2 * p == after] for after in range(STATES)]
)  # of the levels that lead from there
_SUBSET = 2 * (_BEFORE & 1) + _PARITY


def _way(weights: Floats) -> NDArray[np.int64]:
    """The cheapest way through a trellis: weights (L, 4, W) of subsets -> which one at each row of each lane (L, W)."""
    length, _, lanes = weights.shape
    total = np.full((STATES, lanes), np.float32(np.finfo(np.float32).max / 4))
    total[0] = 0
    turns = np.empty((length, STATES, lanes), np.bool_)
    first, second = np.empty_like(total), np.empty_like(total)
    for row, turn in zip(weights, turns, strict=True):
        np.take(total, _BEFORE[:, 0], axis=0, out=first)
        np.take(total, _BEFORE[:, 1], axis=0, out=second)
        first += row[_SUBSET[:, 0]]
        second += row[_SUBSET[:, 1]]
        np.less(second, first, out=turn)
        np.minimum(first, second, out=total)
    # And back from the cheapest end.
    before, subset = _BEFORE.ravel(), _SUBSET.ravel()
    state, lane = total.argmin(0), np.arange(lanes)
    ways = np.empty((length, lanes), np.int64)
    for way, turn in zip(ways[::-1], turns[::-1], strict=True):
        at = 2 * state + turn.ravel()[state * lanes + lane]
        way[:] = subset[at]
        state = before[at]
    return ways
