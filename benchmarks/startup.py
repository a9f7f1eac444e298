"""python -m benchmarks.startup IMAGE: what a whole process costs over importing torch.

Each round runs `python -c "import torch"`, a process that loads the model too, a whole `neurocodec compress` and a
whole `neurocodec decompress`, one after the other, so that drift of the machine's speed hits all alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import machine

LOAD = "import sys, torch; from neurocodec import weights; weights.load(sys.argv[1], torch.device('cpu'))"


@click.command()
@click.argument("image", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="visual", show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(image: Path, model: str, rounds: int) -> None:
    """Time whole processes on one picture."""
    print(machine.describe())
    seconds: dict[str, list[float]] = {"import torch": []}
    private = ["--model", model] if model.endswith(".safetensors") else []
    with tempfile.TemporaryDirectory() as folder:
        packed, decoded = str(Path(folder) / "x.nc"), str(Path(folder) / "x.png")
        program = [sys.executable, "-m", "neurocodec"]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "and load the model": [sys.executable, "-c", LOAD, model],
            "compress": [*program, "compress", str(image), packed, "--force", "--quiet", "--model", model],
            "decompress": [*program, "decompress", packed, decoded, "--force", "--quiet", *private],
            "info": [*program, "info", packed],
            "--help": [*program, "--help"],
        }
        for _ in range(rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                seconds.setdefault(name, []).append(time.perf_counter() - start)
    for name, values in seconds.items():
        over = statistics.median(v - t for v, t in zip(values, seconds["import torch"], strict=True))
        print(f"{name:>18}: median {statistics.median(values):.2f} s, over import torch {over:+.2f} s")


if __name__ == "__main__":
    main()
