"""Output files: never the input, never overwritten unasked, whole or not there, with the rights they had."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from neurocodec.cli import main
from neurocodec.container import MAGIC
from tests.commands import MODEL, assert_error, run
from tests.drawing import draw


def test_nothing_is_overwritten_without_force(picture: Path, packed: Path) -> None:
    before = packed.read_bytes()
    assert_error(run("compress", picture, packed, *MODEL, "-q", 5), "--force")
    assert packed.read_bytes() == before
    assert run("compress", picture, packed, *MODEL, "-q", 5, "--force").exit_code == 0
    assert len(packed.read_bytes()) < len(before)


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
    assert run("compress", picture, loop, *MODEL).exit_code == 0
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
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=120)
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
