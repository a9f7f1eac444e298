"""Run a network window by window: memory is bounded by the window, and the result is the same.

Convolutions with stride are translation-equivariant on the 64-pixel grid, so a window with a halo as
wide as the receptive field gives what the whole picture would give. On the exact path it is the
same to the bit; in float it is the same up to the order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

Span = tuple[int, int]


def sweep(
    network: Callable[..., tuple[Tensor, ...]],
    inputs: Sequence[tuple[Tensor, int]],
    units: Sequence[int],
    size: int,
    halo: int,
) -> tuple[Tensor, ...]:
    """Apply a network to windows of the inputs and put the outputs together.

    inputs are (tensor (1, h * unit, w * unit, C), unit): unit positions per 64 pixels of picture.
    units are those of the outputs. size and halo are in units of 64 pixels. Outputs keep the dtype
    that the network returns, and the device of the first input.
    """
    first, unit = inputs[0]
    height, width = first.shape[1] // unit, first.shape[2] // unit
    outputs: list[Tensor] = []
    for rows in spans(height, size):
        for columns in spans(width, size):
            outer_rows = grow(rows, halo, height)
            outer_columns = grow(columns, halo, width)
            results = network(*(cut(x, u, outer_rows, outer_columns) for x, u in inputs))
            if len(results) != len(units):
                raise ValueError(f"{len(results)} outputs for {len(units)} units")
            if not outputs:
                outputs = [
                    torch.empty((1, height * u, width * u, y.shape[3]), dtype=y.dtype, device=first.device)
                    for y, u in zip(results, units, strict=True)
                ]
            inner_rows = (rows[0] - outer_rows[0], rows[1] - outer_rows[0])
            inner_columns = (columns[0] - outer_columns[0], columns[1] - outer_columns[0])
            for whole, y, u in zip(outputs, results, units, strict=True):
                cut(whole, u, rows, columns).copy_(cut(y, u, inner_rows, inner_columns))
    return tuple(outputs)


def spans(length: int, size: int) -> Iterator[Span]:
    """A length in pieces of a size, the last one shorter."""
    for start in range(0, length, size):
        yield start, min(start + size, length)


def grow(span: Span, halo: int, length: int) -> Span:
    """A span with its halo."""
    # Never beyond the picture: there the network's own zero padding is what the whole would see.
    return max(span[0] - halo, 0), min(span[1] + halo, length)


def cut(x: Tensor, unit: int, rows: Span, columns: Span) -> Tensor:
    """The view of a window of x (B, h * unit, w * unit, C)."""
    return x[:, rows[0] * unit : rows[1] * unit, columns[0] * unit : columns[1] * unit]
