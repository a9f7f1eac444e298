"""python -m benchmarks.resized FOLDER OUT: large photographs at several resolutions, without their own JPEG's traces.

For trying a model at sizes that it was not trained on: OUT gets a folder of PNG files for each size. The larger
the picture was, the less is left of the file format it came in.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
from PIL import Image

LEAST_REDUCTION = 1.25  # per side; a picture that is too small for a size is left out there


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--megapixels", default="0.3,1,4", show_default=True, help="The sizes to make.")
def main(folder: Path, out: Path, megapixels: str) -> None:
    """Reduce every picture of a folder to several numbers of pixels."""
    sizes = [float(v) for v in megapixels.split(",")]
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        with Image.open(path) as image:
            picture = image.convert("RGB")
        for size in sizes:
            reduction = math.sqrt(picture.width * picture.height / (size * 1e6))
            if reduction < LEAST_REDUCTION:
                print(f"{path.name}: too small for {size:g} megapixels")
                continue
            target = out / f"{size:g}" / f"{path.stem}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            sides = (round(picture.width / reduction), round(picture.height / reduction))
            picture.resize(sides, Image.Resampling.LANCZOS).save(target)
            print(target)


if __name__ == "__main__":
    main()
