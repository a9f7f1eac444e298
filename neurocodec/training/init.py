"""A start that already is a transform codec: the Karhunen-Loeve transform of the training pictures.

With random weights the first thousand steps are spent on finding a decorrelating transform. Residual
blocks start near identity, so the networks start as their linear layers; here those layers become
the KLT of 8x8 patches, then of 2x2 groups of them, with the first gains at the step sizes that
lambda asks for at high rate. Features carry the square root of their scale, so that weak ones
are still seen by the blocks.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from neurocodec.layers import space_to_depth
from neurocodec.networks import Networks
from neurocodec.training.recipe import MSE


@torch.no_grad()
def klt_init(networks: Networks, pictures: Tensor) -> None:
    """Set the linear path of g_a and g_s from pictures (N, H, W, 3) in [0, 1], sides multiples of 16."""
    c, g_a, g_s = networks.config, networks.g_a, networks.g_s
    patches = space_to_depth(pictures - 0.5, 8)  # (N, H/8, W/8, 192)
    basis_8, scale_8 = klt(patches, c.width_8)
    coefficients = space_to_depth((patches @ basis_8) * scale_8, 2)  # (N, H/16, W/16, 4 * width_8)
    # The second KLT is taken of unscaled coefficients, so that it keeps what carries pixel energy.
    unscale = (1 / scale_8).repeat(4)
    basis_16, scale_16 = klt(coefficients * unscale, c.width_16)
    g_a.enter.weight.copy_((basis_8 * scale_8).T)
    g_a.down.weight.copy_(((basis_16 * scale_16).T) * unscale)
    g_s.up.weight.copy_((basis_16 / scale_16) * unscale.reciprocal()[:, None])
    g_s.leave.weight.copy_(basis_8 / scale_8)
    eye = torch.eye(c.latents, c.width_16)
    g_a.leave.weight.copy_(eye / scale_16)
    g_s.enter.weight.copy_(eye.T * scale_16[:, None])
    steps = first_steps(c.anchors)
    g_a.log_gain.table.copy_(-steps.log()[:, None].expand(-1, c.latents))
    g_s.log_inverse_gain.table.copy_(steps.log()[:, None].expand(-1, c.latents))


def first_steps(anchors: int) -> Tensor:
    """The quantization step of an orthonormal coefficient at each anchor, (A,), in pixels of [0, 1]:
    what lambda asks for at high rate."""
    return 5.1 / (255 * MSE.multiplier(torch.arange(anchors).float(), anchors).sqrt())


def klt(x: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """x (..., D) -> the leading `keep` eigenvectors (D, keep) and their half-whitening scales."""
    rows = x.reshape(-1, x.shape[-1]).double().numpy()
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    order = np.argsort(values)[::-1][:keep]
    deviation = torch.from_numpy(np.sqrt(np.maximum(values[order], 1e-12)))
    scale = (deviation + 0.01).rsqrt()
    return torch.from_numpy(vectors[:, order].copy()).float(), scale.float() / math.sqrt(2)
