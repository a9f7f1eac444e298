"""python -m benchmarks.restoration FOLDER: noise and JPEG taken out, by `neurocodec restore` and by four others.

PSNR in dB and MS-SSIM to the pictures as they were, means over the pictures of a folder. The others are told how far
off each corrupted picture is (its root mean squared error, which only whoever corrupted it knows), run at two
settings, and in each cell of the table the better mean of the two is theirs. Ours is told nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage.restoration import denoise_nl_means, denoise_wavelet

from benchmarks import machine
from benchmarks.codecs.base import Pixels
from benchmarks.pictures import load
from neurocodec import metrics, weights
from neurocodec.encoding import as_tensor
from neurocodec.errors import NeurocodecError
from neurocodec.explore.restore import PASSES, QUALITY, restore
from neurocodec.training.corruption import Corruption

NOISES = {f"noise {s}": Corruption(noise=s) for s in (15, 25, 50)} | {
    f"JPEG {q}": Corruption(jpeg=q) for q in (10, 20, 40)
}
CASES = NOISES | {"blur 1.2": Corruption(blur=1.2), "clean": Corruption()}  # the others are for noises
INPUT, OURS, ALL_PASSES = "as it came", "neurocodec restore", f"neurocodec restore --passes {PASSES}"
Way = Callable[[Pixels, float], Pixels]  # a corrupted picture, and how far off it is, of 255 -> the picture, restored
Values = dict[str, dict[str, dict[str, tuple[float, float]]]]  # case, way, picture -> PSNR, MS-SSIM


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="A folder for results.json and table.md.")
@click.option("--limit", type=click.IntRange(min=1), help="Measure only the first so many pictures.")
@click.option("--model", default="restore", show_default=True)
@click.option("--only", type=click.Choice(["ours", "others"]), help="What else --out holds is kept.")
@click.option("--threads", default=2, show_default=True)
def main(folder: Path, out: Path | None, limit: int | None, model: str, only: str | None, threads: int) -> None:
    """Corrupt the pictures of a folder, and restore them."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    pictures = dict(list(load(folder).items())[:limit])
    try:
        ways = (OTHERS if only != "ours" else {}) | (our_ways(model) if only != "others" else {})
    except NeurocodecError as error:
        raise click.ClickException(str(error)) from None
    values, seconds = kept(out, ways)
    for seed, (name, pixels) in enumerate(pictures.items()):
        for case, corruption in CASES.items():
            spoilt = corrupted(pixels, corruption, seed)
            fitting = {k: v for k, v in ways.items() if case in NOISES or k == INPUT or k not in OTHERS}
            measure(name, pixels, spoilt, fitting, values.setdefault(case, {}), seconds)
        if out is not None:  # after every picture: a stop leaves what was measured
            save(out, model, values, seconds)
        print(f"{name}: {seed + 1} of {len(pictures)}", flush=True)
    print("\n".join(table(values)))


def corrupted(pixels: Pixels, corruption: Corruption, seed: int) -> Pixels:
    """A picture as it comes to whoever restores it, in 8 bits."""
    spoilt = corruption.apply(as_tensor(pixels).float() / 255, torch.Generator().manual_seed(seed))
    return (spoilt * 255).round().byte().numpy()


def our_ways(model: str) -> dict[str, Way]:
    """The command, as it is and at its best."""
    loaded = weights.load(model, torch.device("cpu"))
    position = loaded.position(round(QUALITY * 100))
    return {
        OURS: lambda pixels, _: restore(loaded.codec, pixels, position, 1),
        ALL_PASSES: lambda pixels, _: restore(loaded.codec, pixels, position, PASSES),
    }


def median(size: int) -> Way:
    return lambda pixels, _: np.array(Image.fromarray(pixels).filter(ImageFilter.MedianFilter(size)))


def wavelet(strength: float) -> Way:
    def way(pixels: Pixels, deviation: float) -> Pixels:
        sigma = strength * deviation / 255
        x = pixels.astype(np.float32) / 255
        return eight_bits(denoise_wavelet(x, sigma, convert2ycbcr=True, rescale_sigma=True, channel_axis=-1))

    return way


def nl_means(strength: float) -> Way:
    def way(pixels: Pixels, deviation: float) -> Pixels:
        sigma = deviation / 255
        x = pixels.astype(np.float32) / 255
        return eight_bits(denoise_nl_means(x, 5, 6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1))

    return way


def fast_nl_means(strength: float) -> Way:
    def way(pixels: Pixels, deviation: float) -> Pixels:
        h = strength * deviation
        return np.asarray(cv2.fastNlMeansDenoisingColored(pixels, None, h, h, 7, 21))

    return way


def eight_bits(x: NDArray[np.floating]) -> Pixels:
    pixels: Pixels = (np.clip(x, 0, 1) * 255).round().astype(np.uint8)
    return pixels


FAMILIES: dict[str, dict[str, Way]] = {  # their two settings: what did best on a photograph, of several
    "median (Pillow)": {f"median {size}": median(size) for size in (3, 5)},
    "wavelet (scikit-image)": {f"wavelet {s}": wavelet(s) for s in (0.5, 1.0)},
    "non-local means (scikit-image)": {f"non-local means {s}": nl_means(s) for s in (0.6, 0.8)},
    "fast non-local means (OpenCV)": {f"fast non-local means {s}": fast_nl_means(s) for s in (0.4, 0.7)},
}
OTHERS: dict[str, Way] = {INPUT: lambda pixels, _: pixels}
for family in FAMILIES.values():
    OTHERS |= family


def measure(
    name: str,
    pixels: Pixels,
    spoilt: Pixels,
    ways: Mapping[str, Way],
    values: dict[str, dict[str, tuple[float, float]]],
    seconds: dict[str, float],
) -> None:
    """Add a picture's values and seconds to what a case has."""
    deviation = float(np.sqrt(np.mean((pixels.astype(np.float64) - spoilt) ** 2)))
    for way, restored in ways.items():
        start = time.perf_counter()
        found = restored(spoilt, deviation)
        seconds[way] = seconds.get(way, 0.0) + time.perf_counter() - start
        # Of a picture that came back the same, PSNR is infinite: 100 dB stands for it in means.
        psnr = min(metrics.psnr(pixels, found), 100.0)
        values.setdefault(way, {})[name] = (round(psnr, 4), round(metrics.ms_ssim(pixels, found), 6))


def kept(out: Path | None, again: Mapping[str, Way]) -> tuple[Values, dict[str, float]]:
    """What a folder has of ways that are not measured again: values, and seconds."""
    if out is None or not (out / "results.json").exists():
        return {}, {}
    found = json.loads((out / "results.json").read_text())
    values = {case: {k: v for k, v in ways.items() if k not in again} for case, ways in found["values"].items()}
    return values, {k: v for k, v in found["seconds"].items() if k not in again}


def save(out: Path, model: str, values: Values, seconds: dict[str, float]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine.describe(), "model": model, "values": values}
    found |= {"seconds": {k: round(v, 1) for k, v in seconds.items()}}
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (out / "table.md").write_text("\n".join(table(values)) + "\n")


def means(ways: Mapping[str, Mapping[str, tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """The columns of a case -> mean PSNR and MS-SSIM; of a family, the better mean of its settings, for each."""
    found = {k: (mean(v, 0), mean(v, 1)) for k, v in ways.items()}
    columns = {k: v for k, v in found.items() if k in (INPUT, OURS, ALL_PASSES)}
    for name, settings in FAMILIES.items():
        there = [found[k] for k in settings if k in found]
        if there:
            columns[name] = (max(v[0] for v in there), max(v[1] for v in there))
    return columns


def mean(values: Mapping[str, tuple[float, float]], index: int) -> float:
    return sum(v[index] for v in values.values()) / len(values)


def table(values: Values) -> list[str]:
    """Markdown: PSNR / MS-SSIM, the best of each in bold."""
    columns = [INPUT, *FAMILIES, OURS, ALL_PASSES]
    lines = [f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    count = 0
    for case, ways in values.items():
        found = means(ways)
        best = [max(v[i] for v in found.values()) for i in (0, 1)]
        count = max(count, *(len(v) for v in ways.values()))
        cells = [cell(found[k], best) if k in found else "-" for k in columns]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return [*lines, "", f"PSNR in dB / MS-SSIM, means of {count} pictures."]


def cell(value: tuple[float, float], best: list[float]) -> str:
    psnr, ms_ssim = f"{value[0]:.2f}", f"{value[1]:.4f}"
    shown = (f"**{text}**" if v == top else text for text, v, top in zip((psnr, ms_ssim), value, best, strict=True))
    return " / ".join(shown)


if __name__ == "__main__":
    main()
