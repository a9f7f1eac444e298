"""Integer symbols and table numbers <-> bytes, by the entropy coder (constriction).

Symbols are grouped by their table (one stable sort), and each group is coded with its
table in one call. A symbol outside -R .. R codes the escape; what it exceeds R by follows behind
the groups. FORMAT.md, "Entropy coding", is the normative text.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import constriction
import numpy as np
from numpy.typing import NDArray

from neurocodec import trellis
from neurocodec.errors import FormatError
from neurocodec.tables import EXCESS_BITS, Symbols, TableNumbers, Tables, grouped

IN_ORDER = constriction.stream.model.Categorical(perfect=False)  # whose probabilities come with the symbols


class Encoder:
    """Codes arrays of symbols one behind the other into one string of bytes."""

    def __init__(self) -> None:
        self._coder = constriction.stream.queue.RangeEncoder()

    def push(self, symbols: Symbols, table: TableNumbers, tables: Tables) -> None:
        """Code symbols (N,) int32 with the tables numbered in table (N,): those of silent tables must be 0, those of
        pairs points that a trellis leads to."""
        if tables.in_order:
            self._push_in_order(symbols, table, tables)
            return
        pairs = np.flatnonzero(table >= tables.plain)
        if pairs.size:
            plain = np.flatnonzero(table < tables.plain)
            self._push_grouped(symbols[plain], table[plain], tables)
            self._push_pairs(symbols[pairs], table[pairs] - tables.plain, tables)
        else:
            self._push_grouped(symbols, table, tables)

    def _push_grouped(self, symbols: Symbols, table: TableNumbers, tables: Tables) -> None:
        order, groups = grouped(table, tables)
        self._push_groups(symbols[order], groups, tables)

    def _push_pairs(self, symbols: Symbols, table: TableNumbers, tables: Tables) -> None:
        lanes = trellis.Lanes(table)
        symbols = symbols[lanes.order]
        quantizers = lanes.quantizers(symbols)
        # In each run, those of quantizer 0 come first.
        ones = np.concatenate([[0], np.cumsum(quantizers, dtype=np.int64)])
        counts = np.stack([lanes.stops - lanes.starts, ones[lanes.stops] - ones[lanes.starts]])
        middles = lanes.stops - counts[1]
        runs = np.repeat(np.arange(len(middles)), counts[0])
        before = ones[:-1] - ones[lanes.starts][runs]
        places = np.where(quantizers, middles[runs] + before, np.arange(len(symbols)) - before)
        ordered = np.empty_like(symbols)
        ordered[places] = trellis.level(symbols, quantizers)
        first = tables.plain + 2 * lanes.table[lanes.starts].astype(np.int64)
        groups = np.stack([first, lanes.starts, middles, first + 1, middles, lanes.stops], axis=1).reshape(-1, 3)
        self._push_groups(ordered, groups[groups[:, 1] < groups[:, 2]], tables)

    def _push_groups(self, ordered: Symbols, groups: NDArray[np.int64], tables: Tables) -> None:
        """What is coded, group by group: (table, start, end)."""
        numbers, starts, ends = groups.T
        radius = np.repeat(tables.radius[numbers], ends - starts)
        coded = ordered + radius
        escaped = np.flatnonzero((coded < 0) | (coded > 2 * radius))
        coded[escaped] = 2 * radius[escaped] + 1
        for number, start, end in groups.tolist():
            self._coder.encode(coded[start:end], tables.model(number))
            if escaped.size:
                here = escaped[(escaped >= start) & (escaped < end)]
                if here.size:
                    self._push_excess(ordered[here], int(tables.radius[number]))

    def _push_in_order(self, symbols: Symbols, table: TableNumbers, tables: Tables) -> None:
        radius = int(tables.radius[0])
        beyond = np.abs(symbols) > radius
        coded = np.where(beyond, 2 * radius + 1, symbols + radius).astype(np.int32)
        self._coder.encode(coded, IN_ORDER, tables.shares(table))
        if beyond.any():
            self._push_excess(symbols[beyond], radius)

    def _push_excess(self, values: Symbols, radius: int) -> None:
        excess = np.abs(values) - radius - 1
        if excess.max() >= 1 << EXCESS_BITS:
            raise ValueError(f"a symbol of {np.abs(values).max()} is beyond what the format can hold")
        code = (excess * 2 + (values < 0)).astype(np.int32)
        self._coder.encode(code, constriction.stream.model.Uniform(2 << EXCESS_BITS))

    def finish(self) -> bytes:
        """The bytes of everything pushed, in 32-bit little-endian words."""
        return self._coder.get_compressed().astype("<u4").tobytes()


class Decoder:
    """The inverse of :class:`Encoder`, pulling in the same order.

    Damaged bytes give wrong symbols but never ones outside the limits, and never an error other
    than FormatError: it is the container's checksum that finds damage.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) % 4:
            raise FormatError(f"the latents are {len(data)} bytes long, not a multiple of 4.")
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def pull(self, table: TableNumbers, tables: Tables) -> Symbols:
        """Decode as many symbols as table (N,) has numbers -> (N,) int32."""
        if tables.in_order:
            return self._pull_in_order(table, tables)
        with readable():
            return tables.pulled(table, lambda elements, number: self._pull_group(len(elements), number, tables))

    def _pull_group(self, count: int, number: int, tables: Tables) -> Symbols:
        radius = int(tables.radius[number])
        coded = self._coder.decode(tables.model(number), count)
        values: Symbols = coded - np.int32(radius)
        if coded.max() > 2 * radius:
            escaped = np.flatnonzero(values > radius)
            values[escaped] = self._pull_excess(len(escaped), radius)
        return values

    def _pull_in_order(self, table: TableNumbers, tables: Tables) -> Symbols:
        radius = int(tables.radius[0])
        with readable():
            symbols = self._coder.decode(IN_ORDER, tables.shares(table)) - np.int32(radius)
            escaped = np.flatnonzero(symbols > radius)
            if escaped.size:
                symbols[escaped] = self._pull_excess(len(escaped), radius)
        return symbols

    def _pull_excess(self, count: int, radius: int) -> Symbols:
        code = self._coder.decode(constriction.stream.model.Uniform(2 << EXCESS_BITS), count)
        magnitude = (code >> 1) + radius + 1
        return np.where(code & 1, -magnitude, magnitude).astype(np.int32)


@contextmanager
def readable() -> Iterator[None]:
    """Raises FormatError where data is impossible."""
    try:
        yield
    except (AssertionError, ValueError) as error:  # what constriction raises
        raise FormatError("the latents do not decode: no encoder wrote them with these weights.") from error
