"""Files are whole, old, or not there: whatever kills the one that writes them."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neurocodec import beside
from tests.commands import PATIENCE

SIZE = 24_000_000  # bytes: most of the time of a loop is spent in the middle of writing
LOOP = f"""
import sys
from neurocodec.files import write_target
print("writing", flush=True)
for i in range(10**6):
    write_target(sys.argv[1], bytes([i % 251 + 1]) * {SIZE})
"""


@pytest.fixture(autouse=True)
def as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_cleaned", set())


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(".neurocodec-*.part"))


def unfinished(folder: Path) -> bool:
    """Is there a file beside that is not whole yet?"""
    try:
        return any(0 < p.stat().st_size < SIZE for p in parts(folder))
    except OSError:  # it was renamed in the meantime
        return False


def test_a_killed_writer_leaves_the_old_file_or_none(tmp_path: Path) -> None:
    """Send SIGKILL at twenty or more moments to a process that does nothing but write one large file."""
    target, rng, half = tmp_path / "x.nc", random.Random(3), 0
    for round_ in range(1000):  # on a busy machine, many kills come after the file is complete
        if round_ % 4 == 0:
            target.unlink(missing_ok=True)
        command = [sys.executable, "-c", LOOP, str(target)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            # Half of the rounds end at any moment, half when the file beside is there, and not yet whole.
            if round_ % 2:
                time.sleep(rng.random() * 0.2)
            while round_ % 2 == 0 and process.poll() is None and not unfinished(tmp_path):
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
        half += unfinished(tmp_path)
        assert set(tmp_path.iterdir()) <= {target, *parts(tmp_path)}
        assert len(parts(tmp_path)) <= 1  # each run removes what the one before it left
        if target.exists():
            data = target.read_bytes()
            assert len(data) == SIZE
            assert data.count(data[:1]) == SIZE
        if round_ >= 19 and half >= 3:
            break
    assert half >= 3
    beside.replace(target, b"new")
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"new"


def test_a_living_writer_keeps_its_file(tmp_path: Path) -> None:
    held, lost, other = (tmp_path / name for name in (".neurocodec-a.part", ".neurocodec-b.part", ".neurocodec-c"))
    for path in (held, lost, other):
        path.write_bytes(b"half")
    with held.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        beside.replace(tmp_path / "x.nc", b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".neurocodec-a.part", ".neurocodec-c", "x.nc"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "inside").touch()
    with pytest.raises(OSError, match="folder"):
        beside.replace(target, b"data")
    assert list(tmp_path.iterdir()) == [target]


def test_many_writers_in_one_folder(tmp_path: Path) -> None:
    """Each removes what is lost, and never what another is writing."""
    code = "import sys; from neurocodec import beside\n"
    code += "from pathlib import Path\n"
    code += "for i in range(150):\n    beside._cleaned.clear()\n    beside.replace(Path(sys.argv[1]), b'x' * 1000)\n"
    commands = [[sys.executable, "-c", code, str(tmp_path / f"{i}.nc")] for i in range(4)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    errors = [process.communicate(timeout=PATIENCE)[1] for process in running]
    assert errors == [b""] * 4
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{i}.nc" for i in range(4)]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 252 + ".nc")
    beside.replace(target, b"data")
    assert target.read_bytes() == b"data"
