"""Refinement at encode time: the latents of one picture, optimised for that picture.

The encoder network guesses latents in one go, for all pictures alike. Here y and z are moved by
gradient descent on rate + lambda * distortion, with the decoder fixed; the file and the decoder know
nothing of it. Rounding is relaxed to a step that is soft at first and hard at last, and a little noise
lets latents look over the edge. That is stochastic Gumbel annealing (Yang, Bamler, Mandt 2020, "Improving
inference for neural image compression") with a third of its noise, which was most of what its gradients held.

Works window by window, so that memory is bounded by the window on pictures of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from neurocodec.entropy import EXCESS_BITS, PRECISION, Tables
from neurocodec.fixedpoint import load_float
from neurocodec.model import Codec, pad
from neurocodec.ms_ssim import SMALLEST as MS_SSIM_SMALLEST
from neurocodec.networks import STRIDE
from neurocodec.objective import Objective
from neurocodec.precision import autocast
from neurocodec.prior import TABLES, Context, HyperSynthesis, mask_1
from neurocodec.windows import Area, Report, grow, part_of, silent, tiles, window, within

# In units of 64 pixels: what is refined at a time, and what is looked at around it. A window at the edge of a
# picture may hold a single pixel, and with a halo of three is wide enough for MS-SSIM all the same.
WINDOW, HALO = 12, 3
RATE, LAST_RATE = 0.02, 0.1  # Adam's step in quantization steps, and the share of it that is left at the end
SHARPNESS = (2.5, 60.0)  # of the relaxed rounding, first and last
JITTER = (0.1, 0.02)  # of latents on the edge, in quantization steps, first and last
# A run of fewer steps has no time for detours: it takes longer ones, less noise and a softer end.
LONG = 40
HURRY, SOFT_END = 1.5, 10.0  # the factor of the rate and the last sharpness of the shortest run
EFFORT_STEPS = (0, 3, 6, 12, 25, 50, 100, 250, 500, 1000)  # of effort 0 to 9


@dataclass(frozen=True)
class Latents:
    """y (1, H/16, W/16, M) and z (1, H/64, W/64, Z), float, not rounded."""

    y: Tensor
    z: Tensor

    def window(self, area: Area) -> Latents:
        """Views of a window, in units of 64 pixels."""
        return Latents(window(self.y, 4, area), window(self.z, 1, area))

    def clone(self) -> Latents:
        return Latents(self.y.clone(), self.z.clone())

    def copy_(self, other: Latents) -> None:
        self.y.copy_(other.y)
        self.z.copy_(other.z)


class Refiner:
    """The frozen model of a codec as a differentiable function of y and z."""

    def __init__(self, codec: Codec, objective: Objective) -> None:
        c = codec.config
        self.codec, self.objective = codec, objective
        self.h_s = HyperSynthesis(c.hyper_latents, c.hyper_width, c.anchors)
        self.context = Context(c.latents, c.hyper_width, c.context_width)
        load_float(self.h_s, codec.networks.h_s)
        load_float(self.context, codec.networks.context)
        for network in (self.h_s, self.context):
            network.to(codec.device).requires_grad_(False)

    def refine(self, pixels: Tensor, position: int, steps: int, report: Report = silent) -> Latents:
        """pixels (H, W, 3) uint8 -> latents that are never worse in rate + lambda * distortion than those
        of the encoder. Has no effect on pictures that are too small for the model's MS-SSIM."""
        height, width = pixels.shape[:2]
        y = self.codec.analyse(pixels, position)
        plain = Latents(y, self.codec.hyper_analyse(y, position))
        if not steps or (self.objective.ms_ssim and min(height, width) < MS_SSIM_SMALLEST):
            return plain
        refined = plain.clone()
        picture = pad(pixels[None].to(self.codec.device))
        windows = list(_windows(*plain.z.shape[1:3]))
        for i, (inner, outer) in enumerate(windows):
            one = Window(self, refined.window(outer), inner, outer, picture, (height, width), position)
            best = one.refine(steps, part_of(report, i / len(windows), (i + 1) / len(windows)))
            refined.window(inner).copy_(best)
        # What the file will hold decides, not the float twins.
        better = self.value(refined, pixels, position) < self.value(plain, pixels, position)
        return refined if better else plain

    def value(self, latents: Latents, pixels: Tensor, position: int) -> float:
        """Bits per pixel + lambda * distortion of what a decoder gets, distortion as a mean over windows."""
        height, width = pixels.shape[:2]
        data, y_hat = self.codec.encode_latents(latents.y, latents.z, position)
        decoded = self.codec.synthesise(y_hat, height, width, position)
        return 8 * len(data) / (height * width) + self.multiplier(position) * self.distortion(decoded, pixels)

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
        c = model.codec
        self.y_costs = costs(c.y_tables_at(position), range(TABLES)).to(c.device)
        self.z_costs = costs(c.z_tables, c.z_table_numbers(position)).to(c.device)
        self.first = mask_1(around.y)

    def refine(self, steps: int, report: Report) -> Latents:
        """The best latents of the window that were seen, really rounded."""
        moving = self.around.window(self.inner).clone()
        parameters = [moving.y.requires_grad_(True), moving.z.requires_grad_(True)]
        optimizer = torch.optim.Adam(parameters, lr=RATE, betas=(0.9, 0.99))
        generator = torch.Generator(self.x.device).manual_seed(0)  # the same picture gives the same file
        best = self.around.window(self.inner).clone()
        lowest = self.rounded_loss(best)
        checks = {steps // 2, steps} if steps >= LONG else {steps}  # where really rounded latents are evaluated
        schedule = Schedule(steps)
        for step in range(steps):
            optimizer.param_groups[0]["lr"], sharpness, jitter = schedule.at(step)
            loss = self.loss(self.placed(moving), SoftRounding(sharpness, jitter, generator))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            if step + 1 in checks:
                now = self.rounded_loss(moving)
                if now < lowest:
                    lowest, best = now, Latents(*(p.detach().clone() for p in parameters))
            report((step + 1) / steps)
        return best

    def placed(self, moving: Latents) -> Latents:
        """The window's latents within those of the halo."""
        y, z = self.around.y.clone(), self.around.z.clone()
        window(y, 4, self.inner).copy_(moving.y)
        window(z, 1, self.inner).copy_(moving.z)
        return Latents(y, z)

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
        m = self.model
        z_hat = rounding.z(latents.z)
        bits = interpolate(self.z_costs, z_hat, torch.arange(z_hat.shape[-1], device=z_hat.device)).sum()
        psi = m.h_s(z_hat, self.t)
        mean_1, table_1 = m.context.head_1(psi)
        y_hat_1 = (rounding.y(latents.y - mean_1) + mean_1) * self.first
        mean_2, table_2 = m.context.head_2(m.context.features_2(psi, y_hat_1))
        mean = torch.where(self.first, mean_1, mean_2)
        table = torch.where(self.first, table_1, table_2)
        symbols = rounding.y(latents.y - mean)
        bits = bits + between(self.y_costs, symbols, table if rounding.soft else table.round()).sum()
        with autocast(self.x.device, enabled=rounding.soft):
            x_hat = m.codec.networks.g_s(symbols + mean, self.t)
        height, width = self.x.shape[1:3]
        return bits, x_hat[:, :height, :width].float()


class Schedule:
    """Adam's step, and how relaxed rounding is, at each of so many steps."""

    def __init__(self, steps: int) -> None:
        time = min(steps / LONG, 1.0)
        self.last = max(steps - 1, 1)
        self.rate = RATE * (HURRY + (1 - HURRY) * time)
        self.sharpness = SHARPNESS[0], SOFT_END + (SHARPNESS[1] - SOFT_END) * time
        self.jitter = JITTER[0] * time, JITTER[1] * time

    def at(self, step: int) -> tuple[float, float, float]:
        """Rate, sharpness and jitter."""
        done = step / self.last
        rate = self.rate * (LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * done)) / 2)
        sharpness, jitter = (first * (last / first) ** done for first, last in (self.sharpness, self.jitter))
        return rate, sharpness, jitter


class Rounding:
    """How y (against its mean) and z become symbols: to the nearest, as the encoder does it."""

    soft = False

    def y(self, v: Tensor) -> Tensor:
        return v.round()

    def z(self, v: Tensor) -> Tensor:
        return v.round()


class SoftRounding(Rounding):
    """A step between whole numbers with a slope of `sharpness` in the middle, where it is moved at random by `jitter`
    (a standard deviation, in steps): one sample of the noise for all that is asked of it."""

    soft = True

    def __init__(self, sharpness: float, jitter: float, generator: torch.Generator) -> None:
        self.sharpness, self.jitter, self.generator = sharpness, jitter, generator
        self.noise: dict[str, Tensor] = {}

    def y(self, v: Tensor) -> Tensor:
        return self._sample("y", v)

    def z(self, v: Tensor) -> Tensor:
        return self._sample("z", v)

    def _sample(self, name: str, v: Tensor) -> Tensor:
        if name not in self.noise:
            self.noise[name] = torch.randn(v.shape, generator=self.generator, device=v.device)
        low = v.detach().floor()
        share = (v - low).clamp(1e-4, 1 - 1e-4)
        # The odds' slope is 4 in the middle: there jitter is in steps, and towards whole numbers it fades.
        return low + torch.sigmoid(self.sharpness * (share.logit() + 4 * self.jitter * self.noise[name]))


def costs(tables: Tables, numbers: Sequence[int] | range) -> Tensor:
    """Bits of each symbol, (len(numbers), 2 * R + 1), symbol 0 in the middle; R is the widest table's.
    Beyond a table's own reach stands what its escape costs."""
    reach = int(max(tables.radius[n] for n in numbers))
    rows = np.empty((len(numbers), 2 * reach + 1), np.float32)
    for row, number in zip(rows, numbers, strict=True):
        # A silent table's escape has no frequency at all, and costs more than any other.
        bits = PRECISION - np.log2(np.maximum(tables.row(number), 1))
        radius = int(tables.radius[number])
        row[:] = bits[-1] + EXCESS_BITS + 1
        row[reach - radius : reach + radius + 1] = bits[:-1]
    return torch.from_numpy(rows)


def interpolate(costs: Tensor, symbols: Tensor, rows: Tensor) -> Tensor:
    """Bits of symbols between whole ones, linearly: exact for whole symbols. rows: whole, as symbols."""
    reach = costs.shape[1] // 2
    low = symbols.detach().floor().clamp(-reach, reach - 1)
    share = (symbols - low).clamp(0, 1)
    at = rows * costs.shape[1] + low.long() + reach
    flat = costs.view(-1)
    return flat[at] * (1 - share) + flat[at + 1] * share


def between(costs: Tensor, symbols: Tensor, table: Tensor) -> Tensor:
    """Bits of symbols under fractional table numbers, linearly between tables too."""
    inside = table.clamp(0, len(costs) - 1)
    low = inside.detach().floor().clamp(max=len(costs) - 2)
    share = inside - low
    row = low.long()
    return interpolate(costs, symbols, row) * (1 - share) + interpolate(costs, symbols, row + 1) * share


def _windows(height: int, width: int) -> Iterator[tuple[Area, Area]]:
    """The area of each window, and with its halo, in units of 64 pixels."""
    for inner in tiles(((0, height), (0, width)), WINDOW):
        yield inner, grow(inner, HALO, (height, width))


def _pixels(inner: Area, height: int, width: int) -> int:
    sides = (min(span[1] * STRIDE, side) - span[0] * STRIDE for span, side in zip(inner, (height, width), strict=True))
    return int(np.prod(list(sides)))
