"""python -m benchmarks.scaling PICTURES: seconds and memory of whole processes from 1 to 100 megapixels.

Each size is a mosaic of the photographs of a folder, mirrored at their edges, stored as PPM, so that next
to nothing but the codec is timed. The growth exponent is the slope of log seconds over log pixels.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import machine, pictures
from benchmarks.codecs.base import Pixels

SIZES = ((1154, 867), (2309, 1732), (4619, 3464), (9237, 6929), (11547, 8660))  # of 1, 4, 16, 64 and 100 megapixels
CHILD = """
import sys
from benchmarks.alone import peak_memory
from neurocodec.cli import main
try:
    main()
finally:
    print("peak", peak_memory(), file=sys.stderr)
"""


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="visual", show_default=True)
@click.option("--quality", default=75.0, show_default=True)
@click.option("--sizes", default=len(SIZES), show_default=True, help="How many of the sizes, from the smallest.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the table as JSON.")
def main(folder: Path, model: str, quality: float, sizes: int, out: Path | None) -> None:
    """Compress and decompress mosaics of growing size."""
    print(machine.describe())
    photographs = list(pictures.load(folder).values())
    rows: list[dict[str, float]] = []
    for width, height in SIZES[:sizes]:
        with tempfile.TemporaryDirectory() as scratch:
            source, packed, back = (str(Path(scratch) / name) for name in ("in.ppm", "x.nc", "out.ppm"))
            write_mosaic(Path(source), photographs, width, height)
            compress, compress_peak = alone("compress", source, packed, "--model", model, "--quality", str(quality))
            decompress, decompress_peak = alone("decompress", packed, back)
            row: dict[str, float] = {"megapixels": width * height / 1e6, "bytes": Path(packed).stat().st_size}
        row |= {"compress_s": compress, "decompress_s": decompress}
        row |= {"compress_mb": compress_peak / 1e6, "decompress_mb": decompress_peak / 1e6}
        rows.append(row)
        print("  ".join(f"{name} {value:.1f}" for name, value in row.items()), flush=True)
    report: dict[str, Any] = {"machine": machine.describe(), "rows": rows}
    for name in ("compress_s", "decompress_s"):
        report[f"{name}_exponent"] = exponent([r["megapixels"] for r in rows], [r[name] for r in rows])
        print(f"{name} grows with pixels to the power of {report[f'{name}_exponent']:.3f}")
    if out is not None:
        out.write_text(json.dumps(report, indent=1) + "\n")


def write_mosaic(path: Path, photographs: list[Pixels], width: int, height: int) -> None:
    """A binary PPM, written row of tiles by row of tiles, so that this process stays small."""
    side = min(min(p.shape[:2]) for p in photographs)
    tiles = [p[:side, :side] for p in photographs]
    tiles = [tile[::flip] for tile in tiles for flip in (1, -1)]
    with path.open("wb") as file:
        file.write(b"P6 %d %d 255\n" % (width, height))
        for row, top in enumerate(range(0, height, side)):
            strip = [tiles[(row * 3 + i) % len(tiles)] for i in range(-(-width // side))]
            file.write(np.concatenate(strip, axis=1)[: height - top, :width].tobytes())


def alone(*arguments: str) -> tuple[float, int]:
    """Seconds and peak bytes of a process that runs one command."""
    start = time.perf_counter()
    command = [sys.executable, "-c", CHILD, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    return time.perf_counter() - start, int(done.stderr.split()[-1])


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """The slope of log seconds over log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


if __name__ == "__main__":
    main()
