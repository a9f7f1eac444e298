"""The codec: trained networks, exact prior and frozen tables, from pixels to bytes and back.

``compress`` and ``decode_latents`` take the same four steps in the same order; only what an encoder
must decide (analysis, rounding) and what a decoder must rebuild (synthesis) differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from neurocodec.entropy import Decoder, Encoder
from neurocodec.fixedpoint import ONE, POSITION_BITS
from neurocodec.layers import freeze
from neurocodec.networks import STRIDE, Networks
from neurocodec.precision import autocast
from neurocodec.predictor import HyperLayers, HyperPredictor, Predictor, halves_of, heads_of
from neurocodec.quantization import dequantize, hyper_symbols, in_pairs, quantize, symbols_of
from neurocodec.tables import Tables
from neurocodec.windows import Area, Report, of, part_of, silent, sweep, tiles
from neurocodec.windows import window as window_of

BLOCK = 32  # units of 64 pixels: the side of the blocks that latents are coded in, a part of the format
# Quality positions from here on code silent tables, too: on dithered patterns, which no training picture has, the prior
# is so wrong that what they leave out would be missed at high quality (some 10 dB), and they would save little there.
LOUD = 4 << POSITION_BITS
ANALYSIS, SYNTHESIS = 0.65, 0.65  # of the time that compression and decompression take


class Pusher(Protocol):
    """What takes symbols in coding order: the entropy coder, or a counter of symbols."""

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None: ...


class Puller(Protocol):
    """What gives symbols in coding order: the entropy decoder, or a die that is cast with the tables."""

    def pull(self, table: NDArray[Any], tables: Tables) -> NDArray[np.int32]: ...


class Codec:
    """The frozen model. Compresses and decompresses pictures of any size, window by window.

    `window` is the side of a window in units of 64 pixels. It bounds memory, may differ between the
    encoder and the decoder, and never changes a decoded latent.
    """

    def __init__(self, networks: Networks, y_tables: Tables, z_tables: Tables, window: int = 24):
        c = networks.config
        self.config = c
        freeze(networks)
        self.networks = networks
        self.hyper_layers, self.heads = HyperLayers(networks.hyper_context), heads_of(networks)
        self.y_tables, self.z_tables, self.window = y_tables, z_tables, window
        self.loud_tables = y_tables.loud()
        self.device = next(networks.g_a.parameters()).device
        # Receptive fields, in units of 64 pixels, rounded up.
        self.g_a_halo = -(-c.reach(c.analysis_blocks) // STRIDE)
        self.g_s_halo = -(-c.reach(c.synthesis_blocks) // STRIDE)
        self.h_a_halo = 1

    @torch.inference_mode()
    def compress(self, pixels: Tensor, position: int, report: Report = silent) -> bytes:
        """pixels (H, W, 3) uint8, quality position in units of 2**-12 -> the bytes of the latents."""
        coder = Encoder()
        self.push_latents(pixels, position, coder, report)
        return coder.finish()

    @torch.inference_mode()
    def encode_latents(self, y: Tensor, z: Tensor, position: int, decided: bool = False) -> tuple[bytes, Tensor]:
        """y (1, H/16, W/16, M), z (1, H/64, W/64, Z) float, not rounded -> the bytes of the latents, and y_hat.
        decided: y and z are as :meth:`decide` leaves them, and of y only elements of step 2 have changed since."""
        coder, y_hat = Encoder(), y.clone()
        self.push_y_z(y_hat, z, position, coder, decided=decided)
        return coder.finish(), y_hat

    @torch.inference_mode()
    def decide(self, y: Tensor, z: Tensor, position: int) -> None:
        """z, and those elements of y that step 1 codes, become what a file will hold, in place, so that the others
        may be moved by what that has changed. y and z as :meth:`encode_latents` takes them."""
        z_symbols = hyper_symbols(z)
        z.copy_(z_symbols)
        predictor = self.predictor(z_symbols, position)
        for step, block, _ in self.blocks(predictor.bounds):
            if step == 1:
                self._quantize(step, block, y, predictor, position)
                here = window_of(y, 4, block)
                halves = halves_of(here.shape[1], here.shape[2], here.shape[3], here.device)
                halves.put(step, here, halves.take(step, here).div_(ONE))

    @torch.inference_mode()
    def push_latents(self, pixels: Tensor, position: int, coder: Pusher, report: Report = silent) -> Tensor:
        """The latents of a picture, symbol by symbol into a coder (or into what counts them) -> y_hat as
        :meth:`decode_latents` will give it, in float32."""
        # 1. Analysis: pixels to latents and hyper-latents.
        y = self.analyse(pixels, position, part_of(report, 0, ANALYSIS))
        self.push_y_z(y, self.hyper_analyse(y, position), position, coder, part_of(report, ANALYSIS, 1))
        return y

    @torch.inference_mode()
    def push_y_z(
        self, y: Tensor, z: Tensor, position: int, coder: Pusher, report: Report = silent, decided: bool = False
    ) -> None:
        """Float y and z, not rounded (or `decided`), into a coder. y becomes y_hat in place, in units of 2**-8: a
        second tensor of its size would be half a gigabyte for 100 megapixels."""
        # 2. Hyper-latents.
        z_symbols = hyper_symbols(z)
        self._push_z(z_symbols, position, coder)
        predictor, tables = self.predictor(z_symbols, position), self.y_tables_at(position)

        # 3. The half of the latents that only the hyper-latents predict; 4. the rest, given that half.
        for step, block, done in self.blocks(predictor.bounds):
            symbols, table = self._quantize(step, block, y, predictor, position, decided and step == 1)
            coder.push(to_numpy(symbols), to_numpy(table), tables)
            report(done)

    def _quantize(
        self, step: int, block: Area, y: Tensor, predictor: Predictor, position: int, decided: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The symbols of a step in a block, and their table numbers; these elements of y become y_hat."""
        tables, here = self.y_tables_at(position), window_of(y, 4, block)
        halves = halves_of(here.shape[1], here.shape[2], here.shape[3], here.device)
        mean, table = predictor.predict(step, block, y)
        table = in_pairs(table, position, tables)
        if decided:
            symbols = symbols_of((halves.take(step, here) * ONE).int() - mean, table, tables)
        else:
            symbols = quantize(halves.take(step, here) - mean / ONE, table, tables)
        halves.put(step, here, dequantize(symbols, table, tables).add_(mean).float())  # below 2**24: exact
        return symbols, table

    def decode_latents(self, data: bytes, height: int, width: int, position: int, report: Report = silent) -> Tensor:
        """y_hat (1, H/16, W/16, M) int32 in units of 2**-8: the same on every machine, to the bit."""
        return self.pull_latents(Decoder(data), height, width, position, report)

    @torch.inference_mode()
    def pull_latents(
        self,
        coder: Puller,
        height: int,
        width: int,
        position: int,
        report: Report = silent,
        z_symbols: Tensor | None = None,
    ) -> Tensor:
        """y_hat as :meth:`decode_latents` gives it, symbol by symbol from a decoder (or from what draws them).
        z_symbols (1, H/64, W/64, Z) int32: hyper-latents that are not pulled."""
        # 2. Hyper-latents.
        shape = (1, -(-height // STRIDE), -(-width // STRIDE), self.config.hyper_latents)
        if z_symbols is None:
            z_symbols = self._pull_z(coder, shape, position)
        predictor, tables = self.predictor(z_symbols, position), self.y_tables_at(position)

        # 3. The half of the latents that only the hyper-latents predict; 4. the rest, given that half.
        y_hat = torch.zeros((1, 4 * shape[1], 4 * shape[2], self.config.latents), dtype=torch.int32, device=self.device)
        for step, block, done in self.blocks(predictor.bounds):
            here = window_of(y_hat, 4, block)
            halves = halves_of(here.shape[1], here.shape[2], here.shape[3], here.device)
            mean, table = predictor.predict(step, block, y_hat)
            table = in_pairs(table, position, tables)
            symbols = self._tensor(coder.pull(to_numpy(table), tables)).view(mean.shape)
            halves.put(step, here, dequantize(symbols, table, tables).add_(mean))
            report(done)
        return y_hat

    def _push_z(self, z_symbols: Tensor, position: int, coder: Pusher) -> None:
        hyper = self._hyper(z_symbols.shape, position)
        elements = z_symbols.view(-1, z_symbols.shape[3]).cpu().numpy()[hyper.order]
        hyper.put(slice(None), elements)  # an encoder knows all neighbours at once
        for run in hyper.runs():
            whole_run = slice(run[0].start, run[-1].stop)
            nearest, table = hyper.predict(whole_run)
            residuals = elements[whole_run] - nearest
            # An escape's value comes behind its front: without any, fronts may be coded together.
            escapes = abs(residuals).max() > self.z_tables.radius[0]
            for part in run if escapes else [whole_run]:
                here = slice(part.start - whole_run.start, part.stop - whole_run.start)
                coder.push(residuals[here].ravel(), table[here].ravel(), self.z_tables)

    def _pull_z(self, coder: Puller, shape: tuple[int, int, int, int], position: int) -> Tensor:
        hyper = self._hyper(shape, position)
        elements = np.empty((len(hyper.order), shape[3]), np.int32)
        for front in hyper.parts:
            nearest, table = hyper.predict(front)
            symbols = coder.pull(table.ravel(), self.z_tables)
            np.add(nearest, symbols.reshape(nearest.shape), out=elements[front])
            hyper.put(front, elements[front])
        z_symbols = np.empty_like(elements)
        z_symbols[hyper.order] = elements
        return self._tensor(z_symbols).view(shape)

    def _hyper(self, shape: Sequence[int], position: int) -> HyperPredictor:
        return HyperPredictor(self.hyper_layers, shape[1], shape[2], shape[3], self.t(position))

    @torch.inference_mode()
    def decompress(
        self, data: bytes, height: int, width: int, position: int, report: Report = silent, scale: int = 1
    ) -> Tensor:
        """The inverse of :meth:`compress` -> pixels (H, W, 3) uint8, on this codec's device."""
        y_hat = self.decode_latents(data, height, width, position, part_of(report, 0, 1 - SYNTHESIS))
        # 1. Synthesis: latents to pixels.
        return self.synthesise(y_hat, height, width, position, part_of(report, 1 - SYNTHESIS, 1), scale)

    def analyse(self, pixels: Tensor, position: int, report: Report = silent) -> Tensor:
        """g_a: pixels (H, W, 3) uint8 -> y (1, H/16, W/16, M) float32, edges repeated to the stride."""
        t = self.t(position).float()

        def source(area: Area) -> Tensor:
            return pad(window_of(pixels[None], STRIDE, area)).to(self.device).float().div_(255)

        def network(x: Tensor) -> Tensor:
            with autocast(self.device):
                y: Tensor = self.networks.g_a(x, t)
            return y

        bounds = (-(-pixels.shape[0] // STRIDE), -(-pixels.shape[1] // STRIDE))
        return sweep(network, [source], whole(bounds), bounds, 4, self.window, self.g_a_halo, report)

    def hyper_analyse(self, y: Tensor, position: int) -> Tensor:
        """h_a: y -> z (1, H/64, W/64, Z) float32."""
        t = self.t(position).float()

        def network(y: Tensor) -> Tensor:
            with autocast(self.device):
                z: Tensor = self.networks.h_a(y, t)
            return z

        bounds = (y.shape[1] // 4, y.shape[2] // 4)
        return sweep(network, [of(y, 4)], whole(bounds), bounds, 1, self.window, self.h_a_halo)

    @torch.inference_mode()
    def synthesise(
        self, y_hat: Tensor, height: int, width: int, position: int, report: Report = silent, scale: int = 1
    ) -> Tensor:
        """g_s: y_hat (1, H/16, W/16, M) in units of 2**-8 -> pixels (H, W, 3) uint8, without the padding, or
        the means of scale x scale of them (scale 1, 2, 4 or 8; sides rounded up, with padding in what they end in)."""
        t = self.t(position).float()

        def network(y_hat: Tensor) -> Tensor:
            # So it was trained. A graphics card, which is fast enough without, decodes as a plain processor does.
            with autocast(self.device, enabled=self.device.type == "cpu"):
                x_hat: Tensor = self.networks.g_s(y_hat.float() / ONE, t).clamp_(0, 1)
            if scale > 1:
                x_hat = F.avg_pool2d(x_hat.permute(0, 3, 1, 2), scale).permute(0, 2, 3, 1)
            return x_hat.mul_(255).round_().byte()

        bounds = (y_hat.shape[1] // 4, y_hat.shape[2] // 4)
        area, crop = whole(bounds), (-(-height // scale), -(-width // scale))
        return sweep(network, [of(y_hat, 4)], area, bounds, STRIDE // scale, self.window, self.g_s_halo, report, crop)[
            0
        ]

    def predictor(self, z_symbols: Tensor, position: int) -> Predictor:
        return Predictor(self.networks, self.heads, z_symbols, self.t(position), self.window)

    def blocks(self, bounds: tuple[int, int]) -> Iterator[tuple[int, Area, float]]:
        """Steps and blocks in coding order, and the share of the work that is done behind each."""
        blocks = list(tiles(whole(bounds), BLOCK))
        for step in (1, 2):
            for i, block in enumerate(blocks):
                yield step, block, (len(blocks) * (step - 1) + i + 1) / (2 * len(blocks))

    def t(self, position: int) -> Tensor:
        """A quality position in units of 2**-12 as what the networks take, (1,) float64."""
        exact = position / (1 << POSITION_BITS)  # a power of two: exact
        return torch.tensor([exact], dtype=torch.float64, device=self.device)

    def y_tables_at(self, position: int) -> Tables:
        """The tables of the latents at a quality position."""
        return self.y_tables if position < LOUD else self.loud_tables

    def _tensor(self, symbols: NDArray[np.int32]) -> Tensor:
        return torch.from_numpy(symbols).to(self.device)


def whole(bounds: tuple[int, int]) -> Area:
    """The area of a whole picture."""
    return (0, bounds[0]), (0, bounds[1])


def pad(x: Tensor) -> Tensor:
    """(1, H, W, C) -> edges repeated below and to the right, to multiples of the stride."""
    bottom, right = -x.shape[1] % STRIDE, -x.shape[2] % STRIDE
    if bottom:
        x = torch.cat([x, x[:, -1:].expand(-1, bottom, -1, -1)], dim=1)
    if right:
        x = torch.cat([x, x[:, :, -1:].expand(-1, -1, right, -1)], dim=2)
    return x


def to_numpy(x: Tensor) -> NDArray[Any]:
    """A flat array on the CPU."""
    return x.flatten().cpu().numpy()
