"""From a weights file back to a model with gradients, so that training can go on without its checkpoint.

The transforms come back as the file holds them, in half precision, and the prior from its integers
(``fixedpoint.load_float``). Of the prior of z the file holds only tables, counted and frozen: its
mixtures are fitted to them.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from neurocodec import catalogue, weights
from neurocodec.entropy import Tables
from neurocodec.fixedpoint import load_float
from neurocodec.training.objective import FactorizedPrior, TrainingModel

FIT_STEPS, FIT_RATE = 400, 0.03


def thaw(path: Path) -> TrainingModel:
    """The model in a weights file, float and trainable. Raises WeightsError."""
    codec = weights.load(str(path), torch.device("cpu")).codec
    model = TrainingModel(codec.config)
    for name in ("g_a", "g_s", "h_a"):
        model.networks.get_submodule(name).load_state_dict(codec.networks.get_submodule(name).state_dict())
    for name in catalogue.EXACT_PARTS:
        load_float(model.networks.get_submodule(name), codec.networks.get_submodule(name))
    fit_z_prior(model.z_prior, codec.z_tables)
    return model


def fit_z_prior(prior: FactorizedPrior, tables: Tables) -> float:
    """Fit the mixtures to tables, one for each anchor and channel -> the bits that a symbol then costs beyond
    the tables' entropy, in the mean."""
    anchors, channels, mixtures = prior.logits.shape
    reach = int(tables.radius.max())
    target = torch.zeros(len(tables.radius), 2 * reach + 1)
    for i, radius in enumerate(tables.radius.tolist()):
        inside = tables.row(i)[:-1].astype(np.float32)  # escapes have no place in a mixture
        target[i, reach - radius : reach + radius + 1] = torch.from_numpy(inside / inside.sum())
    symbols = torch.arange(-reach, reach + 1.0)
    mean = target @ symbols  # (A * C,)
    deviation = ((target @ symbols.square()) - mean.square()).clamp_min(1e-4).sqrt()
    spread = torch.linspace(-1, 1, mixtures)
    with torch.no_grad():
        prior.means.copy_((mean[:, None] + deviation[:, None] * spread).view(anchors, channels, mixtures))
        # A logistic of scale s has the standard deviation s * pi / sqrt(3).
        scale = (deviation * math.sqrt(3) / math.pi * 0.6).clamp_min(0.05).log()
        prior.log_scales.copy_(scale.view(anchors, channels, 1).expand_as(prior.log_scales))
        prior.logits.zero_()
    optimizer = torch.optim.Adam(prior.parameters(), lr=FIT_RATE)
    grid = symbols[None, :, None].expand(anchors, -1, channels)
    at = torch.arange(anchors)
    wanted = target.view(anchors, channels, -1).transpose(1, 2)  # (A, symbols, C)
    entropy = -torch.xlogy(wanted, wanted).sum() / math.log(2) / len(target)
    excess = torch.tensor(math.nan)
    for _ in range(FIT_STEPS):
        excess = _bits(wanted, prior.pmf(grid, at)) / len(target) - entropy
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(excess)
        optimizer.step()
    return float(excess.detach())


def _bits(wanted: Tensor, pmf: Tensor) -> Tensor:
    return -(wanted * pmf.clamp_min(1e-9).log2()).sum()
