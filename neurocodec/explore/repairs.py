"""The commands that mend pictures: inpaint, restore. torch is loaded when they run, not when --help names them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from neurocodec.commands.batch import Outcome, report
from neurocodec.commands.shared import naming, progress_bar
from neurocodec.errors import NeurocodecError
from neurocodec.explore.shared import Settings, check_fits, seed_option, settings_options, write
from neurocodec.files import check_target, input_name, output_name
from neurocodec.options import WholeNumber


@click.command(short_help="Fill in a part of a picture.")
@click.argument("source", metavar="IN")
@click.argument("mask", metavar="MASK")
@click.argument("target", metavar="OUT")
@click.option(
    "--method",
    type=click.Choice(["both", "project", "optimise"]),
    default="both",
    show_default=True,
    help="project: encode, decode, put back what is visible, and again. optimise: descend on bits + visible error. "
    "both: a mix of the two and of a smooth filling, by what they make of pixels that are known.",
)
@click.option("--steps", type=WholeNumber(1, 10_000), default=40, show_default=True, help="Of each method.")
@seed_option
@settings_options(80.0, "psnr")
def inpaint(source: str, mask: str, target: str, method: str, steps: int, seed: int, **common: Any) -> None:
    """Fill in what the picture MASK hides of the picture IN: white is hidden, black is kept to the bit.

    Meant for scratches, spots, text and lost pixels. Large holes become smooth: the prior knows no objects.

    \b
    Example:
      neurocodec inpaint photo.png scratches.png mended.png
      neurocodec inpaint photo.png scratches.png quick.png --method project --steps 20
    """
    settings = Settings(**common)
    extension = settings.check(source, target)
    check_target(mask, target, settings.force)
    picture, painted = settings.read(source), settings.read(mask)
    from neurocodec.encoding import as_stored
    from neurocodec.explore import inpaint as inpainting
    from neurocodec.images import LOSSLESS

    check_fits(target, extension, picture.width, picture.height, picture.alpha is not None)
    with naming(mask):
        hidden = inpainting.mask_of(painted, picture)
    loaded, way = settings.load(), inpainting.Way(method, settings.quality, steps, seed)
    with progress_bar("inpainting", settings.quiet) as progress:
        pixels = inpainting.inpaint(loaded, picture, hidden, way, progress)
    filled = replace(picture, pixels=as_stored(pixels, picture.grey))
    notes = (*picture.notes, *write(filled, target, extension, settings.force))
    if extension.lower() not in LOSSLESS:
        notes += (f"{extension} has losses of its own: visible pixels are exact in .png, not in it.",)
    count = int(hidden.sum())
    fields = {"in": source, "mask": mask, "out": target, "width": picture.width, "height": picture.height}
    fields |= {"hidden": count, "method": method, "steps": steps, "seed": seed, "quality": settings.quality}
    share = 100 * count / hidden.size
    line = f"{input_name(source)} -> {output_name(target)}: "
    line += f"{count} of {picture.width}x{picture.height} pixels filled in, {share:.1f} %"
    report(Outcome(line, fields, notes), source, target, settings.quiet, settings.as_json)


@click.command(short_help="Take noise, blocks and mild blur out of a picture.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "--passes",
    type=WholeNumber(1, 8),
    default=1,
    show_default=True,
    help="Turn and mirror the picture so many ways, and take the mean: a little better, and as many times slower.",
)
@settings_options(100.0, "restore")
def restore(source: str, target: str, passes: int, **common: Any) -> None:
    """Take noise, the blocks of JPEG and mild blur out of the picture IN, of whatever strength, and write it as OUT.

    Clean pictures stay about as they are. Less quality smooths more. `neurocodec compress --restore` makes a small
    file at once.

    \b
    Example:
      neurocodec restore night.jpg night.png
      neurocodec restore scan.png clean.png --passes 8
    """
    settings = Settings(**common)
    extension = settings.check(source, target)
    picture = settings.read(source)
    check_fits(target, extension, picture.width, picture.height, picture.alpha is not None)
    from neurocodec import alpha
    from neurocodec.encoding import as_stored
    from neurocodec.explore import restore as restoring

    loaded = settings.load()
    if not loaded.restores:
        raise NeurocodecError(f"{settings.model} is no encoder that restores: leave --model out, or train one.")
    with progress_bar("restoring", settings.quiet) as progress:
        position = loaded.position(settings.hundredths)
        pixels = picture.pixels if picture.alpha is None else alpha.fill_hidden(picture.pixels, picture.alpha)
        pixels = restoring.restore(loaded.codec, pixels, position, passes, progress)
    restored = replace(picture, pixels=as_stored(pixels, picture.grey))
    notes = (*picture.notes, *write(restored, target, extension, settings.force))
    fields = {"in": source, "out": target, "width": picture.width, "height": picture.height}
    fields |= {"passes": passes, "quality": settings.quality}
    line = f"{input_name(source)} -> {output_name(target)}: {picture.width}x{picture.height} pixels restored"
    report(Outcome(line, fields, notes), source, target, settings.quiet, settings.as_json)
