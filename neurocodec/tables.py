"""Frozen probability tables: which of them a symbol has, what it costs, and the entropy coder's model of each.

A table is a probability mass function over the symbols -R .. R and one escape, in integers that sum
to 2**20. The first tables may be certain of their zero: their symbols are 0, and nothing is coded. At low
quality that is most of them. Symbols of tables that are coded `in_order` are not grouped, for calls of few symbols.
Some tables come in pairs, for the two quantizers of a trellis (``trellis.py``), whose state says which of them it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import constriction
import numpy as np
from numpy.typing import NDArray

from neurocodec import trellis

PRECISION = 20  # bits: the frequencies of a table sum to 2**20, exact in float32
EXCESS_BITS = 15  # an escaped symbol is R + 1 + excess in magnitude, and excess < 2**15

Symbols = NDArray[np.int32]
TableNumbers = NDArray[np.uint8] | NDArray[np.int16]


@dataclass(frozen=True)
class Tables:
    """Frozen probability tables; table i has 2 * radius[i] + 2 frequencies, the escape last.

    With `pairs_from`, behind as many plain tables as there are numbers stand as many pairs: table number n of T is the
    plain table n, and number T + n the tables T + 2n and T + 2n + 1, of a trellis's quantizers 0 and 1.
    """

    frequencies: NDArray[np.int32]  # all tables, one behind the other
    radius: NDArray[np.int32]  # (T,), with pairs (3 * T,)
    in_order: bool = False  # coded as they come; all tables have the same R
    pairs_from: tuple[int, ...] = ()  # at each quality anchor, the first number whose latents are coded in pairs
    silent: int = field(init=False, compare=False)  # so many tables, the first ones, are certain of their zero
    _shares: NDArray[np.float32] = field(init=False, repr=False, compare=False)  # (T, 2 * R + 2), of those in order
    _models: dict[int, constriction.stream.model.Categorical] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        ends = np.cumsum(2 * self.radius.astype(np.int64) + 2)
        certain = self.frequencies[ends - 2] == 1 << PRECISION
        object.__setattr__(self, "silent", int(certain.sum()))
        if not certain[: self.silent].all():
            raise ValueError("a table that is certain of its zero comes after one that is not")
        if self.pairs_from and (len(self.radius) % 3 or self.silent > self.plain):
            raise ValueError("there are two tables of a pair for each plain one, and none is certain of its zero")
        if self.in_order:
            if self.silent or len(set(self.radius.tolist())) != 1:
                raise ValueError("tables that are coded in order have one reach, and none is certain of its zero")
            shares = self.frequencies.reshape(len(self.radius), -1).astype(np.float32) / np.float32(1 << PRECISION)
            object.__setattr__(self, "_shares", shares)

    def are_whole(self) -> bool:
        """Whether every table has its frequencies, which are above 0 and have the sum they must have; but silent ones
        have none for the escape."""
        lengths = 2 * self.radius.astype(np.int64) + 2
        if lengths.min() < 2 or self.frequencies.ndim != 1 or lengths.sum() != len(self.frequencies):
            return False
        sums = np.add.reduceat(self.frequencies.astype(np.int64), np.cumsum(lengths) - lengths)
        least = np.ones(len(self.frequencies), np.int32)
        least[1 : 2 * self.silent : 2] = 0
        return bool((sums == 1 << PRECISION).all() and (self.frequencies >= least).all())

    @property
    def plain(self) -> int:
        """So many tables are no pair's."""
        return len(self.radius) // 3 if self.pairs_from else len(self.radius)

    def loud(self) -> Tables:
        """The same tables, of which none is silent: those that were give all but zero the least there is."""
        if not self.silent:
            return self
        row = np.array([1, (1 << PRECISION) - 3, 1, 1], np.int32)
        frequencies = np.concatenate([np.tile(row, self.silent), self.frequencies[2 * self.silent :]])
        radius = np.concatenate([np.ones(self.silent, np.int32), self.radius[self.silent :]])
        return replace(self, frequencies=frequencies, radius=radius)

    def without_pairs(self) -> Tables:
        """The plain tables."""
        ends = np.cumsum(2 * self.radius[: self.plain].astype(np.int64) + 2)
        return replace(self, frequencies=self.frequencies[: ends[-1]], radius=self.radius[: self.plain], pairs_from=())

    def first_pair(self, position: int, bits: int) -> int:
        """The first table number whose latents are coded in pairs at a quality position in units of 2**-bits."""
        if not self.pairs_from:
            return self.plain
        anchor = min(position >> bits, len(self.pairs_from) - 2)
        share = position - (anchor << bits)
        low, high = self.pairs_from[anchor : anchor + 2]
        return low + ((high - low) * share >> bits)

    @cached_property
    def pair_costs(self) -> NDArray[np.float32]:
        """Bits of levels 0 .. R of each pair's tables, which are symmetric, (T, 2, R + 1); R of the widest table, and
        beyond a table's own what its escape costs."""
        costs = self.costs(range(self.plain, len(self.radius)))
        return costs[:, costs.shape[1] // 2 :].reshape(self.plain, 2, -1)

    def costs(self, numbers: Sequence[int]) -> NDArray[np.float32]:
        """Bits of each symbol, (len(numbers), 2 * R + 1), symbol 0 in the middle; R is the widest table's.
        Beyond a table's own reach stands what its escape costs."""
        reach = int(max(self.radius[n] for n in numbers))
        rows = np.empty((len(numbers), 2 * reach + 1), np.float32)
        for row, number in zip(rows, numbers, strict=True):
            # A silent table's escape has no frequency at all, and costs more than any other.
            bits = PRECISION - np.log2(np.maximum(self.row(number), 1))
            radius = int(self.radius[number])
            row[:] = bits[-1] + EXCESS_BITS + 1
            row[reach - radius : reach + radius + 1] = bits[:-1]
        return rows

    def coded(self, symbols: Symbols, table: TableNumbers) -> tuple[Symbols, TableNumbers]:
        """Symbols (N,) and their table numbers (N,) -> what is coded, and with which of the tables there are (N,)."""
        pairs = np.flatnonzero(table >= self.plain)
        if not pairs.size:
            return symbols, table
        levels, number = symbols.copy(), table.copy()
        lanes = trellis.Lanes(table[pairs] - self.plain)
        pairs = pairs[lanes.order]
        quantizers = lanes.quantizers(symbols[pairs])
        levels[pairs] = trellis.level(symbols[pairs], quantizers)
        number[pairs] = self.plain + 2 * lanes.table + quantizers
        return levels, number

    def pulled(self, table: TableNumbers, pull: Callable[[NDArray[np.int64], int], Symbols]) -> Symbols:
        """Symbols (N,) of the tables numbered in table (N,), where pull gives what is coded of some elements with one
        of the tables there are, in coding order."""
        symbols = np.zeros(len(table), np.int32)
        pairs = np.flatnonzero(table >= self.plain)
        plain = np.flatnonzero(table < self.plain) if pairs.size else None
        order, groups = grouped(table if plain is None else table[plain], self)
        if plain is not None:
            order = plain[order]
        for number, start, end in groups.tolist():
            symbols[order[start:end]] = pull(order[start:end], number)
        if pairs.size:
            lanes = trellis.Lanes(table[pairs] - self.plain)
            pairs = pairs[lanes.order]

            def levels(run: slice, number: int, quantizers: trellis.Numbers) -> Symbols:
                found, places = np.empty(len(quantizers), np.int32), pairs[run]
                for quantizer in (0, 1):
                    here = np.flatnonzero(quantizers == quantizer)
                    if here.size:
                        found[here] = pull(places[here], self.plain + 2 * number + quantizer)
                return found

            symbols[pairs] = lanes.symbols(levels)
        return symbols

    def row(self, table: int) -> NDArray[np.int32]:
        """The frequencies of one table."""
        ends = np.cumsum(2 * self.radius.astype(np.int64) + 2)
        start = int(ends[table - 1]) if table else 0
        return self.frequencies[start : int(ends[table])]

    def shares(self, numbers: TableNumbers) -> NDArray[np.float32]:
        """The probabilities (N, 2 * R + 2) of what tables that are coded in order, numbered in (N,), may say."""
        return self._shares[numbers]

    def model(self, table: int) -> constriction.stream.model.Categorical:
        """The coder's model of one table, made at first use."""
        if table not in self._models:
            # Exact in float32, and the coder turns it into its own 24-bit integers with elementary
            # operations in a fixed order: the same on every machine.
            probabilities = self.row(table).astype(np.float32) / np.float32(1 << PRECISION)
            self._models[table] = constriction.stream.model.Categorical(probabilities, perfect=False)
        return self._models[table]


def grouped(table: TableNumbers, tables: Tables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stable order that sorts by table what is coded, and (table, start, end) of each group in it, (G, 3)."""
    # A radix sort, for 8 and 16 bits, and of what is coded alone.
    if tables.silent:
        coded = np.flatnonzero(table >= tables.silent)
        table = table[coded]
        order = coded[np.argsort(table, kind="stable")]
    else:
        order = np.argsort(table, kind="stable")
    counts = np.bincount(table)
    numbers = np.flatnonzero(counts)
    ends = np.cumsum(counts[numbers])
    return order, np.stack([numbers, ends - counts[numbers], ends], axis=1)
