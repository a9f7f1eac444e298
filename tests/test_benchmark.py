"""python -m benchmarks, from a folder of pictures to the report."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from benchmarks import beta, codecs, summary
from benchmarks.__main__ import main, whole
from benchmarks.measure import Measurement
from benchmarks.store import Table
from benchmarks.summary import Point, Summary
from tests.commands import PATIENCE
from tests.drawing import draw
from tests.files import write_sources

FEW = ["--codecs", "neurocodec-visual,jpeg", "--qualities", "5,20,50,80,90", "--jobs", "1", "--threads", "1"]


def benchmark(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good pictures, four that cannot be measured, and a file that is none."""
    folder = write_sources(tmp_path_factory.mktemp("pictures"))
    (folder / "twin.png").write_bytes((folder / "coffee.png").read_bytes())
    (folder / "README.txt").write_text("not a picture")
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[Path, Result]:
    out = folder / "report"
    return out, benchmark(folder, "--out", out, *FEW, "--published", Path(__file__).parent / "published")


@pytest.mark.slow
def test_everything_is_written_and_bad_pictures_are_named(ran: tuple[Path, Result]) -> None:
    out, result = ran
    assert result.exit_code == 1
    assert "skipped damaged.png: the picture is damaged" in result.output
    assert "skipped small.png: 300x160 pixels are too few" in result.output
    assert "skipped transparent.png: the picture has transparency" in result.output
    assert "skipped twin.png: it is the same file as coffee.png" in result.output
    assert "4 problem(s)" in result.output
    assert "README.txt" not in result.output
    names = {p.name for p in out.iterdir()}
    plots = {f"{m}.{e}" for m in ("ssimulacra2", "ms-ssim", "psnr") for e in ("svg", "png")}
    tables = {"measurements.csv", "timings.csv", "memory.csv", "results.json", "table.md", "published.md"}
    assert names == plots | tables | {"report.html"}
    with (out / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 5
    content = json.loads((out / "results.json").read_text())
    assert {c["codec"] for c in content["codecs"]} == {"neurocodec-visual", "jpeg"}
    assert content["conditions"]["torch"]
    assert set(content["pictures"]) == {"chelsea.png", "coffee.png"}
    ours = content["codecs"][0]
    assert ours["bd_ms_ssim"]["percent"] < -40
    assert ours["bd_ms_ssim"]["low"] < ours["bd_ms_ssim"]["high"]
    assert ours["encode_s_per_mp"] > 0
    assert ours["encode_mb"] > content["codecs"][1]["encode_mb"] > 20
    table = (out / "table.md").read_text()
    assert table.count("\n") == 4 + 2
    assert "BD-rate ColorVideoVDP" not in table
    assert table.splitlines()[-1] == f"- JPEG (optimized, progressive): {codecs.make('jpeg').version()}"
    assert table.splitlines()[-1] in result.output.replace("JPEG (opt", "- JPEG (opt")
    published = (out / "published.md").read_text().splitlines()[2:-2]
    assert len(published) == 4
    assert (out / "report.html").read_text().count("<td>neurocodec (visual)</td><td>") == 4
    assert all(line.startswith("| neurocodec (visual) | ") for line in published)
    assert ">VTM (published)<" in (out / "ms-ssim.svg").read_text()


@pytest.mark.slow
def test_a_row_is_what_the_codec_did(ran: tuple[Path, Result], folder: Path) -> None:
    table = Table(ran[0] / "measurements.csv", Measurement)
    row = next(r for r in table.rows.values() if r.codec == "jpeg" and r.setting == 50 and r.picture == "coffee.png")
    data = codecs.make("jpeg").encode(np.array(Image.open(folder / "coffee.png").convert("RGB")), 50)
    assert row.bytes == len(data)
    assert row.bpp == pytest.approx(len(data) * 8 / (200 * 180), abs=1e-6)


@pytest.mark.slow
def test_resume_measures_nothing_twice(ran: tuple[Path, Result], folder: Path) -> None:
    out, _ = ran
    refused = benchmark(folder, "--out", out, *FEW)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    before = {name: (out / name).read_bytes() for name in ("measurements.csv", "timings.csv", "memory.csv")}
    again = benchmark(folder, "--out", out, *FEW, "--resume", "--shown", "0")
    assert "measured" not in again.output
    assert "timed" not in again.output
    assert {name: (out / name).read_bytes() for name in before} == before
    # A run that was killed while it wrote a line: that line, and only it, is measured again.
    lines = before["measurements.csv"].decode().splitlines(keepends=True)
    (out / "measurements.csv").write_text("".join(lines[:-1]) + lines[-1][:30])
    mended = benchmark(folder, "--out", out, *FEW, "--resume", "--shown", "0")
    assert "measured 1 of 1 files" in mended.output
    assert (out / "measurements.csv").read_bytes() == before["measurements.csv"]
    # What another version measured is no longer true of this one, and is not dropped without a word.
    codec, _, *rest = lines[1].split(",")
    assert codec == "jpeg"
    (out / "measurements.csv").write_text("".join([lines[0], f"jpeg,earlier,{','.join(rest[-12:])}", *lines[2:]]))
    renewed = benchmark(folder, "--out", out, *FEW, "--resume", "--shown", "0")
    assert "measured 1 of 1 files" in renewed.output
    assert "1 row(s) of other versions" in renewed.output
    assert (out / "measurements.csv").read_bytes() == before["measurements.csv"]


@pytest.mark.slow
def test_a_codec_that_fails_on_a_picture_is_named(folder: Path, tmp_path: Path) -> None:
    Image.fromarray(draw("shapes", 165, 16400)).save(tmp_path / "wide.png")
    shutil.copy(folder / "coffee.png", tmp_path)
    options = ["--codecs", "jpeg,webp,jpeg", "--qualities", "50", "--jobs", "1"]
    result = benchmark(tmp_path, "--out", tmp_path / "out", *options)
    assert result.exit_code == 1
    assert "webp failed on wide.png: " in result.output
    assert "1 problem(s)" in result.output
    with (tmp_path / "out" / "timings.csv").open() as file:
        timed = [(row["codec"], row["picture"]) for row in csv.DictReader(file)]
    assert sorted(timed) == [("jpeg", "coffee.png"), ("jpeg", "wide.png"), ("webp", "coffee.png")]
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(c["codec"], len(c["points"])) for c in content["codecs"]] == [("jpeg", 1), ("webp", 0)]


def test_workers_end_with_a_parent_that_is_killed() -> None:
    work = "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"
    parent = "from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context; "
    parent += "from benchmarks.measure import start_worker; "
    parent += f"ProcessPoolExecutor(1, get_context('spawn'), start_worker).submit(exec, {work!r}).result()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.kill()
        process.communicate(timeout=PATIENCE)  # the worker also holds the pipe, and would keep sleeping


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    row = Measurement("jpeg", "1", "a.png", "00", 50.0, 9, 9, 100, 0.5, 30.0, 0.9)
    Table(path, Measurement).add([row])
    assert Table(path, Measurement).rows == {row.key: row}
    path.write_text(path.read_text().replace(",9,", ",x,"))
    with pytest.raises(ValueError, match=r"x\.csv, line 2"):
        Table(path, Measurement)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="other columns"):
        Table(path, Measurement)


def test_wrong_arguments(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = benchmark(empty, "--out", tmp_path / "out")
    assert nothing.exit_code == 1
    assert "no picture" in nothing.output
    assert not (tmp_path / "out").exists()
    models = [tmp_path / name / "mine.safetensors" for name in ("a", "b")]
    for path in models:
        path.parent.mkdir()
        path.write_bytes(b"")
    for arguments, said in (
        (["--codecs", "jpeg,gif89"], "gif89 is not one of"),
        (["--codecs", f"{models[0]},{models[1]}"], "2 of them are called neurocodec-mine"),
        (["--codecs", f"{models[0]}-effort-1,jpeg,{models[1]}-effort-1"], "called neurocodec-mine-effort-1"),
        (["--qualities", "5,many"], "not a list of numbers"),
        (["--qualities", "0,50"], "1 to 100"),
        (["--published", str(tmp_path / "none.json")], "does not exist"),
    ):
        result = benchmark(empty, "--out", tmp_path / "out", *arguments)
        assert (result.exit_code, said in result.output) == (2, True), result.output
    (tmp_path / "bad.json").write_text("{}")
    result = benchmark(empty, "--out", tmp_path / "out", "--published", tmp_path / "bad.json")
    assert result.exit_code == 1
    assert "is not a published curve" in result.output


def test_private_models_have_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert whole("x.safetensors-effort-3") == f"{tmp_path.resolve()}/x.safetensors-effort-3"
    assert whole("neurocodec-psnr-effort-3") == "neurocodec-psnr-effort-3"


def test_a_codec_that_is_not_here_is_named(folder: Path, tmp_path: Path) -> None:
    name = next(n for n in codecs.ZOO if codecs.make(n).missing() is not None)
    options = ["--qualities", "50", "--jobs", "1", "--no-timings", "--limit", "1", "--shown", "0"]
    result = benchmark(folder, "--out", tmp_path / "out", "--codecs", f"jpeg,{name}", *options)
    assert f"left out: {name}: " in result.output
    assert result.exit_code == 0  # the first picture is a good one


def line(points: list[tuple[float, float]]) -> Summary:
    return Summary("x", "x", [Point(i, bpp, psnr, 1 - 10 ** (-psnr / 20)) for i, (bpp, psnr) in enumerate(points)])


def test_curves_that_cannot_be_compared_are_refused_with_a_reason() -> None:
    good = [(0.1, 26.0), (0.2, 28.0), (0.4, 31.0), (0.8, 34.0), (1.6, 37.0)]
    reference, wrong, narrow = line(good), line([(0.1, 30.0), (0.2, 29.0), (0.4, 31.0), (0.5, 32.0)]), line(good[:2])
    half = line([(bpp / 2, psnr) for bpp, psnr in good])
    for each in (wrong, narrow, half):
        summary.compare(each, reference)
    assert "must rise" in wrong.bd_psnr.refused
    assert "four points" in narrow.bd_psnr.refused
    assert wrong.bd_psnr.percent is None
    assert half.bd_psnr.percent == pytest.approx(-50)
    assert half.bd_ms_ssim.percent == pytest.approx(-50, abs=0.1)
    sizes = {s.ms_ssim: s for s in half.sizes}
    assert sizes[0.98].percent == pytest.approx(-50, abs=0.1)
    assert sizes[0.90].percent is None  # below the curve


@pytest.mark.slow
def test_beta_weighs_rate_against_distortion(tmp_path: Path, pictures: Path) -> None:
    arguments = [str(pictures), "--valid", str(pictures), "--out", str(tmp_path / "beta")]
    result = CliRunner().invoke(beta.main, [*arguments, "--betas", "0,1", "--steps", "2"])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "beta" / "beta.json").read_text())
    assert [r["beta"] for r in found["results"]] == [0, 1]
    for row in found["results"]:
        assert [a["t"] for a in row["anchors"]] == [0, 1, 2, 3]
        assert row["anchors"][0]["bpp"] < row["anchors"][3]["bpp"]
        assert row["active"][0] < row["active"][3] <= 1
    assert "β = 0" in (tmp_path / "beta" / "beta.svg").read_text()
