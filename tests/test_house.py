"""The house itself: linters, types, arrows, and what the README says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import neurocodec
from neurocodec.cli import main

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        pytest.param(["mypy"], marks=pytest.mark.slow),
        ["lint-imports"],
    ],
    ids=lambda c: c[0] + c[1][:1] if len(c) > 1 else c[0],
)
def test_checkers(command: list[str]) -> None:
    found = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
    assert found is not None, f"{command[0]} is not installed: pip install -e '.[test]'"
    done = subprocess.run([found, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def readme_commands() -> list[str]:
    """Lines of the README's console blocks that run neurocodec on the picture of its first example."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.S)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]


@pytest.mark.slow
def test_readme_commands_work(tmp_path: Path) -> None:
    """Every command of the README, in order, in one folder; those that install are left to CI."""
    environment_bin = str(Path(sys.executable).parent)
    ran = 0
    for line in readme_commands():
        if "pip install" in line or line.startswith(("git ", "cd ", "python -m benchmarks", "neurocodec train")):
            continue
        if line.startswith("neurocodec export"):
            continue
        script = f'export PATH="{environment_bin}:$PATH"\nset -e\n{line}'
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        ran += 1
    assert ran >= 4
    assert list(tmp_path.glob("*.nc"))


def test_public_names() -> None:
    for name in neurocodec.__all__:
        assert getattr(neurocodec, name) is not None
    with pytest.raises(AttributeError):
        neurocodec.no_such_name  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("group", [[], ["bulk"]])
def test_a_list_of_commands_says_in_whole_sentences_what_they_do(group: list[str]) -> None:
    help_of_them = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).stdout
    listed = help_of_them.split("Commands:\n")[1].splitlines()
    assert len(listed) >= 2
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)
