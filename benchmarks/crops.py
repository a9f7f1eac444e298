"""python -m benchmarks.crops IMAGE OUT.png: one part of a picture, as it was, as JPEG, and as neurocodec
with the same number of bytes."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks import codecs, pictures
from benchmarks.codecs.base import Pixels
from benchmarks.equal_bytes import most_detailed, pair_of
from neurocodec.errors import NeurocodecError
from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST

MARGIN, CAPTION = 8, 44  # pixels


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--quality", type=click.FloatRange(1, 100), default=10, show_default=True, help="JPEG's.")
@click.option("--model", default="ms-ssim", show_default=True, help="A shipped model, or a .safetensors file.")
@click.option("--side", type=click.IntRange(min=16), default=160, show_default=True, help="Of the square, in pixels.")
@click.option(
    "--zoom",
    type=click.IntRange(1, 8),
    default=2,
    show_default=True,
    help="Times it is magnified.",
)
def main(image: Path, out: Path, quality: float, model: str, side: int, zoom: int) -> None:
    """Write three squares side by side: where the original has the most detail."""
    if out.suffix.lower() != ".png" or not out.absolute().parent.is_dir():
        raise click.ClickException(f"{out}: name a .png file in a folder that exists.")
    pixels = pictures.read_argument(image)
    if min(pixels.shape[:2]) < max(side, MS_SSIM_SMALLEST):
        raise click.ClickException(f"{image}: sides of at least {max(side, MS_SSIM_SMALLEST)} pixels are needed.")
    ours = codecs.make(model if model.endswith(".safetensors") else f"{codecs.OURS}{model}")
    try:
        pair = pair_of(codecs.make(codecs.REFERENCE), ours, pixels, quality)
    except NeurocodecError as error:
        raise click.ClickException(str(error)) from None
    left, top = most_detailed(pixels, side)
    part = (slice(top, top + side), slice(left, left + side))
    theirs, own = len(pair.reference.data), len(pair.ours.data)
    panels = [
        (pixels[part], "original", f"{image.name}, {pixels.shape[1]}x{pixels.shape[0]}"),
        (pair.reference.pixels[part], f"JPEG, {theirs:,} bytes", f"MS-SSIM {pair.reference.ms_ssim:.3f}"),
        (pair.ours.pixels[part], f"neurocodec, {own:,} bytes", f"MS-SSIM {pair.ours.ms_ssim:.3f}"),
    ]
    side_by_side(panels, zoom).save(out, optimize=True)
    for version in (pair.reference, pair.ours):
        print(
            f"{version.label}, quality {version.setting:g}: {len(version.data)} bytes, "
            f"PSNR {version.psnr:.2f} dB, MS-SSIM {version.ms_ssim:.4f}"
        )


def side_by_side(panels: list[tuple[Pixels, str, str]], zoom: int) -> Image.Image:
    """Panels (pixels, first line, second line) in a row on white, captions below."""
    height, width = (zoom * n for n in panels[0][0].shape[:2])
    sheet = Image.new("RGB", (len(panels) * (width + MARGIN) - MARGIN, height + CAPTION), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for i, (pixels, *lines) in enumerate(panels):
        x = i * (width + MARGIN)
        sheet.paste(Image.fromarray(np.repeat(np.repeat(pixels, zoom, axis=0), zoom, axis=1)), (x, 0))
        draw.multiline_text((x, height + 3), "\n".join(lines), fill="black", font=font)
    return sheet


if __name__ == "__main__":
    main()
