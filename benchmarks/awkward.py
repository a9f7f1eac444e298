"""python -m benchmarks.awkward FOLDER: every file of a folder through the codec, and what became of it.

A file must come back with its size (upright), its channels and its alpha, or be refused in one sentence.
Anything else, a traceback most of all, is a defect, and the command exits with 1. Pillow's own test pictures
(`Tests/images` of its source package) are such a folder.
"""

from __future__ import annotations

import json
import traceback
import warnings
from collections import Counter
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageOps

from neurocodec import api, images
from neurocodec.errors import NeurocodecError

LIMIT = 20_000_000  # pixels
GREYS = {"1", "L", "LA", "La", "I", "F"}
TRANSPARENT = {"RGBA", "RGBa", "LA", "La", "PA"}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", default="visual", show_default=True)
@click.option("--quality", default=50.0, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the table as JSON.")
def main(folder: Path, model: str, quality: float, out: Path | None) -> None:
    """Compress and decompress every file below a folder."""
    outcomes: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    defects = []
    warnings.simplefilter("ignore")  # Pillow's, of pictures that are damaged on purpose
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        try:
            found = outcome(path, model, quality)
        except Exception:
            found = "DEFECT: " + traceback.format_exc().replace("\n", " | ")[-600:]
        if found.startswith("DEFECT"):
            defects.append(str(path.relative_to(folder)))
            print(f"{path.relative_to(folder)}: {found}", flush=True)
        kind, _, mode = found.partition(": ")
        outcomes[kind] += 1
        if kind == "round trip":
            modes[mode] += 1
    table = {"files": sum(outcomes.values()), "outcomes": dict(outcomes.most_common()), "modes": dict(modes)}
    print(json.dumps(table | {"defects": defects}, indent=1))
    if out is not None:
        out.write_text(json.dumps(table | {"defects": defects}, indent=1) + "\n")
    if defects:
        raise SystemExit(1)


def outcome(path: Path, model: str, quality: float) -> str:
    """What became of one file, as "kind: detail"."""
    data = path.read_bytes()
    try:
        picture = images.read(data, LIMIT)
        packed = api.compress(picture, quality, model)
    except NeurocodecError as error:
        return sentence("refused", error)
    private = model if model.endswith(".safetensors") else None
    decoded = api.decompress(packed, private)
    written, _ = images.write(decoded, ".png")
    again = images.read(written, LIMIT)
    size, mode, transparent = truth(path)
    wrong = []
    if (again.width, again.height) != size:
        wrong.append(f"size {again.width}x{again.height} instead of {size}")
    if picture.grey != again.grey or (mode in GREYS and not again.grey):
        wrong.append("grey")
    if (again.alpha is not None) != transparent:
        wrong.append("alpha")
    elif picture.alpha is not None and again.alpha is not None and not np.array_equal(picture.alpha, again.alpha):
        wrong.append("alpha's values")
    if again.metadata.icc != picture.metadata.icc or again.metadata.xmp != picture.metadata.xmp:
        wrong.append("profile or XMP")
    if again.metadata.exif != picture.metadata.exif:
        wrong.append("EXIF")
    return f"DEFECT: {', '.join(wrong)}" if wrong else f"round trip: {mode}"


def sentence(kind: str, error: NeurocodecError) -> str:
    text = str(error)
    return (
        kind if text and "\n" not in text and len(text) < 400 else f"DEFECT: {kind} in {len(text)} characters: {text!r}"
    )


def truth(path: Path) -> tuple[tuple[int, int], str, bool]:
    """Upright size, mode and whether there is transparency, by Pillow alone."""
    with warnings.catch_warnings(), Image.open(path) as image:
        warnings.simplefilter("ignore")
        mode = image.mode
        image.load()
        transparent = mode in TRANSPARENT or image.has_transparency_data
        try:
            return ImageOps.exif_transpose(image).size, mode, transparent
        except Exception:  # damaged EXIF turns nothing
            return image.size, mode, transparent


if __name__ == "__main__":
    main()
