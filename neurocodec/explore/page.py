"""The page of ``explain``: one HTML file with everything in it, to be opened from disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

import neurocodec
from neurocodec.encoding import Pixels
from neurocodec.explore import charts
from neurocodec.explore.explain import Level

WIDEST = 900  # pixels of a picture on the page: larger ones are reduced
SHARE = 0.9  # of the bits of y, for counting the channels that matter


def render(
    name: str,
    model: str,
    command: str,
    original: Pixels,
    levels: Sequence[Level],
    chosen: Level,
    notes: Sequence[str],
) -> str:
    """The whole page. command is what makes it; chosen is one of levels; original (H, W, 3) is what they are of."""
    height, width = original.shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    brightest = max(float(v.usage.y.max()) for v in levels)
    ordered = sorted((float(v) for v in chosen.usage.channels), reverse=True)
    # The map has whole squares, and the picture may end within the last ones.
    rows, columns = (-(-side // 16) for side in (height, width))
    data = {
        "original": charts.address(_reduced(original, size), "WEBP", quality=92),
        "levels": [
            {
                "decoded": charts.address(_reduced(v.decoded, size), "WEBP", quality=92),
                "heat": charts.address(charts.heat(v.usage.y[:rows, :columns].numpy(), brightest)),
                "figures": figures(v),
            }
            for v in levels
        ],
    }
    fields: dict[str, object] = {
        "name": escape(name),
        "width": size[0],
        "height": size[1],
        "heat_width": f"{100 * 16 * columns / width:.4f}",
        "heat_height": f"{100 * 16 * rows / height:.4f}",
        "pixels_wide": width,
        "pixels_high": height,
        "latents": len(ordered),
        "gradient": ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in _scale()),
        "brightest": f"{brightest:.0f}",
        "options": "".join(
            f'<option value="{i}"{" selected" if v is chosen else ""}>{v.quality:g}</option>'
            for i, v in enumerate(levels)
        ),
        "quality": f"{chosen.quality:g}",
        "most": most(ordered),
        "silent": sum(v < 1 for v in ordered),
        "bars": charts.bars(ordered, "bits of each channel of y, sorted"),
        "rates": "".join(rate_rows(chosen)),
        "coded_bytes": f"{len(chosen.usage.coded):,}",
        "coded_bits": f"{8 * len(chosen.usage.coded):,}",
        "overhead": f"{100 * (8 * len(chosen.usage.coded) / chosen.usage.bits - 1):+.2f} %",
        "elbo": elbo(chosen),
        "curve": charts.curve(levels, chosen.quality, "distortion over rate"),
        "table": "".join(level_row(v, v is chosen) for v in levels),
        "version": neurocodec.__version__,
        "command": escape(command),
        "model": escape(model),
        "notes": escape(" ".join(notes)),
        "data": json.dumps(data).replace("<", "\\u003c"),
    }
    return Template((Path(__file__).parent / "explain.html").read_text(encoding="utf-8")).substitute(fields)


def most(ordered: Sequence[float]) -> int:
    """How many channels, from the dearest on, take SHARE of all bits."""
    return int(np.searchsorted(np.cumsum(ordered), SHARE * sum(ordered)) + 1) if sum(ordered) else 0


def figures(level: Level) -> str:
    """A line on a quality."""
    similar = "" if level.ms_ssim is None else f", MS-SSIM {level.ms_ssim:.4f}"
    return (
        f"Quality {level.quality:g}: {len(level.usage.coded):,} bytes of latents, {level.rate:.3f} bits per pixel, "
        f"PSNR {level.psnr:.2f} dB{similar}."
    )


def rate_rows(level: Level) -> list[str]:
    """The table of rates: y, z, and both."""
    total = level.usage.bits
    named = (("y, given z", float(level.usage.y.sum())), ("z", float(level.usage.z.sum())), ("together: KL", total))
    rows = [(what, f"{bits:,.0f}", f"{bits / level.pixels:.4f}", f"{100 * bits / total:.1f} %") for what, bits in named]
    return [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]


def elbo(level: Level) -> str:
    """The section on the ELBO, in what is known of the model."""
    if level.multiplier is None:
        return "<p>This model's file does not say what it was trained for, so that &lambda; is not known here.</p>"
    if level.loss is None:
        return "<p>The picture is too small for the measures in this model's D.</p>"
    terms = f"{level.rate:.4f} + {level.multiplier:.4g} &middot; {level.distortion:.4g} = {level.loss:.4f}"
    first = f'<p class="formula" id="loss">R + &lambda; &middot; D = {terms} bits per pixel</p>'
    if level.noise is None or level.constant is None:
        return (
            f"{first}<p>For this model D is a mix of squared error, 1 &minus; MS-SSIM and the error of SSIMULACRA 2. "
            "It is not the logarithm of a known density. We read it as an unnormalised likelihood that prefers "
            "pictures of the same structure. Its constant is unknown, so the sum is &minus;ELBO up to that constant. "
            "<code>--model psnr</code> has a normal density, and a whole ELBO.</p>"
        )
    return (
        f"{first}<p>D is the squared error, so p(x | y) is a normal density around the decoded picture, and &lambda; "
        f"says how wide: &sigma; = {level.noise:.2f} levels of 255. Its constant, 3 log<sub>2</sub>(&sigma; "
        f"&radic;(2&pi;)) = {level.constant:.3f} bits for the three channels of a pixel, makes the ELBO whole:</p>"
        f'<p class="formula" id="whole">&minus;ELBO = {level.loss + level.constant:.3f} bits per pixel</p>'
        "<p>It bounds &minus;log<sub>2</sub> p(x) from above: a lossless coder that used this model as it stands "
        "would spend about as much. The pixel itself has 24 bits.</p>"
    )


def level_row(level: Level, chosen: bool) -> str:
    """A line of the table of qualities."""
    share = 100 * float(level.usage.z.sum()) / level.usage.bits
    cells = [
        f"{level.quality:g}",
        _number(level.multiplier, ".4g"),
        _number(1 / level.multiplier if level.multiplier else None, ".4g"),
        f"{level.rate:.4f}",
        f"{share:.1f} %",
        _number(level.distortion, ".4g"),
        _number(level.loss, ".4f"),
        _number(level.psnr if np.isfinite(level.psnr) else None, ".2f"),
        _number(level.ms_ssim, ".4f"),
        f"{len(level.usage.coded):,}",
    ]
    row = "".join(f"<td>{c}</td>" for c in cells)
    return f"<tr{' class=chosen' if chosen else ''}>{row}</tr>"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _scale() -> Pixels:
    """The colours of the map from nothing to the brightest, for a legend that is linear in bits."""
    row: Pixels = charts.heat(np.linspace(0, 1, 12)[None], 1.0)[0]
    return row


def _reduced(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    image = Image.fromarray(pixels)
    return pixels if image.size == size else np.asarray(image.resize(size, Image.Resampling.LANCZOS))
