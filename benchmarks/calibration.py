"""python -m benchmarks.calibration PICTURES: does quality N have the score of JPEG's quality N?

Compares JPEG and a model at the same qualities by the measure of the model's quality scale: SSIMULACRA 2 or PSNR,
averaged over the pictures of a folder.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click
import numpy as np
import torch

from benchmarks import machine
from neurocodec import weights
from neurocodec.errors import NeurocodecError, WeightsError
from neurocodec.training.calibration import Measure, Pixels, jpeg_round_trip, measure_of, round_trip
from neurocodec.training.export import calibration_pictures, load_crops, whole_pictures

QUALITIES = (*range(15, 100, 5), 97)
# points and dB; largest differences that the scale promises on the calibration pictures
LARGEST = {"ssimulacra2": 0.5, "psnr": 0.3}


@click.command()
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="visual", show_default=True)
@click.option("--reduced", is_flag=True, help="Use reduced pictures, as `export` does without --calibration.")
@click.option("--largest", type=float, help="Largest allowed difference.  [default: the promise of the scale]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A .csv file for the figures.")
def main(pictures: Path, model: str, reduced: bool, largest: float | None, out: Path | None) -> None:
    """Compare JPEG and a model at the same qualities on the pictures of a folder."""
    print(machine.describe())
    try:
        chosen = calibration_pictures(load_crops(pictures)) if reduced else whole_pictures(pictures)
        measure, rows = measured(chosen, model, QUALITIES)
    except NeurocodecError as error:
        raise click.ClickException(str(error)) from None
    if out is not None:
        with out.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["quality", f"jpeg_{measure.name}", f"ours_{measure.name}"])
            writer.writerows(rows)
    worst = max(abs(ours - jpeg) for _, jpeg, ours in rows)
    allowed = LARGEST[measure.name] if largest is None else largest
    print(f"largest difference {worst:.4f} of {measure.name} on {len(chosen)} pictures; allowed {allowed}")
    sys.exit(1 if worst > allowed else 0)


def measured(
    pictures: list[Pixels], model: str, qualities: tuple[int, ...]
) -> tuple[Measure, list[tuple[int, float, float]]]:
    """Return the measure of a model's quality scale, and rows of quality, JPEG's mean and the model's mean."""
    loaded = weights.load(model, torch.device("cpu"))
    if loaded.objective is None:
        raise WeightsError(f"{model} does not say what it was tuned for.")
    measure = measure_of(loaded.objective)
    rows = []
    for quality in qualities:
        at = loaded.position(quality * 100)
        jpeg = float(np.mean([measure.of(p, jpeg_round_trip(quality, p)) for p in pictures]))
        ours = float(np.mean([measure.of(p, round_trip(loaded.codec, at, p)) for p in pictures]))
        rows.append((quality, round(jpeg, 5), round(ours, 5)))
        print(f"quality {quality}: JPEG {jpeg:.4f}, ours {ours:.4f}, {ours - jpeg:+.4f}", flush=True)
    return measure, rows


if __name__ == "__main__":
    main()
