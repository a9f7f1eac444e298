"""The codec: trained networks, exact prior and frozen tables, from pixels to bytes and back.

``compress`` and ``decode_latents`` take the same four steps in the same order; only what an encoder
must decide (analysis, rounding) and what a decoder must rebuild (synthesis) differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neurocodec.entropy import Decoder, Encoder, Tables
from neurocodec.fixedpoint import ACTIVATION_BITS, LIMIT, MEAN_BITS, ONE, POSITION_BITS, half_of
from neurocodec.networks import STRIDE, Networks
from neurocodec.prior import Halves
from neurocodec.windows import sweep

HEAD_ROWS = 1 << 14  # positions that a head predicts at a time: bounds memory
SYMBOL_LIMIT = 1 << 14  # the encoder clamps symbols to +-this, which the entropy coder can escape


class Pusher(Protocol):
    """What takes symbols in coding order: the entropy coder, or a counter of symbols."""

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None: ...


class Codec:
    """The frozen model. Compresses and decompresses pictures of any size, window by window.

    `window` is the side of a window in units of 64 pixels. It bounds memory, may differ between the
    encoder and the decoder, and never changes a decoded latent.
    """

    def __init__(self, networks: Networks, y_tables: Tables, z_tables: Tables, window: int = 24):
        c = networks.config
        self.config = c
        self.networks = networks.eval().requires_grad_(False)
        self.y_tables, self.z_tables, self.window = y_tables, z_tables, window
        self.device = next(networks.g_a.parameters()).device
        # Receptive fields in pixels (8 or 16 for each 3x3), in units of 64, rounded up.
        self.g_a_halo = -(-(8 * c.analysis_blocks[0] + 16 * c.analysis_blocks[1]) // STRIDE)
        self.g_s_halo = -(-(8 * c.synthesis_blocks[0] + 16 * c.synthesis_blocks[1]) // STRIDE)
        self.h_a_halo, self.h_s_halo, self.context_halo = 1, 2, 1
        # Each position needs only one half of a head's channels: a head for each half.
        heads = {1: networks.context.head_1, 2: networks.context.head_2}
        self.heads = {(step, half): half_of(head, half) for step, head in heads.items() for half in (0, 1)}

    @torch.inference_mode()
    def compress(self, pixels: Tensor, position: int) -> bytes:
        """pixels (H, W, 3) uint8, quality position in units of 2**-12 -> the bytes of the latents."""
        coder = Encoder()
        self.push_latents(pixels, position, coder)
        return coder.finish()

    @torch.inference_mode()
    def encode_latents(self, y: Tensor, z: Tensor, position: int) -> bytes:
        """y (1, H/16, W/16, M), z (1, H/64, W/64, Z) float, not rounded -> the bytes of the latents."""
        coder = Encoder()
        self._push(y, z, position, coder)
        return coder.finish()

    @torch.inference_mode()
    def push_latents(self, pixels: Tensor, position: int, coder: Pusher) -> None:
        """The latents of a picture, symbol by symbol into a coder (or into what counts them)."""
        # 1. Analysis: pixels to latents and hyper-latents.
        y = self.analyse(pixels, position)
        self._push(y, self.hyper_analyse(y, position), position, coder)

    def _push(self, y: Tensor, z: Tensor, position: int, coder: Pusher) -> None:
        z_symbols = z.round().clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).int()

        # 2. Hyper-latents.
        coder.push(to_numpy(z_symbols), self._z_table(z_symbols, position), self.z_tables)
        psi = self._psi(z_symbols, position)

        # 3. The half of the latents that only the hyper-latents predict; 4. the rest, given that half.
        y_hat, halves = self._empty_latents(psi)
        for step in (1, 2):
            mean, table = self._predict(step, psi, y_hat, halves)
            symbols = quantize(halves.take(step, y), mean)
            coder.push(to_numpy(symbols), to_numpy(table), self.y_tables)
            if step == 1:  # nothing looks at what step 2 codes
                halves.put(step, y_hat, dequantize(symbols, mean))

    @torch.inference_mode()
    def decode_latents(self, data: bytes, height: int, width: int, position: int) -> Tensor:
        """y_hat (1, H/16, W/16, M) int32 in units of 2**-8: the same on every machine, to the bit."""
        coder = Decoder(data)

        # 2. Hyper-latents.
        shape = (1, -(-height // STRIDE), -(-width // STRIDE), self.config.hyper_latents)
        z_symbols = torch.empty(shape, dtype=torch.int32)
        z_symbols = self._tensor(coder.pull(self._z_table(z_symbols, position), self.z_tables)).view(shape)
        psi = self._psi(z_symbols, position)

        # 3. The half of the latents that only the hyper-latents predict; 4. the rest, given that half.
        y_hat, halves = self._empty_latents(psi)
        for step in (1, 2):
            mean, table = self._predict(step, psi, y_hat, halves)
            symbols = self._tensor(coder.pull(to_numpy(table), self.y_tables)).view(mean.shape)
            halves.put(step, y_hat, dequantize(symbols, mean))
        return y_hat

    @torch.inference_mode()
    def decompress(self, data: bytes, height: int, width: int, position: int) -> Tensor:
        """The inverse of :meth:`compress` -> pixels (H, W, 3) uint8, on this codec's device."""
        y_hat = self.decode_latents(data, height, width, position)
        # 1. Synthesis: latents to pixels.
        return self.synthesise(y_hat, position)[:height, :width]

    def analyse(self, pixels: Tensor, position: int) -> Tensor:
        """g_a: pixels (H, W, 3) uint8 -> y (1, H/16, W/16, M) float32, edges repeated to the stride."""
        t = self.t(position).float()
        x = pad(pixels[None].to(self.device))

        def network(x: Tensor) -> tuple[Tensor]:
            return (self.networks.g_a(x.float() / 255, t),)

        return self._sweep(network, [(x, STRIDE)], [4], self.g_a_halo)[0]

    def hyper_analyse(self, y: Tensor, position: int) -> Tensor:
        """h_a: y -> z (1, H/64, W/64, Z) float32."""
        t = self.t(position).float()

        def network(y: Tensor) -> tuple[Tensor]:
            return (self.networks.h_a(y, t),)

        return self._sweep(network, [(y, 4)], [1], self.h_a_halo)[0]

    def synthesise(self, y_hat: Tensor, position: int) -> Tensor:
        """g_s: y_hat (1, H/16, W/16, M) in units of 2**-8 -> pixels (H', W', 3) uint8."""
        t = self.t(position).float()

        def network(y_hat: Tensor) -> tuple[Tensor]:
            x_hat = self.networks.g_s(y_hat.float() / ONE, t)
            return (x_hat.clamp_(0, 1).mul_(255).round_().byte(),)

        return self._sweep(network, [(y_hat, 4)], [STRIDE], self.g_s_halo)[0][0]

    def _psi(self, z_symbols: Tensor, position: int) -> Tensor:
        t = self.t(position)

        def network(z: Tensor) -> tuple[Tensor]:
            z_hat = (z.double() * ONE).clamp_(-LIMIT, LIMIT)
            return (self.networks.h_s(z_hat, t).float(),)  # below 2**21: exact in float32

        return self._sweep(network, [(z_symbols, 1)], [4], self.h_s_halo)[0]

    def _empty_latents(self, psi: Tensor) -> tuple[Tensor, Halves]:
        height, width = psi.shape[1:3]
        y_hat = torch.zeros((1, height, width, self.config.latents), dtype=torch.int32, device=self.device)
        return y_hat, Halves(height, width, self.config.latents, self.device)

    def _predict(self, step: int, psi: Tensor, y_hat: Tensor, halves: Halves) -> tuple[Tensor, Tensor]:
        """mean in units of 2**-4 and table number (H/16 * W/16, M/2), in the coding order of a step."""
        context, features = self.networks.context, psi
        if step == 2:

            def network(psi: Tensor, y_hat: Tensor) -> tuple[Tensor]:
                return (context.features_2(psi.double(), y_hat.double().clamp_(-LIMIT, LIMIT)).float(),)

            (features,) = self._sweep(network, [(psi, 4), (y_hat, 4)], [4], self.context_halo)
        rows = features.view(-1, features.shape[-1])
        means, tables = [], []
        for colour in (0, 1):
            head = self.heads[step, halves.channel_half(step, colour)]
            for positions in torch.split(halves.positions[colour], HEAD_ROWS):
                mean, table = head(rows[positions].double())
                means.append(mean.int())
                tables.append(table.to(torch.uint8))
        return torch.cat(means), torch.cat(tables)

    def _sweep(
        self,
        network: Callable[..., tuple[Tensor, ...]],
        inputs: Sequence[tuple[Tensor, int]],
        units: Sequence[int],
        halo: int,
    ) -> tuple[Tensor, ...]:
        return sweep(network, inputs, units, self.window, halo)

    def t(self, position: int) -> Tensor:
        """A quality position in units of 2**-12 as what the networks take, (1,) float64."""
        exact = position / (1 << POSITION_BITS)  # a power of two: exact
        return torch.tensor([exact], dtype=torch.float64, device=self.device)

    def _z_table(self, z_symbols: Tensor, position: int) -> NDArray[np.int16]:
        """The table of each hyper-latent: that of its channel at the nearest quality anchor."""
        numbers = self.z_table_numbers(position)
        return np.tile(np.arange(numbers.start, numbers.stop, dtype=np.int16), z_symbols.numel() // len(numbers))

    def z_table_numbers(self, position: int) -> range:
        """The tables of the hyper-latents' channels."""
        anchor = (position + (1 << (POSITION_BITS - 1))) >> POSITION_BITS
        return range(anchor * self.config.hyper_latents, (anchor + 1) * self.config.hyper_latents)

    def _tensor(self, symbols: NDArray[np.int32]) -> Tensor:
        return torch.from_numpy(symbols).to(self.device)


def quantize(y: Tensor, mean: Tensor) -> Tensor:
    """y float in steps, mean in units of 2**-4 -> int32 symbols."""
    return (y - mean / (1 << MEAN_BITS)).round_().clamp_(-SYMBOL_LIMIT, SYMBOL_LIMIT).int()


def dequantize(symbols: Tensor, mean: Tensor) -> Tensor:
    """int32 symbols, mean in units of 2**-4 -> y_hat, int32 in units of 2**-8."""
    return symbols * (1 << ACTIVATION_BITS) + mean * (1 << (ACTIVATION_BITS - MEAN_BITS))


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
