"""What the machine refuses: rights, space, a reader, a name. One sentence each, and no half file."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import MODEL, PATIENCE, assert_error, assert_sentence, names, run
from tests.drawing import draw
from tests.golden.make import TINY

ROOT = os.name == "posix" and os.geteuid() == 0
# Who is root may do everything, unless these two rights are taken away.
ORDINARY = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def ordinary(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process with an ordinary user's rights over files."""
    command = [sys.executable, "-m", "neurocodec", *arguments]
    if ROOT:
        setpriv = shutil.which("setpriv")
        if setpriv is None or subprocess.run([setpriv, *ORDINARY, "true"], check=False, capture_output=True).returncode:
            pytest.skip("root without setpriv has every right")
        command = [setpriv, *ORDINARY, *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.mark.slow
def test_what_may_not_be_read_or_written(here: Path) -> None:
    """A file without permission to read, a folder without permission to write, one that may not be looked into."""
    (here / "secret.png").write_bytes((here / "in.png").read_bytes())
    (here / "secret.png").chmod(0)
    (here / "fixed").mkdir()
    shutil.copy("in.nc", here / "fixed" / "old.nc")
    before = (here / "fixed" / "old.nc").read_bytes()
    (here / "fixed").chmod(0o555)
    (here / "photos" / "deep").chmod(0)
    try:
        done = ordinary("compress", "secret.png", "x.nc")
        assert_sentence(done, "secret.png: cannot be read: Permission denied.")
        done = ordinary("compress", "in.png", "fixed/x.nc", *MODEL)
        assert_sentence(done, "fixed/x.nc: cannot be written: Permission denied.")
        done = ordinary("compress", "--force", "in.png", "fixed/old.nc", *MODEL)
        assert_sentence(done, "fixed/old.nc: cannot be written: Permission denied.")
        done = ordinary("compress", "-r", "photos", "out", *MODEL)  # the rest is done
        assert (done.returncode, names(here / "out")) == (1, ["a.nc", "b.nc"])
        assert "Error: photos/deep: cannot be read: Permission denied.\n" in done.stderr
        assert_sentence(ordinary("verify", "photos/deep"), "photos/deep: cannot be read: Permission denied.")
        done = ordinary("compress", "photos", "fixed/out", *MODEL)
        assert_sentence(done, "fixed/out: cannot be made: Permission denied.")
        done = ordinary("info", "photos/deep/c.png")
        assert_sentence(done, "photos/deep/c.png: cannot be read: Permission denied.")
        done = ordinary("compress", "in.png", "photos/deep/x.nc", *MODEL)
        assert_sentence(done, "photos/deep/x.nc: cannot be written: Permission denied.")
    finally:
        (here / "photos" / "deep").chmod(0o755)
        (here / "fixed").chmod(0o755)
    assert names(here / "fixed") == ["old.nc"]
    assert (here / "fixed" / "old.nc").read_bytes() == before
    assert not (here / "x.nc").exists()


@pytest.fixture
def tiny_disk(here: Path) -> Iterator[Path]:
    """A disk of 64 KiB, where one may be mounted."""
    disk = here / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)]
    if not ROOT or not shutil.which("mount") or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(here: Path, tiny_disk: Path) -> None:
    Image.fromarray(draw("noise", 300, 300)).save("noise.png")
    assert run("compress", "noise.png", "noise.nc", *MODEL).exit_code == 0
    (tiny_disk / "noise.png").write_bytes(b"old")
    arguments = ("decompress", "noise.nc", "disk/noise.png", *MODEL, "--force")
    assert_error(run(*arguments), "disk/noise.png: cannot be written: No space left on device.")
    assert names(tiny_disk) == ["noise.png"]
    assert (tiny_disk / "noise.png").read_bytes() == b"old"


def test_a_file_that_grows_too_large_for_its_user(here: Path) -> None:
    """As on a full disk, the write fails in the middle; this can be had anywhere."""
    before, limits = names(here), resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        result = run("decompress", "in.nc", "x.ppm", *MODEL)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert_error(result, "x.ppm: cannot be written: File too large.")
    assert names(here) == before


def test_the_input_by_another_name(here: Path) -> None:
    (here / "link.png").symlink_to("in.png")
    (here / "hard.png").hardlink_to("in.png")
    before = (here / "in.png").read_bytes()
    for target in ("in.png", "./in.png", "link.png", "hard.png", str(here / "photos" / ".." / "in.png")):
        assert_error(run("compress", "--force", "in.png", target, *MODEL), "is the input itself")
    assert (here / "in.png").read_bytes() == before


def test_a_reader_that_goes_away(here: Path) -> None:
    """What is written is far more than a pipe holds, and the reader takes one byte."""
    Image.fromarray(draw("noise", 400, 400)).save("noise.png")
    assert run("compress", "noise.png", "noise.nc", *MODEL).exit_code == 0
    program = f"{sys.executable} -m neurocodec"
    line = f"{program} decompress noise.nc - --model {TINY} | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert_sentence(done, "standard output: cannot be written: Broken pipe.")
    line = f"{program} models --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.stderr == ""


def test_names_that_are_too_long(here: Path) -> None:
    long = "n" * 300
    assert_error(run("compress", f"{long}.png", "x.nc"), f"{long}.png", "File name too long.")
    assert_error(run("compress", "in.png", f"{long}.nc"), f"{long}.nc", "File name too long.")
