"""Freezing the probability tables: what was counted on pictures, held up by what the model believes.

A table is the Gaussian of the trained prior (for z with its mean in the middle of a phase), counted as if
``BELIEF`` symbols of it had been seen, plus the symbols that really were. Where data is rich the
table has the true shape, with its heavier tail; where it is poor it stays the model's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec.fixedpoint import ONE
from neurocodec.prior import PHASES, SCALE_MIN, SCALE_OCTAVE, TABLES
from neurocodec.tables import EXCESS_BITS, PRECISION, Tables
from neurocodec.training.objective import gaussian_pmf
from neurocodec.trellis import STEP, point

BELIEF = 1000.0  # symbols
REACH = 8.0  # standard deviations that a y table covers before the symbols are counted
TAIL = 3e-6  # probability that may be left outside a table: an escape costs some 35 bits
Z_RADIUS = 31  # symbols that z tables cover
# First table whose latents are coded by a trellis, at each of eight quality anchors. Latents of narrower tables are
# mostly zero. A trellis does not make these cheaper, and the synthesis has learnt their zeros from plain rounding.
# Anchors beyond the eighth use its value.
PAIRS_FROM = (17, 15, 13, 11, 9, 6, 6, 6)


class SymbolCounter:
    """Takes symbols as the entropy coder would, and counts them for each table."""

    def __init__(self) -> None:
        self.counts: dict[int, dict[int, NDArray[np.int64]]] = {}
        self.bits = 0.0  # what the frozen tables say the symbols cost

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None:
        """Count symbols (N,) of the tables numbered in table (N,)."""
        counts = self.counts.setdefault(id(tables), {})
        symbols, table = tables.coded(symbols, table)
        order = np.argsort(table, kind="stable")
        numbers, starts = np.unique(table[order], return_index=True)
        for number, values in zip(numbers.tolist(), np.split(symbols[order], starts[1:]), strict=True):
            radius = int(tables.radius[number])
            coded = np.where(np.abs(values) <= radius, values + radius, 2 * radius + 1)
            seen = np.bincount(coded, minlength=2 * radius + 2)
            counts[number] = counts.get(number, np.zeros(1, np.int64)) + seen
            if number >= tables.silent:
                costs = PRECISION - np.log2(tables.row(number))
                self.bits += float(seen @ costs) + float(seen[-1]) * (EXCESS_BITS + 1)

    def of(self, tables: Tables) -> dict[int, NDArray[np.int64]]:
        """Counts by table number, laid out as that table's frequencies."""
        return self.counts.get(id(tables), {})


def model_tables(anchors: int) -> tuple[Tables, Tables]:
    """The tables that a model of so many anchors believes in before anything is counted, for y and for z."""
    y_rows, pairs = [], []
    for i in range(TABLES):
        scale = SCALE_MIN * 2 ** (i / SCALE_OCTAVE)
        radius = 2 + int(REACH * scale)
        symbols = torch.arange(-radius, radius + 1.0, dtype=torch.float64)
        y_rows.append(np.append(gaussian_pmf(symbols, torch.full_like(symbols, i)).numpy(), 0.0))
        levels = np.arange(-radius, radius + 1, dtype=np.int32)
        for quantizer in (0, 1):
            points = torch.from_numpy(point(levels, np.array(quantizer, np.uint8)) * (STEP / ONE))
            pairs.append(np.append(gaussian_pmf(points, torch.full_like(points, i)).numpy(), 0.0))
    symbols = torch.arange(-Z_RADIUS, Z_RADIUS + 1.0, dtype=torch.float64)
    z_rows = []
    for phase in range(PHASES):
        mean = (phase + 0.5) / PHASES - 0.5
        for i in range(TABLES):
            z_rows.append(np.append(gaussian_pmf(symbols - mean, torch.full_like(symbols, i)).numpy(), 0.0))
    known = PAIRS_FROM + PAIRS_FROM[-1:] * (anchors - len(PAIRS_FROM))
    at = np.linspace(0, len(known) - 1, anchors)
    pairs_from = tuple(int(n) for n in np.interp(at, range(len(known)), known))
    return freeze(y_rows + pairs, pairs_from=pairs_from), freeze(z_rows, in_order=True)


def counted_tables(believed: Tables, counts: dict[int, NDArray[np.int64]]) -> Tables:
    """The believed tables, moved towards what was counted; those that are not coded in order symmetric, as the model
    is, and without the tails that nothing uses."""
    rows = []
    for i in range(len(believed.radius)):
        row = believed.row(i) / (1 << PRECISION) * BELIEF + counts.get(i, 0)
        if believed.in_order:
            rows.append(row)
            continue
        inside, escape = row[:-1], row[-1]
        radius = len(inside) // 2
        inside = (inside + inside[::-1]) / 2
        beyond = np.cumsum((inside + inside[::-1])[:radius])  # weight at |symbol| >= radius - k
        cut = min(int(np.count_nonzero(beyond + escape < TAIL * row.sum())), radius - 1)
        rows.append(np.append(inside[cut : len(inside) - cut], escape + (beyond[cut - 1] if cut else 0.0)))
    return freeze(rows, believed.in_order, believed.pairs_from)


def silenced(tables: Tables) -> Tables:
    """The tables, the narrowest of which is certain of its zero: a hundred thousandth of what it predicts is
    something else, and most of what a low quality leaves is its."""
    rest = len(tables.row(0))
    return Tables(
        np.concatenate([np.array([1 << PRECISION, 0], np.int32), tables.frequencies[rest:]]),
        np.concatenate([np.zeros(1, np.int32), tables.radius[1:]]),
        pairs_from=tables.pairs_from,
    )


def freeze(rows: list[NDArray[np.float64]], in_order: bool = False, pairs_from: tuple[int, ...] = ()) -> Tables:
    """Weights of symbols -R .. R and the escape -> integers that sum to 2**PRECISION, none zero."""
    frozen = []
    for row in rows:
        share = row / row.sum() * ((1 << PRECISION) - len(row))
        integers = np.floor(share).astype(np.int32) + 1
        integers[np.argmax(integers)] += (1 << PRECISION) - integers.sum()
        frozen.append(integers)
    radius = np.array([(len(row) - 2) // 2 for row in frozen], np.int32)
    return Tables(np.concatenate(frozen), radius, in_order, pairs_from)
