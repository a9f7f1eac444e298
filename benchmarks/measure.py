"""One codec on one picture at one setting: bytes and distortions; and many of them in parallel."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import cache

import torch

from benchmarks import codecs, judge, pictures
from benchmarks.codecs.base import Codec
from benchmarks.pictures import Source
from neurocodec import metrics
from neurocodec.commands.workers import end_with_parent


@dataclass(frozen=True)
class Measurement:
    """A row of measurements.csv."""

    codec: str
    version: str
    picture: str
    digest: str
    setting: float
    width: int
    height: int
    bytes: int  # of the whole file
    bpp: float
    psnr: float  # dB, of 8-bit decoded pixels
    ms_ssim: float
    ssimulacra2: float | None = None  # score; None in a row that an earlier release wrote
    jod: float | None = None  # JOD by the judge; None in a row that was not judged
    judge: str | None = None  # version of the judge, and the display that it assumes

    @property
    def key(self) -> tuple[str, str, str, float]:
        """What a measurement depends on: with the same key it need not be made again."""
        return self.codec, self.version, self.digest, self.setting

    def is_complete(self, judged: bool) -> bool:
        """Return whether the row holds every measure. If judged, it must also name this version of the judge."""
        return self.ssimulacra2 is not None and (not judged or self.judge == judge.version())


@dataclass(frozen=True)
class Task:
    """A codec on a picture at the settings that are still to be measured."""

    codec: str  # as codecs.make takes it
    source: Source
    settings: tuple[float, ...]
    judged: bool = False  # True to measure by benchmarks.judge also


@dataclass(frozen=True)
class Result:
    """The measurements of a task, or why there are none."""

    task: Task
    rows: tuple[Measurement, ...]
    error: str | None = None


@cache
def codec_of(name: str) -> Codec:
    """One codec a process, so that a model is loaded once."""
    return codecs.make(name)


def run(task: Task) -> Result:
    """Encode, decode and measure. A codec that cannot take the picture is a result too."""
    codec, rows = codec_of(task.codec), []
    pixels = pictures.read(task.source.path)
    try:
        for setting in task.settings:
            data = codec.encode(pixels, setting)
            decoded = codec.decode(data)
            if decoded.shape != pixels.shape:
                raise ValueError(f"{decoded.shape} came back for {pixels.shape}")
            rows.append(
                Measurement(
                    codec=codec.name,
                    version=codec.version(),
                    picture=task.source.name,
                    digest=task.source.digest,
                    setting=setting,
                    width=task.source.width,
                    height=task.source.height,
                    bytes=len(data),
                    bpp=round(metrics.bits_per_pixel(len(data), task.source.width, task.source.height), 6),
                    psnr=round(metrics.psnr(pixels, decoded), 4),
                    ms_ssim=round(metrics.ms_ssim(pixels, decoded), 6),
                    ssimulacra2=round(metrics.ssimulacra2(pixels, decoded), 4),
                    jod=round(judge.jod(pixels, decoded), 5) if task.judged else None,
                    judge=judge.version() if task.judged else None,
                )
            )
    except Exception as error:  # whatever a foreign codec raises, the others go on
        return Result(task, tuple(rows), f"{type(error).__name__}: {error}")
    return Result(task, tuple(rows))


def start_worker() -> None:
    """One thread a worker: the pictures are what is done in parallel."""
    torch.set_num_threads(1)
    end_with_parent()  # a picture in hand may take many minutes


def run_all(tasks: Sequence[Task], jobs: int, report: Callable[[str], None]) -> Iterator[Result]:
    """The results of all tasks as they come, with a line of progress every few seconds."""
    total = sum(len(t.settings) for t in tasks)
    done, started, told = 0, time.monotonic(), 0.0
    # Spawned, not forked: torch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=start_worker) as pool:
        waiting = {pool.submit(run, task) for task in tasks}
        try:
            while waiting:
                ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in ready:
                    result = future.result()
                    done += len(result.task.settings)
                    yield result
                now = time.monotonic()
                if now - told >= 5 or not waiting:
                    left = (now - started) / done * (total - done)
                    report(f"measured {done} of {total} files, {duration(left)} left")
                    told = now
        finally:
            pool.shutdown(cancel_futures=True)


def duration(seconds: float) -> str:
    """ "40 s", "5 min"."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def tasks_for(
    names: Sequence[str],
    settings: Callable[[Codec], Sequence[float]],
    sources: Sequence[Source],
    known: set[object],
    judged: bool = False,
) -> list[Task]:
    """What is left to measure, picture by picture, so that the time left is estimated over all codecs."""
    tasks = []
    for source in sources:
        for name in names:
            codec = codec_of(name)
            wanted = settings(codec)
            left = tuple(s for s in wanted if (codec.name, codec.version(), source.digest, s) not in known)
            if left:
                tasks.append(Task(name, source, left, judged))
    return tasks
