"""The measures of quality that curves are made of: names, units, and the range in which each one means something."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """A measure of quality. More is better."""

    field: str  # of a point of a curve
    title: str
    label: str  # of a plot's axis
    unit: str  # "" for a score
    narrowest: float  # units; a BD-rate over a narrower window says too little
    lowest: float = -math.inf  # below it a difference means nothing, and BD-rates leave it out

    @property
    def stem(self) -> str:
        """The name of the plot's file, without its extension."""
        return self.field.removesuffix("_db").replace("_", "-")


# Score; the lowest level that the scale's authors describe, "very low quality". Below 0 they promise no more than
# "extremely low quality", so the distance between two such scores means nothing.
LOWEST_SCORE = 10.0
# JOD; about that of JPEG at quality 12, on Kodak. JPEG of qualities 5 to 20 spans 2 JOD, and of 20 to 95 only 0.6.
# A BD-rate over all of them would be about the lowest qualities alone.
LOWEST_JOD = 8.8

SSIMULACRA2 = Quality("ssimulacra2", "SSIMULACRA 2", "SSIMULACRA 2 (100 is the original)", "", 5.0, LOWEST_SCORE)
MS_SSIM = Quality("ms_ssim_db", "MS-SSIM", "MS-SSIM in dB: -10 log10(1 - MS-SSIM)", "dB", 1.0)
PSNR = Quality("psnr", "PSNR", "PSNR in dB", "dB", 1.0)
JOD = Quality("jod", "ColorVideoVDP", "ColorVideoVDP in JOD (10 is the original)", "JOD", 0.5, LOWEST_JOD)
ALL = (SSIMULACRA2, MS_SSIM, PSNR, JOD)
