"""Names of files and folders: odd ones, empty ones, and those that cannot be looked into."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.commands import MODEL, assert_error, names, run
from tests.drawing import draw


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made")
def test_names_cannot_break_lines_or_colour_them(tmp_path: Path) -> None:
    bad, spelled = "a\nb\x1b[31m", r"a\nb\x1b[31m"
    pictures, folder = tmp_path / "pictures", tmp_path / "in"
    pictures.mkdir()
    folder.mkdir()
    Image.fromarray(draw("shapes", 40, 40)).save(pictures / f"{bad}.png")
    (folder / f"{bad}.nc").write_bytes(b"x")
    packed = run("compress", pictures, tmp_path / "out", *MODEL, "--workers", "1")
    assert (packed.exit_code, names(tmp_path / "out")) == (0, [f"{bad}.nc"])
    assert f"{spelled}.png: 40x40" in packed.stderr
    whole, broken = (run("verify", place) for place in (tmp_path / "out", folder))
    assert whole.stdout.endswith(f"{spelled}.nc: whole\n")
    for result in (packed, whole, broken, run("info", folder / f"{bad}.nc"), run("info", folder / f"{bad}?")):
        assert "\x1b" not in result.output
        assert not any(line.startswith("b") for line in result.output.splitlines())
    assert any(line.startswith("Error: ") and spelled in line for line in broken.stderr.splitlines())


def test_folders_that_cannot_be_read_are_said_and_the_rest_is_done(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden folders and links to folders are said, too."""
    (here / "photos" / "no").mkdir()
    (here / "photos" / ".dot").mkdir()
    (here / "photos" / ".dot" / "y.png").write_bytes(b"x")
    (here / "photos" / "link").symlink_to(here / "photos", target_is_directory=True)
    scan = os.scandir

    def refused(path: str) -> Any:  # root may read everything
        if Path(path).name == "no":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    result = run("compress", "-r", "photos", "out", *MODEL, "--workers", "1")
    assert result.exit_code == 1
    assert names(here / "out") == ["a.nc", "b.nc", "deep/c.nc"]
    assert "photos: hidden folders and links to folders are left out: .dot, link\n" in result.stderr
    no = str(Path("photos", "no"))
    assert f"Error: {no}: cannot be read: Permission denied.\n" in result.stderr
    assert "Error: 1 of 4 files failed; --skip-existing passes over what is done.\n" in result.stderr
    result = run("verify", "-r", "out", "photos")
    assert f"Error: {no}: cannot be read: Permission denied.\n" in result.stderr
    assert result.stdout.count("whole") == 3
    assert_error(run("compress", Path("photos", "no"), "x", *MODEL), f"{no}: cannot be read")


@pytest.mark.parametrize("command", [["compress", "", "x"], ["decompress", "", "x"], ["verify", ""], ["info", ""]])
def test_an_empty_name_is_no_folder(here: Path, command: list[str]) -> None:
    before = names(here)
    assert_error(run(*command), "the name of the input is empty")
    assert names(here) == before
