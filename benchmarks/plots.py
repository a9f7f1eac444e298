"""Rate-distortion plots, as SVG and PNG: they can be told apart in black and white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.published import PublishedCurve
from benchmarks.summary import Summary

# Okabe and Ito's palette: distinct for all common kinds of colour blindness. Lines differ in marker
# and dash as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#666666")
MARKERS = ("s", "^", "D", "v", "P", "X", "<", ">")
DASHES = ("--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
WIDEST = 2.0  # bpp


@dataclass(frozen=True)
class Measure:
    """One of the two plots."""

    stem: str
    label: str
    title: str


MS_SSIM = Measure("ms-ssim", "MS-SSIM in dB: -10 log10(1 - MS-SSIM)", "MS-SSIM")
PSNR = Measure("psnr", "PSNR in dB", "PSNR")


def draw_all(folder: Path, heading: str, summaries: Sequence[Summary], published: Sequence[PublishedCurve]) -> None:
    """ms-ssim.svg, ms-ssim.png, psnr.svg and psnr.png in a folder."""
    for measure in (MS_SSIM, PSNR):
        figure = draw(measure, heading, summaries, published)
        # The same figures give the same file, and its text is text.
        with mpl.rc_context({"svg.hashsalt": "neurocodec", "svg.fonttype": "none"}):
            figure.savefig(folder / f"{measure.stem}.svg", metadata={"Date": None})
        figure.savefig(folder / f"{measure.stem}.png", dpi=110)


def draw(measure: Measure, heading: str, summaries: Sequence[Summary], published: Sequence[PublishedCurve]) -> Figure:
    """One plot: ours in thick black, other codecs in colours, published curves thin and grey."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    axes = figure.add_subplot()
    highest = _draw_codecs(axes, measure, summaries)
    for line, dash in zip(published, cycle(DASHES), strict=False):
        pairs = [p for p in (line.psnr if measure is PSNR else line.ms_ssim_db) if p[0] <= WIDEST]
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
    axes.set_ylabel(measure.label)
    axes.set_title(f"{measure.title}: {heading}", fontsize=11)
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8, loc="lower right")
    return figure


def _draw_codecs(axes: Axes, measure: Measure, summaries: Sequence[Summary]) -> float:
    highest = 0.1
    ours = 0
    others = zip(cycle(COLOURS), cycle(MARKERS), cycle(DASHES), strict=False)
    for summary in summaries:
        pairs = [(p.bpp, p.psnr if measure is PSNR else p.ms_ssim_db) for p in summary.points if p.bpp <= WIDEST * 1.1]
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
