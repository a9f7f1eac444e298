"""Bulk work on a real Ray with two actors, one of which is killed in the middle; and any filesystem."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from neurocodec import api, bulk
from neurocodec.commands.bulk import failures
from neurocodec.errors import NeurocodecError
from tests.commands import PATIENCE, run
from tests.drawing import draw
from tests.golden.make import TINY

PICTURES = 40


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def actors() -> list[int]:
    """Processes of our workers: Ray names an actor's process after its class."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:  # it has ended in the meantime
                continue
            if command.startswith(b"ray::") and (b"Worker" in command or b"Map" in command):
                found.append(int(folder.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker to kill in /proc (Linux)")
def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    photos, packed = tmp_path / "photos", tmp_path / "packed"
    (photos / "deep").mkdir(parents=True)
    for i in range(PICTURES):
        folder = photos / "deep" if i % 4 == 0 else photos
        Image.fromarray(draw("noise", 200 + i, 260, seed=i)).save(folder / f"{i:02}.png")
    (photos / "bad.png").write_bytes(b"this is no picture")
    command = [sys.executable, "-m", "neurocodec", "bulk", "compress", str(photos), str(packed), "--workers", "2"]
    command += ["--model", str(TINY), "--failures", str(tmp_path / "failures.csv")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "RAY_DEDUP_LOGS": "1"}
    killed = 0
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            if not killed and packed.is_dir() and 3 <= len(files(packed)) < PICTURES - 5:
                for pid in actors()[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            time.sleep(0.02)
        process.kill()
    text = (tmp_path / "log").read_text()
    assert killed == 1, text
    assert process.returncode == 1, text  # for the one bad file
    made = files(packed)
    assert len(made) == PICTURES
    for name, data in made.items():
        assert data == api.compress(photos / name.replace(".nc", ".png"), model=str(TINY)), name
    with (tmp_path / "failures.csv").open() as table:
        (row,) = csv.DictReader(table)
    assert "bad.png" in row["source"]
    assert "not a picture" in row["error"]

    (packed / "01.nc").unlink()
    found = bulk.find(str(photos), str(packed), {".png"}, ".nc")
    assert (len(found.rows), found.done) == (2, PICTURES - 1)  # the lost one, and the bad one again


def test_a_table_of_failures_is_begun_before_the_work(tmp_path: Path) -> None:
    with (
        pytest.raises(NeurocodecError, match=r"none/x\.csv: cannot be written: No such file"),
        failures(tmp_path / "none" / "x.csv"),
    ):
        pytest.fail("it began to work")
    with failures(tmp_path / "x.csv") as note:
        note("a.png", "why")
        assert (tmp_path / "x.csv").read_text().splitlines() == ["source,error", "a.png,why"]
    for source, target in (("", str(tmp_path)), (str(tmp_path), "")):
        with pytest.raises(NeurocodecError, match="name of a folder is empty"):
            bulk.find(source, target, {".png"}, ".nc")


def test_any_filesystem() -> None:
    """Two folders in fsspec's memory, there and back, by the worker that Ray would run."""
    memory = fsspec.filesystem("memory")
    pixels = draw("shapes", 50, 60)
    path = "/in/a/b.ppm"
    memory.pipe_file(path, b"P6 60 50 255\n" + pixels.tobytes())
    memory.pipe_file("/in/.hidden/x.ppm", b"left out")
    found = bulk.find("memory://in", "memory://packed", {".ppm"}, ".nc")
    assert (len(found.rows), found.done, found.left_out) == (1, 0, [".hidden/x.ppm"])
    done = bulk.Worker(bulk.Work(True, 60, str(TINY)), 1)(found.rows[0])
    assert (done["error"], done["notes"]) == ("", "")
    assert memory.cat_file("/packed/a/b.nc") == api.compress(pixels, 60, str(TINY))
    again = bulk.find("memory://in", "memory://packed", {".ppm"}, ".nc")
    assert (again.rows, again.done) == ([], 1)
    back = bulk.find("memory://packed", "memory://out", {".nc"}, ".png").rows
    assert bulk.Worker(bulk.Work(False, model=str(TINY)), 1)(back[0])["error"] == ""
    assert memory.cat_file("/out/a/b.png").startswith(b"\x89PNG")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_pipes_are_no_files(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    os.mkfifo(tmp_path / "pipe.png")
    rows = bulk.find(str(tmp_path), str(tmp_path / "out"), {".png"}, ".nc").rows
    assert [Path(row["source"]).name for row in rows] == ["x.png"]


def test_what_is_no_file_and_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    for folder in ("open", ".hidden", "closed"):
        (photos / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(photos / folder / "x.png")
    (photos / "file.png").symlink_to(photos / "open" / "x.png")
    (photos / "nowhere.png").symlink_to("missing")
    (photos / "folder").symlink_to(photos / "open", target_is_directory=True)
    scan = os.scandir

    def denied(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)  # rights do not stop root
    found = bulk.find(str(photos), str(tmp_path / "out"), {".png"}, ".nc")
    assert [Path(row["source"]).name for row in found.rows] == ["file.png", "nowhere.png", "x.png"]
    assert found.closed == [{"source": str(photos / "closed"), "error": "cannot be read: Permission denied."}]
    assert [Path(path).name for path in found.left_out] == [".hidden", "folder"]
    with pytest.raises(NeurocodecError, match="is a file: name its folder"):
        bulk.find(str(photos / "open" / "x.png"), str(tmp_path / "out"), {".png"}, ".nc")


def test_notes_come_back(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).convert("CMYK").save(tmp_path / "x.tif")
    row = {"source": str(tmp_path / "x.tif"), "target": str(tmp_path / "x.nc")}
    done = bulk.Worker(bulk.Work(True, model=str(TINY)), 1)(row)
    assert done["error"] == ""
    assert "CMYK" in done["notes"]


def test_whatever_a_store_raises_is_a_files_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_down(self: Any, path: str) -> bytes:
        raise RuntimeError("SlowDown")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", slow_down)
    done = bulk.Worker(bulk.Work(True, model=str(TINY)), 1)({"source": "memory://a.png", "target": "memory://a.nc"})
    assert done["error"] == "cannot be read: SlowDown."
    with pytest.raises(NeurocodecError, match="github://x: "):
        bulk.find("github://x", "out", {".png"}, ".nc")


def test_what_is_not_there() -> None:
    with pytest.raises(NeurocodecError, match="no such folder"):
        bulk.find("memory://nowhere", "memory://out", {".png"}, ".nc")
    fsspec.filesystem("memory").pipe_file("/text/a.txt", b"text")
    with pytest.raises(NeurocodecError, match=r"no \.png file in it"):
        bulk.find("memory://text", "memory://out", {".png"}, ".nc")
    row = {"source": "memory://gone.png", "target": "memory://gone.nc"}
    assert "cannot be read" in bulk.Worker(bulk.Work(True, model=str(TINY)), 1)(row)["error"]


def test_without_ray_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neurocodec.commands.bulk.find_spec", lambda name: None)
    result = run("bulk", "compress", tmp_path, tmp_path / "out")
    assert (result.exit_code, "pip install '.[ray]'" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


def test_places_that_no_file_system_has() -> None:
    for work in (
        bulk.read,
        lambda url: bulk.write(url, b""),
        lambda url: bulk.find(url, "x", {".nc"}, ""),
    ):
        with pytest.raises(NeurocodecError, match="nowhere"):
            work("nowhere://bucket/photos")
