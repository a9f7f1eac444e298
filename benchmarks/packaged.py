"""python -m benchmarks.packaged FOLDER: photographs that scikit-image ships, for a benchmark anyone can repeat."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import skimage

# Lossless ones only: a picture that once was JPEG is easier for JPEG than for others.
PICTURES = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png")


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Copy the photographs into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        shutil.copyfile(Path(skimage.__file__).parent / "data" / name, folder / name)
        print(folder / name)


if __name__ == "__main__":
    main()
