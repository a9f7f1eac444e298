"""The commands of training. torch is loaded when they run, not when --help names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from neurocodec.options import Number, WholeNumber, force_option


@click.command(short_help="Train a model on a folder of pictures.")
@click.argument("pictures", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="The run's folder.")
@click.option("--valid", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Held-out pictures.")
@click.option(
    "--tune",
    type=click.Choice(["visual", "psnr", "restore"]),
    default="visual",
    show_default=True,
    help="What is optimised; restore: an encoder that takes out noise, blur and JPEG, for the decoder of --start.",
)
@click.option(
    "--start",
    type=click.Path(exists=True, path_type=Path),
    help="A weights file, or a run's folder, that a new run starts from; of any tune.",
)
@click.option("--steps", type=WholeNumber(min=1), default=20_000, show_default=True, help="Of the whole run.")
@click.option("--minutes", type=Number(min=0, min_open=True), help="Length of the whole run in time, instead of steps.")
@click.option("--batch", type=WholeNumber(min=1), default=8, show_default=True, help="Pictures a step and process.")
@click.option(
    "--patch", type=WholeNumber(min=192), default=256, show_default=True, help="Pixels a side: a multiple of 64."
)
@click.option(
    "--optimizer",
    type=click.Choice(["adamw", "soap"]),
    default="adamw",
    show_default=True,
    help="SOAP learns more from a step, and takes longer for it.",
)
@click.option(
    "--beta",
    type=Number(min=0),
    default=1.0,
    show_default=True,
    help="Weight of the rate in what the encoder learns: 0 makes a plain autoencoder, a large one collapses it.",
)
@click.option(
    "--compile/--no-compile",
    default=True,
    show_default=True,
    help="A step on a GPU: it takes minutes at first, and less time then.",
)
@click.option(
    "--rounded",
    is_flag=True,
    help="From rounded latents, with the rates that the tables of the weights file --start give them: the last phase.",
)
@click.option(
    "--prior-only",
    is_flag=True,
    help="With --rounded: only the prior and h_a learn, from the rate of the y that the encoder sends already.",
)
@click.option(
    "--keep-synthesis",
    is_flag=True,
    help="With --rounded: g_s stays as it is, and with it encoders that were trained for it, like restore.",
)
@click.option(
    "--synthesis-only", is_flag=True, help="With --rounded: only g_s learns, from the latents that files hold already."
)
@click.option(
    "--refined",
    type=Number(min=0, max=1),
    default=0.0,
    show_default=True,
    help="With --synthesis-only: the share of latents that are refined first.",
)
@click.option(
    "--analysis-blocks",
    nargs=2,
    type=WholeNumber(min=0),
    metavar="N N",
    help="Blocks of g_a at 1/8 and at 1/16, for a new run; more than --start has are grown, fewer left out.",
)
@click.option("--synthesis-blocks", nargs=2, type=WholeNumber(min=0), metavar="N N", help="The same of g_s.")
@click.option("--rate", type=Number(min=0, min_open=True), help="Peak learning rate of the last phase.")
@click.option(
    "--average",
    type=WholeNumber(min=1),
    default=1000,
    show_default=True,
    help="Steps that weights are averaged over.",
)
@click.option(
    "--seed",
    type=WholeNumber(min=0, max=2**31 - 1),
    default=0,
    show_default=True,
    help="Of all that is drawn at random.",
)
@click.option(
    "--checkpoint-minutes", type=Number(min=0), default=5.0, show_default=True, help="Between two checkpoints."
)
@click.option(
    "--validate-minutes", type=Number(min=0), default=20.0, show_default=True, help="Between two looks at --valid."
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
def train(pictures: Path, out: Path, valid: Path | None, start: Path | None, device: str, **settings: Any) -> None:
    """Train a model on the folder PICTURES, or go on with the run that is in --out.

    Stop it at any time with Ctrl-C: it saves a checkpoint and goes on from there when it is started
    again. Under torchrun it trains on all the GPUs that torchrun gives it.

    \b
    Example:
      neurocodec train photos/ --out runs/mine --valid kodak/ --steps 40000
      neurocodec train photos/ --out runs/mine-psnr --tune psnr --start runs/mine
      neurocodec train photos/ --out runs/further --start weights/visual-35.safetensors
      neurocodec train photos/ --out runs/last --start mine.safetensors --rounded --optimizer soap --rate 5e-5
      neurocodec train photos/ --out runs/restore --tune restore --start weights/psnr-36.safetensors
      neurocodec export runs/mine --out mine.safetensors --pictures photos/
    """
    from neurocodec import api
    from neurocodec.training.loop import train as train_run
    from neurocodec.training.run import Settings

    chosen = None if device == "auto" else api.torch_device(device)
    chosen_settings = Settings(**settings)
    train_run(
        pictures, out, chosen_settings, valid, chosen, start=start, report=lambda line: click.echo(line, err=True)
    )


@click.command(short_help="Freeze a training run into a weights file.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="A .safetensors file.")
@click.option(
    "--pictures",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of training pictures, for counting symbols.",
)
@click.option(
    "--calibration",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of lossless pictures for the quality scale.  [default: reduced training pictures]",
)
@click.option(
    "--valid", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Measure the cost in bits on these."
)
@force_option
def export(
    runs: tuple[Path, ...], out: Path, pictures: Path, calibration: Path | None, valid: Path | None, force: bool
) -> None:
    """Freeze a training run into a weights file, and print what that cost in bits.

    Of several RUNS it takes the mean of their weights: of runs that went on from the same weights, that is
    often better than each. All but the first may be weights files, like the one that they started from.

    \b
    Example:
      neurocodec export runs/mine --out mine.safetensors --pictures photos/ --valid kodak/
      neurocodec export runs/mine runs/further --out mean.safetensors --pictures photos/
      neurocodec export runs/mine before.safetensors --out half-way.safetensors --pictures photos/
      neurocodec compress --model mine.safetensors photo.png photo.nc
    """
    if out.exists() and not force:
        raise click.ClickException(f"{out} exists: choose another name, or --force.")
    from neurocodec.training import export as exporting

    exporting.export(runs, out, pictures, valid, lambda line: click.echo(line, err=True), calibration)
