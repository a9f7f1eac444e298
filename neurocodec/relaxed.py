"""The prior of a codec as a differentiable function of latents.

Bits are those of the frozen tables, whole symbols cost exactly what the entropy coder spends, and between them
costs are linear. How latents become symbols is for a :class:`Rounding` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from neurocodec.fixedpoint import POSITION_BITS, load_float
from neurocodec.layers import undrawn
from neurocodec.model import LOUD, Codec
from neurocodec.prior import PHASES, TABLES, Context, HyperContext, HyperSynthesis, mask_1, whole_and_phase
from neurocodec.tables import Tables


class RelaxedPrior:
    """The context of z, h_s and context in float, and the costs of a codec's tables."""

    def __init__(self, codec: Codec, hyper_context: HyperContext, h_s: HyperSynthesis, context: Context) -> None:
        self.codec, self.hyper_context, self.h_s, self.context = codec, hyper_context, h_s, context
        quiet, loud = (costs(tables, range(TABLES)) for tables in (codec.y_tables, codec.loud_tables))
        self.y_costs = torch.cat(widened(quiet, loud)).to(codec.device)  # (2 * TABLES, 2 * R + 1)
        self.z_costs = costs(codec.z_tables, range(PHASES * TABLES)).to(codec.device)

    @classmethod
    def of(cls, codec: Codec) -> RelaxedPrior:
        """With the float twins of the codec's own networks, which stay as they are."""
        c = codec.config
        with undrawn():
            hyper_context = HyperContext(c.hyper_latents, c.hyper_width, c.anchors)
            h_s = HyperSynthesis(c.hyper_latents, c.hyper_width, c.anchors)
            context = Context(c.latents, c.hyper_width, c.context_width)
        load_float(hyper_context, codec.networks.hyper_context)
        load_float(h_s, codec.networks.h_s)
        load_float(context, codec.networks.context)
        for network in (hyper_context, h_s, context):
            network.float().to(codec.device).requires_grad_(False)  # whatever torch's default type is
        return cls(codec, hyper_context, h_s, context)

    def decode(self, y: Tensor, z: Tensor, t: Tensor, rounding: Rounding) -> tuple[Tensor, Tensor, Tensor]:
        """y (B, H/16, W/16, M) and z (B, H/64, W/64, Z), not rounded, at quality positions t (B,) float32
        -> y_hat as y, bits of y (B,), bits of z (B,)."""
        z_hat, z_priced = rounding.z(z)
        mean, table = self.hyper_context(z_hat, t)
        bits_z = self.bits_z(z_priced, mean, rounding.table(table), rounding.soft).flatten(1).sum(1)
        psi = self.h_s(z_hat, t)
        mean_1, table_1 = self.context.head_1(psi)
        first = mask_1(y)
        y_hat_1 = (rounding.y(y - mean_1, table_1)[0] + mean_1) * first
        mean_2, table_2 = self.context.head_2(self.context.features_2(psi, y_hat_1))
        mean = torch.where(first, mean_1, mean_2)
        table = torch.where(first, table_1, table_2)
        symbols, priced = rounding.y(y - mean, table)
        loud = (t >= LOUD / (1 << POSITION_BITS))[:, None, None, None]
        each = between(self.y_costs, priced, rounding.table(table), TABLES * loud.long())
        return symbols + mean, rounding.bits(each).flatten(1).sum(1), bits_z

    def bits_z(self, z: Tensor, mean: Tensor, table: Tensor, soft: bool) -> Tensor:
        """Bits of z, as it is priced, under means and table numbers of its shape; soft: linearly between phases."""
        whole, phase = whole_and_phase(mean)
        whole = whole.detach()
        if not soft:
            return between(self.z_costs, z - whole, table, TABLES * phase.floor().long())
        at = (phase - 0.5).clamp(0, PHASES - 1)
        low = at.detach().floor().clamp(max=PHASES - 2)
        below, above = (between(self.z_costs, z - whole, table, TABLES * (low.long() + i)) for i in (0, 1))
        return below + (at - low) * (above - below)


class Rounding:
    """How y (against its mean) and z become symbols: to the nearest, as the encoder does it."""

    soft = False

    def y(self, v: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        """v and its table numbers, not rounded -> symbols, and what they are priced as."""
        return self.symbols("y", v)

    def z(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`y`, whatever the table."""
        return self.symbols("z", v)

    def bits(self, each: Tensor) -> Tensor:
        """What plain tables say each symbol of y costs, as it is priced -> what it does cost."""
        return each

    def table(self, v: Tensor) -> Tensor:
        """Table numbers, of which only :data:`TABLES` are there."""
        return v.clamp(0, TABLES - 1) if self.soft else v.round().clamp(0, TABLES - 1)

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        """What :meth:`y` and :meth:`z` give; what is drawn at random is drawn once for each name."""
        whole = v.round()
        return whole, whole


class SoftRounding(Rounding):
    """A step between whole numbers with a slope of `sharpness` in the middle, where it is moved at random by `jitter`
    (a standard deviation, in steps): one sample of the noise for all that is asked of it. `straight` is the share of
    the gradient that is the identity's, and leads away from whole numbers, too, where the step is flat.

    Latents of tables from `first_pair` on, whose points a trellis chooses, stay as they are, for points are dense;
    `pairs` says which ones did."""

    soft = True

    def __init__(
        self,
        sharpness: float,
        jitter: float,
        generator: torch.Generator,
        straight: float = 0.0,
        first_pair: int = TABLES,
    ) -> None:
        self.sharpness, self.jitter, self.generator, self.straight = sharpness, jitter, generator, straight
        self.first_pair = first_pair
        self.pairs: Tensor | None = None
        self.noise: dict[str, Tensor] = {}

    def y(self, v: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        soft, priced = self.symbols("y", v)
        if self.first_pair == TABLES:
            return soft, priced
        self.pairs = self.table(table.detach()).round() >= self.first_pair
        return torch.where(self.pairs, v, soft), torch.where(self.pairs, v, priced)

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        if name not in self.noise:
            self.noise[name] = torch.randn(v.shape, generator=self.generator, device=v.device)
        low = v.detach().floor()
        share = (v - low).clamp(1e-4, 1 - 1e-4)
        # The odds' slope is 4 in the middle: there jitter is in steps, and towards whole numbers it fades.
        soft = low + torch.sigmoid(self.sharpness * (share.logit() + 4 * self.jitter * self.noise[name]))
        if self.straight:
            detour = v - soft
            soft = soft + self.straight * (detour - detour.detach())
        return soft, soft


def costs(tables: Tables, numbers: Sequence[int]) -> Tensor:
    """As ``Tables.costs``, a tensor."""
    return torch.from_numpy(tables.costs(numbers))


def interpolate(costs: Tensor, symbols: Tensor, rows: Tensor) -> Tensor:
    """Bits of symbols between whole ones, linearly: exact for whole symbols. rows: whole, as symbols."""
    reach = costs.shape[1] // 2
    low = symbols.detach().floor().clamp(-reach, reach - 1)
    share = (symbols - low).clamp(0, 1)
    at = rows * costs.shape[1] + low.long() + reach
    flat = costs.view(-1)
    return flat[at] * (1 - share) + flat[at + 1] * share


def between(costs: Tensor, symbols: Tensor, table: Tensor, start: Tensor | int = 0) -> Tensor:
    """Bits of symbols under fractional table numbers, linearly between tables too. start: the row of the first
    table, of `TABLES`."""
    low = table.detach().floor().clamp(max=TABLES - 2)
    share = table - low
    row = low.long() + start
    return interpolate(costs, symbols, row) * (1 - share) + interpolate(costs, symbols, row + 1) * share


def widened(*costs: Tensor) -> list[Tensor]:
    """Costs with as many columns: beyond what a table holds, its escape's."""
    widest = max(c.shape[1] for c in costs)
    padded = []
    for c in costs:
        beside = c[:, :1].expand(-1, (widest - c.shape[1]) // 2)
        padded.append(torch.cat([beside, c, beside], 1))
    return padded


class Bound(torch.autograd.Function):
    """Clamp a fractional table number to those there are, with a gradient that can only lead back.

    Without the gradient nothing outside would return; with all of it, numbers run away outside.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor) -> Tensor:
        ctx.save_for_backward(table)
        return table.clamp(0, TABLES - 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (table,) = ctx.saved_tensors
        leads_out = ((table < 0) & (gradient > 0)) | ((table > TABLES - 1) & (gradient < 0))
        inward: Tensor = gradient.masked_fill(leads_out, 0.0)
        return inward


bound: Callable[[Tensor], Tensor] = Bound.apply
