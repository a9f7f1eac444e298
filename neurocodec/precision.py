"""Where networks may compute in bfloat16: transforms and training, on processors that are faster in it."""

from __future__ import annotations

import os

import torch

FLOAT32 = "NEUROCODEC_FLOAT32"  # of the environment: set, nothing computes in bfloat16


def autocast(device: torch.device, enabled: bool = True) -> torch.autocast:
    """Autocast to bfloat16 where the device multiplies it in hardware; elsewhere everything stays as it is.

    A processor without such instructions emulates them: on one with AVX2 only, a product took 20 times
    as long in bfloat16 as in float32.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, as far as torch can tell, and nobody wants float32."""
    if os.environ.get(FLOAT32):
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # Private to torch, so that a version may lack it: float32 is then right, if slower.
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and asked is not None and bool(asked())
