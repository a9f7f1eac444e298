"""python -m benchmarks.beta PICTURES --valid FOLDER --out OUT: what beta does to the autoencoder, on small runs.

The same small model is trained several times, each time with another weight of the rate in what the analysis
learns. With 0 it is a plain autoencoder: nothing keeps its latents cheap, and the prior, which is trained all the
same, says what they cost. With 1 it is the codec. With much more the posterior collapses: latents stop saying
anything, one channel after the other. OUT gets beta.json and beta.svg.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import machine
from benchmarks.plots import COLOURS, MARKERS
from neurocodec.model import pad
from neurocodec.networks import Config
from neurocodec.training.data import load_folder
from neurocodec.training.loop import train
from neurocodec.training.objective import TrainingModel
from neurocodec.training.run import Settings, read_checkpoint
from neurocodec.training.validation import validate

SMALL = Config(64, 96, 96, 48, 24, 64, (1, 1), (1, 1), 4)
ACTIVE = 0.01  # share of a channel's rounded latents that are not 0
SIDE = 256  # pixels: held-out pictures are cropped to this in the middle


@dataclass(frozen=True)
class Result:
    """A model that was trained with a beta."""

    beta: float
    anchors: list[dict[str, float]]  # rate and distortion, as validation.csv has them
    active: list[float]  # share of the latents' channels that say something, at each anchor


@click.command()
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--valid", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--betas", default="0,0.1,1,10,100,10000", show_default=True)
@click.option("--steps", default=600, show_default=True, help="Of each run.")
def main(pictures: Path, valid: Path, out: Path, betas: str, steps: int) -> None:
    """Train a small model with each beta, and plot what its latents cost and are good for."""
    held_out = [middle(p) for p in load_folder(valid, SIDE, torch.device("cpu"))]
    results = []
    for beta in (float(v) for v in betas.split(",")):
        results.append(measure(pictures, held_out, beta, steps))
        row = results[-1].anchors[-1]
        print(f"beta {beta:g}: {row['bpp']:.3f} bpp, {row['psnr']:.2f} dB, {results[-1].active[-1]:.0%} of channels")
    out.mkdir(parents=True, exist_ok=True)
    found = {"machine": machine.describe(), "steps": steps, "results": [asdict(r) for r in results]}
    (out / "beta.json").write_text(json.dumps(found, indent=1) + "\n")
    with mpl.rc_context({"svg.hashsalt": "neurocodec", "svg.fonttype": "none"}):
        draw(results).savefig(out / "beta.svg", metadata={"Date": None})


def measure(pictures: Path, held_out: Sequence[Tensor], beta: float, steps: int) -> Result:
    """Train the small model and try it on held-out pictures (H, W, 3) uint8."""
    settings = Settings(tune="psnr", steps=steps, batch=4, patch=192, average=min(200, steps), beta=beta)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        train(pictures, run, settings, device=torch.device("cpu"), config=SMALL, report=lambda line: None)
        model = TrainingModel(SMALL).eval()
        model.load_state_dict(read_checkpoint(run)["average"])
    return Result(beta, validate(model, held_out), active_channels(model, held_out))


@torch.no_grad()
def active_channels(model: TrainingModel, pictures: Sequence[Tensor]) -> list[float]:
    """The share of y's channels that are not all but always 0 when rounded, at each anchor."""
    shares = []
    for anchor in range(model.networks.config.anchors):
        t = torch.tensor([float(anchor)])
        y = torch.cat([model.networks.g_a(pad(p[None].float() / 255), t).round().flatten(0, 2) for p in pictures])
        spread = (y != y.median(0).values).float().mean(0)
        shares.append(float((spread > ACTIVE).float().mean()))
    return shares


def middle(picture: Tensor) -> Tensor:
    """The SIDE x SIDE pixels in the middle of a picture (H, W, 3)."""
    top, left = (picture.shape[0] - SIDE) // 2, (picture.shape[1] - SIDE) // 2
    return picture[top : top + SIDE, left : left + SIDE].contiguous()


def draw(results: Sequence[Result]) -> Figure:
    """Left: distortion over rate, a curve for each beta. Right: the share of channels in use."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    curves, channels = figure.subplots(1, 2)
    for result, colour, marker in zip(results, COLOURS, MARKERS, strict=False):
        rates = [max(row["bpp"], 1e-4) for row in result.anchors]
        label = f"β = {result.beta:g}"
        curves.plot(rates, [row["psnr"] for row in result.anchors], color=colour, marker=marker, label=label)
        lambdas = range(len(result.active))
        channels.plot(lambdas, [100 * v for v in result.active], color=colour, marker=marker, label=label)
    curves.set_xscale("log")
    curves.set_xlabel("rate: bits per pixel that the prior asks for the latents")
    curves.set_ylabel("PSNR in dB")
    curves.legend()
    channels.set_xlabel("quality anchor (λ rises to the right)")
    channels.set_xticks(range(len(results[0].active)))
    channels.set_ylabel("channels of y that say something, %")
    channels.set_ylim(-3, 103)
    for axes in (curves, channels):
        axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    main()
