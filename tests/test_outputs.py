"""Output files: never the input, never overwritten unasked, whole or not there, with the rights they had."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from neurocodec import files
from neurocodec.cli import main
from neurocodec.commands import compress
from neurocodec.container import MAGIC
from tests.commands import MODEL, PATIENCE, assert_error, run
from tests.drawing import draw


def test_nothing_is_overwritten_without_force(picture: Path, packed: Path) -> None:
    before = packed.read_bytes()
    assert_error(run("compress", picture, packed, *MODEL, "-q", 5), "--force")
    assert packed.read_bytes() == before
    assert run("compress", picture, packed, *MODEL, "-q", 5, "--force").exit_code == 0
    assert len(packed.read_bytes()) < len(before)


def test_a_file_that_comes_meanwhile_is_not_overwritten(
    picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes that begin together both find no file there."""
    target, before = tmp_path / "x.nc", files.check_target

    def look_and_be_overtaken(*arguments: Any) -> None:
        before(*arguments)
        target.write_bytes(b"another's")

    monkeypatch.setattr(compress, "check_target", look_and_be_overtaken)
    for hard_links in (True, False):
        if not hard_links:
            monkeypatch.setattr(os, "link", no_links)
        target.unlink(missing_ok=True)
        assert_error(run("compress", picture, target, *MODEL), "x.nc exists", "--force")
        assert target.read_bytes() == b"another's"
        assert run("compress", "--force", picture, target, *MODEL).exit_code == 0
        assert target.read_bytes() != b"another's"
    assert [path.name for path in tmp_path.glob("*.part")] == []
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(picture, photos / "x.png")
    target = tmp_path / "out" / "x.nc"
    made = run("compress", "-j", "1", "--skip-existing", photos, tmp_path / "out", *MODEL)
    assert (made.exit_code, target.read_bytes()) == (0, b"another's")
    assert "0 of 1 file, 1 skipped" in made.stderr


def no_links(*names: str) -> None:
    raise OSError(errno.EPERM, "no hard links here")


@pytest.mark.slow
def test_a_file_is_made_once_by_two_at_a_time(picture: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "neurocodec", "compress", str(picture), str(tmp_path / "x.nc"), *MODEL]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    assert sum(b"x.nc exists" in lines for lines in told) == 1


def test_the_input_is_never_the_output(picture: Path) -> None:
    before = picture.read_bytes()
    assert_error(run("compress", picture, picture, *MODEL, "--force"), "itself")
    assert picture.read_bytes() == before


def test_new_files_get_ordinary_rights(packed: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert packed.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_file_that_is_replaced_keeps_its_rights_and_its_links(picture: Path, tmp_path: Path) -> None:
    target, link = tmp_path / "private.nc", tmp_path / "link.nc"
    target.write_bytes(b"before")
    target.chmod(0o600)
    link.symlink_to("private.nc")
    assert run("compress", picture, link, *MODEL, "--force").exit_code == 0
    assert link.is_symlink()
    assert target.read_bytes().startswith(MAGIC)
    assert target.stat().st_mode & 0o777 == 0o600
    loop = tmp_path / "loop.nc"
    loop.symlink_to("loop.nc")
    assert_error(run("compress", picture, loop, *MODEL), "loop.nc exists")
    assert run("compress", "--force", picture, loop, *MODEL).exit_code == 0
    assert loop.read_bytes() == target.read_bytes()


def test_damage_never_gives_a_picture(packed: Path, tmp_path: Path) -> None:
    """Cut at every byte, every bit of the header flipped, 200 bits of the payload."""
    data = packed.read_bytes()
    rng = random.Random(0)
    header = 19  # bytes: fixed fields, fingerprint, sizes
    flips = [*range(8 * header), *(rng.randrange(8 * header, 8 * len(data)) for _ in range(200))]
    cases = [data[:n] for n in range(len(data))]
    for bit in flips:
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        cases.append(bytes(damaged))
    broken, out = tmp_path / "broken.nc", tmp_path / "out.png"
    for case in cases:
        broken.write_bytes(case)
        assert_error(run("decompress", broken, out, *MODEL), "broken.nc")
        assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.nc", "in.nc", "in.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(picture: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "neurocodec", "compress", str(picture), "-", *MODEL]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    Image.fromarray(draw("shapes", 20, 20)).save(tmp_path / "x.png")
    result = CliRunner().invoke(main, ["compress", "-f", str(tmp_path / "x.png"), str(tmp_path / "pipe")])
    assert (result.exit_code, "is a device or a pipe" in result.output) == (1, True)
    assert (tmp_path / "pipe").is_fifo()
    result = CliRunner().invoke(main, ["compress", str(tmp_path / "x.png"), ""])
    assert (result.exit_code, "the output is empty" in result.output) == (1, True)
