"""Measures of quality for rate-distortion curves: names, units, and the range in which each one is meaningful."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Quality:
    """A measure of quality. Higher is better."""

    field: str  # name of the field in a point of a curve
    title: str
    label: str  # label of a plot's axis
    unit: str  # empty for a score
    narrowest: float  # units; narrowest window of a BD-rate
    lowest: float = -math.inf  # units; lowest quality that BD-rates include

    @property
    def stem(self) -> str:
        """Return the name of the plot's file, without its extension."""
        return self.field.removesuffix("_db").replace("_", "-")


# score; the lowest level that the scale's authors describe, "very low quality". Scores below 0 are only described as
# "extremely low quality", so the distance between two of them means nothing.
LOWEST_SCORE = 10.0
# JOD; about the value of JPEG at quality 12 on Kodak. JPEG spans 2 JOD at qualities 5 to 20, but only 0.6 at 20 to 95.
# In a BD-rate over all of these, the lowest qualities would dominate.
LOWEST_JOD = 8.8

SSIMULACRA2 = Quality("ssimulacra2", "SSIMULACRA 2", "SSIMULACRA 2 (100 is the original)", "", 5.0, LOWEST_SCORE)
MS_SSIM = Quality("ms_ssim_db", "MS-SSIM", "MS-SSIM in dB: -10 log10(1 - MS-SSIM)", "dB", 1.0)
PSNR = Quality("psnr", "PSNR", "PSNR in dB", "dB", 1.0)
JOD = Quality("jod", "ColorVideoVDP", "ColorVideoVDP in JOD (10 is the original)", "JOD", 0.5, LOWEST_JOD)
ALL = (SSIMULACRA2, MS_SSIM, PSNR, JOD)
