"""What a GPU wants of a training step: few large kernels, and float32 products on its matrix units."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar, cast

import torch

T = TypeVar("T", bound=Callable[..., object])


def allow_tf32(allowed: bool) -> None:
    """Whether products of float32 take TF32, which rounds to 11 bits, from then on."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compiled(step: T) -> T:
    """A model or a function on a GPU, compiled: uncompiled, most of a training step is passes over memory.

    Without Triton (not on Linux) it stays as it is.
    """
    if find_spec("triton") is None:
        return step
    return cast(T, torch.compile(step))
