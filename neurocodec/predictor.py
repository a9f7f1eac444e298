"""The exact prior over one picture: means and tables of its hyper-latents, front by front, and of its latents, block
by block.

Encoder and decoder both run this, and both get the same integers, whatever the windows are. Features
are made when they are asked for, so that a picture of any size needs no memory for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neurocodec.fixedpoint import ONE, UNIT, Array, ArrayPointwise, half_of, to_table, working_dtype
from neurocodec.networks import Networks
from neurocodec.prior import NEIGHBOURS, PHASES, TABLES, Halves, HyperContext, fronts
from neurocodec.tables import Symbols
from neurocodec.windows import Area, of, sweep

TOGETHER = 1 << 11  # positions of z that an encoder predicts at a time, or the front that exceeds them
HEAD_ROWS = 1 << 14  # positions that are predicted at a time: bounds memory
H_S_HALO, CONTEXT_HALO = 2, 1  # receptive fields in units of 64 pixels, rounded up

Heads = dict[tuple[int, int], nn.Sequential]


def heads_of(networks: Networks) -> Heads:
    """The heads by step and half: each position needs only one half of a head's channels."""
    heads = {1: networks.context.head_1, 2: networks.context.head_2}
    return {(step, half): half_of(head, half) for step, head in heads.items() for half in (0, 1)}


class HyperLayers:
    """The context of z on arrays, in exact arithmetic."""

    def __init__(self, context: HyperContext) -> None:
        self.enter, self.head = ArrayPointwise(context.enter), ArrayPointwise(context.head[0])
        self.mix = [ArrayPointwise(layer) for layer in context.mix]
        self.quality = context.quality

    def at(self, t: Tensor) -> Array:
        """What quality adds, (W,)."""
        added: Array = self.quality(t).flatten().cpu().numpy()
        return added

    def __call__(self, near: Array, quality: Array) -> tuple[Array, Array]:
        """As ``HyperContext.predict``, of positions (P, 4 * (Z + 1))."""
        x = self.enter(near)
        x += quality
        h = x
        for layer in self.mix:
            h = layer(h)
        x += h
        return to_table(self.head(x))


class HyperPredictor:
    """Symbols that are nearest to the means of hyper-latents, and their tables, given those that came before.

    Elements (P, Z) are those of positions in coding order, of which `parts` are the fronts. On the CPU, whatever the
    codec's device is: fronts are many and small.
    """

    def __init__(self, layers: HyperLayers, height: int, width: int, latents: int, t: Tensor) -> None:
        self.layers, self.quality = layers, layers.at(t)
        self.order, self.parts = fronts(height, width)  # positions in raster order; of each front
        # Nothing above, on the left and on the right of it; in the last channel, a one where there is something.
        seen = np.zeros((height + 1, width + 2, latents + 1), np.float32)
        seen[1:, 1:-1, -1] = UNIT
        self.seen = seen.reshape(-1, latents + 1)
        row, column = self.order // width, self.order % width
        self.places = (row + 1) * (width + 2) + column + 1
        self.near = self.places[:, None] + np.array([row * (width + 2) + column for row, column in NEIGHBOURS])

    def runs(self) -> Iterator[list[slice]]:
        """The fronts, a few thousand positions together."""
        run: list[slice] = []
        for front in self.parts:
            run.append(front)
            if front.stop - run[0].start >= TOGETHER:
                yield run
                run = []
        if run:
            yield run

    def put(self, part: slice, z: Symbols) -> None:
        """The hyper-latents (P, Z) of a part."""
        self.seen[self.places[part], :-1] = z * np.float32(UNIT)

    def predict(self, part: slice) -> tuple[Symbols, NDArray[np.int16]]:
        """The nearest symbol and table number of each element (P, Z) of a part whose neighbours have been put."""
        near = self.seen[self.near[part]]
        mean, table = self.layers(near.reshape(len(near), -1), self.quality)
        nearest = np.floor((mean + ONE / 2) / ONE)
        phase = np.floor((mean - nearest * ONE + ONE / 2) * (PHASES / ONE))
        return nearest.astype(np.int32), (phase * TABLES + table).astype(np.int16)


class Predictor:
    """Means and tables of a picture's latents, given its hyper-latents and a quality."""

    def __init__(self, networks: Networks, heads: Heads, z_symbols: Tensor, t: Tensor, window: int) -> None:
        self.networks, self.heads, self.t, self.window = networks, heads, t, window
        self.z_symbols = z_symbols  # (1, H/64, W/64, Z) int32
        self.bounds = (z_symbols.shape[1], z_symbols.shape[2])
        self.dtype = working_dtype(z_symbols.device)
        self._psi: tuple[Area, Tensor] | None = None  # the latest: step 2 of a small picture asks for the same

    def predict(self, step: int, block: Area, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        """mean in units of 2**-8 and table number (positions of the block, M/2), in coding order.

        y_hat (1, H/16, W/16, M) in units of 2**-8, of any dtype; only its elements of step 1 count.
        """
        # Autocast, if a caller is under it, would take float32's bits away.
        with torch.autocast(y_hat.device.type, enabled=False):
            return self._predict(step, block, y_hat)

    def _predict(self, step: int, block: Area, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        if step == 1:
            features = self.psi(block)
        else:
            sources = (self.psi, of(y_hat, 4))
            features = sweep(self.features_2, sources, block, self.bounds, 4, self.window, CONTEXT_HALO)
        halves = halves_of(features.shape[1], features.shape[2], y_hat.shape[3], y_hat.device)
        rows = features.view(-1, features.shape[-1])
        means, tables = [], []
        for colour in (0, 1):
            head = self.heads[step, halves.channel_half(step, colour)]
            for positions in torch.split(halves.positions[colour], HEAD_ROWS):
                mean, table = head(rows.index_select(0, positions))
                means.append(mean.int())
                tables.append(table.to(torch.uint8))
        return torch.cat(means), torch.cat(tables)

    def psi(self, area: Area) -> Tensor:
        """h_s: features (1, height * 4, width * 4, N) of an area, in units of 2**-7."""
        if self._psi is None or self._psi[0] != area:
            z = of(self.z_symbols, 1)
            self._psi = (area, sweep(self._h_s, [z], area, self.bounds, 4, self.window, H_S_HALO))
        return self._psi[1]

    def _h_s(self, z_symbols: Tensor) -> Tensor:
        psi: Tensor = self.networks.h_s(z_symbols.to(self.dtype) * UNIT, self.t)
        return psi

    def features_2(self, psi: Tensor, y_hat: Tensor) -> Tensor:
        """Features of step 2, given the elements of step 1: what ``Context.features_2`` makes of them and of zeros."""
        halves = halves_of(y_hat.shape[1], y_hat.shape[2], y_hat.shape[3], y_hat.device)
        sizes = [len(positions) for positions in halves.positions]
        elements = torch.split(halves.take(1, y_hat).to(self.dtype), sizes)
        parts = [(halves.positions[c], halves.channel_half(1, c), elements[c]) for c in (0, 1)]
        context = self.networks.context
        features: Tensor = context.block(context.join(psi, parts))
        return features


@lru_cache(maxsize=16)
def halves_of(height: int, width: int, channels: int, device: torch.device) -> Halves:
    """The halves of a window. It starts at a whole 64 pixels, where both colours start anew."""
    return Halves(height, width, channels, device)
