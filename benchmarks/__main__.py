"""python -m benchmarks IMAGES --out REPORT: is it better than JPEG, and by how much?"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import click

try:
    from benchmarks import codecs, judge, published, run, summary, tables
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"{missing.name} is not installed: pip install -e '.[bench]' brings what the benchmark needs."
    ) from None


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """ "5,10,20" -> (5.0, 10.0, 20.0)."""
    try:
        found = tuple(float(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 5,10,20.") from None
    if any(not 1 <= q <= 100 for q in found):
        raise click.BadParameter("qualities run from 1 to 100.")
    return found


def names(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """ "jpeg,webp" -> ("jpeg", "webp"); all codecs when empty."""
    known = codecs.names()
    ours = [n for n in known if n.startswith(codecs.OURS)]
    chosen = tuple(part.strip() for part in value.split(",") if part.strip()) or tuple(known)
    for name in chosen:
        model, _ = codecs.split(name)
        if name not in known and model not in ours and not (model.endswith(".safetensors") and Path(model).is_file()):
            raise click.BadParameter(f"{name} is not one of {', '.join(known)}, nor a .safetensors file.")
    found = tuple(dict.fromkeys(whole(name) for name in chosen))
    for called, count in Counter(codecs.make(name).name for name in found).items():
        if count > 1:  # results are kept by it
            raise click.BadParameter(f"{count} of them are called {called}: give the .safetensors file another name.")
    return found


def whole(name: str) -> str:
    """A codec's name with the whole path of its file, if it has one: processes of a run start in other folders."""
    model, _ = codecs.split(name)
    return str(Path(model).resolve()) + name[len(model) :] if model.endswith(".safetensors") else name


@click.command()
@click.argument("images", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="A folder for the results."
)
@click.option("--codecs", "chosen", default="", callback=names, help="Only these, with commas between. [default: all]")
@click.option("--qualities", default="", callback=numbers, help="Instead of each codec's own sweep, such as 10,50,90.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first pictures.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Of a codec that is timed."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Pictures at a time, untimed."
)
@click.option("--no-timings", is_flag=True, help="Leave the pass that measures time and memory out.")
@click.option(
    "--judge",
    "judged",
    type=click.Choice([judge.NAME]),
    help="Also measure by a judge: a measure that no model is trained for.  [default: none]",
)
@click.option("--resume", is_flag=True, help="Go on with what --out holds: nothing is measured twice.")
@click.option(
    "--published",
    "overlays",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Others' curves of these pictures, to draw and compare with: JSON in CompressAI's layout, or a folder of it.",
)
@click.option("--shown", type=click.IntRange(min=0), default=3, show_default=True, help="Pictures in the report.")
@click.option(
    "--shown-quality", type=click.FloatRange(1, 100), default=15, show_default=True, help="JPEG's quality there."
)
def main(
    images: Path,
    out: Path,
    chosen: tuple[str, ...],
    qualities: tuple[float, ...],
    limit: int | None,
    threads: int,
    jobs: int,
    no_timings: bool,
    judged: str | None,
    resume: bool,
    overlays: tuple[Path, ...],
    shown: int,
    shown_quality: float,
) -> None:
    """Compare neurocodec with JPEG and other codecs on every picture of a folder.

    Writes measurements.csv, timings.csv, memory.csv, results.json, plots as SVG and PNG, and
    report.html, one file that needs no network. A codec that cannot run here is named and left out.
    The exit code is 1 when a picture had to be skipped or a codec failed on one.
    """
    if (out / "measurements.csv").exists() and not resume:
        raise click.UsageError(f"{out} holds measurements: add --resume to go on with them, or choose another --out.")
    if judged is not None and (reason := judge.missing()) is not None:
        raise click.UsageError(reason)
    settings = run.Settings(
        images,
        out,
        chosen,
        qualities,
        limit,
        threads,
        jobs,
        time=not no_timings,
        judged=judged is not None,
        shown=shown,
        shown_quality=shown_quality,
    )
    try:
        outcome = run.run(settings, published.read_all(overlays), lambda line: click.echo(line, err=True))
    except ValueError as error:  # a wrong curve, or a file of results that is no such file
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}.") from None
    except KeyboardInterrupt:
        click.echo(f"Stopped: the same command with --resume goes on from what {out} holds.", err=True)
        sys.exit(130)
    if outcome.summaries:
        click.echo(tables.text(outcome.summaries, outcome.rivals))
    if outcome.against:
        click.echo(tables.against_text(outcome.against))
    print_ratios(outcome)
    for reason, left_out in outcome.left_out.items():
        click.echo(f"left out: {', '.join(left_out)}: {reason}", err=True)
    for line in run.refusals(outcome.summaries):
        click.echo(line, err=True)
    for problem in outcome.problems:
        click.echo(problem, err=True)
    if outcome.summaries:
        click.echo(f"{out / 'report.html'} has the rest.", err=True)
    if outcome.problems:
        click.echo(f"{len(outcome.problems)} problem(s), named above.", err=True)
        sys.exit(1)


def print_ratios(outcome: run.Outcome) -> None:
    """How long our first model takes, compared with the others, picture by picture."""
    ours = next((s for s in outcome.summaries if s.is_ours), None)
    for s in outcome.summaries:
        found = summary.ratios(outcome.timings, ours.codec, s.codec) if ours is not None and s is not ours else None
        if ours is not None and found is not None:
            encode, decode = found
            click.echo(f"{ours.label} takes {encode:.3g} times as long as {s.label} to encode, {decode:.3g} to decode")


if __name__ == "__main__":
    main()
