"""What a model is optimised for: rate + lambda * distortion, which is -ELBO of the VAE up to constants.

Training minimises it over networks, and refinement over the latents of one picture. It travels with
the weights, so that refinement pulls where training pulled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from neurocodec.ms_ssim import SMALLEST, ms_ssim

COARSE = 8  # pixels: the side of the blocks whose means are held


@dataclass(frozen=True)
class Objective:
    """bits per pixel + lambda(t) * (mse * 255^2 MSE + ms_ssim * (1 - MS-SSIM) + coarse * 255^2 MSE of 8x8 means).

    MS-SSIM hardly minds when a flat area changes colour, and people do: the last term holds it.
    """

    lambdas: tuple[float, float]  # at the first anchor and at the last
    mse: float
    ms_ssim: float
    coarse: float = 0.0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Objective:
        """An objective of its fields as JSON holds them. Raises TypeError, ValueError."""
        low, high = (float(v) for v in fields["lambdas"])
        weights = (float(fields["mse"]), float(fields["ms_ssim"]), float(fields.get("coarse", 0.0)))
        found = cls((low, high), *weights)
        if not (0 < low < high and min(weights) >= 0):
            raise ValueError(f"{found} is not an objective")
        return found

    @property
    def smallest(self) -> int:
        """The shortest side of a picture that it can judge, in pixels."""
        return SMALLEST if self.ms_ssim else 1

    def multiplier(self, t: Tensor, anchors: int) -> Tensor:
        """lambda at quality positions t (B,) in [0, anchors - 1]: log-spaced between the anchors."""
        low, high = self.lambdas
        return low * (high / low) ** (t / (anchors - 1))

    def distortion(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """x_hat, x (B, H, W, 3) in [0, 1] -> the distortion (B,), 255^2 MSE (B,), and 1 - MS-SSIM (B,)
        where the objective has a share of it. In float32: MS-SSIM subtracts squares."""
        difference = x_hat - x
        mse = 255**2 * difference.square().mean((1, 2, 3))
        total = self.mse * mse
        if self.coarse:
            means = F.avg_pool2d(difference.permute(0, 3, 1, 2), COARSE)
            total = total + self.coarse * 255**2 * means.square().mean((1, 2, 3))
        if not self.ms_ssim:
            return total, mse, None
        decoded, original = (v.permute(0, 3, 1, 2) for v in (x_hat, x))
        dissimilarity = 1 - ms_ssim(decoded, original)
        return total + self.ms_ssim * dissimilarity, mse, dissimilarity
