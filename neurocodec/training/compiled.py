"""What a GPU wants of a training step: few large kernels, or few calls for them, and float32 products on its matrix
units."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T", bound=Callable[..., object])
WARM_UP = 3  # steps before one is recorded


def allow_tf32(allowed: bool) -> None:
    """Whether products of float32 may take TF32, which rounds to 11 bits, from then on."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def compiled(step: T) -> T:
    """A model or a function on a GPU, compiled: uncompiled, most of a training step is passes over memory.

    Without Triton (not on Linux) it stays as it is.
    """
    if find_spec("triton") is None:
        return step
    return cast(T, torch.compile(step))


class Recorded:
    """A step's gradient on a GPU, recorded once and played from then on: to ask for its thousands of small kernels one
    by one takes a processor longer than the GPU needs for them.

    step takes tensors, leaves new gradients in its parameters, and returns tensors by name. Shapes stay the same. The
    next call overwrites gradients and results where they are, so that neither may be given up. What is drawn at random
    differs from call to call. Nothing in it may wait for the GPU.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]]) -> None:
        self.step = step
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: list[Tensor] = []
        self.outputs: dict[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        if self.graph is None:
            self.graph = self._record(inputs)
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.outputs

    def _record(self, inputs: tuple[Tensor, ...]) -> torch.cuda.CUDAGraph:
        self.inputs = [v.clone() for v in inputs]
        beside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(WARM_UP):
                self.step(*self.inputs)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.outputs = self.step(*self.inputs)
        return graph
