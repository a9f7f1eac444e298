"""python -m benchmarks.crops IMAGE... OUT: parts of pictures by several codecs, at nearly the same number of bytes.

The first neurocodec model sets the number of bytes. The other codecs' files are the nearest in size, larger or smaller.
The search is :func:`benchmarks.equal_bytes.version_near`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import codecs, pictures
from benchmarks.codecs.base import Codec, Pixels
from benchmarks.codecs.ours import Neurocodec
from benchmarks.equal_bytes import Version, most_detailed, version_near, version_of
from neurocodec import metrics
from neurocodec.catalogue import DEFAULT_MODEL
from neurocodec.errors import NeurocodecError
from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST
from neurocodec.options import Number, WholeNumber

WIDEST = 1600  # pixels; largest width of a sheet at the default zoom
ZOOMS = (1, 8)
MARGIN = 8  # pixels between panels
FONT, LINE, CAPTION = 15, 19, 3 * 19 + 6  # pixels; heights of letters, of a line and of a caption
UNEQUAL = 0.1  # share of the bytes; larger differences are reported as unequal
ENDINGS = (".png", ".jpg", ".jpeg")
DEFAULT_QUALITY = 50.0
DEFAULT_CODECS = f"{codecs.REFERENCE},avif,{codecs.OURS}{DEFAULT_MODEL}"


@dataclass(frozen=True)
class Part:
    """A square part of a picture."""

    path: Path
    pixels: Pixels  # the whole picture
    left: int
    top: int
    side: int  # pixels

    def of(self, pixels: Pixels) -> Pixels:
        """Return this part, (side, side, 3), of a version of the whole picture."""
        return pixels[self.top : self.top + self.side, self.left : self.left + self.side]


@dataclass(frozen=True)
class Panel:
    """A picture (H, W, 3), and the lines of the caption below it."""

    pixels: Pixels
    lines: tuple[str, ...]


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE[@LEFT,TOP]...")
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--codecs",
    "names",
    default=DEFAULT_CODECS,
    show_default=True,
    help="Columns after the original, separated by commas. At least one is a neurocodec model or a .safetensors file.",
)
@click.option(
    "--quality",
    type=Number(1, 100),
    help=f"Quality of the first neurocodec model.  [default: {DEFAULT_QUALITY:g}]",
)
@click.option(
    "--bpp",
    type=Number(0, min_open=True),
    help="Bits per pixel of the first neurocodec model, instead of --quality.",
)
@click.option("--side", type=WholeNumber(min=16), default=192, show_default=True, help="Side of the part, in pixels.")
@click.option(
    "--zoom",
    type=WholeNumber(*ZOOMS),
    help=f"Magnification of the part.  [default: largest for a sheet of {WIDEST} pixels]",
)
def main(
    images: tuple[str, ...],
    out: Path,
    names: str,
    quality: float | None,
    bpp: float | None,
    side: int,
    zoom: int | None,
) -> None:
    """Compare codecs on parts of pictures, all at nearly the same number of bytes.

    OUT is a .png, .jpg or .jpeg file. It has one row per IMAGE: the original, then each codec.

    The part is the square with its upper left corner at LEFT,TOP, in pixels. Without @LEFT,TOP it is the square with
    the most detail.

    The first neurocodec model in --codecs sets the number of bytes. The other codecs' files are the nearest in size,
    larger or smaller.
    """
    if quality is not None and bpp is not None:
        raise click.UsageError("--quality and --bpp exclude each other; give one of them.")
    if out.suffix.lower() not in ENDINGS or not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out}: not a .png or .jpg file in a folder that exists; name such a file.")
    chosen = [codec_of(name.strip()) for name in names.split(",") if name.strip()]
    given = next((codec for codec in chosen if isinstance(codec, Neurocodec)), None)
    if given is None:
        raise click.ClickException(f"--codecs: no neurocodec model; add one, such as {codecs.OURS}{DEFAULT_MODEL}.")
    rows = []
    for part in [part_of(image, side) for image in images]:  # all arguments are checked before the first encoding
        try:
            versions = versions_of(part.pixels, chosen, given, quality or DEFAULT_QUALITY, bpp)
        except NeurocodecError as error:
            raise click.ClickException(str(error)) from None
        rows.append(row_of(part, versions))
        report(part.path.name, versions, versions[chosen.index(given)])
    save(sheet(rows, zoom or zoom_for(len(chosen) + 1, side)), out)


def codec_of(name: str) -> Codec:
    """Return the codec with a name. Raises ClickException if it is unknown or cannot run here."""
    try:
        codec = codecs.make(name)
    except KeyError:
        known = ", ".join(codecs.names())
        raise click.ClickException(
            f"--codecs: {name!r} is not known; use some of {known}, or a .safetensors file."
        ) from None
    if reason := codec.missing():
        raise click.ClickException(f"--codecs: {name} cannot run here; {reason.rstrip('.')}.")
    return codec


def part_of(argument: str, side: int) -> Part:
    """Return the square part that IMAGE or IMAGE@LEFT,TOP names.

    Raises ClickException for a picture that cannot be read or is too small, and for a part outside the picture.
    """
    found = re.fullmatch(r"(.+)@(\d+),(\d+)", argument)
    if found is None or Path(argument).is_file():
        path, corner = Path(argument), None
    else:
        path, corner = Path(found[1]), (int(found[2]), int(found[3]))
    if not path.is_file():
        raise click.ClickException(f"{path}: not a file; give a picture, or a picture and a corner as IMAGE@LEFT,TOP.")
    pixels = pictures.read_argument(path)
    height, width = pixels.shape[:2]
    if min(height, width) < MS_SSIM_SMALLEST:
        raise click.ClickException(
            f"{path}: {width}x{height} pixels are too few for MS-SSIM; use a picture with sides of at least "
            f"{MS_SSIM_SMALLEST} pixels."
        )
    if min(height, width) < side:
        raise click.ClickException(
            f"{path}: {width}x{height} pixels are fewer than the part's {side}x{side}; give a smaller --side."
        )
    left, top = corner or most_detailed(pixels, side)
    if left + side > width or top + side > height:
        raise click.ClickException(
            f"{path}: the part at {left},{top} extends beyond the picture; give a corner of at most "
            f"{width - side},{height - side}."
        )
    return Part(path, pixels, left, top, side)


def versions_of(
    pixels: Pixels, chosen: Sequence[Codec], given: Codec, quality: float, bpp: float | None
) -> list[Version]:
    """Return a version of a picture by each chosen codec, all of nearly the size of the given codec's file.

    Args:
        pixels: (H, W, 3) uint8.
        chosen: codecs, including the given one.
        given: the codec whose file sets the bytes.
        quality: setting of the given codec if bpp is None.
        bpp: wanted bits per pixel of the given codec's file, or None.

    Raises:
        NeurocodecError: a model is unknown.
    """
    if bpp is None:
        first = version_of(given, pixels, quality)
    else:
        first = version_near(given, pixels, round(bpp * pixels.shape[0] * pixels.shape[1] / 8))
    return [first if codec is given else version_near(codec, pixels, len(first.data)) for codec in chosen]


def measures(version: Version) -> tuple[str, str, str, str]:
    """Return bytes, bits per pixel, SSIMULACRA 2 and MS-SSIM of the whole picture, as text."""
    height, width = version.pixels.shape[:2]
    return (
        f"{len(version.data):,} bytes",
        f"{metrics.bits_per_pixel(len(version.data), width, height):.3f} bits per pixel",
        f"SSIMULACRA 2 {version.ssimulacra2:.1f}",
        f"MS-SSIM {version.ms_ssim:.4f}",
    )


def report(name: str, versions: Sequence[Version], given: Version) -> None:
    """Print the measures of each version. Report unequal sizes, compared with the given version, on standard error."""
    for version in versions:
        print(f"{name}: {version.label}, setting {version.setting:g}: {', '.join(measures(version))}")
        difference = len(version.data) / len(given.data) - 1
        if abs(difference) > UNEQUAL:
            click.echo(f"{name}: {version.label}: {difference:+.0%} bytes; no setting comes closer.", err=True)


def row_of(part: Part, versions: Sequence[Version]) -> list[Panel]:
    """Return the panels of one picture: the original, then each version."""
    height, width = part.pixels.shape[:2]
    about = (f"{part.path.name}, {width}x{height} pixels", f"{part.side}x{part.side} pixels at {part.left},{part.top}")
    row = [Panel(part.of(part.pixels), ("original", *about))]
    for version in versions:
        size, rate, score, similarity = measures(version)
        row.append(Panel(part.of(version.pixels), (version.label, f"{size}, {rate}", f"{score}, {similarity}")))
    return row


def zoom_for(columns: int, side: int) -> int:
    """Return the largest magnification that keeps a sheet within WIDEST pixels, or 1 if none does."""
    lowest, highest = ZOOMS
    return min(max(((WIDEST + MARGIN) // columns - MARGIN) // side, lowest), highest)


def sheet(rows: Sequence[Sequence[Panel]], zoom: int) -> Image.Image:
    """Return panels of one size in rows and columns on white, magnified, with captions below them.

    A caption that is wider than the panels widens all columns.
    """
    font = ImageFont.load_default(size=FONT)
    height, width = (zoom * n for n in rows[0][0].pixels.shape[:2])
    widest = max(int(np.ceil(font.getlength(line))) for row in rows for panel in row for line in panel.lines)
    across, down = max(width, widest) + MARGIN, height + CAPTION + MARGIN
    image = Image.new("RGB", (len(rows[0]) * across - MARGIN, len(rows) * down - MARGIN), "white")
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(rows):
        for x, panel in enumerate(row):
            image.paste(Image.fromarray(panel.pixels.repeat(zoom, 0).repeat(zoom, 1)), (x * across, y * down))
            for i, line in enumerate(panel.lines):
                draw.text((x * across, y * down + height + 3 + i * LINE), line, fill="black", font=font)
    return image


def save(image: Image.Image, out: Path) -> None:
    """Write a PNG, or a JPEG of quality 92 and 4:4:4, by the ending. Raises ClickException if it cannot be written."""
    try:
        if out.suffix.lower() == ".png":
            image.save(out, optimize=True)
        else:
            image.save(out, quality=92, subsampling=0, optimize=True)
    except OSError as error:
        raise click.ClickException(f"{out}: cannot be written ({error.strerror}); choose another file.") from None


if __name__ == "__main__":
    main()
