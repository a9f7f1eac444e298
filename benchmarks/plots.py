"""Rate-distortion plots, as SVG and PNG: they can be told apart in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import qualities
from benchmarks.published import PublishedCurve
from benchmarks.qualities import Quality
from benchmarks.summary import Summary, measured

# Okabe and Ito's palette: distinct for all common kinds of colour blindness. Lines differ in marker
# and dash as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
WIDEST = 2.0  # bpp


def draw_all(
    folder: Path, heading: str, summaries: Sequence[Summary], published: Sequence[PublishedCurve]
) -> dict[str, Path]:
    """Draw a plot, as SVG and PNG, for each measure that any codec has. Return the SVG file of each title."""
    files = {}
    for quality in measured(summaries):
        figure = draw(quality, heading, summaries, published)
        files[quality.title] = folder / f"{quality.stem}.svg"
        # The same figures give the same file, and its text is text.
        with mpl.rc_context({"svg.hashsalt": "neurocodec", "svg.fonttype": "none"}):
            figure.savefig(files[quality.title], metadata={"Date": None})
        figure.savefig(folder / f"{quality.stem}.png", dpi=110)
    return files


def draw(quality: Quality, heading: str, summaries: Sequence[Summary], published: Sequence[PublishedCurve]) -> Figure:
    """One plot: ours in thick black, other codecs in colours, published curves thin and grey."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    highest = _draw_codecs(axes, quality, summaries)
    for line, dash in zip(published, cycle(DASHES), strict=False):
        curves = {qualities.PSNR: line.psnr, qualities.MS_SSIM: line.ms_ssim_db}
        pairs = [p for p in curves[quality] if p[0] <= WIDEST] if quality in curves else []
        if pairs:
            axes.plot(
                *zip(*pairs, strict=True),
                color="#999999",
                linestyle=dash,
                linewidth=1,
                label=f"{line.name} (published)",
            )
    axes.set_xlim(0, min(WIDEST, highest * 1.05))
    axes.set_xlabel("bits per pixel: bytes of the file x 8 / pixels")
    if axes.get_ylim()[0] < quality.lowest:
        axes.set_ylim(bottom=quality.lowest)
    axes.set_ylabel(quality.label)
    axes.set_title(f"{quality.title}: {heading}", fontsize=11)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8, loc="lower right")
    return figure


def _draw_codecs(axes: Axes, quality: Quality, summaries: Sequence[Summary]) -> float:
    highest = 0.1
    ours = 0
    others = zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False)
    for summary in summaries:
        pairs = [pair for pair in summary.curve(quality) if pair[0] <= WIDEST * 1.1]
        if not pairs:
            continue
        x, y = zip(*pairs, strict=True)
        highest = max(highest, *x)
        if summary.is_ours:
            style = ("-", "--", ":")[min(ours, 2)]
            axes.plot(x, y, color="black", linestyle=style, marker="o", linewidth=2.4, label=summary.label, zorder=5)
            ours += 1
        else:
            colour, marker, dash = next(others)
            axes.plot(
                x, y, color=colour, marker=marker, linestyle=dash, linewidth=1.4, markersize=5, label=summary.label
            )
    return highest
