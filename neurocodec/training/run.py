"""A training run: what the user chose, its model, optimizers and averages, and the checkpoint they live in."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from neurocodec.catalogue import ENCODER_PARTS
from neurocodec.errors import TrainingError
from neurocodec.files import write_target
from neurocodec.networks import Config
from neurocodec.objective import Objective
from neurocodec.relaxed import RelaxedPrior
from neurocodec.training.objective import TrainingModel
from neurocodec.training.optimizers import make_optimizers
from neurocodec.training.quantized import quantized
from neurocodec.training.recipe import TUNES, Phase, phase_at
from neurocodec.training.rounded import RoundedModel
from neurocodec.training.synthesis import SynthesisModel
from neurocodec.training.validation import validate, validate_restoration
from neurocodec.weights import build_codec


@dataclass(frozen=True)
class Settings:
    """What the user chose; stored in the checkpoint."""

    tune: str = "visual"
    steps: int = 20_000
    batch: int = 8  # pictures per step and process
    patch: int = 256  # pixels
    optimizer: str = "adamw"
    rate: float | None = None  # peak learning rate of the last phase; None: the recipe's
    beta: float = 1.0  # weight of the rate in what g_a learns; lambda is that of the distortion
    average: int = 1000  # steps of the moving average's horizon
    seed: int = 0
    checkpoint_minutes: float = 5.0
    validate_minutes: float = 20.0
    minutes: float | None = None  # a run's length in time, instead of steps
    compile: bool = True  # on a GPU
    rounded: bool = False  # from rounded latents, by the tables of a weights file
    prior_only: bool = False  # the prior and h_a alone learn, from the rate alone
    keep_synthesis: bool = False  # g_s does not learn
    synthesis_only: bool = False  # g_s alone learns, from what files hold
    refined: float = 0.0  # the share of latents that are refined before g_s learns from them
    analysis_blocks: tuple[int, int] | None = None  # of g_a at 1/8 and at 1/16; None: as many as there are
    synthesis_blocks: tuple[int, int] | None = None  # of g_s

    @property
    def denoises(self) -> bool:
        """Whether the encoder sees corrupted pictures, and only it is trained."""
        return self.tune in TUNES and TUNES[self.tune][-1].denoise

    @property
    def encoder_learns(self) -> bool:
        """Whether g_a does: else its symbols are taken as they are, and none is drawn."""
        return not (self.prior_only or self.synthesis_only)


class Run:
    """One training run in one process: model, optimizers, averages, and the files they live in."""

    def __init__(self, folder: Path, settings: Settings, config: Config, device: torch.device):
        self.folder, self.settings, self.device = folder, settings, device
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        torch.manual_seed(settings.seed)
        self.model = TrainingModel(config).to(device)
        self.average = TrainingModel(config).to(device).eval().requires_grad_(False)
        if settings.denoises:
            self.model.requires_grad_(False)
            for part in ENCODER_PARTS:
                self.model.networks.get_submodule(part).requires_grad_(True)
        elif settings.rounded:
            self.model.requires_grad_(not settings.synthesis_only)
            self.model.networks.g_a.requires_grad_(settings.encoder_learns)
            self.model.networks.g_s.requires_grad_(not (settings.prior_only or settings.keep_synthesis))
        self.optimizers = make_optimizers(self.model, settings.optimizer)
        self.generator = torch.Generator().manual_seed(settings.seed * 1000 + self.rank)
        torch.manual_seed(settings.seed * 1000 + 500 + self.rank)
        self.step = 0
        self.seconds = 0.0  # of training, checkpoints and validation
        self.origin: dict[str, Any] | None = None  # the run whose weights this one started from
        self.frozen: dict[str, Tensor] | None = None  # the weights file whose tables a run on rounded latents goes by

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint, whole or not at all: a stop in the middle loses nothing. Raises NeurocodecError."""
        state: dict[str, Any] = {
            "config": asdict(self.model.networks.config),
            "settings": asdict(self.settings),
            "step": self.step,
            "seconds": self.seconds,
            "origin": self.origin,
            "frozen": self.frozen,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_random"] = torch.cuda.get_rng_state(self.device)
        held = io.BytesIO()
        torch.save(state, held)
        write_target(str(self.checkpoint), held.getvalue())

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. Ranks other than 0 keep the random state of their seed."""
        self.step, self.origin, self.frozen = state["step"], state.get("origin"), state.get("frozen")
        self.seconds = state.get("seconds", 0.0)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        if self.rank == 0:
            self.generator.set_state(state["generator"])
            torch.set_rng_state(state["random"])
            if "cuda_random" in state and self.device.type == "cuda":
                torch.cuda.set_rng_state(state["cuda_random"], self.device)
        else:
            self.generator.manual_seed(self.settings.seed * 1000 + self.rank + self.step)

    @property
    def steps(self) -> int:
        """The steps of the whole run; where it is as long as a time, those that it will have at its pace."""
        if self.settings.minutes is None or self.step == 0:
            return self.settings.steps
        if self.seconds >= 60 * self.settings.minutes:
            return self.step
        return max(self.step + 1, round(self.step * 60 * self.settings.minutes / self.seconds))

    def phase_and_rate(self) -> tuple[Phase, float]:
        """What the next step belongs to, and its learning rate."""
        settings = self.settings
        phase, inside, length = phase_at(settings.tune, self.step, self.steps, trained=self.origin is not None)
        rate = phase.rate_at(inside, length)
        if settings.rate is not None and phase is TUNES[settings.tune][-1]:
            rate *= settings.rate / phase.rate
        if settings.prior_only:
            phase = replace(phase, objective=Objective(phase.objective.lambdas, mse=0.0, ms_ssim=0.0))
        return phase, rate

    def taught(self) -> TrainingModel | RoundedModel | SynthesisModel:
        """The model in training, with what it learns from."""
        if not (self.settings.synthesis_only and self.frozen is not None):
            return self.measured(self.model.train())
        networks, settings = self.model.train().networks, self.settings
        codec = build_codec(networks.config, self.frozen, self.device)
        return SynthesisModel(networks, codec, TUNES[settings.tune][-1].objective, settings.refined)

    def measured(self, model: TrainingModel) -> TrainingModel | RoundedModel:
        """A model with the rates that this run is about."""
        if self.frozen is None:
            return model
        networks = model.networks
        hyper_context = quantized(networks.hyper_context, self.frozen, "hyper_context.")
        h_s = quantized(networks.h_s, self.frozen, "h_s.")
        context = quantized(networks.context, self.frozen, "context.")
        prior = RelaxedPrior(build_codec(networks.config, self.frozen, self.device), hyper_context, h_s, context)
        measured = RoundedModel(networks, prior, self.settings.prior_only)
        return measured.to(self.device).train(model.training)

    def validate(self, pictures: Sequence[Tensor]) -> list[dict[str, Any]]:
        """The averaged weights on held-out pictures: rows for validation.csv."""
        measure = validate_restoration if self.settings.denoises else validate
        return [{"step": self.step} | row for row in measure(self.measured(self.average), pictures)]

    @torch.no_grad()
    def update_average(self) -> None:
        weight = max(1 / self.settings.average, 9 / (10 + self.step))
        theirs: list[Tensor] = list(self.average.parameters())
        ours: list[Tensor] = list(self.model.parameters())
        torch._foreach_lerp_(theirs, ours, weight)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a run, on the CPU. Raises TrainingError when there is none to read."""
    path = folder / "checkpoint.pt"
    if not path.exists():
        raise TrainingError(f"{folder}: no checkpoint.pt here; `neurocodec train` makes one.")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle's, zipfile's and torch's
        reason = str(error).splitlines()[0]
        raise TrainingError(f"{path}: the checkpoint is damaged and cannot be read ({reason}).") from error
    if not (isinstance(state, dict) and {"config", "settings", "step", "model", "average"} <= state.keys()):
        raise TrainingError(f"{path}: it is no checkpoint of `neurocodec train`.")
    return state


def averaged(state: dict[str, Any]) -> TrainingModel:
    """The model that a checkpoint's averaged weights are."""
    model = TrainingModel(Config.of(state["config"]))
    model.load_state_dict(state["average"])
    return model
