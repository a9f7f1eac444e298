"""python -m benchmarks.calibration PICTURES: does quality N look as good as JPEG's quality N?

Measures, on the calibration pictures that `neurocodec export --pictures PICTURES` chose from the same folder, the
mean of what a model is tuned for: MS-SSIM or PSNR, of JPEG and of the model at the same qualities.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks import machine
from neurocodec import metrics, weights
from neurocodec.errors import NeurocodecError, WeightsError
from neurocodec.training.calibration import Pixels, jpeg_round_trip, round_trip
from neurocodec.training.export import calibration_pictures, load_crops

QUALITIES = (10, 12, *range(15, 100, 5))
LARGEST = {"ms_ssim": 0.002, "psnr": 0.3}  # differences that we promise to keep within


@click.command()
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="ms-ssim", show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A .csv file for the figures.")
def main(pictures: Path, model: str, out: Path | None) -> None:
    """Compare JPEG's quality N with ours on the calibration pictures of a folder."""
    print(machine.describe())
    try:
        chosen = calibration_pictures(load_crops(pictures))
        measure, rows = measured(chosen, model, QUALITIES)
    except NeurocodecError as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        with out.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["quality", f"jpeg_{measure}", f"ours_{measure}"])
            writer.writerows(rows)
    worst = max(abs(ours - jpeg) for _, jpeg, ours in rows)
    print(f"largest difference {worst:.4f} of {measure} on {len(chosen)} pictures; promised {LARGEST[measure]}")
    sys.exit(1 if worst > LARGEST[measure] else 0)


def measured(
    pictures: list[Pixels], model: str, qualities: tuple[int, ...]
) -> tuple[str, list[tuple[int, float, float]]]:
    """The measure of a model's tune, and (quality, JPEG's mean, the model's mean)."""
    loaded = weights.load(model, torch.device("cpu"))
    if loaded.objective is None:
        raise WeightsError(f"{model} does not say what it was tuned for.")
    name, measure = ("ms_ssim", metrics.ms_ssim) if loaded.objective.ms_ssim else ("psnr", metrics.psnr)
    rows = []
    for quality in qualities:
        at = loaded.position(quality * 100)
        jpeg = float(np.mean([measure(p, jpeg_round_trip(quality, p)) for p in pictures]))
        ours = float(np.mean([measure(p, round_trip(loaded.codec, at, p)) for p in pictures]))
        rows.append((quality, round(jpeg, 5), round(ours, 5)))
        print(f"quality {quality}: JPEG {jpeg:.4f}, ours {ours:.4f}, {ours - jpeg:+.4f}", flush=True)
    return name, rows


if __name__ == "__main__":
    main()
