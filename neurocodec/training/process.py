"""What a training process has to do with the system: signals, a full disk, and the other processes of its group."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from neurocodec.errors import NeurocodecError


@contextmanager
def unhurried(report: Callable[[str], None]) -> Iterator[None]:
    """What cannot be written within is told: a disk that is full today may have room at the next checkpoint, and a run
    of days need not end for it."""
    try:
        yield
    except (OSError, NeurocodecError) as error:
        report(f"{error} The run goes on.")


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """True once SIGTERM or SIGINT came: the loop then ends with a checkpoint. Afterwards they do what they did, and of
    SIGINT comes the KeyboardInterrupt that it is elsewhere."""
    seen: list[int] = []
    before = {n: signal.signal(n, lambda number, frame: seen.append(number)) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if signal.SIGINT in seen:
        raise KeyboardInterrupt


@contextmanager
def process_group() -> Iterator[None]:
    """The process group of torchrun, when it started us."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
