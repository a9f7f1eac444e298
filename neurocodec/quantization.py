"""How latents become symbols, and symbols latents again.

Plain tables round, against a mean; pairs have the points of a trellis (``trellis.py``).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurocodec import trellis
from neurocodec.fixedpoint import LATENT_BITS, POSITION_BITS
from neurocodec.tables import Tables

SYMBOL_LIMIT = 1 << 14  # the encoder clamps symbols to +-this, which the entropy coder can escape


def hyper_symbols(z: Tensor) -> Tensor:
    """z float -> int32 symbols."""
    return z.round().clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).int()


def in_pairs(table: Tensor, position: int, tables: Tables) -> Tensor:
    """Table numbers of the prior -> those that they are coded by at a quality position, uint8."""
    first = tables.first_pair(position, POSITION_BITS)
    return table + (table >= first).to(table.dtype) * tables.plain if first < tables.plain else table


def quantize(values: Tensor, table: Tensor, tables: Tables) -> Tensor:
    """y - mean in steps, and table numbers of its shape -> int32 symbols; of pairs, points of the trellis's grid."""
    symbols = values.round().clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).int().mul_(table >= tables.silent)
    pairs = (table >= tables.plain).flatten().nonzero()[:, 0]
    if len(pairs):
        number = (table.flatten()[pairs] - tables.plain).cpu().numpy()
        points = trellis.quantize(values.flatten()[pairs].cpu().numpy(), number, tables.pair_costs)
        symbols.view(-1)[pairs] = torch.from_numpy(points).to(symbols.device)
    return symbols


def dequantize(symbols: Tensor, table: Tensor, tables: Tables) -> Tensor:
    """int32 symbols, and table numbers of their shape -> y_hat - mean, int32 in units of 2**-8."""
    found = symbols * (1 << LATENT_BITS)
    if tables.pairs_from:
        found -= symbols * (table >= tables.plain) * ((1 << LATENT_BITS) - trellis.STEP)
    return found


def symbols_of(found: Tensor, table: Tensor, tables: Tables) -> Tensor:
    """The inverse of :func:`dequantize`, of what it gave -> int32 symbols."""
    unit = torch.where(table >= tables.plain, trellis.STEP, 1 << LATENT_BITS)
    return (found // unit).int()
