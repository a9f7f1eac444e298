"""Running the commands: through click's runner, and as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result
from PIL import Image

from neurocodec.cli import main
from tests.golden.make import TINY

PATIENCE = 600  # seconds; long enough for a slow test, so that only one that hangs is ended
MODEL = ["--model", str(TINY)]


def run(*arguments: str | Path | float, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def process(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "neurocodec", *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=PATIENCE)


def opened(path: Path) -> Image.Image:
    """The picture in a file, whole in memory and the file closed."""
    with Image.open(path) as image:
        image.load()
        return image.copy()


def assert_error(result: Result, *words: str) -> None:
    """One sentence on standard error, nothing on standard output, exit code 1."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def assert_sentence(done: subprocess.CompletedProcess[str], sentence: str) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {sentence}\n")
