"""Where and with what a figure was measured; every result carries it."""

from __future__ import annotations

import datetime
import platform
from importlib import metadata
from pathlib import Path

import torch


def describe() -> dict[str, str]:
    """Date, processor, threads and versions, for the head of a result."""
    versions = {name: metadata.version(name) for name in ("torch", "numpy", "pillow", "constriction")}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
    } | versions


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
