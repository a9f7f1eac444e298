"""20,000 damaged and hostile files: none may break the rules. The harness is ``tests.fuzz``."""

from __future__ import annotations

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
