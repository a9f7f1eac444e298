"""Latents of wide tables while networks learn: on the trellis that files have (``trellis.py``).

A search for the nearest points has no gradient. What comes of a latent in the mean has: where it comes to lie, and what
it costs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurocodec.fixedpoint import ONE, POSITION_BITS
from neurocodec.model import Codec, to_numpy
from neurocodec.predictor import halves_of
from neurocodec.prior import SCALE_MIN, SCALE_OCTAVE
from neurocodec.quantization import dequantize, in_pairs, quantize
from neurocodec.relaxed import Rounding
from neurocodec.tables import Tables

# Of Means: units from 0, knots in a unit, standard deviations of a wide table in a unit; latents of either kind, of
# which the others are few, for what a trellis makes of one depends on those around.
REACH, FINE, WIDE = 4, 4, 1.5
EXPECTED, OTHERS = 1 << 17, 1 << 14
CELLS = REACH * FINE


class TrellisRounding(Rounding):
    """Latents as files hold them, at quality positions t (B,): on a trellis where the tables are pairs, with the
    gradient of what comes of them in the mean (:class:`Means`) if they are to learn; elsewhere as another rounding has
    them."""

    def __init__(self, codec: Codec, t: Tensor, elsewhere: Rounding, means: Means | None = None) -> None:
        self.codec, self.positions = codec, (t * (1 << POSITION_BITS)).round().int().tolist()
        self.elsewhere, self.soft, self.means = elsewhere, elsewhere.soft, means
        self.dear = torch.zeros(())  # bits of what is on a trellis, nan elsewhere

    def y(self, v: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        symbols, priced = self.symbols("y", v)
        found, dear, slope = (torch.full_like(v, torch.nan) for _ in range(3))
        table = self.table(table)
        for i, position in enumerate(self.positions):
            tables = self.codec.y_tables_at(position)
            if tables.first_pair(position, POSITION_BITS) == tables.plain:
                continue
            halves = halves_of(v.shape[1], v.shape[2], v.shape[3], v.device)
            for step in (1, 2):
                numbers = halves.take(step, table[i : i + 1].detach()).round().to(torch.uint8)
                numbers = in_pairs(numbers, position, tables)
                points = quantize(halves.take(step, v[i : i + 1].detach()), numbers, tables)
                bits, more = pair_bits(points, numbers, tables)
                for into, values in (
                    (found, dequantize(points, numbers, tables) / ONE),
                    (dear, bits),
                    (slope, more - bits),
                ):
                    halves.put(step, into[i : i + 1], values)
        self.dear, pairs = dear, ~dear.isnan()
        if self.means is not None and torch.is_grad_enabled():
            moved, cost = self.means.at(v, table.detach().round().long())
            found = found + (moved - moved.detach())
            self.dear = dear + (cost - cost.detach()) + slope.nan_to_num() * (table - table.detach())
        return torch.where(pairs, found, symbols), priced

    def bits(self, each: Tensor) -> Tensor:
        return torch.where(self.dear.isnan(), each, self.dear)

    def table(self, v: Tensor) -> Tensor:
        return self.elsewhere.table(v)

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.elsewhere.symbols(name, v)


def pair_bits(points: Tensor, numbers: Tensor, tables: Tables) -> tuple[Tensor, Tensor]:
    """What the points of pairs of tables cost, and what they would with the next wider pair; nan for symbols of plain
    ones, of the shape of both."""
    levels, rows = tables.coded(to_numpy(points), to_numpy(numbers))
    costs = tables.pair_costs.reshape(2 * tables.plain, -1)
    bits = np.full((2, len(rows)), np.nan, np.float32)
    pairs = np.flatnonzero(rows >= tables.plain)
    here, level = rows[pairs].astype(np.int64) - tables.plain, np.minimum(np.abs(levels[pairs]), costs.shape[1] - 1)
    wider = np.where(here + 2 < len(costs), here + 2, here)
    bits[:, pairs] = costs[here, level], costs[wider, level]
    one, other = torch.from_numpy(bits).view(2, *points.shape).to(points.device)
    return one, other


class Means(nn.Module):
    """What a trellis makes of a latent in the mean, by its distance from what was expected and its table: where it
    lies then, and its bits. Measured on latents as the tables expect them, and on others as far as REACH.

    Narrow tables have a wide dead zone, from which no straight line leads out: as if there were none, an encoder learns
    to send what is lost.
    """

    unit: Tensor  # (T,) of each table, in steps: there is a knot at every FINE-th of it
    values: Tensor  # (2, T, CELLS + 1), in steps, and bits

    def __init__(self, tables: Tables) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        spread = SCALE_MIN * 2 ** (np.arange(tables.plain) / SCALE_OCTAVE)
        unit = np.maximum(1, WIDE * spread)
        values = torch.empty(2, tables.plain, CELLS + 1)
        for number in range(tables.plain):
            far = REACH * unit[number]
            drawn = np.concatenate([rng.normal(0, spread[number], EXPECTED), rng.uniform(-far, far, OTHERS)])
            v = torch.from_numpy(rng.permutation(drawn).astype(np.float32))
            numbers = torch.full(v.shape, tables.plain + number, dtype=torch.uint8)
            points = quantize(v, numbers, tables)
            found = dequantize(points, numbers, tables) / ONE * v.sign()
            both = torch.stack([found, pair_bits(points, numbers, tables)[0]])
            values[:, number] = knots(v.abs() * (FINE / unit[number]), both)
        self.register_buffer("unit", torch.from_numpy(unit).float(), persistent=False)
        self.register_buffer("values", values, persistent=False)

    def at(self, v: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Latents and their tables' numbers -> value and bits; beyond REACH the value is that of a straight line, and
        bits go on as steeply."""
        away = v.abs() * (FINE / self.unit[number])
        cell = away.detach().long().clamp(max=CELLS - 1)
        share, row = away - cell, number * (CELLS + 1) + cell
        value, bits = (flat[row] + share * (flat[row + 1] - flat[row]) for flat in self.values.flatten(1))
        return torch.where(away > CELLS, v, value * v.sign()), bits


def knots(at: Tensor, values: Tensor) -> Tensor:
    """Values (K, N) at places (N,) from 0 to CELLS -> the broken lines with knots at whole numbers that are nearest to
    them, (K, CELLS + 1)."""
    inside = at < CELLS
    at, values = at[inside].double(), values[:, inside].double()
    cell = at.long()
    ends = ((cell, 1 - (at - cell)), (cell + 1, at - cell))
    products, sums = torch.zeros(CELLS + 1, CELLS + 1).double(), torch.zeros(len(values), CELLS + 1).double()
    for i, one in ends:
        sums.index_add_(1, i, values * one)
        for j, other in ends:
            products.view(-1).index_add_(0, i * (CELLS + 1) + j, one * other)
    lines: Tensor = torch.linalg.solve(products, sums.T)
    return lines.T.float()
