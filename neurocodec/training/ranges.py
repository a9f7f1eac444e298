"""Where to clamp the inputs of the prior's layers: what rounding it to fixed point has to know.

The further a layer's inputs may reach, the fewer bits are left for its weights. Each layer gets the reach with which
it errs least on what it really sees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurocodec.catalogue import EXACT_PARTS
from neurocodec.fixedpoint import REACHES, parts_of, rounded_part, units_of
from neurocodec.layers import Depthwise, Pointwise
from neurocodec.model import pad
from neurocodec.training.objective import TrainingModel

ROWS = 16_384  # positions that a layer is judged on
CANDIDATES = range(8, REACHES[-1] + 1)


@torch.inference_mode()
def best_reaches(model: TrainingModel, pictures: Sequence[Tensor]) -> dict[str, tuple[int, ...]]:
    """The reach (a power of two) of each input of each layer of the prior, by the layer's name in ``model.networks``,
    judged on pictures (H, W, 3) uint8 at the lowest, a middling and the highest quality."""
    layers = {
        f"{part}.{name}": layer
        for part in EXACT_PARTS
        for name, layer in model.networks.get_submodule(part).named_modules()
        if isinstance(layer, Pointwise | Depthwise)
    }
    seen = inputs_of(model, pictures, layers)
    return {
        name: tuple(best(*job) for job in zip(parts_of(layer, layer.weight), seen[name], units_of(layer), strict=True))
        for name, layer in layers.items()
    }


def best(weight: Tensor, x: Tensor, unit: float) -> int:
    """The reach with which weights (C_out, terms), rounded, come closest to themselves on inputs (N, C_in).

    A depthwise layer's terms are the taps of its channels: it is judged by its middle taps' inputs alone.
    """
    wanted = product(x, weight)
    bias = torch.zeros(len(weight), dtype=torch.float64)
    errors = []
    for reach in CANDIDATES:
        integers, _, shift = rounded_part(weight.double(), bias, reach)
        limit = 2**reach / unit
        got = product(x.clamp(-limit, limit), (integers * torch.exp2(-shift.double())[:, None]).float())
        errors.append(float((got - wanted).square().mean()) if int(shift.min()) >= 0 else float("inf"))
    return CANDIDATES[errors.index(min(errors))]


def product(x: Tensor, weight: Tensor) -> Tensor:
    return x @ weight.T if x.shape[1] == weight.shape[1] else x * weight.sum(1)


def inputs_of(
    model: TrainingModel, pictures: Sequence[Tensor], layers: dict[str, Pointwise | Depthwise]
) -> dict[str, list[Tensor]]:
    """About ROWS positions (N, C_in) of each input of each layer."""
    top = model.networks.config.anchors - 1
    each = -(-ROWS // (3 * len(pictures)))
    rows: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
    generator = torch.Generator().manual_seed(0)

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            places = torch.randint(inputs[0].shape[:3].numel(), (each,), generator=generator)
            rows[name].append([x.reshape(-1, x.shape[-1])[places] for x in inputs])

        return look

    hooks = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        for picture in pictures:
            x = pad(picture[None].float() / 255)
            for t in (0.0, top / 2, float(top)):
                model(x, torch.tensor([t]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: [torch.cat(x) for x in zip(*calls, strict=True)] for name, calls in rows.items()}
