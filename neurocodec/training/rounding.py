"""Rounding a trained prior to the integers of the exact path (``fixedpoint``).

The further a layer's inputs may reach, the fewer bits are left for its weights. Each layer gets the reach with which
it errs least on what it really sees.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurocodec.catalogue import EXACT_PARTS
from neurocodec.errors import WeightsError
from neurocodec.fixedpoint import EXACT_BITS, REACHES, SHIFTS, UNIT, largest_sums, parts_of, units_of
from neurocodec.layers import Depthwise, Pointwise
from neurocodec.model import pad
from neurocodec.prior import Join, QualityTable
from neurocodec.training.objective import TrainingModel

USUAL_REACH = 13  # where nobody looked how large the inputs of a layer are
ROWS = 16_384  # positions that a layer is judged on
CANDIDATES = range(8, REACHES[-1] + 1)


def to_integers(module: nn.Module, reaches: Mapping[str, Sequence[int]] | None = None) -> dict[str, Tensor]:
    """The parameters of a float prior, rounded to what the exact path will use, as int32.

    reaches: where inputs are clamped, as powers of two of units, by layer (of each part of a ``Join``'s input);
    without them, USUAL_REACH. Raises WeightsError when weights are too large for the smallest shift.
    """
    integers: dict[str, Tensor] = {}
    for name, leaf in module.named_modules():
        if isinstance(leaf, Pointwise | Depthwise):
            reach = (reaches or {}).get(name, [USUAL_REACH] * len(units_of(leaf)))
            weights, bias, shifts = rounded_layer(
                leaf, leaf.weight.detach().double(), leaf.bias.detach().double(), reach
            )
            if min(int(shift.min()) for shift in shifts) < 0:
                raise WeightsError(f"the weights of the exact layer {name} are too large.")
            integers[f"{name}.weight"] = torch.cat(weights, dim=1).view(leaf.weight.shape)
            integers[f"{name}.bias"] = bias
            integers[f"{name}.shift"] = torch.stack(shifts)
            integers[f"{name}.reach"] = torch.tensor(reach, dtype=torch.int32)
        elif isinstance(leaf, QualityTable):
            integers[f"{name}.table"] = (leaf.table.detach().double() * UNIT).round().int()
    return integers


def rounded_layer(
    leaf: nn.Module, weight: Tensor, bias: Tensor, reaches: Sequence[int]
) -> tuple[list[Tensor], Tensor, list[Tensor]]:
    """The integers of a layer's weight, for each part of its input (C_out, terms), and of its bias (C_out,), which
    is added to the first, and the shifts (C_out,) of each."""
    rounded = [
        rounded_part(part, bias * UNIT if i == 0 else 0 * bias, reach)
        for i, (part, reach) in enumerate(zip(parts_of(leaf, weight), reaches, strict=True))
    ]
    weights, biases, shifts = zip(*rounded, strict=True)
    return list(weights), biases[0], list(shifts)


def rounded_part(weight: Tensor, bias: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (C_out, terms) and biases (C_out,) in units, float64, as integers, each row with the largest shift
    that its sums allow, and these shifts; -1 where none does."""
    # Of all shifts at once: a run on a GPU does this at every step.
    candidates = torch.arange(SHIFTS.start, SHIFTS.stop, device=bias.device)
    finer = torch.exp2(candidates.to(weight.dtype))[:, None]  # (S, 1)
    sums = largest_sums((weight * finer[:, :, None]).round(), (bias * finer).round(), reach)
    fitting = torch.where(sums < 1 << EXACT_BITS, candidates[:, None], -1)
    shifts = fitting.amax(0).int()
    steps = torch.exp2(shifts.double())
    return (weight * steps[:, None]).round().int(), (bias * steps).round().int(), shifts


def best_reaches(model: TrainingModel, pictures: Sequence[Tensor]) -> dict[str, tuple[int, ...]]:
    """The reach (a power of two) of each part of each layer's input, by the layer's name in ``model.networks``, judged
    on pictures (H, W, 3) uint8 at the lowest, a middling and the highest quality."""
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


@torch.no_grad()
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
    """About ROWS positions (N, C_in) of each part of each layer's input."""
    top = model.networks.config.anchors - 1
    each = -(-ROWS // (3 * len(pictures)))
    rows: dict[str, list[list[Tensor]]] = {name: [] for name in layers}
    generator = torch.Generator().manual_seed(0)

    def watch(name: str, layer: nn.Module) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            (x,) = inputs
            places = torch.randint(x.shape[:3].numel(), (each,), generator=generator)
            seen = x.detach().reshape(-1, x.shape[-1])[places]
            sizes = layer.sizes if isinstance(layer, Join) else [seen.shape[1]]
            rows[name].append(list(torch.split(seen, sizes, dim=1)))

        return look

    hooks = [layer.register_forward_pre_hook(watch(name, layer)) for name, layer in layers.items()]
    try:
        for picture in pictures:
            x = pad(picture[None].float() / 255)
            for t in (0.0, top / 2, float(top)):
                with torch.enable_grad():  # without it a block does not call its last layers by themselves
                    model(x, torch.tensor([t]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: [torch.cat(x) for x in zip(*calls, strict=True)] for name, calls in rows.items()}
