"""The eight ways to lay down a square, and back."""

from __future__ import annotations

from torch import Tensor

TURNS = 8


def turn(x: Tensor, way: int) -> Tensor:
    """(H, W, C), rotated by way % 4 quarters, and mirrored if way is 4 to 7."""
    turned = x.rot90(way % 4, (0, 1))
    return turned.flip(1) if way >= 4 else turned


def turn_back(x: Tensor, way: int) -> Tensor:
    """The inverse of :func:`turn`."""
    return (x.flip(1) if way >= 4 else x).rot90(-(way % 4), (0, 1))
