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
Area = tuple[Span, Span]  # rows, columns
Source = Callable[[Area], Tensor]  # gives the window (1, h * unit, w * unit, C) of an area
Report = Callable[[float], None]  # gets the share that is done, 0 to 1


def silent(done: float) -> None:
    """A report that nobody reads."""


def sweep(
    network: Callable[..., Tensor],
    sources: Sequence[Source],
    area: Area,
    bounds: tuple[int, int],
    unit: int,
    size: int,
    halo: int,
    report: Report = silent,
    crop: tuple[int, int] | None = None,
) -> Tensor:
    """Apply a network to windows of the sources and put the outputs together.

    Areas, size and halo are in units of 64 pixels, within the bounds (h, w) of the picture. The output
    is that of the area, (1, height * unit, width * unit, C) or cropped to (1, *crop, C), with the dtype and device
    that the network returns.
    """
    rows, columns = area
    height, width = crop or ((rows[1] - rows[0]) * unit, (columns[1] - columns[0]) * unit)
    whole: Tensor | None = None
    windows = list(tiles(area, size))
    for i, inner in enumerate(windows):
        outer = grow(inner, halo, bounds)
        result = network(*(source(outer) for source in sources))
        if inner == outer == area and result.shape[1:3] == (height, width):
            report(1)
            return result
        if whole is None:
            whole = torch.empty((1, height, width, result.shape[3]), dtype=result.dtype, device=result.device)
        place = window(whole, unit, within(inner, area))
        place.copy_(window(result, unit, within(inner, outer))[:, : place.shape[1], : place.shape[2]])
        report((i + 1) / len(windows))
    if whole is None:
        raise ValueError(f"the area {area} is empty")
    return whole


def tiles(area: Area, size: int) -> Iterator[Area]:
    """An area in squares of a size, in raster order; the last of a row or column are smaller."""
    (top, bottom), (left, right) = area
    for row in range(top, bottom, size):
        for column in range(left, right, size):
            yield (row, min(row + size, bottom)), (column, min(column + size, right))


def grow(area: Area, halo: int, bounds: tuple[int, int]) -> Area:
    """An area with its halo."""
    # Never beyond the picture: there the network's own zero padding is what the whole would see.
    (top, bottom), (left, right) = area
    height, width = bounds
    return (max(top - halo, 0), min(bottom + halo, height)), (max(left - halo, 0), min(right + halo, width))


def within(inner: Area, outer: Area) -> Area:
    """An area in the coordinates of one that holds it."""
    (top, left) = (outer[0][0], outer[1][0])
    return (inner[0][0] - top, inner[0][1] - top), (inner[1][0] - left, inner[1][1] - left)


def window(x: Tensor, unit: int, area: Area) -> Tensor:
    """The view of an area of x (B, h * unit, w * unit, C)."""
    (top, bottom), (left, right) = area
    return x[:, top * unit : bottom * unit, left * unit : right * unit]


def of(x: Tensor, unit: int) -> Source:
    """The windows of a tensor."""
    return lambda area: window(x, unit, area)


def part_of(report: Report, start: float, end: float) -> Report:
    """The report of a part of the work, which begins and ends at these shares of the whole."""
    return lambda done: report(start + (end - start) * done)
