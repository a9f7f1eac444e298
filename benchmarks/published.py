"""Published rate-distortion curves, in the JSON layout that CompressAI keeps its results in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from neurocodec import metrics


@dataclass(frozen=True)
class PublishedCurve:
    """A curve somebody else measured; either measure may be absent."""

    name: str
    psnr: tuple[tuple[float, float], ...]  # (bpp, dB)
    ms_ssim_db: tuple[tuple[float, float], ...]


def read(path: Path) -> PublishedCurve:
    """The curve of one file. Raises ValueError with a sentence."""
    try:
        content = json.loads(path.read_text())
        results = content["results"]
        rates = [float(r) for r in results["bpp"]]
        psnr = [float(v) for v in results.get("psnr-rgb") or results.get("psnr") or ()]
        similarity = [float(v) for v in results.get("ms-ssim-rgb") or results.get("ms-ssim") or ()]
        name = str(content.get("name") or path.stem)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path} is not a published curve: JSON with a name and results of bpp, psnr-rgb and ms-ssim-rgb is needed."
        ) from None
    decibels = [metrics.decibels(v) if v <= 1 else v for v in similarity]  # some files hold dB already
    if (psnr and len(psnr) != len(rates)) or (decibels and len(decibels) != len(rates)):
        raise ValueError(f"{path} is not a published curve: its lists have different lengths.")
    if not (rates and (psnr or decibels)):
        raise ValueError(f"{path} is not a published curve: it has no points.")
    return PublishedCurve(
        name, *(tuple(sorted(zip(rates, values, strict=True))) if values else () for values in (psnr, decibels))
    )


def read_all(paths: Sequence[Path]) -> list[PublishedCurve]:
    """The curves of files, and of all .json files of folders. Those of one name (a model for either measure) are
    called after their files."""
    files = [f for path in paths for f in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files and (folders := [str(p) for p in paths]):
        raise ValueError(f"{', '.join(folders)}: there is no .json file here.")
    curves = [read(f) for f in files]
    times = Counter(c.name for c in curves)
    return [replace(c, name=f.stem) if times[c.name] > 1 else c for c, f in zip(curves, files, strict=True)]
