"""The loss: rate + lambda * distortion, which is -ELBO of the VAE up to constants.

Rate is measured on latents with uniform noise (the posterior), distortion on latents rounded
straight-through (what the decoder will really see). Minnen & Singh 2020, "Channel-wise
autoregressive entropy models", section 4, measures this mix as the best of the simple ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from neurocodec.networks import Config, Networks
from neurocodec.objective import Distortion, Objective
from neurocodec.precision import autocast
from neurocodec.prior import SCALE_MIN, SCALE_OCTAVE, mask_1
from neurocodec.relaxed import bound

LEFT_ERROR = 30.0  # 255^2 MSE of a restored picture at which it counts half
DistortionFunction = Callable[..., Distortion]
TAIL_WEIGHT, TAIL_WIDTH = 3e-5, 4.0  # of the Laplacian beside the Gaussian; in (scale + 1)


class TrainingModel(nn.Module):
    """The networks, and what they are trained by.

    In training mode the rate is that of noisy latents; in eval mode it is that of rounded ones and
    rounded table numbers, which is what the entropy coder will spend.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.networks = Networks(config)

    def forward(self, x: Tensor, t: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, H, W, 3) in [0, 1], t (B,) -> x_hat, bits of y (B,), bits of z (B,).

        beta weighs what the rate asks of g_a. The prior is trained all the same: with 0 it learns what the
        latents of a plain autoencoder cost.
        """
        n = self.networks
        y_decoded = n.g_a(x, t).float()
        y = y_decoded if beta == 1 else scale_gradient(y_decoded, beta)
        z = n.h_a(y, t).float()
        z_hat = round_ste(z)
        psi = n.h_s(z_hat, t)
        first = mask_1(y)
        with torch.autocast(x.device.type, enabled=False):
            mean_z, table_z = n.hyper_context(z_hat, t)
            noisy, numbers = (add_noise(z), table_z) if self.training else (z_hat, table_z.round())
            bits_z = bits(gaussian_pmf(noisy - mean_z, numbers))
            psi = psi.float()
            mean_1, table_1 = n.context.head_1(psi)
            y_hat_1 = (round_ste(y - mean_1) + mean_1) * first
        mean_2, table_2 = n.context.head_2(n.context.features_2(psi, y_hat_1))
        with torch.autocast(x.device.type, enabled=False):
            mean = torch.where(first, mean_1, mean_2.float())
            table = torch.where(first, table_1, table_2.float())
            residual = round_ste(y_decoded - mean)
            y_hat = residual + mean
            if self.training:
                bits_y = bits(gaussian_pmf(add_noise(y) - mean, table))
            else:
                bits_y = bits(gaussian_pmf(residual, table.round()))
        return n.g_s(y_hat, t), bits_y, bits_z


def loss_of(
    model: nn.Module,
    x: Tensor,
    t: Tensor,
    objective: Objective,
    anchors: int,
    seen: Tensor | None = None,
    beta: float = 1.0,
    distortion_of: DistortionFunction = Objective.distortion,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and what it is made of (bits per pixel, MSE on 255, 1 - MS-SSIM).

    seen is what the encoder gets instead of x: the denoising autoencoder's corrupted pictures. What it is made of
    stays on the device: to read it there is to wait for all that was asked of it.
    """
    with autocast(x.device):
        x_hat, bits_y, bits_z = model(x if seen is None else seen, t, beta)
    # Everything below in float32: MS-SSIM subtracts squares, which bfloat16 turns into nan.
    pixels = x.shape[1] * x.shape[2]
    bpp = (bits_y + bits_z) / pixels
    lam = objective.multiplier(t, anchors)
    distortion, mse, dissimilarity, error = distortion_of(objective, x_hat, x)
    parts = {"bpp": bpp.mean(), "bpp_z": (bits_z / pixels).mean(), "mse": mse.mean()}
    for name, part in (("1-msssim", dissimilarity), ("ssimulacra2_error", error)):
        parts[name] = torch.full_like(bpp[0], math.nan) if part is None else part.mean()  # nan: not measured
    # High rates have large losses; undivided they would drown the low ones.
    losses = (bpp + lam * distortion) / (lam / objective.lambdas[0]) ** 0.35
    if seen is not None:  # and much noise leaves a large error whatever the encoder does
        losses = losses * (LEFT_ERROR / (mse.detach() + LEFT_ERROR))
    loss = losses.mean()
    parts["loss"] = loss
    return loss, {name: part.detach() for name, part in parts.items()}


def gaussian_pmf(v: Tensor, table: Tensor) -> Tensor:
    """P of the unit bin around v under a zero-mean Gaussian with the scale of a fractional table.

    A little of a wide Laplacian is mixed in. Far from the mean a Gaussian's mass underflows, and with
    it the gradient: a latent that once got there would cost a fortune for ever, and training
    diverges. The entropy coder has the same shape: real tables have heavy tails and an escape.
    """
    scale = SCALE_MIN * torch.exp2(bound(table) / SCALE_OCTAVE)
    distance = v.abs()
    gaussian = torch.special.ndtr((0.5 - distance) / scale) - torch.special.ndtr((-0.5 - distance) / scale)
    width = TAIL_WIDTH * (scale + 1)
    pmf: Tensor = gaussian + TAIL_WEIGHT / (2 * width) * torch.exp(-distance / width)
    return pmf


class ScaleGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


scale_gradient: Callable[[Tensor, float], Tensor] = ScaleGradient.apply


def bits(pmf: Tensor) -> Tensor:
    """(B, ...) -> (B,): minus log2 of everything that belongs to one picture."""
    return -pmf.clamp_min(1e-12).log2().flatten(1).sum(1)


def add_noise(v: Tensor) -> Tensor:
    """The reparameterised sample of the uniform posterior: v + U(-1/2, 1/2)."""
    return v + torch.rand_like(v) - 0.5


def round_ste(v: Tensor) -> Tensor:
    """Round, with the gradient of the identity."""
    return v + (v.round() - v).detach()
