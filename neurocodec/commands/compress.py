"""`neurocodec compress`: a picture into a file, or its frames or a tree of pictures into a folder."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from neurocodec.catalogue import RESTORED, RESTORER
from neurocodec.commands.batch import (
    Many,
    Outcome,
    check_folder_name,
    check_meaning,
    report,
    run,
    skipped,
    workers_option,
)
from neurocodec.commands.folders import find_jobs
from neurocodec.commands.shared import (
    BAR_PIXELS,
    check_model,
    device_option,
    in_proportion,
    json_option,
    max_pixels_option,
    model_option,
    naming,
    progress_bar,
    quiet_option,
    read_picture,
    tell,
)
from neurocodec.errors import NeurocodecError
from neurocodec.files import STANDARD, check_folder, check_target, input_name, output_name, read_source, write_target
from neurocodec.options import Number, WholeNumber, force_option
from neurocodec.targets import KINDS, Target, parse_size

if TYPE_CHECKING:
    from neurocodec.images import Picture


@dataclass(frozen=True)
class Settings:
    """How pictures are compressed."""

    quality: float
    target: Target | None
    nearest: bool
    verify: bool
    model: str
    effort: int
    alpha_quality: int
    strip: bool
    device: str
    max_pixels: int
    quiet: bool
    as_json: bool


@click.command(short_help="Compress a picture, or all those in a folder.")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option(
    "-q",
    "--quality",
    type=Number(1, 100),
    help="From 1 to 100, with fractions. On average, the SSIMULACRA 2 score is that of JPEG at the same quality; with "
    "--model psnr, the PSNR is.  [default: 75]",
)
@click.option(
    "--target-size", metavar="SIZE", help="The best quality in at most this size: 40kB, 1.5MB, 200KiB, 40000."
)
@click.option("--target-bpp", type=float, help="The best quality in at most so many bits per pixel.")
@click.option("--target-msssim", type=float, help="The smallest file with at least this MS-SSIM, between 0 and 1.")
@click.option(
    "--target-ssimulacra2",
    type=float,
    help="The smallest file with at least this SSIMULACRA 2 score, above 0 and below 100; 70 is high quality.",
)
@click.option("--target-psnr", type=float, help="The smallest file with at least this PSNR in dB.")
@click.option("--nearest", is_flag=True, help="If a target cannot be met, write the nearest there is.")
@click.option("--verify", is_flag=True, help="Decode what is written and check it.")
@model_option
@click.option(
    "--effort",
    type=WholeNumber(0, 9),
    default=0,
    show_default=True,
    help="Above 0, optimise the latents for this picture: smaller or better files, for seconds to minutes, and up to "
    "four times as long with a target.",
)
@click.option(
    "--restore", is_flag=True, help="Take out noise, JPEG's blocks and blur on the way, with an encoder for model psnr."
)
@click.option(
    "--alpha-quality",
    type=WholeNumber(0, 100),
    default=100,
    show_default=True,
    help="Of transparency: 100 is lossless, less keeps fewer levels.",
)
@click.option("--strip", is_flag=True, help="Drop EXIF, XMP and the colour profile (colours are converted to sRGB).")
@click.option("--frames", is_flag=True, help="Compress every frame of an animation into the folder OUT.")
@device_option
@max_pixels_option
@force_option
@quiet_option
@json_option
@workers_option
def compress(
    source: str,
    target: str,
    frames: bool,
    force: bool,
    recursive: bool,
    workers: int | None,
    skip_existing: bool,
    restore: bool,
    quality: float | None,
    **chosen: Any,
) -> None:
    """Compress the picture IN into the file OUT, or all pictures of the folder IN into the folder OUT.

    IN and OUT may be - for standard input and output. In a folder, a.png becomes a.nc; where there is an a.jpg, too,
    they become a.png.nc and a.jpg.nc.

    \b
    Example:
      neurocodec compress -q 50 photo.png photo.nc
      neurocodec compress -q 50 --effort 5 photo.png smaller.nc
      neurocodec compress --target-size 40kB photo.png small.nc
      neurocodec compress --target-ssimulacra2 80 --verify photo.png good.nc
      neurocodec compress --strip holiday.jpg holiday.nc
      neurocodec compress --restore -q 60 dusk.jpg dusk.nc
      neurocodec compress --frames animation.gif frames/
      neurocodec compress -r --skip-existing photos/ smaller/
    """
    wanted = {kind: chosen.pop(f"target_{kind}") for kind in KINDS}
    if restore:
        chosen["model"] = restoring(chosen["model"], chosen["effort"], wanted)
    settings = Settings(75.0 if quality is None else quality, chosen_target(quality, wanted), **chosen)
    if settings.nearest and settings.target is None:
        raise click.UsageError("--nearest: no target is given; add --target-size or another target.")
    many = Many(recursive, workers, skip_existing)
    folder = source != STANDARD and Path(source).is_dir()
    if frames and (recursive or folder):
        raise click.UsageError("--frames takes one file, not a folder.")
    if frames:
        check_folder_name(target)
    if frames and skip_existing:
        raise click.UsageError("--skip-existing is not for --frames: all frames are made anew.")
    check_meaning(many, source, target, force)
    check_model(settings.model, settings.device)
    if frames:
        compress_frames(source, target, force, settings)
    elif folder:
        check_folder(target)
        from neurocodec.images import readable_extensions

        jobs = find_jobs(Path(source), Path(target), readable_extensions(), ".nc", recursive, settings.quiet)
        work = partial(compress_file, force=force, settings=replace(settings, quiet=True))
        run(jobs, work, many, settings.quiet, settings.as_json)
    elif skip_existing and Path(target).is_file():
        report(skipped(source, target), source, target, settings.quiet, settings.as_json)
    else:
        report(compress_file(source, target, force, settings), source, target, settings.quiet, settings.as_json)


def restoring(model: str, effort: int, wanted: dict[str, Any]) -> str:
    """The model of --restore, which not all options go with. Raises click.UsageError."""
    asked = click.get_current_context().get_parameter_source("model") != ParameterSource.DEFAULT
    if asked and model not in (RESTORED, RESTORER):
        raise click.UsageError(f"--restore has an encoder for model {RESTORED} alone: leave --model {model} out.")
    if effort:
        raise click.UsageError(
            "--effort would bring back what --restore takes out: `neurocodec restore` first, and compress what comes "
            "of it."
        )
    for kind, how in KINDS.items():
        if not how.at_most and wanted[kind] is not None:
            raise click.UsageError(
                f"--target-{kind} compares with the picture as it came, and --restore changes it: choose a quality, "
                "--target-size or --target-bpp."
            )
    return RESTORER


def chosen_target(quality: float | None, wanted: dict[str, Any]) -> Target | None:
    """The one target that was asked for, if any. Raises click.UsageError."""
    asked = {kind: value for kind, value in wanted.items() if value is not None}
    if len(asked) + (quality is not None) > 1:
        names = [f"--target-{kind}" for kind in asked] + (["--quality"] if quality is not None else [])
        raise click.UsageError(f"{' and '.join(names)} cannot both be met: choose one.")
    for kind, value in asked.items():
        try:
            return Target(kind, parse_size(value) if kind == "size" else value)
        except ValueError as error:
            raise click.UsageError(f"--target-{kind}: {error}.") from None
    return None


def compress_file(source: str, target: str, force: bool, settings: Settings) -> Outcome:
    """One picture into one file."""
    check_target(source, target, force)
    check_name(target)
    picture, bytes_in = read_picture(source, settings.max_pixels)
    return compress_picture(picture, source, target, bytes_in, force, settings)


def check_name(target: str) -> None:
    """Refuse the name of a picture for a file that no viewer of such pictures opens. Raises NeurocodecError."""
    from neurocodec.images import readable_extensions

    suffix = Path(target).suffix.lower()
    if suffix in readable_extensions() - {".nc"}:
        raise NeurocodecError(f"{target}: what is written is no {suffix} picture but a neurocodec file: name it .nc.")


def compress_frames(source: str, target: str, force: bool, settings: Settings) -> None:
    """Every frame of a file into 000.nc, 001.nc, ... of a folder."""
    check_folder(target)
    data = read_source(source)
    from neurocodec import images

    with naming(input_name(source)):
        count = images.count_frames(data, settings.max_pixels)
    if Path(target).is_dir():  # before the first is written
        for i in range(count):
            check_target(source, str(Path(target) / f"{i:03}.nc"), force)
    i = -1
    for i, picture in enumerate(_named(source, images.read_frames(data, settings.max_pixels))):
        check_folder(target, make=True)
        frame, name = str(Path(target) / f"{i:03}.nc"), f"{input_name(source)}, frame {i}"
        check_target(source, frame, force)  # a file may hold more frames than it told
        made = compress_picture(picture, name, frame, len(data), force, settings)
        made = replace(made, fields={"in": source, "frame": i} | {k: v for k, v in made.fields.items() if k != "in"})
        report(made, name, frame, settings.quiet, settings.as_json)
    if (others := Path(target) / f"{i + 1:03}.nc").exists():
        tell(f"Note: {others} and what follows it are frames of another file.", settings.quiet)


def _named(source: str, pictures: Iterator[Picture]) -> Iterator[Picture]:
    with naming(input_name(source)):
        yield from pictures


def compress_picture(
    picture: Picture, name: str, target: str, bytes_in: int, force: bool, settings: Settings
) -> Outcome:
    """A picture that is read into a file."""
    from neurocodec import api, images, metrics

    if settings.strip:
        picture = images.stripped(picture)
    hidden = settings.quiet or not (settings.effort or picture.width * picture.height > BAR_PIXELS)
    how: dict[str, Any] = {"model": settings.model, "device": settings.device, "effort": settings.effort}
    how |= {"alpha_quality": settings.alpha_quality, "verify": settings.verify}
    quality, reached, notes, fitting = settings.quality, "", picture.notes, dict[str, Any]()
    with progress_bar("refining" if settings.effort else "compressing", hidden) as progress, naming(input_name(name)):
        if settings.target is None:
            packed = api.compress(picture, quality, progress=progress, **how)
        else:
            fitted = api.compress_to(picture, settings.target, progress=progress, **how)
            quality, packed = fitted.quality, fitted.data
            reached = f"quality {quality:g}, "
            if not settings.target.how.at_most:  # bytes and bits per pixel are printed for every file
                reached += f"{fitted.value:.6g} {settings.target.how.unit}, "
            value = fitted.value if math.isfinite(fitted.value) else None  # JSON has no infinity
            fitting = {"value": value, "met": fitted.met}
            if not fitted.met and settings.nearest:
                notes = (*notes, f"{settings.target} cannot be met: this is the nearest.")
            elif not fitted.met:
                raise NeurocodecError(
                    f"{settings.target} cannot be met: the nearest is {fitted.value:.6g}, at quality {quality:g} "
                    "(--nearest takes it)."
                )
    if settings.effort and not api.refines(picture.width, picture.height, settings.model, settings.device):
        notes = (*notes, "the picture is too small to be refined: --effort changed nothing.")
    write_target(target, packed, force)
    if settings.verify and target != STANDARD and read_source(target) != packed:
        raise NeurocodecError(f"{target}: what is on the disk is not what was written: the disk is faulty.")
    bpp = metrics.bits_per_pixel(len(packed), picture.width, picture.height)
    raw = picture.width * picture.height * ((1 if picture.grey else 3) + (picture.alpha is not None))
    fields = {"in": name, "out": target, "width": picture.width, "height": picture.height, "quality": quality}
    fields |= fitting | {"bytes_in": bytes_in, "bytes": len(packed), "bits_per_pixel": bpp, "ratio": raw / len(packed)}
    line = (
        f"{input_name(name)}: {picture.width}x{picture.height}, {bytes_in} bytes -> {output_name(target)}: "
        f"{reached}{len(packed)} bytes, {bpp:.3f} bpp, {in_proportion(len(packed), raw, bytes_in)}"
    )
    return Outcome(line, fields, notes)
