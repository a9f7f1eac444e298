"""Peak memory of a codec: a fresh process that encodes one picture, and another that decodes it.

`python -m benchmarks.alone ORDER` is that process; ORDER is JSON, and it prints a number of bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import codecs
from benchmarks.codecs.base import Pixels


def peaks(name: str, setting: float, pixels: Pixels, threads: int, folder: Path) -> tuple[int, int]:
    """Bytes of resident memory at most, of the process that encodes and of the one that decodes.

    Python, numpy and Pillow are in it (about 45 MB), and torch for the codecs that need it.
    """
    picture, file = folder / "picture.npy", folder / "file"
    np.save(picture, pixels)
    found = []
    for action in ("encode", "decode"):
        order = {"action": action, "codec": name, "setting": setting, "threads": threads}
        order |= {"picture": str(picture), "file": str(file)}
        command = [sys.executable, "-m", "benchmarks.alone", json.dumps(order)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        found.append(int(done.stdout))
    return found[0], found[1]


def work(order: Mapping[str, str | float]) -> int:
    """What such a process does: -> its peak resident memory in bytes."""
    codec = codecs.make(str(order["codec"]))
    codec.use_threads(int(order["threads"]))
    file = Path(str(order["file"]))
    if order["action"] == "encode":
        file.write_bytes(codec.encode(np.load(str(order["picture"])), float(order["setting"])))
    else:
        codec.decode(file.read_bytes())
    return peak_memory()


def peak_memory() -> int:
    """The most memory that this process ever held, in bytes.

    Linux's VmHWM belongs to the program alone; ru_maxrss, the fallback, counts the parent from
    before exec too.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    print(work(json.loads(sys.argv[1])))
