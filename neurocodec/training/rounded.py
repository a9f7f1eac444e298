"""The last phase: all networks on what a file will really hold.

Before, rate was that of latents with noise, as if the coder took them unrounded, and the encoder never saw that a
latent a little nearer to its mean would cost nothing. Here it is what the tables of a weights file spend on symbols.
A symbol is one of the two whole numbers beside y - mean, drawn at random and mostly the nearer one: the decoder and
the context learn from whole symbols only, and the encoder from how probable each of the two is: a stochastic neuron
with a straight-through gradient (Bengio, Leonard, Courville 2013, "Estimating or propagating gradients through
stochastic neurons") for the choice that stochastic Gumbel annealing (Yang, Bamler, Mandt 2020, "Improving inference
for neural image compression") relaxes for one picture.

Where tables are wide, the nearest points of a trellis take the place of a draw. They are what decoder and context
learn from; the gradient is that of where a latent comes to lie in the mean, and of what it costs in the mean.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn

from neurocodec.networks import Networks
from neurocodec.relaxed import RelaxedPrior, Rounding, bound
from neurocodec.training.trellised import Means, TrellisRounding

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

    @cached_property
    def means(self) -> Means | None:
        """Of the codec's trellis, if it has one. Seconds of work, which only training needs."""
        tables = self.prior.codec.y_tables
        return Means(tables).to(self.done.device) if tables.pairs_from else None

    def rounding(self, t: Tensor) -> Rounding:
        """How symbols come about."""
        if not self.training:
            return TrellisRounding(self.prior.codec, t, Rounding())
        first, last = SHARPNESS
        top = t / (self.networks.config.anchors - 1)
        done = torch.ones_like(self.done) if self.prior_only else self.done
        sharpness = first * (last / first) ** done * AT_THE_TOP**top
        sampled = SampledRounding(sharpness[:, None, None, None], draws=not self.prior_only)
        return TrellisRounding(self.prior.codec, t, sampled, self.means)
