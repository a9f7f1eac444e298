"""The last phase: all networks on what a file will really hold.

Before, rate was that of latents with noise, as if the coder took them unrounded, and the encoder never saw that a
latent a little nearer to its mean would cost nothing. Here it is what the tables of a weights file spend on symbols.
A symbol is one of the two whole numbers beside y - mean, drawn at random and mostly the nearer one: the decoder and
the context learn from whole symbols only, and the encoder from how probable each of the two is: a stochastic neuron
with a straight-through gradient (Bengio, Leonard, Courville 2013, "Estimating or propagating gradients through
stochastic neurons") for the choice that stochastic Gumbel annealing (Yang, Bamler, Mandt 2020, "Improving inference
for neural image compression") relaxes for one picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from neurocodec.fixedpoint import ONE, POSITION_BITS
from neurocodec.model import Codec, to_numpy
from neurocodec.networks import Networks
from neurocodec.predictor import halves_of
from neurocodec.quantization import dequantize, in_pairs, quantize
from neurocodec.relaxed import RelaxedPrior, Rounding, bound
from neurocodec.tables import Tables

SHARPNESS = (4.0, 8.0)  # of the odds, at the first step of a run and at the last
AT_THE_TOP = 0.7  # the factor of it at the highest quality, where more of the gradient is noise
EDGE = 1e-4  # shares nearer than that to 0 and 1 have no gradient


class SampledRounding(Rounding):
    """One of the two neighbours, with odds that are those of a share of the way to the power of `sharpness`. Priced as
    the mean of both, so that the gradient of the bits has no noise. One draw for all that is asked of it; without
    draws it is the nearer one."""

    soft = True

    def __init__(self, sharpness: Tensor, draws: bool = True) -> None:
        self.sharpness, self.draws = sharpness, draws
        self.drawn: dict[str, Tensor] = {}

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        if name not in self.drawn:
            self.drawn[name] = torch.rand_like(v) if self.draws else torch.full_like(v, 0.5)
        low = v.detach().floor()
        upper = torch.sigmoid(self.sharpness * (v - low).clamp(EDGE, 1 - EDGE).logit())
        sample = (self.drawn[name] < upper).float()
        return low + upper + (sample - upper).detach(), low + upper

    def table(self, v: Tensor) -> Tensor:
        return bound(v)  # with a way back for those that ran away


class TrellisRounding(Rounding):
    """Latents as files hold them, at quality positions t (B,): on a trellis where the tables are pairs, with the
    gradient of what was not moved there, for points are dense; elsewhere as another rounding has them."""

    def __init__(self, codec: Codec, t: Tensor, elsewhere: Rounding) -> None:
        self.codec, self.positions = codec, (t * (1 << POSITION_BITS)).round().int().tolist()
        self.elsewhere, self.soft = elsewhere, elsewhere.soft
        self.dear = torch.zeros(())  # bits of what is on a trellis, nan elsewhere

    def y(self, v: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
        symbols, priced = self.symbols("y", v)
        found, self.dear = torch.full_like(v, torch.nan), torch.full_like(v, torch.nan)
        for i, position in enumerate(self.positions):
            tables = self.codec.y_tables_at(position)
            if tables.first_pair(position, POSITION_BITS) == tables.plain:
                continue
            halves = halves_of(v.shape[1], v.shape[2], v.shape[3], v.device)
            for step in (1, 2):
                numbers = self.table(halves.take(step, table[i : i + 1].detach())).round().to(torch.uint8)
                numbers = in_pairs(numbers, position, tables)
                points = quantize(halves.take(step, v[i : i + 1].detach()), numbers, tables)
                halves.put(step, found[i : i + 1], dequantize(points, numbers, tables) / ONE)
                halves.put(step, self.dear[i : i + 1], pair_bits(points, numbers, tables))
        pairs = ~self.dear.isnan()
        moved = v + (found - v).detach()
        return torch.where(pairs, moved, symbols), torch.where(pairs, v, priced)

    def bits(self, each: Tensor) -> Tensor:
        return torch.where(self.dear.isnan(), each, each + (self.dear - each).detach())

    def table(self, v: Tensor) -> Tensor:
        return self.elsewhere.table(v)

    def symbols(self, name: str, v: Tensor) -> tuple[Tensor, Tensor]:
        return self.elsewhere.symbols(name, v)


def pair_bits(symbols: Tensor, numbers: Tensor, tables: Tables) -> Tensor:
    """What the symbols of pairs of tables cost, and nan for those of plain ones, of the shape of both."""
    levels, rows = tables.coded(to_numpy(symbols), to_numpy(numbers))
    costs = tables.pair_costs.reshape(2 * tables.plain, -1)
    bits = np.full(len(rows), np.nan, np.float32)
    pairs = np.flatnonzero(rows >= tables.plain)
    bits[pairs] = costs[rows[pairs] - tables.plain, np.minimum(np.abs(levels[pairs]), costs.shape[1] - 1)]
    return torch.from_numpy(bits).view(symbols.shape).to(symbols.device)


class RoundedModel(nn.Module):
    """The networks of a model in training, with the rates that files will have by a codec's tables: what
    ``TrainingModel`` is. In eval mode symbols are those that files hold. Where only the prior and h_a learn, what the
    encoder sends already is taken as it is, nothing is decoded in training, and the picture itself comes back."""

    done: Tensor  # the share of the run that is behind it

    def __init__(self, networks: Networks, prior: RelaxedPrior, prior_only: bool = False) -> None:
        super().__init__()
        self.networks = networks
        self.prior, self.prior_only = prior, prior_only
        self.register_buffer("done", torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, H, W, 3) in [0, 1], t (B,) -> x_hat, bits of y (B,), bits of z (B,). beta is 1: the encoder
        has no other rate."""
        y = self.networks.g_a(x, t).float()
        z = self.networks.h_a(y, t).float()
        rounding = self.rounding(t)
        with torch.autocast(x.device.type, enabled=False):
            y_hat, bits_y, bits_z = self.prior.decode(y, z, t, rounding)
        if self.training and self.prior_only:
            return x, bits_y, bits_z
        return self.networks.g_s(y_hat, t), bits_y, bits_z

    def rounding(self, t: Tensor) -> Rounding:
        """How symbols come about."""
        if not self.training:
            return TrellisRounding(self.prior.codec, t, Rounding())
        first, last = SHARPNESS
        top = t / (self.networks.config.anchors - 1)
        done = torch.ones_like(self.done) if self.prior_only else self.done
        sharpness = first * (last / first) ** done * AT_THE_TOP**top
        sampled = SampledRounding(sharpness[:, None, None, None], draws=not self.prior_only)
        return TrellisRounding(self.prior.codec, t, sampled)
