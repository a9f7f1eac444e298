"""Every mode in every format that Pillow writes it in, at awkward sizes: the same picture out, or a sentence.

The rule and the check are those of ``benchmarks.awkward``, which takes any folder, such as Pillow's own test pictures.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.awkward import outcome
from tests.drawing import draw
from tests.golden.make import TINY

MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F", "PA", "RGBX")
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "AVIF", "BMP", "GIF", "PPM", "JPEG2000", "TGA", "PCX", "SGI", "ICO", "DDS")
SIZES = ((31, 17),)
MORE = ((1, 1), (1, 33), (65, 2), (64, 64), (130, 67))


def image_of(mode: str, width: int, height: int) -> Image.Image:
    """A picture with some content in a mode."""
    if mode in ("I", "I;16", "F"):
        values = draw("noise", height, width)[:, :, 0].astype(np.float32)
        kinds = {"I": np.int32, "I;16": np.uint16, "F": np.float32}
        return Image.fromarray((values * (257 if mode == "I;16" else 1)).astype(kinds[mode]))
    colours = Image.fromarray(
        np.concatenate([draw("shapes", height, width), draw("noise", height, width)[:, :, :1]], 2)
    )
    return colours if mode == "RGBA" else colours.convert("LA" if mode == "LA" else "RGB").convert(mode)


@pytest.mark.parametrize("sizes", [SIZES, pytest.param(MORE, marks=pytest.mark.slow)], ids=["sizes", "more"])
def test_every_mode_in_every_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sizes: tuple[tuple[int, int], ...]
) -> None:
    table: Counter[tuple[str, str]] = Counter()
    wrong = []
    for form in FORMATS:
        for mode in MODES:
            for width, height in sizes:
                path = tmp_path / f"{form}-{mode.replace(';', '_')}-{width}x{height}.{form.lower()}"
                try:
                    image_of(mode, width, height).save(path, form)
                except (OSError, ValueError, KeyError, SystemError):  # this format does not hold this mode
                    continue
                found = outcome(path, str(TINY), 50)
                table[form, found.partition(":")[0]] += 1
                if found.startswith("DEFECT"):
                    wrong.append(f"{path.name}: {found}")
    with capsys.disabled():
        print(f"\n{'format':>9} {'round trip':>10} {'refused':>8}")
        for form in FORMATS:
            print(f"{form:>9} {table[form, 'round trip']:10} {table[form, 'refused']:8}")
    assert wrong == []
    assert sum(count for (_, kind), count in table.items() if kind == "round trip") > 50 * len(sizes)
