"""Refinement at encode time: the latents of one picture, optimised for that picture.

The encoder network guesses latents in one go, for all pictures alike. Here y and z are moved by
gradient descent on rate + lambda * distortion, with the decoder fixed; the file and the decoder know
nothing of it. Rounding is relaxed to a step that is soft at first and hard at last, and a little noise
lets latents look over the edge. That is stochastic Gumbel annealing (Yang, Bamler, Mandt 2020, "Improving
inference for neural image compression") with a third of its noise, which was most of what its gradients held.
Latents on a trellis stay unrounded meanwhile, and what it makes of them nothing foretells: before the last steps,
z and the half of y that is coded first are decided on, and the other half is moved by what that has changed.

Works window by window, so that memory is bounded by the window on pictures of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from neurocodec.fixedpoint import POSITION_BITS
from neurocodec.model import Codec, pad
from neurocodec.networks import STRIDE
from neurocodec.objective import Objective
from neurocodec.precision import autocast
from neurocodec.prior import mask_1
from neurocodec.relaxed import RelaxedPrior, Rounding, SoftRounding
from neurocodec.windows import Area, Report, Span, grow, part_of, silent, window, within

# In units of 64 pixels: what is refined at a time, at most, and what is looked at around it. Wider halos gain nothing
# more (within a hundredth of the gain, in 3 and in 30 steps), and take longer.
WINDOW, HALO = 16, 1
# A quantizer whose step is worth its bits leaves a second derivative of 12 / ln 2 = 17 bits per squared step (14 to 17
# were measured), in all channels, for training chose the steps. So a gradient says how far to go, and y goes down it.
# Adam forgets that, and needs four times the steps for as much; only beyond MANY, where noise decides, it is no worse.
# z, of which a little decides much, has Adam in any case.
RATE, LAST_RATE = 0.01, 0.3  # of the descent while rounding is softest, and the share of it that is left at the end
PACE = 1.8  # of latents on a trellis, which are not rounded meanwhile: the factor of their rate
FARTHEST = 0.5  # quantization steps that y goes at most, where a picture is unlike any other
ADAM_RATE, ADAM_LAST_RATE, BETAS = 0.02, 0.1, (0.9, 0.99)  # Adam's, in quantization steps
SHARPNESS = (2.5, 25.0)  # of the relaxed rounding, first and last
JITTER = (0.12, 0.02)  # of latents on the edge, in quantization steps, first and last
# A run of fewer steps has no time for detours: less noise, a softer end, and a gradient that leads on from there.
FEW = 20
SOFT_END, STRAIGHT = 8.0, 0.4  # the last sharpness of the shortest run, and its share of the straight gradient
MANY, HARD_END = 100, 60.0  # and a longer one than so many ends harder
DECIDED_AT = 0.8  # of the steps: when z and the first half of y are decided on
HASTE = 3.0  # the factor of the descent's rate from there on
EFFORT_STEPS = (0, 3, 6, 12, 25, 50, 100, 250, 500, 1000)  # of effort 0 to 9


@dataclass(frozen=True)
class Latents:
    """y (1, H/16, W/16, M) and z (1, H/64, W/64, Z), float, not rounded, or as ``Codec.decide`` leaves them."""

    y: Tensor
    z: Tensor
    decided: bool = False

    def window(self, area: Area) -> Latents:
        """Views of a window, in units of 64 pixels."""
        return Latents(window(self.y, 4, area), window(self.z, 1, area), self.decided)

    def clone(self) -> Latents:
        return Latents(self.y.clone(), self.z.clone(), self.decided)

    def copy_(self, other: Latents) -> None:
        self.y.copy_(other.y)
        self.z.copy_(other.z)


@dataclass(frozen=True)
class Coded:
    """What a file holds of latents: its bytes, and y_hat as :meth:`Codec.encode_latents` gives it."""

    data: bytes
    y_hat: Tensor


class Refiner:
    """The frozen model of a codec as a differentiable function of y and z."""

    def __init__(self, codec: Codec, objective: Objective) -> None:
        self.codec, self.objective, self.prior = codec, objective, RelaxedPrior.of(codec)

    def refine(self, pixels: Tensor, position: int, steps: int, report: Report = silent) -> Coded:
        """pixels (H, W, 3) uint8 -> latents that are never worse in rate + lambda * distortion than those
        of the encoder. Of pictures that are too small for the objective, they are the encoder's."""
        with torch.inference_mode():  # with the layers, and so to the bit, that effort 0 has
            y = self.codec.analyse(pixels, position)
            z = self.codec.hyper_analyse(y, position)
        plain = Latents(y, z)
        if not steps or min(pixels.shape[:2]) < self.objective.smallest:
            return self.coded(plain, position)
        refined, schedule = plain.clone(), Schedule(steps)
        free, rest = range(schedule.decided_at), range(schedule.decided_at, steps)
        self._move(refined, pixels, position, schedule, free, part_of(report, 0, len(free) / steps))
        if rest:
            self.codec.decide(refined.y, refined.z, position)
            refined = replace(refined, decided=True)
            self._move(refined, pixels, position, schedule, rest, part_of(report, len(free) / steps, 1))
        # What the file will hold decides, not the float twins. One y_hat at a time: a large picture's is half a GB.
        cost = self.value(self.coded(plain, position), pixels, position)
        found = self.coded(refined, position)
        return found if self.value(found, pixels, position) < cost else self.coded(plain, position)

    def coded(self, latents: Latents, position: int) -> Coded:
        """As a file holds them."""
        return Coded(*self.codec.encode_latents(latents.y, latents.z, position, latents.decided))

    def _move(
        self, latents: Latents, pixels: Tensor, position: int, schedule: Schedule, steps: range, report: Report
    ) -> None:
        """Some steps of a schedule in each window, in place."""
        height, width = pixels.shape[:2]
        picture = pad(pixels[None].to(self.codec.device))
        windows = list(_windows(*latents.z.shape[1:3]))
        for i, (inner, outer) in enumerate(windows):
            one = Window(self, latents.window(outer), inner, outer, picture, (height, width), position)
            best = one.refine(schedule, steps, part_of(report, i / len(windows), (i + 1) / len(windows)))
            if len(windows) > 1 and not latents.decided:  # the whole picture is compared in the end
                best = one.better(best)
            latents.window(inner).copy_(best)

    def value(self, coded: Coded, pixels: Tensor, position: int) -> float:
        """Bits per pixel + lambda * distortion of what a decoder gets, distortion as a mean over windows."""
        height, width = pixels.shape[:2]
        decoded = self.codec.synthesise(coded.y_hat, height, width, position)
        return 8 * len(coded.data) / (height * width) + self.multiplier(position) * self.distortion(decoded, pixels)

    def distortion(self, decoded: Tensor, pixels: Tensor) -> float:
        """The objective's distortion of decoded against pixels, both (H, W, 3) uint8, as a mean over windows."""
        height, width = pixels.shape[:2]
        total = 0.0
        for inner, outer in _windows(-(-height // STRIDE), -(-width // STRIDE)):
            pixel_count = _pixels(inner, height, width)
            x_hat, x = (window(v[None].to(self.codec.device), STRIDE, outer).float() / 255 for v in (decoded, pixels))
            total += pixel_count / (height * width) * float(self.objective.distortion(x_hat, x)[0])
        return total

    def multiplier(self, position: int) -> float:
        """lambda at a quality position."""
        return float(self.objective.multiplier(self.codec.t(position), self.codec.config.anchors))


class Window:
    """One window of a picture while it is refined: inside, latents move; in the halo they only stand by."""

    def __init__(
        self,
        model: Refiner,
        around: Latents,
        inner: Area,
        outer: Area,
        picture: Tensor,  # (1, H', W', 3) uint8, padded
        size: tuple[int, int],
        position: int,
    ) -> None:
        self.model, self.around = model, around.clone()
        self.inner = within(inner, outer)
        height, width = (min(span[1] * STRIDE, side) - span[0] * STRIDE for span, side in zip(outer, size, strict=True))
        self.x = window(picture, STRIDE, outer)[:, :height, :width].float() / 255
        self.t = model.codec.t(position).float()
        self.multiplier = model.multiplier(position)
        self.first_pair = model.codec.y_tables_at(position).first_pair(position, POSITION_BITS)

    def refine(self, schedule: Schedule, steps: range, report: Report) -> Latents:
        """The latents of the window after these steps of a schedule."""
        moving = self.around.window(self.inner).clone()
        fixed = mask_1(moving.y) if moving.decided else None
        y, z = moving.y.requires_grad_(True), moving.z.requires_grad_(not moving.decided)
        generator = torch.Generator(self.x.device).manual_seed(steps.start)  # the same picture gives the same file
        optimizers = [schedule.optimizer(y)]
        if not moving.decided:
            optimizers.append(torch.optim.Adam([z], betas=BETAS))
        for step in steps:
            for optimizer, rate in zip(optimizers, schedule.rates(step), strict=False):
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad(set_to_none=True)
            rounding = schedule.rounding(step, generator, self.first_pair)
            torch.autograd.backward(self.loss(self.placed(moving), rounding))
            if rounding.pairs is not None:
                schedule.pace(y, window(rounding.pairs, 4, self.inner), step)
            schedule.bound(y, step)
            if fixed is not None and y.grad is not None:
                y.grad.masked_fill_(fixed, 0.0)
            for optimizer in optimizers:
                optimizer.step()
            report((step + 1 - steps.start) / len(steps))
        return Latents(y.detach(), z.detach(), moving.decided)

    def better(self, refined: Latents) -> Latents:
        """Refined latents of the window, or those that it had, whichever are better when really rounded."""
        plain = self.around.window(self.inner)
        return refined if self.rounded_loss(refined) < self.rounded_loss(plain) else plain

    def placed(self, moving: Latents) -> Latents:
        """The window's latents within those of the halo."""
        y, z = self.around.y.clone(), self.around.z.clone()
        window(y, 4, self.inner).copy_(moving.y)
        window(z, 1, self.inner).copy_(moving.z)
        return Latents(y, z, moving.decided)

    @torch.no_grad()
    def rounded_loss(self, moving: Latents) -> float:
        return float(self.loss(self.placed(moving), Rounding()))

    def loss(self, latents: Latents, rounding: Rounding) -> Tensor:
        """Bits + lambda * distortion * pixels, of the window with its halo."""
        bits, x_hat = self.decode(latents, rounding)
        if not rounding.soft:
            x_hat = (x_hat.clamp(0, 1) * 255).round() / 255
        height, width = self.x.shape[1:3]
        return bits + self.multiplier * height * width * self.model.objective.distortion(x_hat, self.x)[0].sum()

    def decode(self, latents: Latents, rounding: Rounding) -> tuple[Tensor, Tensor]:
        """Bits of the window with its halo, and its pixels (1, H, W, 3), about [0, 1], not clamped."""
        y_hat, bits_y, bits_z = self.model.prior.decode(latents.y, latents.z, self.t, rounding)
        # What is really rounded, a graphics card decodes in full precision, as the codec does.
        with autocast(self.x.device, enabled=rounding.soft or self.x.device.type == "cpu"):
            x_hat = self.model.codec.networks.g_s(y_hat, self.t)
        height, width = self.x.shape[1:3]
        return (bits_y + bits_z).sum(), x_hat[:, :height, :width].float()


class Schedule:
    """How far y and z go, and how relaxed rounding is, at each of so many steps."""

    def __init__(self, steps: int) -> None:
        time = min(steps / FEW, 1.0)
        self.last, self.many = max(steps - 1, 1), steps > MANY
        self.decided_at = max(1, round(DECIDED_AT * steps))
        end = HARD_END if self.many else SOFT_END + (SHARPNESS[1] - SOFT_END) * time
        self.ends = SHARPNESS[0], end
        self.jitter = JITTER[0] * time, JITTER[1] * time
        self.straight = STRAIGHT * (1 - time)
        # Latents see the square of rounding's steepness as curvature, and few steps are soon at an end anyway.
        self.caution = 1 + time

    def optimizer(self, y: Tensor) -> torch.optim.Optimizer:
        """That of y."""
        return torch.optim.Adam([y], betas=BETAS) if self.many else torch.optim.SGD([y])

    def rates(self, step: int) -> tuple[float, float]:
        """Of y's optimizer (for the descent in squared quantization steps a bit) and of z's, in quantization steps."""
        cooled = (1 + math.cos(math.pi * step / self.last)) / 2
        adam = ADAM_RATE * (ADAM_LAST_RATE + (1 - ADAM_LAST_RATE) * cooled)
        if self.many:
            return adam, adam
        softness = self.ends[0] / self.sharpness(step)
        haste = HASTE if step >= self.decided_at else 1.0
        return haste * RATE * (LAST_RATE + (1 - LAST_RATE) * cooled) * softness**self.caution, adam

    def bound(self, y: Tensor, step: int) -> None:
        """Clip y's gradient, so that descent goes no farther than it may; Adam's steps are bounded as they are."""
        if not self.many:
            nn.utils.clip_grad_value_([y], FARTHEST / self.rates(step)[0])

    def sharpness(self, step: int) -> float:
        """The slope of relaxed rounding halfway between whole numbers."""
        return self._between(self.ends, step)

    def rounding(self, step: int, generator: torch.Generator, first_pair: int) -> SoftRounding:
        sharpness, jitter = self.sharpness(step), self._between(self.jitter, step)
        return SoftRounding(sharpness, jitter, generator, self.straight, first_pair)

    def pace(self, y: Tensor, pairs: Tensor, step: int) -> None:
        """Have y descend at its own rate where it is a pair's: what is not rounded needs no caution."""
        if not self.many and y.grad is not None:
            factor = PACE / (self.ends[0] / self.sharpness(step)) ** self.caution
            y.grad.mul_(torch.where(pairs, factor, 1.0))

    def _between(self, ends: tuple[float, float], step: int) -> float:
        first, last = ends
        return float(first * (last / first) ** (step / self.last))


def _windows(height: int, width: int) -> Iterator[tuple[Area, Area]]:
    """The area of each window, and with its halo, in units of 64 pixels. Windows of a picture are about as large:
    with a sliver at the edge and its halo, MS-SSIM would have too little to look at."""
    for rows in _even(height):
        for columns in _even(width):
            yield (rows, columns), grow((rows, columns), HALO, (height, width))


def _even(length: int) -> Iterator[Span]:
    """As few spans of at most :data:`WINDOW` as a length takes, which differ by one at most."""
    count = -(-length // WINDOW)
    for i in range(count):
        yield i * length // count, (i + 1) * length // count


def _pixels(inner: Area, height: int, width: int) -> int:
    sides = (min(span[1] * STRIDE, side) - span[0] * STRIDE for span, side in zip(inner, (height, width), strict=True))
    return int(np.prod(list(sides)))
