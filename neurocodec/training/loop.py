"""The training loop: resumable at any step, on a CPU, a GPU, or several under torchrun."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from neurocodec import weights
from neurocodec.errors import TrainingError
from neurocodec.networks import STRIDE, Config
from neurocodec.objective import Objective
from neurocodec.training.compiled import allow_tf32, compiled
from neurocodec.training.corruption import corrupt
from neurocodec.training.data import load_folder, random_batch
from neurocodec.training.grow import grow
from neurocodec.training.init import klt_init
from neurocodec.training.objective import DistortionFunction, TrainingModel, loss_of
from neurocodec.training.process import process_group, stop_flag, unhurried
from neurocodec.training.recipe import ANCHORS
from neurocodec.training.rounded import RoundedModel
from neurocodec.training.run import Run, Settings, averaged, read_checkpoint
from neurocodec.training.thaw import thaw

CLIP_NORM = 1.0
BAD_BATCHES = 20
GROWTH_PICTURES = 64
PARTLY = ("prior_only", "keep_synthesis", "synthesis_only")  # what learns of a model on rounded latents
TRANSFORMS = ("g_a.", "g_s.")
KEPT = ("tune", "seed", "optimizer", "beta", "rounded", "refined", *PARTLY)  # not to change in a run


def train(
    pictures: Path,
    out: Path,
    settings: Settings,
    valid: Path | None = None,
    device: torch.device | None = None,
    config: Config | None = None,
    report: Callable[[str], None] = print,
    start: Path | None = None,
) -> Path:
    """Train until settings.steps, or for settings.minutes, going on from `out` when a checkpoint is there.

    pictures and valid are folders of pictures; out receives checkpoint.pt, metrics.csv and
    validation.csv. A new run takes the weights in `start`, if given: a weights file, or the averaged ones of
    a run, of another tune, or of a smaller config (see ``grow``). Returns the checkpoint's path. Raises
    TrainingError, WeightsError, and after a Ctrl-C and the checkpoint that it makes, KeyboardInterrupt.
    """
    if settings.minutes is not None and "RANK" in os.environ:
        raise TrainingError("--minutes is for one process: give several the same --steps.")
    with process_group():
        if device is None:
            local = int(os.environ.get("LOCAL_RANK", "0"))
            device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
        state = read_checkpoint(out) if (out / "checkpoint.pt").exists() else None
        if state is not None:
            config = Config.of(state["config"])
            kept = {k: v for k, v in state["settings"].items() if k in KEPT}
            if kept != {k: v for k, v in asdict(settings).items() if k in kept}:
                raise TrainingError(f"{out} holds a run with {kept}: choose another --out for these.")
            check_depths(settings, config, out)
        check(settings, start, new=state is None)
        config = config or config_of(settings, start)
        run = Run(out, settings, config, device)
        crops = load_folder(pictures, settings.patch, device)
        held_out = load_folder(valid, settings.patch, torch.device("cpu")) if valid else []
        out.mkdir(parents=True, exist_ok=True)
        if state is not None:
            run.load(state)
            report(f"going on from step {run.step} of {run.steps}")
        else:
            sample = random_batch(crops, min(512, 4 * len(crops)), settings.patch, run.generator).cpu()
            if start is not None:
                asked = settings.analysis_blocks is not None or settings.synthesis_blocks is not None
                run.origin = start_from(run.model, start, sample[:GROWTH_PICTURES], fewer=asked)
                run.frozen = whole_file(start, run.model) if settings.rounded else None
                report(f"starting from {start}")
            else:
                klt_init(run.model.networks, sample)
            run.average.load_state_dict(run.model.state_dict())
        with stop_flag() as stopped:
            loop(run, crops, held_out, report if run.rank == 0 else lambda line: None, stopped)
    return run.checkpoint


def check(settings: Settings, start: Path | None, new: bool) -> None:
    """Raises TrainingError for settings that do not go together."""
    if settings.patch % STRIDE:
        raise TrainingError(f"--patch {settings.patch} is no multiple of {STRIDE}, as crops have to be.")
    if settings.denoises and new and start is None:
        raise TrainingError(f"--tune {settings.tune} trains an encoder for a decoder that is there: name a --start.")
    if settings.denoises and (settings.analysis_blocks or settings.synthesis_blocks):
        raise TrainingError(
            f"--tune {settings.tune} trains the encoder of the model that --start is, as deep as it is."
        )
    chosen = [f"--{name.replace('_', '-')}" for name in PARTLY if getattr(settings, name)]
    if chosen and not settings.rounded:
        raise TrainingError(f"{chosen[0]} goes with --rounded.")
    if len(chosen) > 1:
        raise TrainingError(f"{chosen[0]} does not go with {chosen[1]}.")
    if settings.synthesis_only and settings.analysis_blocks:
        raise TrainingError("--analysis-blocks does not go with --synthesis-only, for which g_a stays as it is.")
    if settings.refined and not settings.synthesis_only:
        raise TrainingError("--refined goes with --synthesis-only.")
    if not settings.rounded:
        return
    if settings.denoises or settings.beta != 1:
        raise TrainingError("--rounded goes with neither --tune restore nor --beta.")
    if new and (start is None or not start.is_file()):
        raise TrainingError("--rounded goes by the tables of a weights file: name one as --start.")


def check_depths(settings: Settings, config: Config, out: Path) -> None:
    """Raises TrainingError if a run that goes on is asked for other depths than it has."""
    for option, asked, has in (
        ("--analysis-blocks", settings.analysis_blocks, config.analysis_blocks),
        ("--synthesis-blocks", settings.synthesis_blocks, config.synthesis_blocks),
    ):
        if asked is not None and asked != has:
            raise TrainingError(f"{out} holds a run with {option} {has[0]} {has[1]}: choose another --out for these.")


def config_of(settings: Settings, start: Path | None) -> Config:
    """The architecture of a new run. Where what a file says of latents has to stay true it is the file's, and elsewhere
    today's; g_a and g_s may have other depths. Raises WeightsError."""
    config = Config(anchors=ANCHORS.get(settings.tune, Config.anchors))
    if start is not None and start.is_file() and (settings.rounded or settings.denoises):
        config = weights.load(str(start), torch.device("cpu")).codec.config
    return replace(
        config,
        analysis_blocks=settings.analysis_blocks or config.analysis_blocks,
        synthesis_blocks=settings.synthesis_blocks or config.synthesis_blocks,
    )


def whole_file(start: Path, grown: TrainingModel) -> dict[str, Tensor]:
    """A weights file's tensors, and in the place of its g_a and g_s those of a model that was grown from them. Raises
    TrainingError where the file holds only an encoder."""
    tensors = weights.read_tensors(start)
    if "y_tables.radius" not in tensors:
        raise TrainingError(f"{start} holds no tables, only an encoder: name a whole model as --start.")
    kept = {name: v for name, v in tensors.items() if not name.startswith(TRANSFORMS)}
    ours = grown.networks.state_dict()
    return kept | {name: v.cpu() for name, v in ours.items() if name.startswith(TRANSFORMS)}


def start_from(model: TrainingModel, start: Path, sample: Tensor, fewer: bool = False) -> dict[str, Any]:
    """Give a model the weights of a file, or the averaged ones of the run in a folder, grown to its config
    where that is larger (fewer: or with blocks left out) -> where they came from: the file, or the run's
    settings, step and own origin."""
    origin: dict[str, Any]
    if start.is_file():
        before = thaw(start)
        origin = {"weights": start.name}
    else:
        state = read_checkpoint(start)
        before = averaged(state)
        origin = {"settings": state["settings"], "step": state["step"], "origin": state.get("origin")}
    config = model.networks.config
    if before.networks.config != config:
        before = grow(before.eval(), config, sample, fewer)
    model.load_state_dict(before.state_dict())
    return origin


def loop(
    run: Run, crops: list[Tensor], held_out: list[Tensor], report: Callable[[str], None], stopped: Callable[[], bool]
) -> None:
    """Steps, and by the clock: a line of metrics, a checkpoint, a validation."""
    settings, anchors = run.settings, run.model.networks.config.anchors
    trained = run.taught()
    model, distortion_of = assembled(trained, run)
    sums: dict[str, Tensor] = {}
    bad = torch.zeros((), dtype=torch.long, device=run.device)  # batches in a row without a finite gradient
    count, first, started = 0, run.step, time.monotonic()
    logged = saved = validated = started
    before = run.seconds
    while run.step < run.steps and not stopped():
        phase, rate = run.phase_and_rate()
        x = random_batch(crops, settings.batch, settings.patch, run.generator)
        t = random_positions(settings.batch, anchors, run.generator, phase.lean).to(run.device, non_blocking=True)
        seen = corrupt(x, run.generator) if phase.denoise else None
        if isinstance(trained, RoundedModel):
            trained.done.fill_(run.step / run.steps)
        loss, parts = loss_of(model, x, t, phase.objective, anchors, seen, settings.beta, distortion_of)
        torch.autograd.backward(loss)
        norm = descend(run, rate)
        # One bad batch may not end a run of days: it is left out. Many in a row are a divergence.
        bad = (bad + 1) * ~torch.isfinite(norm)
        run.step += 1
        # To look is to wait for a GPU, which would stand idle while the next step is asked of it.
        if run.step % BAD_BATCHES == 0 and bad >= BAD_BATCHES:
            raise TrainingError(
                f"step {run.step}: {bad} batches in a row had no finite gradient. The last checkpoint is kept."
            )
        run.update_average()
        count += 1
        for key, value in (parts | {"norm": norm}).items():
            sums[key] = sums.get(key, torch.zeros_like(value)) + value

        now = time.monotonic()
        run.seconds = before + now - started
        if now - logged >= 60 or run.step == run.steps:
            means = {key: round(float(value) / count, 5) for key, value in sums.items()}
            pace = (now - started) / (run.step - first)
            left = pace * (run.steps - run.step) / 60
            with unhurried(report):
                append(run.folder / "metrics.csv", {"step": run.step, "phase": phase.name, "rate": rate} | means)
            shown = " ".join(f"{k} {v:.4g}" for k, v in means.items())
            report(f"step {run.step}/{run.steps} {phase.name} {shown} | {pace:.3f} s a step, {left:.0f} min left")
            sums, count, logged = {}, 0, now
        if run.rank == 0 and now - saved >= 60 * settings.checkpoint_minutes:
            with unhurried(report):
                run.save()
            saved = now
        due = now - validated >= 60 * settings.validate_minutes or run.step == run.steps
        if run.rank == 0 and held_out and due:
            for row in run.validate(held_out):
                with unhurried(report):
                    append(run.folder / "validation.csv", row)
                report(" ".join(f"{k} {v}" for k, v in row.items()))
            validated = time.monotonic()
    if run.rank == 0:
        run.save()
        report(f"checkpoint at step {run.step}: {run.checkpoint}")


def assembled(trained: nn.Module, run: Run) -> tuple[nn.Module, DistortionFunction]:
    """A model and the distortion as they are called: with all that processes and GPUs want of them."""
    model = DistributedDataParallel(trained) if dist.is_initialized() else trained
    if run.device.type != "cuda":
        return model, Objective.distortion
    # The arithmetic of files is exact, and so little of a step that float32 costs nothing.
    allow_tf32(not run.settings.rounded)
    if not run.settings.compile or run.settings.rounded:  # of which the trellis is no graph
        return model, Objective.distortion
    return compiled(model), compiled(Objective.distortion)


def descend(run: Run, rate: float) -> Tensor:
    """One step of the optimizers along the clipped gradient -> its norm before. One that is not finite counts as 0."""
    norm = nn.utils.clip_grad_norm_(run.model.parameters(), CLIP_NORM)
    for p in run.model.parameters():
        if p.grad is not None:
            p.grad.nan_to_num_(0, 0, 0)  # clipping has made all of them 0 or nan where one was not finite
    for optimizer in run.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return norm


def random_positions(batch: int, anchors: int, generator: torch.Generator, lean: float = 1.0) -> Tensor:
    """Quality positions (batch,), one from each of as many equal parts of the range, to the power of lean.

    Losses differ by quality far more than by picture: with every batch spread over the whole range
    the gradient is much less noisy than with independent draws.
    """
    parts = torch.arange(batch) + torch.rand(batch, generator=generator)
    return (parts / batch) ** lean * (anchors - 1)


def append(path: Path, row: dict[str, Any]) -> None:
    """One more line of a CSV file, with its header when the file is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
