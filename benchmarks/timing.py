"""python -m benchmarks.timing IMAGES: library time, model loaded, paired picture by picture.

Each round encodes one picture with Pillow's AVIF at speed 4, then compresses and decompresses it
with neurocodec, so that a machine whose speed drifts drifts for all three. Pixels are in memory
before and after; files are bytes in memory; the model is loaded and warm.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import click
import torch
from PIL import Image

import neurocodec
from benchmarks import machine, pictures

T = TypeVar("T")


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--quality", default=75.0, show_default=True)
@click.option("--avif-quality", default=75, show_default=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--rounds", default=2, show_default=True, help="Times through the folder.")
@click.option("--model", default="ms-ssim", show_default=True)
def main(images: Path, quality: float, avif_quality: int, threads: int, rounds: int, model: str) -> None:
    """Time AVIF encoding, compression and decompression on every picture of a folder."""
    torch.set_num_threads(threads)
    print(machine.describe())
    seconds: dict[str, list[float]] = {"avif": [], "compress": [], "decompress": []}
    loaded = pictures.load(images)
    first = next(iter(loaded.values()))
    path = model if model.endswith(".safetensors") else None
    neurocodec.decompress(neurocodec.compress(first, quality, model), path)  # load and warm up
    for _ in range(rounds):
        for pixels in loaded.values():
            image = Image.fromarray(pixels)
            seconds["avif"].append(timed(partial(avif, image, avif_quality, threads))[0])
            spent, data = timed(partial(neurocodec.compress, pixels, quality, model))
            seconds["compress"].append(spent)
            seconds["decompress"].append(timed(partial(neurocodec.decompress, data, path))[0])
    for name, values in seconds.items():
        print(f"{name:>10}: median {1000 * statistics.median(values):.0f} ms")
    for a, b in (("avif", "compress"), ("avif", "decompress"), ("decompress", "compress")):
        ratios = [x / y for x, y in zip(seconds[a], seconds[b], strict=True)]
        print(f"{a} / {b}: median {statistics.median(ratios):.2f}, lowest {min(ratios):.2f}, highest {max(ratios):.2f}")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds that a call took, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def avif(image: Image.Image, quality: int, threads: int) -> bytes:
    """Pillow's AVIF encoder at speed 4."""
    out = io.BytesIO()
    image.save(out, "AVIF", quality=quality, speed=4, max_threads=threads)
    return out.getvalue()


if __name__ == "__main__":
    main()
