"""Walks through the latent space: from one picture to another, and along single channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from neurocodec.encoding import Pixels
from neurocodec.explore.usage import measure
from neurocodec.fixedpoint import ONE
from neurocodec.model import Codec
from neurocodec.networks import STRIDE
from neurocodec.windows import Area, grow, window, within

MOVES = (-3, -2, -1, 0, 1, 2, 3)  # standard deviations


def interpolate(codec: Codec, position: int, a: Tensor, b: Tensor, steps: int) -> Iterator[Pixels]:
    """Pictures from a to b, both (H, W, 3) uint8 of one size, along the straight line between their latents.

    The first and the last are what a file of them decodes to.
    """
    height, width = a.shape[:2]
    y_a, y_b = (measure(codec, x, position).y_hat for x in (a, b))
    for i in range(steps):
        share = i / (steps - 1)
        y = y_a * (1 - share) + y_b * share
        yield codec.synthesise(y, height, width, position).cpu().numpy()


@dataclass(frozen=True)
class Row:
    """A channel that was moved."""

    channel: int
    share: float  # of the picture's bits that the channel takes, 0 to 1
    deviation: float  # standard deviation over the picture, in quantization steps
    pictures: tuple[Pixels, ...]  # one for each of MOVES


def traverse(codec: Codec, position: int, pixels: Tensor, channels: int, side: int) -> Iterator[Row]:
    """The channels of y that take the most bits, each moved as a whole by MOVES of its standard deviations.

    pixels (H, W, 3) uint8. side: units of 64 pixels; that much of the middle of the picture is shown.
    """
    usage = measure(codec, pixels, position)
    bounds = (usage.y_hat.shape[1] // 4, usage.y_hat.shape[2] // 4)
    inner = middle(bounds, side)
    outer = grow(inner, codec.g_s_halo, bounds)
    part = window(usage.y_hat, 4, outer)
    (top, _), (left, _) = within(inner, outer)
    # What the grid adds to the picture below and to the right is cut off.
    height = min((inner[0][1] - inner[0][0]) * STRIDE, pixels.shape[0] - inner[0][0] * STRIDE)
    width = min((inner[1][1] - inner[1][0]) * STRIDE, pixels.shape[1] - inner[1][0] * STRIDE)
    for channel in usage.channels.argsort(descending=True, stable=True)[:channels].tolist():
        deviation = float(usage.y_hat[..., channel].std(correction=0)) / ONE
        shown = []
        for move in MOVES:
            moved = part.clone()
            moved[..., channel] += move * deviation * ONE
            decoded = codec.synthesise(moved, moved.shape[1] * 16, moved.shape[2] * 16, position)
            shown.append(decoded[top * STRIDE :, left * STRIDE :][:height, :width].cpu().numpy())
        share = float(usage.channels[channel]) / usage.bits if usage.bits else 0.0
        yield Row(channel, share, deviation, tuple(shown))


def shown(length: int, side: int) -> int:
    """So many pixels of a side of so many are in the middle, or less, where the grid ends behind it."""
    return min(length, side * STRIDE)


def middle(bounds: tuple[int, int], side: int) -> Area:
    """The middle of a picture, in units of 64 pixels."""
    spans = []
    for length in bounds:
        start = max((length - side) // 2, 0)
        spans.append((start, min(start + side, length)))
    return spans[0], spans[1]
