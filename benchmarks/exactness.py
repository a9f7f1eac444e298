"""python -m benchmarks.exactness [IMAGES] [--megapixels 1,4]: are decoded latents really equal, to the bit?

Compresses each picture of a folder at several qualities, decodes the latents with 1 and 2 threads and with several
window sizes (and on a GPU where there is one), and compares SHA-256 hashes of them; where the processor has bfloat16,
it says how far pixels are from those of a decoder in float32. With --megapixels it draws pictures of these sizes, and
for each window size compares the latents and their bytes, and decoded pixels, which may differ by one level.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import neurocodec
from benchmarks import machine, pictures
from neurocodec import container, weights
from neurocodec.model import Codec
from neurocodec.precision import FLOAT32, has_bfloat16

WINDOWS = (1, 2, 5, 24)
STRIP = 512  # rows that are drawn and compared at a time


def listed(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """ "1,4,16" -> (1.0, 4.0, 16.0)."""
    try:
        found = tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 1,4,16.") from None
    if any(number <= 0 for number in found):
        raise click.BadParameter("numbers above 0 are needed.")
    return found


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--model", default="visual", show_default=True)
@click.option("--qualities", default="5,50,95", callback=listed, show_default=True, help="Of a folder's pictures.")
@click.option("--megapixels", default="", callback=listed, help="Pictures to draw, such as 1,4,16,64,100.")
@click.option(
    "--windows", default="5,11,24", callback=listed, show_default=True, help="Of drawn pictures, x 64 pixels."
)
def main(
    images: Path | None,
    model: str,
    qualities: tuple[float, ...],
    megapixels: tuple[float, ...],
    windows: tuple[float, ...],
) -> None:
    """Decode the latents of every picture of a folder, or of drawn ones, in many ways, and compare."""
    if images is None and not megapixels:
        raise click.UsageError("nothing to compare: name a folder of pictures, or --megapixels.")
    print(machine.describe())
    different = 0
    if images is not None:
        different += folder(images, model, qualities)
    for size in megapixels:
        different += drawn(size, model, tuple(int(w) for w in windows))
    raise SystemExit(1 if different else 0)


def folder(images: Path, model: str, qualities: tuple[float, ...]) -> int:
    """How many files of a folder's pictures decode to different latents."""
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    ways = [(d, threads, window) for d in devices for threads in (1, 2) for window in WINDOWS]
    files = different = 0
    apart = np.zeros(256, np.int64)  # how many values of pixels are so many levels apart
    for name, pixels in pictures.load(images).items():
        for quality in qualities:
            data = neurocodec.compress(pixels, quality, model)
            hashes = {latent_hash(data, model, *way) for way in ways}
            files += 1
            if has_bfloat16(torch.device("cpu")):
                apart += levels_apart(data, model)
            if len(hashes) > 1:
                different += 1
                print(f"{name} at quality {quality:g}: {len(hashes)} different latents")
    print(f"{files} files, each decoded in {len(ways)} ways {ways}: {different} with differences")
    if apart.any():
        print(
            f"of {apart.sum() / 1e6:.1f} million values of pixels, {100 * apart[1] / apart.sum():.2f} % are one level "
            f"from those in float32, {apart[2]} two, {apart[3:].sum()} more; at most {apart.nonzero()[0].max()} levels"
        )
    return different


def levels_apart(data: bytes, model: str) -> NDArray[np.int64]:
    """How many values of a file's pixels, in bfloat16 and in float32, are 0, 1, ... levels apart, (256,)."""
    loaded, c = weights.load(model, torch.device("cpu")), container.unpack(data)
    decoded = []
    for wanted in ("", "1"):
        os.environ[FLOAT32] = wanted
        pixels = loaded.codec.decompress(c.latents, c.height, c.width, loaded.position(c.quality))
        decoded.append(pixels.numpy().astype(np.int16))
    del os.environ[FLOAT32]
    fast, full = decoded
    return np.bincount(np.abs(fast - full).ravel(), minlength=256)


def latent_hash(data: bytes, model: str, device: str, threads: int, window: int) -> str:
    """SHA-256 of the decoded latents of a file."""
    torch.set_num_threads(threads)
    loaded, c = weights.load(model, torch.device(device)), container.unpack(data)
    y_hat = windowed(loaded, window).decode_latents(c.latents, c.height, c.width, loaded.position(c.quality))
    return digest(y_hat)


def windowed(loaded: weights.LoadedModel, window: int) -> Codec:
    """The codec with other windows."""
    return Codec(loaded.codec.networks, loaded.codec.y_tables, loaded.codec.z_tables, window)


def digest(latents: Tensor) -> str:
    return hashlib.sha256(latents.cpu().numpy().astype("<i4", copy=False).data).hexdigest()


def drawn(megapixels: float, model: str, windows: tuple[int, ...], quality: float = 75) -> int:
    """1 if the window size makes a difference to a drawn picture, beyond one level of its pixels; else 0.

    The latents are coded anew with each window, and all are decoded with each: bytes and latents must be equal. Only
    the analysis, in floating point, is done once; how many latents it changes with the window is said, but is no fault.
    """
    width = round((megapixels * 4e6 / 3) ** 0.5)
    height = round(megapixels * 1e6 / width)
    pixels = torch.from_numpy(draw(height, width))
    loaded = weights.load(model, torch.device("cpu"))
    position = loaded.position(round(quality * container.QUALITY_STEPS))
    codecs = [windowed(loaded, window) for window in windows]
    with torch.inference_mode():
        y = codecs[0].analyse(pixels, position)
        z = codecs[0].hyper_analyse(y, position)
    reference = codecs[0].encode_latents(y, z, position)[0]
    latents: Tensor | None = None
    image: Tensor | None = None
    faults, furthest, moved = 0, 0, list[int]()
    for window, codec in zip(windows, codecs, strict=True):
        if codec.encode_latents(y, z, position)[0] != reference:
            faults += 1
            print(f"{width}x{height}: windows of {window} write other bytes")
        decoded = codec.decode_latents(reference, height, width, position)
        with torch.inference_mode():
            moved.append(int((codec.analyse(pixels, position).round() != y.round()).sum()))
            back = codec.synthesise(decoded, height, width, position)
        if latents is None or image is None:
            latents, image = decoded, back
            continue
        if not torch.equal(decoded, latents):
            faults += 1
            print(f"{width}x{height}: windows of {window} decode to other latents")
        for top in range(0, height, STRIP):
            furthest = max(furthest, distance(back[top : top + STRIP], image[top : top + STRIP]))
    faults += furthest > 1
    found = "none" if latents is None else digest(latents)[:16]
    print(
        f"{width}x{height}, windows {windows}: latents {found}, {len(reference)} bytes, pixels at most "
        f"{furthest} level(s) apart, analysis rounds {moved} of {y.numel()} latents otherwise: {faults} differences",
        flush=True,
    )
    return int(faults > 0)


def draw(height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): waves of many lengths, edges and some noise; drawn in strips."""
    pixels, rng = np.empty((height, width, 3), np.uint8), np.random.default_rng(0)
    x = np.arange(width, dtype=np.float32)[None, :, None]
    lengths = np.array([7.3, 41.7, 523.0], np.float32)
    for top in range(0, height, STRIP):
        y = np.arange(top, min(top + STRIP, height), dtype=np.float32)[:, None, None]
        waves = 60 * np.sin(x / lengths) + 40 * np.sin((x + 2 * y) / lengths[::-1])
        edges = 50 * (((x // 97 + y // 61) % 5) == 0)
        pixels[top : top + STRIP] = (110 + waves + edges + rng.normal(0, 3, waves.shape)).clip(0, 255)
    return pixels


def distance(a: Tensor, b: Tensor) -> int:
    """The most that two pictures differ in a pixel's channel."""
    return int((a.short() - b.short()).abs().max())


if __name__ == "__main__":
    main()
