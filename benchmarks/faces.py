"""python -m benchmarks.faces FOLDER: the pictures of neurocodec/explore/README.md, made by its commands from
photographs that scikit-image ships."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np
import skimage
from PIL import Image

from benchmarks import holes
from benchmarks.codecs.base import Pixels
from benchmarks.restoration import corrupted
from neurocodec import metrics
from neurocodec.cli import main as neurocodec
from neurocodec.training.corruption import Corruption

DATA = Path(skimage.__file__).parent / "data"
COMMANDS = (
    "sample {out}/sample.jpg --size 384x256 --seed 3",
    "sample {out}/sample-calm.jpg --size 384x256 --seed 3 --temperature 0.5",
    "sample {out}/sample-like.jpg --like {data}/coffee.png --seed 3 --temperature 0.7",
    "interpolate {here}/cat.png {here}/cup.png {out}/interpolate.jpg --steps 5",
    "interpolate {here}/cat.png {here}/cup.png {here}/strip.png --steps 3",
    "traverse {here}/cat.png {out}/traverse.jpg --channels 5 --side 1",
    "inpaint {here}/written-on.png {here}/text.png {here}/mended.png",
    "restore {here}/noisy.png {here}/restored.png",
    "explain {data}/coffee.png {here}/coffee.html --model psnr",
)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Make the pictures, and print what the page says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        cat, _ = prepare(here)
        hidden = holes.draw("text", cat.shape[0], cat.shape[1], 1)
        Image.fromarray(hidden).save(here / "text.png")
        written_on = np.where(hidden[:, :, None], np.uint8(255), cat)
        Image.fromarray(written_on).save(here / "written-on.png")
        noisy = corrupted(cat, Corruption(noise=25), 0)
        Image.fromarray(noisy).save(here / "noisy.png")
        for command in COMMANDS:
            words = command.format(out=folder, here=here, data=DATA).split()
            neurocodec.main([*words, "--force"], standalone_mode=False)
        mended, strip, restored = (
            np.asarray(Image.open(here / f)) for f in ("mended.png", "strip.png", "restored.png")
        )
    gap = np.full((cat.shape[0], 4, 3), 255, np.uint8)
    for name, given, found in (("inpaint", written_on, mended), ("restore", noisy, restored)):
        side_by_side = np.concatenate([cat, gap, given, gap, found], 1)
        Image.fromarray(side_by_side).save(folder / f"{name}.jpg", quality=92, subsampling=0)
    width = cat.shape[1]
    middle, start = (strip.shape[1] - width) // 2, strip.shape[1] - width
    halves = (strip[:, :width].astype(np.uint16) + strip[:, start:]) // 2
    fade = metrics.psnr(strip[:, middle : middle + width], halves.astype(np.uint8))
    print(f"half way between the latents against half way between the pixels: {fade:.1f} dB")
    print(f"noise: {metrics.psnr(cat, noisy):.1f} dB, restored: {metrics.psnr(cat, restored):.1f} dB")
    print(f"the pixels that were written on: {metrics.psnr(mended[hidden][None], cat[hidden][None]):.1f} dB")


def prepare(here: Path) -> tuple[Pixels, Pixels]:
    """Parts of two photographs, 240x160 pixels, as files and as pixels."""
    found = []
    for source, name, (left, top) in (("chelsea", "cat", (110, 20)), ("coffee", "cup", (180, 60))):
        with Image.open(DATA / f"{source}.png") as image:
            found.append(np.asarray(image.crop((left, top, left + 240, top + 160))))
        Image.fromarray(found[-1]).save(here / f"{name}.png")
    return found[0], found[1]


if __name__ == "__main__":
    main()
