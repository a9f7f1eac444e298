"""The report: one HTML file with everything in it, to be opened from disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from benchmarks import qualities, tables
from benchmarks.against import Against
from benchmarks.codecs.base import Pixels
from benchmarks.equal_bytes import Pair, Version, most_detailed
from benchmarks.summary import SCORES, SIMILARITIES, Summary, measured

WIDEST = 900  # pixels of a picture that the report shows: of larger ones it shows this much
CROP = 160  # pixels of the magnified square


@dataclass(frozen=True)
class Shown:
    """A picture as the page shows it: the whole of it, or the square around its most detailed part."""

    name: str
    note: str
    width: int
    height: int
    left: int  # of the magnified square
    top: int
    original: str  # data: addresses
    reference: str
    ours: str
    reference_caption: str
    ours_caption: str


def write(
    path: Path,
    heading: str,
    summaries: Sequence[Summary],
    plots: Mapping[str, Path],
    shown: Sequence[Shown],
    conditions: Mapping[str, str],
    notes: Sequence[str],
    against: Sequence[Against] = (),
) -> None:
    """Write the page. plots: title -> SVG file. conditions: machine, versions, settings."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"percent": tables.percent, "number": tables.number, "window": tables.window}
    page = environment.get_template("report.html").render(
        heading=heading,
        summaries=summaries,
        qualities=measured(summaries),
        similarities=SIMILARITIES,
        scores=SCORES if qualities.SSIMULACRA2 in measured(summaries) else (),
        plots={title: as_address("image/svg+xml", file.read_bytes()) for title, file in plots.items()},
        shown=shown,
        crop=CROP,
        conditions=conditions,
        notes=notes,
        against=against,
        taken_as_they_are=tables.TAKEN_AS_THEY_ARE,
    )
    path.write_text(page, encoding="utf-8")


def show(name: str, pixels: Pixels, pair: Pair) -> Shown:
    """A picture for the page; only the best lossless coding keeps what codecs did to it."""
    height, width = pixels.shape[:2]
    side_x, side_y = min(width, WIDEST), min(height, WIDEST)
    left, top = most_detailed(pixels, CROP)
    x = min(max(left + CROP // 2 - side_x // 2, 0), width - side_x)
    y = min(max(top + CROP // 2 - side_y // 2, 0), height - side_y)
    part = (slice(y, y + side_y), slice(x, x + side_x))
    whole = (side_x, side_y) == (width, height)
    return Shown(
        name=name,
        note="" if whole else f"{side_x}x{side_y} pixels of {width}x{height} are shown",
        width=side_x,
        height=side_y,
        left=left - x,
        top=top - y,
        original=lossless(pixels[part]),
        reference=as_address("image/jpeg", pair.reference.data) if whole else lossless(pair.reference.pixels[part]),
        ours=lossless(pair.ours.pixels[part]),
        reference_caption=caption(pair.reference, width * height),
        ours_caption=caption(pair.ours, width * height),
    )


def caption(version: Version, pixels: int) -> str:
    size = len(version.data)
    return (
        f"{version.label}, quality {version.setting:g}: {size:,} bytes ({size * 8 / pixels:.3f} bpp), "
        f"PSNR {version.psnr:.2f} dB, MS-SSIM {version.ms_ssim:.4f}, SSIMULACRA 2 {version.ssimulacra2:.1f}"
    )


def lossless(pixels: Pixels) -> str:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, method=4)
    return as_address("image/webp", out.getvalue())


def as_address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
