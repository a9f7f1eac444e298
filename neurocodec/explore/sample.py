"""Samples of the prior: decoding, with a die in place of a file.

z_hat is drawn front by front, each given those before it, then y_hat step by step from the tables that z_hat and the
steps before it choose, and g_s makes pixels of it. It is ancestral sampling from the very tables
that the entropy coder reads bits with: random bits, decoded, are such samples at temperature 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neurocodec.encoding import Pixels
from neurocodec.model import Codec
from neurocodec.quantization import hyper_symbols
from neurocodec.tables import Tables


class Die:
    """Draws symbols as a decoder would pull them, from probabilities to the power of 1 / temperature.

    At temperature 0 it takes the likeliest symbols, at 1 it draws from the prior itself. The escape is never
    drawn: the prior gives it some millionths, and then any of 2**16 values alike.
    """

    def __init__(self, codec: Codec, temperature: float, seed: int) -> None:
        self.codec, self.temperature = codec, temperature
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def pull(self, table: NDArray[Any], tables: Tables) -> NDArray[np.int32]:
        """Symbols for the tables numbered in table (N,) -> (N,) int32."""
        # One number for each symbol in coding order, so that a symbol's chance does not hang on its neighbours' tables.
        chances = self.generator.random(len(table))

        def cast(elements: NDArray[np.int64], number: int) -> NDArray[np.int32]:
            edges = np.cumsum(reshaped(tables.row(number)[:-1], self.temperature))
            found = np.searchsorted(edges[:-1], chances[elements], side="right") - int(tables.radius[number])
            return found.astype(np.int32)

        return tables.pulled(table, cast)


def reshaped(frequencies: NDArray[np.int32], temperature: float) -> NDArray[np.float64]:
    """Frequencies (2 * R + 1,) to the power of 1 / temperature, with the sum 1; at 0, one of the likeliest alone."""
    if temperature == 0:
        likeliest = np.zeros(len(frequencies))
        likeliest[int(np.argmax(frequencies))] = 1
        return likeliest
    powers: NDArray[np.float64] = np.exp((np.log(frequencies) - np.log(frequencies.max())) / temperature)
    shares: NDArray[np.float64] = powers / powers.sum()
    return shares


def sample(codec: Codec, position: int, height: int, width: int, temperature: float, seed: int) -> Pixels:
    """Pixels (height, width, 3) of latents that are drawn, at a quality position."""
    return _drawn(codec, position, height, width, Die(codec, temperature, seed))


@torch.inference_mode()
def sample_like(codec: Codec, position: int, pixels: torch.Tensor, temperature: float, seed: int) -> Pixels:
    """As :func:`sample`, with the hyper-latents of pixels (H, W, 3) uint8, and of their size."""
    z = codec.hyper_analyse(codec.analyse(pixels, position), position)
    return _drawn(codec, position, pixels.shape[0], pixels.shape[1], Die(codec, temperature, seed), hyper_symbols(z))


def _drawn(
    codec: Codec, position: int, height: int, width: int, die: Die, z_symbols: torch.Tensor | None = None
) -> Pixels:
    y_hat = codec.pull_latents(die, height, width, position, z_symbols=z_symbols)
    return codec.synthesise(y_hat, height, width, position).cpu().numpy()
