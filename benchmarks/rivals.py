"""python -m benchmarks.rivals PICTURES: seconds of neurocodec against AVIF's encoder and CompressAI's mbt2018-mean.

Picture by picture, one after the other with models loaded and warm, so that a drift of the machine hits all.
mbt2018-mean has random weights, which time its networks as trained ones would; its entropy coder then has little to
do, which is in its favour. It is one model for each rate, the upper four of eight with wider networks, so there are two
points of each codec with about as many bytes. Needs `pip install -e ".[bench,compressai]"`.
"""

from __future__ import annotations

import importlib
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

import neurocodec
from benchmarks import codecs, machine, pictures
from benchmarks.codecs import compressai_zoo
from benchmarks.codecs.base import Pixels
from benchmarks.timings import timed

# Qualities of ours, of mbt2018-mean and of AVIF. On Kodak 0.33 and 0.62 bits per pixel at an MS-SSIM of 0.981 and 0.991
# (ours), 0.34 and 0.64 at 0.981 and 0.991 (published, trained for MS-SSIM).
POINTS = ((70.0, 4, 50.0), (90.0, 6, 60.0))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="visual", show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=24, show_default=True, help="Pictures at most.")
def main(folder: Path, model: str, threads: int, limit: int) -> None:
    """Time both directions of each codec on every picture of a folder, and print medians of ratios."""
    try:
        zoo = importlib.import_module("compressai.zoo")
    except ImportError as error:
        raise click.ClickException(f"CompressAI is needed ({error}): pip install -e '.[bench,compressai]'") from None
    print(machine.describe())
    torch.set_num_threads(threads)
    loaded = list(pictures.load(folder).values())[:limit]
    for quality, theirs, avif in POINTS:
        torch.manual_seed(0)
        rival = zoo.mbt2018_mean(quality=theirs, metric="mse", pretrained=False).eval()
        rival.update()
        print(f"quality {quality:g} against mbt2018-mean's {theirs} and AVIF's {avif:g}")
        compare(rival, loaded, model, quality, avif, threads)


def compare(rival: Any, loaded: list[Pixels], model: str, quality: float, avif_quality: float, threads: int) -> None:
    """Print medians of the ratios of one point."""
    avif = codecs.make("avif")
    avif.use_threads(threads)
    ratios: dict[str, list[float]] = {}
    for i, pixels in enumerate(loaded):
        x = compressai_zoo.padded(pixels)
        rounds = 2 if i == 0 else 1  # the first picture warms up
        for _ in range(rounds):
            compress, data = timed(partial(neurocodec.compress, pixels, quality, model))
            private = model if model.endswith(".safetensors") else None
            decompress, _ = timed(partial(neurocodec.decompress, data, private))
            encode, _ = timed(partial(avif.encode, pixels, avif_quality))
            with torch.inference_mode():
                theirs, packed = timed(partial(rival.compress, x))
                back, _ = timed(partial(rival.decompress, packed["strings"], packed["shape"]))
        for name, ratio in {
            "AVIF speed 4 encodes / compress": encode / compress,
            "AVIF speed 4 encodes / decompress": encode / decompress,
            "mbt2018-mean compresses / compress": theirs / compress,
            "mbt2018-mean decompresses / decompress": back / decompress,
        }.items():
            ratios.setdefault(name, []).append(ratio)
    for name, values in ratios.items():
        print(f"  {name}: median {statistics.median(values):.1f}, {min(values):.1f} to {max(values):.1f}")


if __name__ == "__main__":
    main()
