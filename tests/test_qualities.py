"""Curves by each measure: their points, and summaries that lack a measure."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import plots, qualities, summary, tables
from benchmarks.measure import Measurement
from benchmarks.store import Table
from benchmarks.summary import Point, Summary

SCORES = (-60.0, -5.0, 20.0, 45.0, 65.0, 78.0, 88.0)


def line(name: str, rates: list[float], scores: tuple[float | None, ...] = SCORES) -> Summary:
    """Return a summary of a codec with these scores, whose PSNR and MS-SSIM rise with the rate."""
    points = [
        Point(i, bpp, 25.0 + 2 * i, 1 - 10 ** (-(5 + 2 * i) / 10), score)
        for i, (bpp, score) in enumerate(zip(rates, scores, strict=True))
    ]
    return Summary(name, name, points)


RATES = [0.1 * 2**i for i in range(len(SCORES))]


def test_sizes_and_bd_rate_by_score() -> None:
    reference, half = line("jpeg", RATES), line("half", [r / 2 for r in RATES])
    summary.compare(half, reference)
    assert half.bd_ssimulacra2.percent == pytest.approx(-50, abs=0.01)
    assert (half.bd_ssimulacra2.low, half.bd_ssimulacra2.high) == (qualities.LOWEST_SCORE, 88)
    assert [s.score for s in half.scores] == [30, 50, 70, 80, 90]
    assert [s.percent for s in half.scores[:4]] == pytest.approx([-50] * 4, abs=0.01)
    assert (half.scores[4].bpp, half.scores[4].percent) == (None, None)  # neither curve reaches 90
    cells = tables.rows_of([half])[1]
    assert cells[1] == "-50.0 % (10.0 to 88.0)"
    assert cells[cells.index("-50.0 %") :][:5] == ["-50.0 %"] * 4 + ["-"]


def test_scores_below_ten_do_not_move_a_bd_rate() -> None:
    """Check that values of very low scores affect neither the window nor the curve."""
    reference = line("jpeg", RATES)
    found = []
    for ruined in (-60.0, -1000.0):
        other = line("other", [0.7 * r for r in RATES], (ruined, *SCORES[1:]))
        summary.compare(other, reference)
        found.append((other.bd_ssimulacra2, other.scores))
    assert found[0] == found[1]
    falling = line("falling", RATES, (0.0, -20.0, *SCORES[2:]))  # two very low scores in the wrong order
    summary.compare(falling, reference)
    assert falling.bd_ssimulacra2.refused == ""


def test_too_narrow_a_window_of_scores_is_refused() -> None:
    reference = line("jpeg", RATES)
    narrow = line("narrow", RATES, (-9.0, -8.0, -7.0, -6.0, -5.0, 9.0, 14.0))
    summary.compare(narrow, reference)
    assert "at least four points" in narrow.bd_ssimulacra2.refused
    narrow = line("narrow", RATES, (10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0))
    summary.compare(narrow, reference)
    assert narrow.bd_ssimulacra2.refused == "the curves overlap by less than 5: 10.00 to 13.00"


def test_a_measure_that_no_codec_has_gets_no_column(tmp_path: Path) -> None:
    none: tuple[float | None, ...] = (None,) * len(SCORES)
    old, reference = line("old", [r / 2 for r in RATES], none), line("jpeg", RATES, none)
    summary.compare(old, reference)
    assert not any("SSIMULACRA" in head or "ColorVideoVDP" in head for head in tables.columns([old, reference]))
    assert len(set(map(len, tables.rows_of([old, reference])))) == 1
    assert set(plots.draw_all(tmp_path, "old", [old, reference], [])) == {"MS-SSIM", "PSNR"}
    assert old.bd_ms_ssim.percent == pytest.approx(-50)
    new = line("new", RATES)
    assert "size at SSIMULACRA2 30" in tables.columns([old, new])
    assert len(set(map(len, tables.rows_of([old, new])))) == 1


def row(picture: str, score: float | None, jod: float | None) -> Measurement:
    judge = None if jod is None else "cvvdp 0.5.7, standard_4k"
    return Measurement("jpeg", "1", picture, picture, 50.0, 9, 9, 100, 0.5, 30.0, 0.9, score, jod, judge)


def test_a_mean_needs_every_picture() -> None:
    (point,) = summary.points_of("jpeg", [row("a", 60, 9.5), row("b", 70, None)], 2)
    assert (point.ssimulacra2, point.jod) == (65, None)


def test_a_table_of_an_earlier_release_is_read_and_gets_the_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "measurements.csv"
    old, new = row("a", None, None), row("b", 70.25, 9.75)
    Table(path, Measurement).add([old])
    short = path.read_text().replace(",ssimulacra2,jod,judge\n", "\n").replace(",,,\n", "\n")
    path.write_text(short)
    table = Table(path, Measurement)
    assert list(table.rows.values()) == [old]
    assert not old.is_complete(judged=False)
    assert path.read_text() == short  # reading changes nothing
    table.add([new])
    assert list(Table(path, Measurement).rows.values()) == [old, new]
    assert new.is_complete(judged=False)
    path.write_text(short.replace(",psnr,ms_ssim", ",psnr"))
    with pytest.raises(ValueError, match="other columns"):
        Table(path, Measurement)
