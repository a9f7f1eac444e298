"""What a codec is to the benchmark: pixels at a setting -> the bytes of a file -> pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (H, W, 3)
QUALITIES = range(1, 101)
FINE_QUALITIES = tuple(quality / 100 for quality in range(100, 10_001))  # hundredths of a quality


class Codec(ABC):
    """One way to store a picture. Files are bytes in memory: no disk is timed."""

    name: str  # in --codecs, in tables and in files
    label: str  # what a reader calls it, with the options that matter
    settings: tuple[float, ...]  # a sweep of the rates, lowest first
    setting_is_quality: bool = True  # a quality from 1 to 100, which --qualities may replace
    setting_is_whole: bool = False
    threads: int = 1

    @abstractmethod
    def encode(self, pixels: Pixels, setting: float) -> bytes:
        """The whole file, headers and all."""

    @abstractmethod
    def decode(self, data: bytes) -> Pixels:
        """The pixels of such a file."""

    @abstractmethod
    def version(self) -> str:
        """The code and weights that decide what encode and decode return."""

    def missing(self) -> str | None:
        """Why this codec cannot run here; None when it can."""
        return None

    def steps(self) -> Sequence[float]:
        """Return every setting that a search for a size can choose from, lowest rate first."""
        if not self.setting_is_quality:
            return self.settings
        return QUALITIES if self.setting_is_whole else FINE_QUALITIES

    def use_threads(self, threads: int) -> None:
        """How many threads encode and decode may use, where the codec lets one choose."""
        self.threads = threads
