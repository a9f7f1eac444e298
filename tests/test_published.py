"""Our BD-rate against curves that others published (CompressAI's results/ for Kodak)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import against, published, tables
from benchmarks.bd_rate import bd_rate, curve
from benchmarks.published import PublishedCurve
from benchmarks.summary import Point, Summary

FOLDER = Path(__file__).parent / "published"
# Reference is CompressAI's JPEG.
KNOWN = {
    ("vtm", "psnr"): -67.6,
    ("vtm", "ms_ssim_db"): -58.3,
    ("cheng2020-attn", "ms_ssim_db"): -74.4,
    ("webp", "psnr"): -36.2,
    ("webp", "ms_ssim_db"): -23.4,
}


def read(name: str) -> PublishedCurve:
    return published.read(FOLDER / f"{name}.json")


@pytest.mark.parametrize(("name", "measure"), KNOWN)
def test_bd_rates_are_the_known_ones(name: str, measure: str) -> None:
    reference, test = (curve(*zip(*getattr(read(n), measure), strict=True)) for n in ("jpeg", name))
    percent, _ = bd_rate(reference, test)
    assert percent == pytest.approx(KNOWN[name, measure], abs=0.5)


def test_folders_and_files() -> None:
    assert {c.name for c in published.read_all([FOLDER])} == {c.name for c in map(read, ("jpeg", "vtm", "webp"))} | {
        read("cheng2020-attn").name
    }
    assert len(published.read_all([FOLDER / "jpeg.json", FOLDER / "vtm.json"])) == 2


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[]",
        '{"results": {}}',
        '{"results": {"bpp": [1, "x"]}}',
        '{"results": {"bpp": [1, 2], "psnr-rgb": [30]}}',
    ],
)
def test_what_is_no_curve(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match="is not a published curve"):
        published.read(tmp_path / "x.json")


def test_a_measure_may_be_absent(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"results": {"bpp": [2, 1], "psnr-rgb": [40, 30]}}))
    found = published.read(tmp_path / "x.json")
    assert found == PublishedCurve("x", ((1.0, 30.0), (2.0, 40.0)), ())


def test_ours_is_compared_with_the_measures_that_a_curve_has() -> None:
    """Against a curve of itself at half the rate it needs 100 % more, and nothing is said of what it has not."""
    points = [Point(float(i), 0.1 * 2**i, 25.0 + 3 * i, 0.9 + 0.02 * i) for i in range(5)]
    ours = Summary("neurocodec-visual", "neurocodec (visual)", points)
    half = PublishedCurve("half", (), tuple((p.bpp / 2, p.ms_ssim_db) for p in points))
    (row,) = against.compare([Summary("jpeg", "JPEG", points), ours], [half])
    assert (row.codec, row.curve) == ("neurocodec-visual", "half")
    assert row.bd_ms_ssim.percent == pytest.approx(100, abs=0.01)
    assert row.bd_psnr.percent is None
    assert tables.against_markdown([row]).splitlines()[2] == (
        "| neurocodec (visual) | half | +100.0 % (10.0 to 17.0 dB) | - |"
    )
    assert tables.against_text([row]).splitlines()[1].endswith("+100.0 % (10.0 to 17.0 dB)             -")


def test_curves_of_one_name_are_called_after_their_files(tmp_path: Path) -> None:
    for stem in ("net_mse", "net_ms-ssim"):
        (tmp_path / f"{stem}.json").write_text((FOLDER / "webp.json").read_text())
    assert [c.name for c in published.read_all([tmp_path])] == ["net_ms-ssim", "net_mse"]
    assert [c.name for c in published.read_all([tmp_path / "net_mse.json"])] == [read("webp").name]
