"""Processes that do jobs side by side, and end: with the jobs, when they are stopped, or with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from itertools import islice
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, TypeVar

from neurocodec.commands.shared import tell
from neurocodec.errors import NeurocodecError

Job = TypeVar("Job")
Result = TypeVar("Result")
LOOK = 0.2  # seconds between two looks at whether somebody interrupts, and all workers live


def side_by_side(
    work: Callable[[Job], Result], jobs: Iterable[Job], count: int
) -> Generator[tuple[Job, Result], None, None]:
    """What work makes of each job, in the order in which they end, by so many processes; all must be picklable.

    A first SIGINT lets jobs in work come to their ends, and is a KeyboardInterrupt behind them; a second one, a
    SIGTERM, or closing the generator ends the processes at once. Raises NeurocodecError if a process dies.
    """
    queue, running, workers = iter(jobs), dict[Future[Result], Job](), set[BaseProcess]()
    before = set(multiprocessing.active_children())
    # Spawned, not forked: torch's threads do not survive a fork.
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), start_worker, (max(1, (os.cpu_count() or 1) // count),)
    )
    interrupt = Interrupt()
    with handled(signal.SIGTERM, leave), handled(signal.SIGINT, interrupt):
        try:
            while running or not interrupt.came:
                # Processes start with the first jobs, and inherit this: the parent decides what an interrupt means.
                starts = held_back() if not workers else nullcontext()
                with starts:  # no more than they can work at, for what a pool has taken in cannot be cancelled
                    for job in islice(queue, 0 if interrupt.came else count - len(running)):
                        running[pool.submit(work, job)] = job
                        workers |= set(multiprocessing.active_children()) - before
                if not running:
                    break
                yield from ended(running, workers, interrupt)
            if interrupt.came:
                raise KeyboardInterrupt
        except BrokenProcessPool:
            raise NeurocodecError(
                "a worker died, most likely for want of memory: go on with fewer --workers and --skip-existing."
            ) from None
        finally:
            if running:
                end(workers)
            pool.shutdown()


class Interrupt:
    """Takes the first SIGINT down, so that no result on its way gets lost; the second one is a KeyboardInterrupt."""

    def __init__(self) -> None:
        self.came = self.told = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True

    def tell(self) -> None:
        """Say what becomes of it, once."""
        if self.came and not self.told:
            self.told = True
            tell("Stopping: the pictures in work are finished first. Once more, and they are given up.", False)


def ended(
    running: dict[Future[Result], Job], workers: Iterable[BaseProcess], interrupt: Interrupt
) -> Iterator[tuple[Job, Result]]:
    """Wait for some that run, and take them out. Raises BrokenProcessPool if a worker has ended: a pool does not see
    that of the last one it started before it hears of another."""
    while not (done := wait(running, LOOK, return_when=FIRST_COMPLETED).done):
        interrupt.tell()
        if connection.wait([p.sentinel for p in workers], timeout=0):
            raise BrokenProcessPool
    interrupt.tell()
    for future in done:
        yield running.pop(future), future.result()


def end(processes: Iterable[BaseProcess]) -> None:
    """Kill them. A signal that they could answer may come where Python drops what its handler raises, or where a pool
    takes it for a job's failure; and what they were writing has the name of a file that is left behind."""
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def start_worker(threads: int) -> None:
    """What each process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    import torch

    torch.set_num_threads(threads)


def end_with_parent() -> None:
    """Have this process end when its parent does: one that is killed tells nobody, and a job may take many minutes."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def leave(number: int, frame: FrameType | None) -> None:
    """Unwind, so that workers are ended."""
    sys.exit(128 + number)


@contextmanager
def held_back() -> Iterator[None]:
    """Processes that start in the meantime never hear of a SIGINT; this one does, behind it, or at once where another
    thread takes it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, whose processes start_worker will make deaf
        yield
        return
    resource_tracker.ensure_running()  # which lets signals through, where it is not running yet
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def handled(number: signal.Signals, handler: Any) -> Iterator[None]:
    """A signal is handled so in the meantime; in a thread, which cannot say, as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, signal.SIG_DFL if before is None else before)
