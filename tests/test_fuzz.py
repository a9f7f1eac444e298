"""Damaged and hostile files must not break the rules of ``tests.fuzz``: 20,000 files, 1,000 of them by default."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import fuzz


@pytest.mark.parametrize(("seed", "count"), [(6, 1_000), pytest.param(5, 19_000, marks=pytest.mark.slow)])
def test_hostile_files(capsys: pytest.CaptureFixture[str], seed: int, count: int) -> None:
    report = fuzz.run(seed, count)
    with capsys.disabled():
        print("\n" + report.table())
    assert report.broken == []
    assert sum(report.outcomes.values()) == count
    refused = sum(count for (_, outcome), count in report.outcomes.items() if outcome == "refused")
    assert 0.3 < refused / count < 0.95  # many files still decode, so deep checks are reached, and many are refused


@pytest.mark.parametrize(("seed", "count"), [(7, 60), pytest.param(8, 240, marks=pytest.mark.slow)])
def test_nested_nonsense(capsys: pytest.CaptureFixture[str], seed: int, count: int) -> None:
    """Refuse pictures and containers with false EXIF or profiles, or write the right picture in every format."""
    report = fuzz.run(seed, count, whole=True)
    with capsys.disabled():
        print("\n" + report.table())
    assert report.broken == []
    pictures = sum(count for (_, outcome), count in report.outcomes.items() if outcome == "picture")
    assert pictures > 2 / 3 * count  # a picture is not refused for damaged metadata alone


@pytest.mark.slow
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
