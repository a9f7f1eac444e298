"""python -m benchmarks.stages IMAGE: where the time and the arithmetic of the codec go.

Times of the parts of compression and decompression in milliseconds, medians of one run in which all
parts take turns, and multiply-accumulates per pixel of all networks (3x3 depthwise layers of the
exact path and the context of hyper-latents, each 0.1 % of the whole, are not counted).
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import machine
from benchmarks.pictures import read_argument
from benchmarks.timings import timed
from neurocodec import layers, weights
from neurocodec.entropy import Decoder, Encoder
from neurocodec.model import Codec
from neurocodec.tables import Tables

Push = tuple[NDArray[np.int32], NDArray[Any], Tables]


class Recorder:
    """Keeps what an encoder pushes."""

    def __init__(self) -> None:
        self.pushed: list[Push] = []

    def push(self, symbols: NDArray[np.int32], table: NDArray[Any], tables: Tables) -> None:
        self.pushed.append((symbols, table, tables))


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--quality", default=75.0, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--model", default="visual", show_default=True)
def main(image: Path, quality: float, threads: int, rounds: int, model: str) -> None:
    """Time the parts of the codec on one picture."""
    torch.set_num_threads(threads)
    print(machine.describe())
    loaded = weights.load(model, torch.device("cpu"))
    pixels, position = torch.from_numpy(read_argument(image)), loaded.position(round(quality * 100))
    seconds: dict[str, list[float]] = {}
    for i in range(rounds + 1):
        for name, spent in parts(loaded.codec, pixels, position).items():
            if i:  # the first round warms up
                seconds.setdefault(name, []).append(spent)
    for name, values in seconds.items():
        print(f"{name:>18}: median {1000 * statistics.median(values):.1f} ms")
    exact, synthesis = (statistics.median(seconds[k]) for k in ("exact path", "synthesis"))
    print(f"exact path / synthesis: {exact / synthesis:.2f}")
    with counting() as counter:
        data = loaded.codec.compress(pixels, position)
    print(f"compress: {per_pixel(counter, pixels):.1f} kMAC per pixel")
    with counting() as counter:
        loaded.codec.decompress(data, pixels.shape[0], pixels.shape[1], position)
    print(f"decompress: {per_pixel(counter, pixels):.1f} kMAC per pixel")


def counting() -> FlopCounterMode:
    """A counter that knows convolutions with something else in the same pass, too."""
    fused: dict[Any, Any] = {} if layers.FUSED is None else {layers.FUSED: fused_flops}
    if layers.FUSED_SUM is not None:
        fused[layers.FUSED_SUM.overloadpacket] = fused_sum_flops
    return FlopCounterMode(display=False, custom_mapping=fused)


def fused_flops(x: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    """Of a product: two for each output and input channel."""
    return 2 * int(np.prod(out_shape)) * int(weight[1])


def fused_sum_flops(total: Any, x: Any, weight: Any, *_: Any, out_shape: Any, **__: Any) -> int:
    """The same, where it is added to something."""
    return fused_flops(x, weight, out_shape=out_shape)


def per_pixel(counter: FlopCounterMode, pixels: Tensor) -> float:
    """Thousands of multiply-accumulates per pixel; the counter counts both halves of each."""
    return counter.get_total_flops() / 2 / (pixels.shape[0] * pixels.shape[1]) / 1000


@torch.inference_mode()
def parts(codec: Codec, pixels: Tensor, position: int) -> dict[str, float]:
    """Seconds of each part, once."""
    seconds = {}
    seconds["analysis"], y = timed(lambda: codec.analyse(pixels, position))
    seconds["hyper-analysis"], z = timed(lambda: codec.hyper_analyse(y, position))
    recorder = Recorder()
    seconds["exact path"], _ = timed(lambda: codec.push_y_z(y, z, position, recorder))
    seconds["entropy encoding"], data = timed(lambda: encode_symbols(recorder.pushed))
    seconds["entropy decoding"], _ = timed(lambda: decode_symbols(data, recorder.pushed))
    seconds["synthesis"], _ = timed(lambda: codec.synthesise(y, pixels.shape[0], pixels.shape[1], position))
    return seconds


def encode_symbols(pushed: list[Push]) -> bytes:
    encoder = Encoder()
    for symbols, table, tables in pushed:
        encoder.push(symbols, table, tables)
    return encoder.finish()


def decode_symbols(data: bytes, pushed: list[Push]) -> None:
    decoder = Decoder(data)
    for _, table, tables in pushed:
        decoder.pull(table, tables)


if __name__ == "__main__":
    main()
