"""What a model is optimised for: rate + lambda * distortion, which is -ELBO of the VAE up to constants.

Training minimises it over networks, and refinement over the latents of one picture. It travels with
the weights, so that refinement pulls where training pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from neurocodec import ssimulacra2_loss
from neurocodec.ms_ssim import SMALLEST, ms_ssim
from neurocodec.ssimulacra2_loss import ssimulacra2_error

COARSE = 8  # pixels: the side of the blocks whose means are held


class Distortion(NamedTuple):
    """A distortion and its parts, each (B,). A part is None if the objective gives it no weight."""

    total: Tensor
    mse: Tensor  # 255^2 MSE
    dissimilarity: Tensor | None  # 1 - MS-SSIM
    ssimulacra2: Tensor | None  # error whose power gives the score


@dataclass(frozen=True)
class Objective:
    """Rate plus lambda(t) times a weighted sum of distortions.

    The distortions are 255^2 MSE, 1 - MS-SSIM, 255^2 MSE of the means of 8x8 blocks, and the error of SSIMULACRA 2.
    MS-SSIM hardly notices a flat area that changes colour, but people do. The means of blocks prevent such a change.
    """

    lambdas: tuple[float, float]  # at the first anchor and at the last
    mse: float
    ms_ssim: float
    coarse: float = 0.0
    ssimulacra2: float = 0.0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Objective:
        """An objective of its fields as JSON holds them. Raises TypeError, ValueError."""
        low, high = (float(v) for v in fields["lambdas"])
        later = (float(fields.get(name, 0.0)) for name in ("coarse", "ssimulacra2"))
        weights = (float(fields["mse"]), float(fields["ms_ssim"]), *later)
        found = cls((low, high), *weights)
        if not (0 < low < high and min(weights) >= 0):
            raise ValueError(f"{found} is not an objective")
        return found

    @property
    def smallest(self) -> int:
        """Return the shortest side of a picture that the objective can judge, in pixels."""
        sides = [1]
        if self.ms_ssim:
            sides.append(SMALLEST)
        if self.ssimulacra2:
            sides.append(ssimulacra2_loss.SMALLEST)
        return max(sides)

    def multiplier(self, t: Tensor, anchors: int) -> Tensor:
        """lambda at quality positions t (B,) in [0, anchors - 1]: log-spaced between the anchors."""
        low, high = self.lambdas
        return low * (high / low) ** (t / (anchors - 1))

    def distortion(self, x_hat: Tensor, x: Tensor) -> Distortion:
        """Compute the distortion of x_hat against x, both (B, H, W, 3) in [0, 1].

        Both are float32, because MS-SSIM and SSIMULACRA 2 subtract squares.
        """
        difference = x_hat - x
        mse = 255**2 * difference.square().mean((1, 2, 3))
        total = self.mse * mse
        if self.coarse:
            means = F.avg_pool2d(difference.permute(0, 3, 1, 2), COARSE)
            total = total + self.coarse * 255**2 * means.square().mean((1, 2, 3))
        dissimilarity = error = None
        if self.ms_ssim:
            decoded, original = (v.permute(0, 3, 1, 2) for v in (x_hat, x))
            dissimilarity = 1 - ms_ssim(decoded, original)
            total = total + self.ms_ssim * dissimilarity
        if self.ssimulacra2:
            error = ssimulacra2_error(x_hat, x)
            total = total + self.ssimulacra2 * error
        return Distortion(total, mse, dissimilarity, error)
