"""python -m benchmarks.inpainting FOLDER: filling in what masks hide, against OpenCV's two ways of doing it.

PSNR of the hidden pixels, in dB: of all of them in all pictures of a kind of mask, and how many pictures
each way fills best. Masks are drawn by benchmarks.holes from the number of the picture.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from PIL import Image

from benchmarks import holes, machine
from benchmarks.codecs.base import Pixels
from benchmarks.pictures import load
from neurocodec import weights
from neurocodec.errors import NeurocodecError
from neurocodec.explore.fill import harmonic
from neurocodec.explore.inpaint import METHODS, Way, inpaint
from neurocodec.images import Picture
from neurocodec.windows import silent

RADIUS = 3  # pixels: OpenCV's, of its own examples
Filler = Callable[[Pixels, holes.Mask], Pixels]


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="A folder for results.json and table.md.")
@click.option("--limit", type=click.IntRange(min=1), help="Measure only the first so many pictures.")
@click.option(
    "--every", type=click.IntRange(min=1), default=1, show_default=True, help="Of the pictures, each so many."
)
@click.option("--reduce", type=click.IntRange(min=1), default=1, show_default=True, help="Sides, by so much.")
@click.option("--model", default="psnr", show_default=True)
@click.option("--steps", default=Way().steps, show_default=True)
@click.option("--methods", is_flag=True, help="Measure each method alone too, which takes twice as long.")
@click.option("--threads", default=2, show_default=True)
def main(
    folder: Path,
    out: Path | None,
    limit: int | None,
    every: int,
    reduce: int,
    model: str,
    steps: int,
    methods: bool,
    threads: int,
) -> None:
    """Hide parts of the pictures of a folder, and fill them in."""
    torch.set_num_threads(threads)
    pictures = dict(list(load(folder).items())[::every][:limit])
    if reduce > 1:
        pictures = {name: reduced(pixels, reduce) for name, pixels in pictures.items()}
    try:
        ways = fillers(model, steps, methods)
    except NeurocodecError as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    errors: Errors = {kind: {name: [] for name in ways} for kind in holes.KINDS}
    seconds = dict.fromkeys(ways, 0.0)
    for seed, (name, pixels) in enumerate(pictures.items()):
        measure(name, pixels, seed, ways, errors, seconds)
        done = list(pictures)[: seed + 1]
        lines = table(errors, len(done))
        if out is not None:  # after every picture: a stop leaves what was measured
            found = {"machine": machine.describe(), "model": model, "steps": steps, "pictures": done}
            found |= {"sides divided by": reduce, "psnr": summary(errors), "wins": wins(errors)}
            found |= {"seconds to those of Telea": {k: round(v / seconds["OpenCV Telea"]) for k, v in seconds.items()}}
            (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
            (out / "table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def fillers(model: str, steps: int, methods: bool) -> dict[str, Filler]:
    """Name -> what fills the hidden pixels (H, W) of pixels (H, W, 3)."""
    loaded = weights.load(model, torch.device("cpu"))

    def ours(way: Way) -> Filler:
        return lambda pixels, hidden: inpaint(loaded, Picture(pixels), hidden, way, silent)

    def opencv(flag: int) -> Filler:
        return lambda pixels, hidden: np.asarray(cv2.inpaint(pixels, hidden.astype(np.uint8), RADIUS, flag))

    ways = {"OpenCV Telea": opencv(cv2.INPAINT_TELEA), "OpenCV Navier-Stokes": opencv(cv2.INPAINT_NS)}
    ways |= {"harmonic (our start)": smooth, "neurocodec inpaint": ours(Way(steps=steps))}
    for method in METHODS[1:] if methods else ():
        ways[f"neurocodec inpaint --method {method}"] = ours(Way(method, steps=steps))
    return ways


def smooth(pixels: Pixels, hidden: holes.Mask) -> Pixels:
    """The harmonic fill alone."""
    return harmonic(torch.from_numpy(pixels).float(), torch.from_numpy(~hidden)).clamp(0, 255).round().byte().numpy()


Errors = dict[str, dict[str, list[tuple[float, int]]]]  # kind -> way -> (sum of squared errors, values) of each picture


def measure(
    picture: str, pixels: Pixels, seed: int, ways: Mapping[str, Filler], errors: Errors, seconds: dict[str, float]
) -> None:
    """Add a picture's errors of the hidden pixels, and seconds."""
    for kind in holes.KINDS:
        hidden = holes.draw(kind, pixels.shape[0], pixels.shape[1], seed)
        for name, way in ways.items():
            start = time.perf_counter()
            filled = way(pixels, hidden)
            seconds[name] += time.perf_counter() - start
            difference = filled[hidden].astype(np.float64) - pixels[hidden]
            errors[kind][name].append((float((difference**2).sum()), difference.size))
        line = ", ".join(f"{name} {decibels([errors[kind][name][-1]]):.2f}" for name in ways)
        print(f"{picture}, {kind}: {line}", flush=True)


def decibels(errors: list[tuple[float, int]]) -> float:
    """PSNR of sums of squared errors, put together."""
    squares, count = sum(e for e, _ in errors), sum(n for _, n in errors)
    return 10 * math.log10(255**2 * count / max(squares, 1e-9))


def summary(errors: Errors) -> dict[str, dict[str, float]]:
    """kind -> way -> PSNR in dB."""
    return {kind: {name: round(decibels(e), 2) for name, e in ways.items()} for kind, ways in errors.items()}


def wins(errors: Errors) -> dict[str, dict[str, int]]:
    """kind -> way -> pictures that it fills best of all."""
    found = {}
    for kind, ways in errors.items():
        best = [min(ways, key=lambda name: ways[name][i][0]) for i in range(len(next(iter(ways.values()))))]
        found[kind] = {name: best.count(name) for name in ways}
    return found


def table(errors: Errors, pictures: int) -> list[str]:
    """Markdown, the best of each kind in bold."""
    ways = list(next(iter(errors.values())))
    lines = [f"| hidden | {' | '.join(ways)} |", "|---|" + "---:|" * len(ways)]
    for kind, values in summary(errors).items():
        best = max(values.values())
        cells = [f"**{v:.2f}**" if v == best else f"{v:.2f}" for v in values.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return [*lines, "", f"PSNR in dB of the hidden pixels of {pictures} pictures."]


def reduced(pixels: Pixels, by: int) -> Pixels:
    """A picture whose sides are divided, by means."""
    height, width = pixels.shape[0] // by, pixels.shape[1] // by
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


if __name__ == "__main__":
    main()
