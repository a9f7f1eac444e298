"""What a process may run into: interrupts at any time, streams that are closed, memory that is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import assert_sentence, names
from tests.drawing import draw
from tests.golden.make import TINY


def test_streams_that_are_closed(here: Path) -> None:
    for command, sentence in (("info - <&-", "standard input is closed."),):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m neurocodec {command}"], capture_output=True, text=True, check=False
        )
        assert_sentence(done, sentence)
    command = f"{sys.executable} -m neurocodec decompress in.nc - --model {TINY} >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert_sentence(done, "standard output is closed.")


def test_an_interrupt_while_the_program_is_loaded_is_a_word() -> None:
    code = """
import sys

class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "neurocodec.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
from neurocodec.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_an_interrupt_that_python_drops_comes_again() -> None:
    """What is raised while an object goes is ignored, an interrupt too."""
    code = """
import signal, sys, time
from neurocodec import __main__

signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell runs in the background ignores it

class Going:
    def __del__(self):
        raise KeyboardInterrupt

sys.unraisablehook = __main__.insist
try:
    Going()
    print("dropped")
    time.sleep(600)
except KeyboardInterrupt:
    print("came")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "dropped\ncame\n", "")


def limited(here: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A program that may not have much more memory than torch itself takes."""
    limit = "import resource, torch, neurocodec.cli\n" + code
    return subprocess.run([sys.executable, "-c", limit], cwd=here, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of the memory of a process is Linux's")
def test_memory_that_is_missing_is_a_sentence_and_the_other_pictures_are_done(here: Path) -> None:
    (here / "large").mkdir()
    Image.new("RGB", (7000, 7000)).save(here / "large" / "huge.png", compress_level=1)
    Image.fromarray(draw("shapes", 40, 40)).save(here / "large" / "small.png")
    done = limited(
        here,
        f"""
import os
with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
resource.setrlimit(resource.RLIMIT_AS, (now + 500_000_000,) * 2)
torch.set_num_threads(1)
neurocodec.cli.main(["compress", "-j", "1", "large", "out", "--model", {str(TINY)!r}])
""",
    )
    assert done.returncode == 1
    assert "Error: large/huge.png: not enough memory for this picture" in done.stderr
    assert "1 of 2 files" in done.stderr
    assert names(here / "out") == ["small.nc"]
