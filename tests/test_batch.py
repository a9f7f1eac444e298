"""Many files: mirrored trees, bad files among good ones, and stops in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from neurocodec.cli import main
from neurocodec.commands.batch import Many, Outcome, alone
from neurocodec.commands.batch import run as run_jobs
from neurocodec.commands.folders import Job
from neurocodec.commands.workers import held_back, side_by_side
from neurocodec.errors import NeurocodecError
from neurocodec.files import mirrored
from tests.commands import PATIENCE
from tests.drawing import draw
from tests.golden.make import TINY

MODEL = ["--model", str(TINY)]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five pictures in three folders, two of which share a name, a text, and one that is cut off."""
    folder = tmp_path / "photos"
    (folder / "a" / "b").mkdir(parents=True)
    for i, name in enumerate(("one.png", "same.png", "a/two.jpg", "a/b/three.webp", "same.bmp")):
        Image.fromarray(draw("shapes", 60 + i, 70, seed=i)).save(folder / name)
    (folder / "notes.txt").write_text("not a picture, and not meant to be one")
    (folder / "a" / "bad.png").write_bytes((folder / "one.png").read_bytes()[:200])
    return folder


def test_a_tree_is_mirrored_and_a_bad_file_is_only_a_line(photos: Path, tmp_path: Path) -> None:
    result = run("compress", "-r", "-j", "1", photos, tmp_path / "out", *MODEL)
    assert result.exit_code == 1
    wanted = ["a/b/three.nc", "a/two.nc", "one.nc", "same.bmp.nc", "same.png.nc"]
    assert files(tmp_path / "out") == wanted
    assert "bad.png" in result.stderr
    assert "1 of 6 files failed" in result.stderr
    assert "Traceback" not in result.stderr

    result = run("compress", "-r", "-j", "1", photos, tmp_path / "out", *MODEL)
    assert "6 of 6 files failed; --skip-existing passes over" in result.stderr  # nothing is overwritten
    (photos / "a" / "bad.png").unlink()
    (photos / "a" / "bad.png").symlink_to("nowhere.png")
    result = run("compress", "-r", "-j", "1", "--skip-existing", photos, tmp_path / "out", *MODEL)
    assert (result.exit_code, "5 skipped" in result.stderr) == (1, True)
    assert f"Error: {photos / 'a' / 'bad.png'}: cannot be read: No such file" in result.stderr
    (photos / "a" / "bad.png").unlink()
    result = run("compress", "-r", "-j", "1", "--skip-existing", photos, tmp_path / "out", *MODEL)
    assert (result.exit_code, "5 skipped" in result.stderr) == (0, True)

    result = run("decompress", "-r", "-j", "1", tmp_path / "out", tmp_path / "back", *MODEL)
    assert result.exit_code == 0
    assert files(tmp_path / "back") == [name.replace(".nc", ".png") for name in wanted]
    with Image.open(tmp_path / "back" / "a" / "two.png") as image:
        assert image.size == (70, 62)


def test_without_recursion_only_the_folder_itself(photos: Path, tmp_path: Path) -> None:
    assert run("compress", "-j", "1", photos, tmp_path / "out", *MODEL).exit_code == 0
    assert files(tmp_path / "out") == ["one.nc", "same.bmp.nc", "same.png.nc"]


@pytest.mark.slow
def test_workers_write_what_one_process_writes(photos: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert run("compress", "-r", "-j", "1", photos, one, *MODEL, "--json").exit_code == 1
    command = [sys.executable, "-m", "neurocodec", "compress", "-r", "-j", "2", str(photos), str(two), *MODEL, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert "bad.png" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["width"] for line in lines) == [70] * 5
    assert files(one) == files(two)
    for name in files(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.slow
def test_an_interrupt_leaves_whole_files_only(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(40):
        Image.fromarray(draw("noise", 300, 300, seed=i)).save(photos / f"{i:02}.png")
    command = [sys.executable, "-m", "neurocodec", "compress", "-j", "2", str(photos), str(out), *MODEL]
    # A shell starts what runs in the background with SIGINT ignored, and its children inherit that: not this one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        signal.signal(signal.SIGINT, before)
        deadline = time.monotonic() + PATIENCE
        while len(files(out)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    made = files(out)
    assert f"{len(made)} of 40 files" in errors
    assert errors.count(" -> ") == len(made) + 1
    assert errors.endswith("--skip-existing goes on from here.\nStopped.\n")
    assert 2 <= len(made) < 40
    assert all(name.endswith(".nc") and not name.startswith(".") for name in made)
    assert run("verify", "--deep", *MODEL, *(out / name for name in made)).exit_code == 0
    rest = run("compress", "-j", "1", "--skip-existing", photos, out, *MODEL)
    assert rest.exit_code == 0
    assert len(files(out)) == 40


def test_folders_that_are_none(photos: Path, tmp_path: Path) -> None:
    result = run("compress", photos, photos / "one.png", *MODEL)
    assert (result.exit_code, "is a file: name a folder" in result.stderr) == (1, True)
    result = run("compress", photos, "-", *MODEL)
    assert (result.exit_code, "cannot go to standard output" in result.stderr) == (1, True)
    assert run("compress", "--frames", photos, tmp_path / "out", *MODEL).exit_code == 2
    (tmp_path / "empty").mkdir()
    result = run("compress", tmp_path / "empty", tmp_path / "out", *MODEL)
    assert (result.exit_code, f"{tmp_path / 'empty'}: there is no picture file" in result.stderr) == (1, True)


@pytest.mark.slow
def test_an_interrupt_while_a_result_is_told_stops_the_jobs_and_tells_what_was_in_work(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i in range(12):
        Image.fromarray(draw("noise", 300, 300, seed=i)).save(photos / f"{i:02}.png")
    program = (  # as if Ctrl-C came just after the first line
        "import os, signal\n"
        "import neurocodec.commands.batch as batch\n"
        "from neurocodec.__main__ import main\n"
        "plain, lines = batch.tell, []\n"
        "def tell(line, quiet):\n"
        "    plain(line, quiet)\n"
        "    lines.append(line)\n"
        "    if len(lines) == 1:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "batch.tell = tell\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py"), "compress", "-j", "2", str(photos), str(out), *MODEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    made = files(out)
    assert done.returncode == 130, done.stderr
    assert "Stopping: the pictures in work are finished first. Once more, and they are given up." in done.stderr
    assert f"{len(made)} of 12 files" in done.stderr
    assert 1 <= len(made) < 12


SLOW = """
import sys, time
from neurocodec.commands.workers import held_back, side_by_side

def work(seconds):
    if seconds > 1:
        print("long", flush=True)
    time.sleep(seconds)

if __name__ == "__main__":
    try:
        for job, _ in side_by_side(work, [0.1, 3600, 0.2, 3600, 3600], 2):
            print(job, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ((signal.SIGINT, signal.SIGINT), 130),
        pytest.param((signal.SIGTERM,), 143, marks=pytest.mark.slow),
        pytest.param((signal.SIGKILL,), -signal.SIGKILL, marks=pytest.mark.slow),
    ],
    ids=["Ctrl-C twice", "SIGTERM", "SIGKILL"],
)
def test_workers_end_when_they_are_told_to(tmp_path: Path, numbers: tuple[int, ...], code: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stdout is not None
        # Both quick jobs are done, and both workers have started with a long one.
        lines = [process.stdout.readline() for _ in range(4)]
        stopping = ""
        for number in numbers:
            if number == signal.SIGINT:  # a terminal also sends it to the workers
                os.killpg(process.pid, number)
                stopping = stopping or process.stdout.readline()
            else:
                process.send_signal(number)
        # The workers also hold this pipe. If they did not end, it would stay open for an hour.
        rest, _ = process.communicate(timeout=PATIENCE)
    assert sorted(lines) == ["0.1\n", "0.2\n", "long\n", "long\n"]
    assert process.returncode == code
    assert stopping.startswith("Stopping: ") == (number == signal.SIGINT)
    assert "Traceback" not in rest


def test_a_worker_that_dies_is_reported_and_ends_the_others(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    sleeper = f"[__import__('time').sleep(600), open({str(lives)!r}, 'w')]"
    with pytest.raises(NeurocodecError, match="a worker died"):
        list(side_by_side(eval, [sleeper, "__import__('os')._exit(9)"], 2))
    assert not lives.exists()  # a worker that keeps running writes it before the pool is shut down


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no masks of signals")
def test_an_interrupt_while_workers_start_is_not_lost_and_not_theirs() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    try:
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert came == [signal.SIGINT]
        assert child.stdout == "True\n"  # and a process that starts meanwhile never hears of it
    finally:
        signal.signal(signal.SIGINT, before)


def test_no_two_files_of_a_tree_become_one() -> None:
    inside = [PurePosixPath(p) for p in ("a.jpg", "a.png", "a.png.png", "a.png.nc.png", "b/a.png", "c.gif")]
    names = mirrored(inside, ".nc")
    assert len(set(names.values())) == len(inside)
    assert [str(names[p]) for p in inside[:2]] == ["a.jpg.nc", "a.png.nc"]
    assert [str(names[p]) for p in inside[4:]] == ["b/a.nc", "c.nc"]
    # Nor where case or the way to write an accent makes no difference.
    alike = [PurePosixPath(p) for p in ("a.png", "A.jpg", "e\u0301.png", "\u00e9.gif", "b/a.png")]
    assert [str(name) for name in mirrored(alike, ".nc").values()] == [
        "a.png.nc",
        "A.jpg.nc",
        "e\u0301.png.nc",
        "\u00e9.gif.nc",
        "b/a.nc",
    ]
    assert [str(name) for name in mirrored([PurePosixPath("a.png"), PurePosixPath("A.png")], ".nc").values()] == [
        "a.png.nc",
        "A.png.nc",
    ]


def test_an_interrupt_lets_a_single_process_finish_its_picture() -> None:
    worked, told = list[str](), list[str]()

    def work(source: str, target: str) -> Outcome:
        if source == "b":
            signal.raise_signal(signal.SIGINT)
        worked.append(source)
        return Outcome(target, {})

    results = alone([Job(name, name, 1) for name in "abc"], work)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            told.extend(job.source for job, _ in results)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert worked == ["a", "b"]


def test_folders_that_hold_nothing_in_the_end_go_again(tmp_path: Path) -> None:
    (tmp_path / "in" / "sub" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "deep" / "bad.png").write_text("hello")
    result = CliRunner().invoke(main, ["compress", "-r", str(tmp_path / "in"), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(
        main, ["compress", "--frames", str(tmp_path / "in/sub/deep/bad.png"), str(tmp_path / "f")]
    )
    assert result.exit_code == 1
    assert not (tmp_path / "f").exists()


def test_what_cannot_be_read_is_not_skipped(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    job = Job("closed", str(tmp_path / "out"), 0, NeurocodecError("cannot be read."))
    with pytest.raises(NeurocodecError, match="1 of 1 file failed"):
        run_jobs([job], lambda source, target: Outcome("", {}), Many(False, 1, True), True, False)
