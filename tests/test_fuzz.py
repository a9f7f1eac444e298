"""20,000 damaged and hostile files: none may break the rules. The harness is ``tests.fuzz``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz


def test_hostile_files(capsys: pytest.CaptureFixture[str]) -> None:
    report = fuzz.run(seed=5, count=20_000)
    with capsys.disabled():
        print("\n" + report.table())
    assert report.broken == []
    assert sum(report.outcomes.values()) == 20_000
    refused = sum(count for (_, outcome), count in report.outcomes.items() if outcome == "refused")
    assert 0.3 < refused / 20_000 < 0.95  # deep enough that many still decode, and mostly damage


def test_nested_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    """EXIF and profiles that lie, in pictures and containers: refused, or the right picture in every format."""
    report = fuzz.run(seed=8, count=300, whole=True)
    with capsys.disabled():
        print("\n" + report.table())
    assert report.broken == []
    pictures = sum(count for (_, outcome), count in report.outcomes.items() if outcome == "picture")
    assert pictures > 200  # what is wrong with its metadata alone is no reason to refuse a picture


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by /proc (Linux)")
def test_nested_nonsense_takes_no_memory() -> None:
    """Tables that claim gigabytes: a process of its own grows little after its first cases."""
    code = """if True:
        from benchmarks.alone import peak_memory
        from tests import fuzz
        fuzz.run(seed=0, count=40, whole=True)
        before = peak_memory()
        report = fuzz.run(seed=9, count=100, whole=True)
        print(peak_memory() - before, len(report.broken))
    """
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    grown, broken = map(int, done.stdout.split())
    assert broken == 0
    assert grown < 100e6
