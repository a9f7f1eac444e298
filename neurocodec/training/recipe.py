"""What a run does, phase by phase: steps, learning rates and the distortion of each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from neurocodec.errors import TrainingError
from neurocodec.objective import Objective


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss: warm-up, constant, then a cosine to two percent."""

    name: str
    share: float  # of the run's steps
    rate: float  # peak learning rate
    objective: Objective
    warm_up: int = 200  # steps
    constant: float = 0.5  # share of the phase before the cosine starts
    denoise: bool = False  # the encoder sees corrupted pictures, and only it learns
    lean: float = 1.0  # exponent of the positions drawn in the quality range: below 1 the high qualities are drawn more

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate at a step of this phase, which lasts the given steps."""
        if step < self.warm_up:
            return self.rate * (step + 1) / self.warm_up
        decay = max(0.0, step / steps - self.constant) / max(1 - self.constant, 1e-9)
        return self.rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(decay, 1.0))))


# lambda of the first anchor and of the last, on 255^2 MSE
LAMBDAS = {"visual": (0.0002, 0.0002 * 1250 ** (9 / 7)), "psnr": (0.0002, 0.4)}
ANCHORS = {"visual": 10}  # number of trained qualities, if not the default
MSSSIM_PER_MSE = 2000.0  # weight of 1 - MS-SSIM that spends about the bits of 255^2 MSE
PLAIN = Objective(LAMBDAS["visual"], mse=1.0, ms_ssim=0.0)
LOOKS = Objective(LAMBDAS["visual"], mse=0.35, ms_ssim=0.08 * MSSSIM_PER_MSE, coarse=0.5, ssimulacra2=1.6)
MSE = Objective(LAMBDAS["psnr"], mse=1.0, ms_ssim=0.0)

TUNES: dict[str, tuple[Phase, ...]] = {
    "visual": (
        Phase("mse", 0.3, 1e-3, PLAIN, constant=1.0),
        Phase("looks", 0.7, 3e-4, LOOKS, constant=0.35, lean=0.7),
    ),
    "psnr": (Phase("mse", 1.0, 1e-3, MSE),),
    # The decoder and the prior stay those of the weights file it starts from: they decode its files.
    "restore": (Phase("restore", 1.0, 5e-4, MSE, denoise=True, lean=0.5),),
}


def phase_at(tune: str, step: int, steps: int, trained: bool = False) -> tuple[Phase, int, int]:
    """The phase that a step of a run falls in, the step within it, and the phase's length.

    A run that started from trained weights is all in the last phase.
    """
    if tune not in TUNES:
        raise TrainingError(f"tune {tune!r} is not known: use one of {', '.join(TUNES)}.")
    if trained:
        return TUNES[tune][-1], step, steps
    start = 0
    for phase in TUNES[tune]:
        length = round(phase.share * steps)
        if step < start + length:
            return phase, step - start, length
        start += length
    return phase, length - 1, length
