"""Our BD-rate against curves that others published (CompressAI's results/ for Kodak)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import published
from benchmarks.bd_rate import bd_rate, curve
from benchmarks.published import PublishedCurve

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
