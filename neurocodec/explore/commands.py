"""The commands that show the latent space: sample, interpolate, traverse, explain. torch is loaded when they run, not
when --help names them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click

from neurocodec.catalogue import DEFAULT_MODEL
from neurocodec.commands.batch import Outcome, report
from neurocodec.commands.shared import check_model, naming, progress_bar
from neurocodec.errors import ImageError, NeurocodecError
from neurocodec.explore.shared import Settings, check_fits, on_white, seed_option, settings_options, write
from neurocodec.files import STANDARD, check_target, input_name, output_name, write_target
from neurocodec.limits import excess
from neurocodec.options import Number, WholeNumber

SIZE = re.compile(r"([1-9][0-9]{0,6})x([1-9][0-9]{0,6})")
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG"}


@click.command(short_help="Draw pictures from the prior.")
@click.argument("target", metavar="OUT")
@click.option("--size", metavar="WxH", help="Pixels of the sample.  [default: 512x384]")
@click.option("--like", metavar="IMAGE", help="Keep the hyper-latents of a picture, and its size: only y is drawn.")
@click.option(
    "--temperature",
    type=Number(0, 10),
    default=1.0,
    show_default=True,
    help="0 takes the likeliest latents, 1 draws from the prior, more draws wilder ones.",
)
@seed_option
@settings_options(75.0, "visual")
def sample(target: str, size: str | None, like: str | None, temperature: float, seed: int, **common: Any) -> None:
    """Draw latents from the prior, decode them, and write the picture OUT.

    The same seed gives the same latents everywhere. Expect textures, not things: the prior knows how
    neighbouring patches go together, which is what compression needs, and nothing of objects.

    \b
    Example:
      neurocodec sample texture.png --seed 3
      neurocodec sample calm.png --size 768x512 --temperature 0.7
      neurocodec sample relative.png --like photo.png --quality 50
    """
    settings = Settings(**common)
    if size is not None and like is not None:
        raise click.UsageError("--size and --like cannot both be met: a sample is as large as the picture it is like.")
    width, height = parse_sides(size or "512x384", settings.max_pixels) if like is None else (0, 0)
    extension = settings.check(like or STANDARD, target)
    from neurocodec.encoding import as_tensor
    from neurocodec.explore import sample as sampling
    from neurocodec.images import Picture

    given, notes = on_white(settings.read(like)) if like is not None else (None, ())
    if given is not None:
        width, height = given.width, given.height
    check_fits(target, extension, width, height)
    loaded = settings.load()
    position = loaded.position(settings.hundredths)
    if given is not None:
        pixels = sampling.sample_like(loaded.codec, position, as_tensor(given.pixels), temperature, seed)
    else:
        pixels = sampling.sample(loaded.codec, position, height, width, temperature, seed)
    notes += write(Picture(pixels), target, extension, settings.force)
    fields = {"out": target, "width": width, "height": height, "quality": settings.quality}
    fields |= {"temperature": temperature, "seed": seed}
    line = f"{target}: a sample of {width}x{height} pixels, quality {settings.quality:g}, temperature {temperature:g}"
    report(Outcome(line, fields, notes), like or target, target, settings.quiet, settings.as_json)


def parse_sides(size: str, max_pixels: int) -> tuple[int, int]:
    """WxH -> (W, H). Raises click.UsageError, ImageError."""
    found = SIZE.fullmatch(size.lower())
    if not found:
        raise click.UsageError(f"--size: {size!r} is not a size such as 512x384.")
    width, height = int(found[1]), int(found[2])
    if sentence := excess(width, height, max_pixels):
        raise ImageError(sentence)
    return width, height


@click.command(short_help="Walk from one picture to another.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("target", metavar="OUT")
@click.option("--steps", type=WholeNumber(2, 200), default=7, show_default=True, help="Pictures, with both ends.")
@settings_options(90.0, "visual")
def interpolate(first: str, second: str, target: str, steps: int, **common: Any) -> None:
    """Walk from the picture A to the picture B, of the same size, through their latents.

    OUT is an animation, there and back, if its name ends in .gif, .webp or .apng, and else a strip of all steps.

    \b
    Example:
      neurocodec interpolate left.png right.png strip.png --steps 5
      neurocodec interpolate left.png right.png film.gif --steps 15 --quality 50
    """
    settings = Settings(**common)
    form = ANIMATIONS.get(Path(target).suffix.lower())
    extension = "" if form else settings.check(first, target, ANIMATIONS)
    for source in (first, second):
        check_target(source, target, settings.force)
    (a, notes_a), (b, notes_b) = (on_white(settings.read(source)) for source in (first, second))
    if (a.width, a.height) != (b.width, b.height):
        raise ImageError(
            f"{first} is {a.width}x{a.height} and {second} {b.width}x{b.height}: only pictures of one size have "
            "latents to mix; resize or crop one of them first."
        )
    from neurocodec.encoding import as_stored, as_tensor
    from neurocodec.explore import sheet, walk
    from neurocodec.images import Picture

    if not form:
        with naming(target):
            width = sheet.strip_width(a.width, steps)
        check_fits(target, extension, width, a.height)
    loaded = settings.load()
    position, grey, shown = loaded.position(settings.hundredths), a.grey and b.grey, []
    with progress_bar("interpolating", settings.quiet) as progress:
        for pixels in walk.interpolate(loaded.codec, position, as_tensor(a.pixels), as_tensor(b.pixels), steps):
            shown.append(as_stored(pixels, grey))
            progress(len(shown) / steps)
    notes = (*(f"{first}: {n}" for n in notes_a), *(f"{second}: {n}" for n in notes_b))
    if form:
        with naming(target):
            write_target(target, sheet.animation(shown, form), settings.force)
    else:
        notes += write(Picture(sheet.strip(shown), grey), target, extension, settings.force)
    fields = {"a": first, "b": second, "out": target, "width": a.width, "height": a.height, "steps": steps}
    line = f"{first} to {second} -> {target}: {steps} pictures of {a.width}x{a.height} pixels"
    report(
        Outcome(line, fields | {"quality": settings.quality}, notes), target, target, settings.quiet, settings.as_json
    )


@click.command(short_help="Move the latents that take most of a picture's bits.")
@click.argument("source", metavar="IMAGE")
@click.argument("target", metavar="OUT")
@click.option("--channels", type=WholeNumber(1, 64), default=8, show_default=True, help="Rows of the sheet.")
@click.option(
    "--side",
    type=WholeNumber(1, 16),
    default=2,
    show_default=True,
    help="Of the shown middle, in units of 64 pixels.",
)
@settings_options(50.0, "visual")
def traverse(source: str, target: str, channels: int, side: int, **common: Any) -> None:
    """Move the latent channels that take most of IMAGE's bits, by -3 to +3 standard deviations, and write the
    decoded pictures as the labelled contact sheet OUT.

    \b
    Example:
      neurocodec traverse photo.png sheet.png
      neurocodec traverse photo.png large.png --channels 16 --side 4 --quality 25
    """
    settings = Settings(**common)
    extension = settings.check(source, target)
    picture, notes = on_white(settings.read(source))
    from neurocodec.encoding import as_tensor
    from neurocodec.explore import sheet, walk
    from neurocodec.images import Picture

    shown = walk.shown(picture.width, side), walk.shown(picture.height, side)
    check_fits(target, extension, *sheet.sheet_size(*shown, channels))
    loaded = settings.load()
    position, rows = loaded.position(settings.hundredths), []
    with progress_bar("traversing", settings.quiet) as progress:
        for row in walk.traverse(loaded.codec, position, as_tensor(picture.pixels), channels, side):
            rows.append(row)
            progress(len(rows) / channels)
    notes += write(Picture(sheet.contact_sheet(rows)), target, extension, settings.force)
    moved = [{"channel": r.channel, "share": r.share, "deviation": r.deviation} for r in rows]
    line = (
        f"{input_name(source)} -> {output_name(target)}: {len(rows)} channel{'s' * (len(rows) > 1)}, "
        f"which take {100 * sum(r.share for r in rows):.1f} % of its bits"
    )
    fields = {"in": source, "out": target, "quality": settings.quality, "channels": moved}
    report(Outcome(line, fields, notes), source, target, settings.quiet, settings.as_json)


@click.command(short_help="Show where the bits of a picture go.")
@click.argument("source", metavar="IMAGE")
@click.argument("target", metavar="OUT.html")
@click.option(
    "--qualities",
    default="10,25,50,75,90",
    show_default=True,
    help="Also shown, and compared: 1 to 100, with commas between.",
)
@settings_options(75.0, "visual")
def explain(source: str, target: str, qualities: str, **common: Any) -> None:
    """Show where the bits of IMAGE go, on a page for the classroom: a map of them over the picture, the channels of the
    latents, the rate as KL divergence, the ELBO in figures, and quality as beta. One file, no network.

    \b
    Example:
      neurocodec explain photo.png photo.html
      neurocodec explain photo.png photo.html --quality 40 --qualities 5,20,60,95 --model psnr
    """
    settings = Settings(**common)
    shown = sorted({settings.quality, *parse_qualities(qualities)})
    check_target(source, target, settings.force)
    if target != STANDARD and Path(target).suffix.lower() not in (".html", ".htm"):
        raise NeurocodecError(f"{target}: explain writes a page: name it .html.")
    check_model(settings.model, settings.device)
    picture = settings.read(source)
    from neurocodec.explore import explain as explaining
    from neurocodec.explore import page

    loaded = settings.load()
    if loaded.restores:
        raise NeurocodecError(
            f"{settings.model} is an encoder that restores, and so no codec to explain: leave --model out, or choose "
            "psnr."
        )
    with progress_bar("explaining", settings.quiet) as progress:
        levels = explaining.levels(loaded, picture, shown, progress)
    chosen = next(v for v in levels if v.quality == settings.quality)
    name = "standard input" if source == STANDARD else Path(source).name
    words = ["neurocodec", "explain", Path(source).name, "OUT.html"]
    words += ["--quality", f"{chosen.quality:g}", "--qualities", ",".join(f"{v:g}" for v in shown)]
    words += ["--model", settings.model] if settings.model != DEFAULT_MODEL else []
    html = page.render(name, settings.model, shlex.join(words), picture.pixels, levels, chosen, picture.notes)
    write_target(target, html.encode(errors="replace"), settings.force)
    fields = {"in": source, "out": target, "width": picture.width, "height": picture.height}
    fields |= {"quality": chosen.quality, "bits_y": float(chosen.usage.y.sum()), "bits_z": float(chosen.usage.z.sum())}
    fields |= {"bytes": len(chosen.usage.coded), "lambda": chosen.multiplier, "loss": chosen.loss}
    line = (
        f"{input_name(source)} -> {output_name(target)}: {len(levels)} qualities; "
        f"at {chosen.quality:g}, {page.figures(chosen).split(': ')[1]}"
    )
    report(Outcome(line, fields, picture.notes), source, target, settings.quiet, settings.as_json)


def parse_qualities(words: str) -> list[float]:
    """Numbers with commas between. Raises click.UsageError."""
    try:
        found = [float(word) for word in words.split(",")]
    except ValueError:
        found = []
    if not found or not all(1 <= v <= 100 for v in found) or len(found) > 12:
        raise click.UsageError(f"--qualities: {words!r} is not up to 12 numbers from 1 to 100, with commas between.")
    return found
