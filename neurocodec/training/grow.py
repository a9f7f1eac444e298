"""Grow a trained model without losing what it knows: deeper, with larger kernels, or wider at 1/16 and in y. And take
blocks away again, with which something is lost.

New blocks add nothing at first, and a larger kernel is the old one within zeros. Where it becomes wider, the old
channels keep their weights and nothing of the new ones reaches them at first, so the model still computes what it
did. The new channels start as a linear transform codec of what the old model gets wrong at its highest quality: a
reduced-rank regression of those errors on the features at 1/8, quantized with the step that lambda asks for. Growing
after Net2Net (Chen, Goodfellow, Shlens 2016).
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from neurocodec.errors import TrainingError
from neurocodec.layers import depth_to_space, space_to_depth
from neurocodec.networks import Config, Networks, Synthesis
from neurocodec.training.init import first_steps
from neurocodec.training.objective import TrainingModel

LAST_OF_BRANCH = ("look.2.weight", "mix.1.weight")
RIDGE = 1e-3  # of the regression, in mean variances of a feature
PIXEL_NOISE = 1e-3  # variance: how far a decoder's new features may miss their direction to stay likely
QUIET = -1.25  # raw table number of a new latent: 16 - 8 * 1.25 is a standard deviation of 0.22

# The axis of y's channels in what reads or writes them; all other axes that grow are of width_16.
LATENT_AXES = {
    "g_a.leave.weight": 0,
    "g_a.leave.bias": 0,
    "g_a.log_gain.table": 1,
    "g_s.log_inverse_gain.table": 1,
    "g_s.enter.weight": 1,
    "h_a.enter.weight": 1,
    "context.join.weight": 1,
    "context.head_1.1.weight": 0,
    "context.head_1.1.bias": 0,
    "context.head_2.0.weight": 0,
    "context.head_2.0.bias": 0,
}


@torch.no_grad()
def grow(model: TrainingModel, config: Config, pictures: Tensor, fewer: bool = False) -> TrainingModel:
    """Grow a model to a config, so that its results stay the same at the qualities it already has.

    pictures (N, H, W, 3) in [0, 1], sides multiples of 64, show where the old model errs. With `fewer`, the last
    blocks may be left out, which changes the result. Only anchors, blocks, kernels, width_16 and latents may grow, the
    last two by the same even number. Raises TrainingError for any other difference.
    """
    if config.anchors > model.networks.config.anchors:
        model = add_anchors(model, config.anchors)
    old = model.networks.config
    new = config.latents - old.latents
    deep = replace(
        old, analysis_blocks=config.analysis_blocks, synthesis_blocks=config.synthesis_blocks, kernels=config.kernels
    )
    depths = zip(_depths(old), _depths(config), strict=True)
    kernels = zip(old.kernels, config.kernels, strict=True)
    possible = new >= 0 and new % 2 == 0 and all(before <= after for before, after in kernels)
    possible = possible and (fewer or all(before <= after for before, after in depths))
    if not possible or config != replace(deep, width_16=old.width_16 + new, latents=old.latents + new):
        raise TrainingError(
            f"a model of {old} cannot grow to {config}: only anchors, blocks, kernels, width_16 and latents may grow, "
            "the last two by the same even number."
        )
    if deep != old:
        model = deepen(model, deep)
    return widen(model, config, pictures) if new else model


def add_anchors(model: TrainingModel, anchors: int) -> TrainingModel:
    """Extend a model to higher qualities. Each new anchor continues the step between the last two."""
    grown = TrainingModel(replace(model.networks.config, anchors=anchors))
    before = model.state_dict()
    for name, parameter in grown.state_dict().items():
        old = before[name]
        if old.shape != parameter.shape:  # table with one row per anchor
            beyond = torch.arange(1.0, anchors - len(old) + 1)[:, None]
            old = torch.cat([old, old[-1] + beyond * (old[-1] - old[-2])])
        parameter.copy_(old)
    return grown


def _depths(config: Config) -> tuple[int, ...]:
    return (*config.analysis_blocks, *config.synthesis_blocks)


def deepen(model: TrainingModel, config: Config) -> TrainingModel:
    """A model with more blocks, behind the old ones, and larger kernels, that computes the same. Or with fewer blocks:
    the first ones."""
    grown = TrainingModel(config)
    before = model.state_dict()
    for name, parameter in grown.state_dict().items():
        if name not in before:
            if name.endswith(LAST_OF_BRANCH):
                parameter.zero_()
        elif before[name].shape == parameter.shape:
            parameter.copy_(before[name])
        else:  # a kernel, (C, 1, k, k)
            border = (parameter.shape[2] - before[name].shape[2]) // 2
            parameter.copy_(F.pad(before[name], (border, border, border, border)))
    return grown


def widen(model: TrainingModel, config: Config, pictures: Tensor) -> TrainingModel:
    """A model with more channels at 1/16 and of y, that computes the same at first."""
    old = model.networks.config
    grown = TrainingModel(config)
    before = model.state_dict()
    for name, parameter in grown.state_dict().items():
        short = name.removeprefix("networks.")
        places = [
            _latent_places(short, old, config) if LATENT_AXES.get(short) == axis else torch.arange(size)
            for axis, size in enumerate(before[name].shape)
        ]
        if len(places) == 2 and len(places[1]) < parameter.shape[1]:
            parameter[places[0]] = 0  # new inputs do not reach old outputs
        parameter[torch.meshgrid(*places, indexing="ij")] = before[name]
    start_new_channels(grown.networks, model.networks, pictures)
    return grown


def _latent_places(name: str, old: Config, config: Config) -> Tensor:
    """Where the old entries of an axis of y's channels lie in the new one: both halves grow at their end."""
    half = torch.arange(old.latents // 2)
    kept = torch.cat([half, half + config.latents // 2])
    if "head" in name:  # means, then table numbers
        return torch.cat([kept, kept + config.latents])
    if "join" in name:  # behind psi
        return torch.cat([torch.arange(config.hyper_width), kept + config.hyper_width])
    return kept


def start_new_channels(grown: Networks, before: Networks, pictures: Tensor) -> None:
    """Make the new channels a linear codec of the old networks' errors on pictures (N, H, W, 3)."""
    config, old = grown.config, before.config
    new = config.latents - old.latents
    channels = torch.arange(old.width_16, config.width_16)
    old_places = _latent_places("", old, config)
    latents = torch.tensor([i for i in range(config.latents) if i not in set(old_places.tolist())])
    top = torch.full((len(pictures),), config.anchors - 1.0)

    # Errors of the old model, (N', 768) by position at 1/16, and what g_a knows there, (N', 4 * width_8).
    y = before.g_a(pictures, top)
    errors = space_to_depth(space_to_depth(pictures - before.g_s(y.round(), top), 8), 2).flatten(0, 2)
    enter = before.g_a.enter(space_to_depth(pictures - 0.5, 8)) * before.g_a.quality_8(top).exp()
    features = space_to_depth(before.g_a.blocks_8(enter), 2).flatten(0, 2)
    features, errors = features.double(), errors.double()
    covariance = features.T @ features
    covariance += RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    predict = torch.linalg.solve(covariance, features.T @ errors)  # (4 * width_8, 768)
    _, _, directions = torch.linalg.svd(features @ predict, full_matrices=False)
    directions = directions[:new]  # (new, 768), orthonormal in pixels

    # Encoder: the coefficient of each direction, straight through the blocks' residual paths.
    grown.g_a.down.weight[channels] = (predict @ directions.T).T.float()
    _identity(grown.g_a.leave.weight, latents, channels)
    # Decoder: the direction itself, as the features that `leave` turns into these pixels.
    _identity(grown.g_s.enter.weight, channels, latents)
    # Of all such features the likeliest ones, or the blocks would meet what they never saw.
    x = depth_to_space(before.g_s.up(before.g_s.blocks_16(_enter(before.g_s, y, top))), 2)
    rows = (x * before.g_s.quality_8(top).exp()).flatten(0, 2).double()
    c = rows.T @ rows / len(rows)
    leave = before.g_s.leave.weight.double()  # (192, width_8)
    pixels = leave @ c @ leave.T
    pixels += PIXEL_NOISE * torch.eye(192)
    unleave = c @ leave.T @ torch.linalg.inv(pixels)
    patches = directions.reshape(new, 4, 192) @ unleave.T  # (new, 4, width_8)
    scale = before.g_s.quality_8(top[:1]).exp().flatten().double()
    grown.g_s.up.weight[:, channels] = (patches / scale).reshape(new, -1).T.float()

    steps = first_steps(config.anchors)[:, None]
    grown.g_a.log_gain.table[:, latents] = -steps.log()
    grown.g_s.log_inverse_gain.table[:, latents] = steps.log()
    parameters = dict(grown.named_parameters())
    for name, parameter in parameters.items():
        if "blocks_16" in name and name.endswith(LAST_OF_BRANCH):
            parameter[channels] = 0  # the branches of a block add nothing to the new channels yet
    for head in ("context.head_1.1", "context.head_2.0"):
        parameters[f"{head}.weight"][torch.cat([latents, latents + config.latents])] = 0
        parameters[f"{head}.bias"][latents + config.latents] = QUIET


def _enter(g_s: Synthesis, y: Tensor, t: Tensor) -> Tensor:
    entered: Tensor = g_s.enter(y * g_s.log_inverse_gain(t).exp()) * g_s.quality_16(t).exp()
    return entered


def _identity(weight: Tensor, rows: Tensor, columns: Tensor) -> None:
    weight[rows] = 0
    weight[rows, columns] = 1
