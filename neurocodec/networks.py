"""The networks: one variational autoencoder, conditional on quality.

          x ── g_a ── y ──────────── round(y - mean) ──── symbols ──┐
                      │                    │                        │  entropy coder
                     h_a                 mean, table                │
                      │                    │                        │
                      z ── round ── z_hat ─┴─ h_s, context ─────────┤
                             │        │                             │
                          mean, table └─ hyper_context ─────────────┤
                                                                    │
      x_hat ── g_s ── y_hat = symbols + mean ───────────────────────┘

Where tables are wide, the nearest points of a trellis take the place of rounding (``trellis.py``).

Tensors are channels-last. t is the position of a quality between the trained anchors; it
conditions g_a, g_s, h_a, h_s and hyper_context, which predicts z from its neighbours that came before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neurocodec.layers import Block, Depthwise, Pointwise, depth_to_space, in_full, space_to_depth
from neurocodec.limits import GRID
from neurocodec.prior import Context, HyperContext, HyperSynthesis, QualityTable

STRIDE = GRID  # pixels per hyper-latent: pictures are padded to multiples of this


@dataclass(frozen=True)
class Config:
    """The architecture; it travels with the weights."""

    width_8: int = 192  # channels at 1/8 resolution
    width_16: int = 288  # channels at 1/16
    latents: int = 288  # channels of y, at 1/16
    hyper_width: int = 128  # channels of h_a, h_s and the context of z
    hyper_latents: int = 96  # channels of z, at 1/64
    context_width: int = 192
    analysis_blocks: tuple[int, int] = (4, 3)  # at 1/8, at 1/16
    synthesis_blocks: tuple[int, int] = (4, 2)  # at 1/8, at 1/16
    anchors: int = 8  # trained qualities
    kernels: tuple[int, int] = (3, 5)  # sides of the depthwise convolutions of g_a and g_s, at 1/8, at 1/16

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Config:
        """A config of its fields as JSON or a checkpoint hold them (pairs may be lists; older ones have no kernels)."""
        pairs: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**{"kernels": (3, 3)} | pairs)

    def reach(self, blocks: tuple[int, int]) -> int:
        """How far a transform with so many blocks at 1/8 and at 1/16 looks beyond a pixel, in pixels."""
        return sum(n * stride * (k // 2) for n, stride, k in zip(blocks, (8, 16), self.kernels, strict=True))


class Analysis(nn.Module):
    """g_a: x (B, H, W, 3) in [0, 1] -> y (B, H/16, W/16, M) in quantization steps."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.enter = Pointwise(192, c.width_8)
        self.quality_8 = QualityTable(c.anchors, c.width_8)
        self.blocks_8 = nn.Sequential(*[Block(c.width_8, c.kernels[0]) for _ in range(c.analysis_blocks[0])])
        self.down = Pointwise(4 * c.width_8, c.width_16)
        self.quality_16 = QualityTable(c.anchors, c.width_16)
        self.blocks_16 = nn.Sequential(*[Block(c.width_16, c.kernels[1]) for _ in range(c.analysis_blocks[1])])
        self.leave = Pointwise(c.width_16, c.latents)
        self.log_gain = QualityTable(c.anchors, c.latents)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        # Between resolutions there is no residual branch around a layer: what bfloat16 rounds away there is lost.
        x = space_to_depth(x, 8)  # a copy, where it is larger than one patch
        x = x - 0.5 if torch.is_grad_enabled() else x.sub_(0.5)
        x = in_full(self.enter, x, self.quality_8(t).exp())
        x = in_full(self.down, space_to_depth(self.blocks_8(x), 2), self.quality_16(t).exp())
        return in_full(self.leave, self.blocks_16(x), self.log_gain(t).exp())


class Synthesis(nn.Module):
    """g_s: y_hat (B, H/16, W/16, M) -> x_hat (B, H, W, 3), about [0, 1], not clamped."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        self.log_inverse_gain = QualityTable(c.anchors, c.latents)
        self.enter = Pointwise(c.latents, c.width_16)
        self.quality_16 = QualityTable(c.anchors, c.width_16)
        self.blocks_16 = nn.Sequential(*[Block(c.width_16, c.kernels[1]) for _ in range(c.synthesis_blocks[1])])
        self.up = Pointwise(c.width_16, 4 * c.width_8)
        self.quality_8 = QualityTable(c.anchors, c.width_8)
        self.blocks_8 = nn.Sequential(*[Block(c.width_8, c.kernels[0]) for _ in range(c.synthesis_blocks[0])])
        self.leave = Pointwise(c.width_8, 192)

    def forward(self, y_hat: Tensor, t: Tensor) -> Tensor:
        # As in g_a: between resolutions, in full.
        x = in_full(self.enter, y_hat * self.log_inverse_gain(t).exp(), self.quality_16(t).exp())
        # What is a channel at 1/8 is four of them before.
        x = depth_to_space(in_full(self.up, self.blocks_16(x), self.quality_8(t).exp().repeat(1, 1, 1, 4)), 2)
        return depth_to_space(in_full(self.leave, self.blocks_8(x)), 8).add_(0.5)


class HyperAnalysis(nn.Module):
    """h_a: y (B, H/16, W/16, M) -> z (B, H/64, W/64, Z). Float: only the encoder needs it."""

    def __init__(self, c: Config) -> None:
        super().__init__()
        n = c.hyper_width
        self.enter = Pointwise(c.latents, n)
        self.quality = QualityTable(c.anchors, n)
        self.block_16 = Block(n)
        self.down_32 = Pointwise(4 * n, n, activation=True)
        self.look_32 = Depthwise(n)
        self.down_64 = Pointwise(4 * n, n, activation=True)
        self.leave = Pointwise(n, c.hyper_latents)

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        x = self.block_16(in_full(self.enter, y) + self.quality(t))
        x = self.look_32(self.down_32(space_to_depth(x, 2)))
        return in_full(self.leave, self.down_64(space_to_depth(x, 2)))


class Networks(nn.Module):
    """All trained networks of the codec, float; what training optimises and export freezes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.g_a = Analysis(config)
        self.g_s = Synthesis(config)
        self.h_a = HyperAnalysis(config)
        self.hyper_context = HyperContext(config.hyper_latents, config.hyper_width, config.anchors)
        self.h_s = HyperSynthesis(config.hyper_latents, config.hyper_width, config.anchors)
        self.context = Context(config.latents, config.hyper_width, config.context_width)
