"""python -m benchmarks IMAGES: is it better than JPEG, and by how much?"""

from __future__ import annotations

import json
from pathlib import Path

import click

from benchmarks import machine, pictures, rate_distortion
from benchmarks.bd_rate import Curve, bd_rate, curve
from benchmarks.rate_distortion import Point
from neurocodec import metrics

SIMILARITIES = (0.90, 0.95, 0.98)


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures here, as JSON.")
@click.option("--qualities", default="5,10,20,30,40,50,60,70,80,90,95", show_default=True)
@click.option("--model", default="ms-ssim", show_default=True)
@click.option("--limit", type=int, help="Only the first pictures.")
def main(images: Path, out: Path | None, qualities: str, model: str, limit: int | None) -> None:
    """Compare neurocodec with JPEG on every picture of a folder, at the same qualities.

    Rates are bytes on disk times 8 over pixels, distortions are of 8-bit decoded pixels, both are
    means over the pictures. JPEG is Pillow's, optimized and progressive.
    """
    settings = [float(q) for q in qualities.split(",")]
    loaded = dict(list(pictures.load(images).items())[:limit])
    ours = rate_distortion.measure("neurocodec", rate_distortion.neurocodec(model), loaded, settings, print)
    jpeg = rate_distortion.measure("jpeg", rate_distortion.jpeg, loaded, settings, print)
    figures = compare(jpeg, ours)
    for line, value in figures.items():
        print(f"{line}: {value}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = {"machine": machine.describe(), "images": images.name, "pictures": len(loaded), "model": model}
        result |= {"figures": figures, "points": [p.fields() for p in jpeg + ours]}
        out.write_text(json.dumps(result, indent=1) + "\n")


def compare(reference: list[Point], test: list[Point]) -> dict[str, str]:
    """The figures that a reader wants: BD-rates, and sizes at equal MS-SSIM."""
    figures = {}
    for name, points in (("PSNR", psnr_curve), ("MS-SSIM", ms_ssim_curve)):
        percent, (low, high) = bd_rate(points(reference), points(test))
        figures[f"BD-rate {name}"] = f"{percent:+.1f} % (from {low:.2f} to {high:.2f} dB)"
    for similarity in SIMILARITIES:
        db = metrics.decibels(similarity)
        a, b = ms_ssim_curve(reference).rate_at(db), ms_ssim_curve(test).rate_at(db)
        figures[f"size at MS-SSIM {similarity:.2f}"] = f"{100 * (b / a - 1):+.1f} % ({a:.3f} to {b:.3f} bpp)"
    return figures


def psnr_curve(points: list[Point]) -> Curve:
    return curve([p.bpp for p in points], [p.psnr for p in points])


def ms_ssim_curve(points: list[Point]) -> Curve:
    return curve([p.bpp for p in points], [p.ms_ssim_db for p in points])


if __name__ == "__main__":
    main()
