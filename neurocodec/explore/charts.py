"""Small pictures for the page of ``explain``: heat maps, and SVG that needs no library."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from neurocodec.encoding import Pixels
from neurocodec.explore.explain import Level

# Dark to bright, as matplotlib's inferno: equal steps look equal, also to the colour-blind and in print.
HEAT = np.array([(0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164)], np.float64)
WIDTH, HEIGHT = 560, 300  # of a chart, in CSS pixels
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 40


def heat(values: NDArray[np.float64], brightest: float) -> Pixels:
    """Colours (H, W, 3) of values (H, W) from 0 to brightest; square roots, so that cheap regions differ too."""
    at = np.sqrt(np.clip(values / brightest, 0, 1)) if brightest else np.zeros_like(values)
    places = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(at, places, HEAT[:, c]) for c in range(3)], 2).round().astype(np.uint8)


def address(pixels: Pixels, form: str = "PNG", **options: object) -> str:
    """A picture as a data: address."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"


def bars(values: Sequence[float], name: str) -> str:
    """SVG of bars from the tallest to the lowest."""
    top = max(values, default=0) or 1
    wide = (WIDTH - LEFT - RIGHT) / max(len(values), 1)
    tall = HEIGHT - TOP - BOTTOM
    parts = [
        f'<rect x="{LEFT + i * wide:.2f}" y="{TOP + tall * (1 - v / top):.2f}" width="{max(wide - 0.3, 0.3):.2f}" '
        f'height="{tall * v / top:.2f}" fill="#0072B2"/>'
        for i, v in enumerate(values)
    ]
    parts += [_text(LEFT - 6, TOP + 10, f"{top:,.0f}", "end"), _text(LEFT - 6, TOP + tall, "0", "end")]
    parts += [_text((WIDTH + LEFT) / 2, HEIGHT - 10, "channels of y, from the dearest to the cheapest", "middle")]
    return _svg(parts, name)


def curve(levels: Sequence[Level], chosen: float, name: str) -> str:
    """SVG of distortion (log) over rate, with the slope -1 / lambda at each quality where lambda is known."""
    points = sorted((v for v in levels if v.distortion), key=lambda v: v.rate)
    if len(points) < 2:
        return ""
    rates, distortions = [v.rate for v in points], [float(v.distortion or 0) for v in points]
    low, high = min(distortions) / 1.5, max(distortions) * 1.5
    right = max(rates) * 1.08

    def x(rate: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * rate / right

    def y(distortion: float) -> float:
        share = math.log(distortion / low) / math.log(high / low)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(share, 0), 1))

    parts = []
    line = " ".join(f"{x(r):.1f},{y(d):.1f}" for r, d in zip(rates, distortions, strict=True))
    parts.append(f'<polyline points="{line}" fill="none" stroke="#0072B2" stroke-width="2"/>')
    for v, rate, distortion in zip(points, rates, distortions, strict=True):
        if v.multiplier:
            reach = min(0.06 * right, 0.45 * distortion * v.multiplier)  # bits per pixel to either side
            ends = [(rate + s * reach, distortion - s * reach / v.multiplier) for s in (-1, 1)]
            (x1, y1), (x2, y2) = ((x(r), y(d)) for r, d in ends)
            parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#D55E00"/>')
        radius = 6 if v.quality == chosen else 3.5
        parts.append(f'<circle cx="{x(rate):.1f}" cy="{y(distortion):.1f}" r="{radius}" fill="#0072B2"/>')
        parts.append(_text(x(rate) + 8, y(distortion) - 7, f"{v.quality:g}", "start"))
    for mark in np.linspace(0, right, 5)[:-1]:
        parts.append(_text(x(float(mark)), HEIGHT - 24, f"{mark:.2f}", "middle"))
    parts += [_text(LEFT - 6, y(d) + 4, f"{d:.3g}", "end") for d in (max(distortions), min(distortions))]
    parts += [_text((WIDTH + LEFT) / 2, HEIGHT - 6, "rate R, bits per pixel", "middle")]
    parts += [_text(LEFT + 4, TOP + 8, "distortion D (logarithmic)", "start")]
    return _svg(parts, name)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'


def _svg(parts: Sequence[str], name: str) -> str:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    axes = f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#888"/>'
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{axes}{"".join(parts)}</svg>'
