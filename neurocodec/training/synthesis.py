"""g_s alone, on what files hold of pictures: plain latents, and refined ones.

All else stays as the weights file has it, so a codec compresses each picture, trellis and all, and g_s learns to
decode that. What refinement makes of latents lies elsewhere than what g_a makes of pictures: a decoder that has seen
some of it decodes it better, and the plain ones no worse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurocodec.fixedpoint import ONE, POSITION_BITS
from neurocodec.model import Codec
from neurocodec.networks import Networks
from neurocodec.objective import Objective
from neurocodec.refine import Refiner

STEPS, ODDS = (3, 12), (0.6, 0.4)  # of refinement: those of efforts 1 and 3


class SynthesisModel(nn.Module):
    """The networks of a model in training of which g_s learns: what ``TrainingModel`` is, with the bytes of files as
    bits. Of each batch a share is refined, towards an objective."""

    def __init__(self, networks: Networks, codec: Codec, objective: Objective, refined: float) -> None:
        super().__init__()
        self.networks, self.codec, self.refiner, self.refined = networks, codec, Refiner(codec, objective), refined

    def forward(self, x: Tensor, t: Tensor, beta: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, H, W, 3) in [0, 1], t (B,) -> x_hat, bits (B,), and zeros: z's bits are among them. beta is 1: no
        encoder learns."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = (x * 255).round().byte()
            positions = (t * (1 << POSITION_BITS)).round().int().tolist()
            chosen = torch.randperm(len(x))[: round(self.refined * len(x))].tolist()
            held = [self.held(pixels[i], position, i in chosen) for i, position in enumerate(positions)]
        y_hat = torch.cat([latents for latents, _ in held])
        bits = torch.tensor([8.0 * size for _, size in held], device=x.device)
        return self.networks.g_s(y_hat, t), bits, torch.zeros_like(bits)

    def held(self, pixels: Tensor, position: int, refined: bool) -> tuple[Tensor, int]:
        """pixels (H, W, 3) uint8 -> what a file holds of them, y_hat (1, H/16, W/16, M), and its bytes."""
        steps = STEPS[int(torch.multinomial(torch.tensor(ODDS), 1))] if refined else 0
        coded = self.refiner.refine(pixels, position, steps)
        return coded.y_hat / ONE, len(coded.data)
