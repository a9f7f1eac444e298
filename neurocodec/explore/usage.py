"""Where the bits go: what each latent of a picture costs under the tables that code it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocodec.entropy import Encoder
from neurocodec.model import Codec
from neurocodec.predictor import halves_of
from neurocodec.prior import fronts
from neurocodec.tables import EXCESS_BITS, PRECISION, Tables
from neurocodec.windows import Report, part_of, silent, window


@dataclass(frozen=True)
class Usage:
    """Bits of a picture's latents, -log2 P, and the latents themselves."""

    y: Tensor  # (H/16, W/16): bits of each position, over all channels of y
    z: Tensor  # (H/64, W/64): bits of each position, over all channels of z
    channels: Tensor  # (M,): bits of each channel of y, over all positions
    y_hat: Tensor  # (1, H/16, W/16, M), in units of 2**-8, float32
    coded: bytes  # the same latents, from the entropy coder

    @property
    def bits(self) -> float:
        """Of the whole picture: its rate."""
        return float(self.y.sum()) + float(self.z.sum())


@torch.inference_mode()
def measure(codec: Codec, pixels: Tensor, position: int, report: Report = silent) -> Usage:
    """pixels (H, W, 3) uint8, at a quality position -> what the codec would spend on them, and where."""
    y = codec.analyse(pixels, position, part_of(report, 0, 0.6))
    z = codec.hyper_analyse(y, position)
    ledger = _Ledger(codec, z)
    codec.push_y_z(y, z, position, ledger, part_of(report, 0.6, 1))  # y becomes y_hat
    return Usage(ledger.y[0, :, :, 0], ledger.z, ledger.channels, y, ledger.coder.finish())


class _Ledger:
    """Takes symbols on their way to the coder, and writes what each costs where it belongs."""

    def __init__(self, codec: Codec, z: Tensor) -> None:
        height, width = z.shape[1:3]
        self.codec, self.shape, self.coder = codec, z.shape, Encoder()
        self.y = torch.zeros(1, 4 * height, 4 * width, 1, dtype=torch.float64)
        self.z = torch.zeros(height, width, dtype=torch.float64)
        self.z_order = fronts(height, width)[0]  # the positions that are still to come
        self.channels = torch.zeros(codec.config.latents, dtype=torch.float64)
        self.order = codec.blocks((height, width))

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None:
        self.coder.push(symbols, table, tables)
        bits = torch.from_numpy(costs_of(symbols, table, tables))
        if tables is self.codec.z_tables:
            each = bits.view(-1, self.shape[3]).sum(1)
            places, self.z_order = self.z_order[: len(each)], self.z_order[len(each) :]
            self.z.view(-1)[places] = each
            return
        step, block, _ = next(self.order)
        here = window(self.y, 4, block)
        latents = torch.zeros(1, here.shape[1], here.shape[2], len(self.channels), dtype=torch.float64)
        halves = halves_of(latents.shape[1], latents.shape[2], latents.shape[3], latents.device)
        halves.put(step, latents, bits.view(halves.take(step, latents).shape))
        here += latents.sum(3, keepdim=True)
        self.channels += latents.sum((0, 1, 2))


def costs_of(symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> NDArray[np.float64]:
    """Bits of symbols (N,) coded with the tables numbered in table (N,)."""
    symbols, table = tables.coded(symbols, table)
    bits = np.empty(len(symbols))
    for number in np.unique(table).tolist():
        here = np.flatnonzero(table == number)
        radius = int(tables.radius[number])
        costs = PRECISION - np.log2(np.maximum(tables.row(number), 1))  # a silent table's symbols are all zero
        costs[-1] += EXCESS_BITS + 1  # an escape, how far beyond, and on which side
        values = symbols[here]
        bits[here] = costs[np.where(np.abs(values) <= radius, values + radius, 2 * radius + 1)]
    return bits
