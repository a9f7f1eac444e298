"""python -m benchmarks.exactness IMAGES: are decoded latents really equal, to the bit?

Compresses each picture at several qualities, decodes the latents with 1 and 2 threads and with several
window sizes (and on a GPU where there is one), and compares SHA-256 hashes of them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import click
import torch

import neurocodec
from benchmarks import machine, pictures
from neurocodec import container, weights
from neurocodec.model import Codec


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="ms-ssim", show_default=True)
@click.option("--qualities", default="5,50,95", show_default=True)
def main(images: Path, model: str, qualities: str) -> None:
    """Decode the latents of every picture of a folder in many ways, and compare."""
    print(machine.describe())
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    ways = [(d, threads, window) for d in devices for threads in (1, 2) for window in (1, 2, 5, 24)]
    files = different = 0
    for name, pixels in pictures.load(images).items():
        for quality in (float(q) for q in qualities.split(",")):
            data = neurocodec.compress(pixels, quality, model)
            hashes = {latent_hash(data, model, *way) for way in ways}
            files += 1
            if len(hashes) > 1:
                different += 1
                print(f"{name} at quality {quality:g}: {len(hashes)} different latents")
    print(f"{files} files, each decoded in {len(ways)} ways {ways}: {different} with differences")
    raise SystemExit(1 if different else 0)


def latent_hash(data: bytes, model: str, device: str, threads: int, window: int) -> str:
    """SHA-256 of the decoded latents of a file."""
    torch.set_num_threads(threads)
    loaded = weights.load(model, torch.device(device))
    codec = Codec(loaded.codec.networks, loaded.codec.y_tables, loaded.codec.z_tables, window)
    c = container.unpack(data)
    y_hat = codec.decode_latents(c.latents, c.height, c.width, loaded.position(c.quality))
    return hashlib.sha256(y_hat.cpu().numpy().astype("<i4").tobytes()).hexdigest()


if __name__ == "__main__":
    main()
