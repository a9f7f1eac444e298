"""A whole run: measure in parallel, time in series, summarise, draw, report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import (
    against,
    codecs,
    equal_bytes,
    machine,
    measure,
    pictures,
    plots,
    qualities,
    report,
    summary,
    tables,
    timings,
)
from benchmarks.against import Against
from benchmarks.codecs.base import Codec
from benchmarks.measure import Measurement, codec_of
from benchmarks.published import PublishedCurve
from benchmarks.store import Table
from benchmarks.summary import Summary
from benchmarks.timings import Memory, Observation, Timing

Report = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    images: Path
    out: Path
    names: tuple[str, ...]  # of codecs, as codecs.make takes them
    qualities: tuple[float, ...] = ()  # instead of each codec's own sweep
    limit: int | None = None
    threads: int = 2
    jobs: int = 2
    time: bool = True
    judged: bool = False  # True to measure by benchmarks.judge also
    shown: int = 3
    shown_quality: float = 15.0

    def sweep(self, codec: Codec) -> tuple[float, ...]:
        if not (self.qualities and codec.setting_is_quality):
            return tuple(float(s) for s in codec.settings)
        return tuple(dict.fromkeys(float(round(q)) if codec.setting_is_whole else q for q in self.qualities))


@dataclass
class Outcome:
    """What came out, good and bad."""

    summaries: list[Summary] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # skipped pictures and failed codecs: exit code 1
    left_out: dict[str, list[str]] = field(default_factory=dict)  # reason -> codecs that cannot run here
    timings: list[Timing] = field(default_factory=list)
    against: list[Against] = field(default_factory=list)
    rivals: dict[str, str] = field(default_factory=dict)  # label of a codec that is not ours -> its libraries
    judges: list[str] = field(default_factory=list)  # versions of the judge that the rows name


def usable(names: Sequence[str], outcome: Outcome) -> list[str]:
    """The codecs that can run here; the others are noted with their reason."""
    found = []
    for name in names:
        reason = codec_of(name).missing()
        if reason is None:
            found.append(name)
        else:
            outcome.left_out.setdefault(reason, []).append(name)
    return found


def run(settings: Settings, published: Sequence[PublishedCurve], tell: Report) -> Outcome:
    """Everything, into the folder settings.out: what lies there already is not measured again."""
    outcome = Outcome()
    names = usable(settings.names, outcome)
    found = pictures.find(settings.images, settings.limit)
    outcome.problems += [f"skipped {name}: {why}" for name, why in found.skipped.items()]
    if not found.sources or not names:
        outcome.problems.append(
            f"{settings.images}: there is {'no codec' if found.sources else 'no picture'} to measure."
        )
        return outcome
    settings.out.mkdir(parents=True, exist_ok=True)
    rows = _measure(settings, names, found.sources, outcome, tell)
    memory: list[Memory] = []
    if settings.time:
        outcome.timings, memory = _time(settings, names, found.sources, rows, tell)
    for name in names:
        codec = codec_of(name)
        line = Summary(codec.name, codec.label, summary.points_of(codec.name, rows, len(found.sources)))
        summary.add_times(line, outcome.timings, memory)
        outcome.summaries.append(line)
        if not line.is_ours:
            outcome.rivals[line.label] = codec.version()
    reference = next((s for s in outcome.summaries if s.codec == codecs.REFERENCE), None)
    if reference is not None:
        for line in outcome.summaries:
            if line is not reference:
                summary.compare(line, reference)
    outcome.against = against.compare(outcome.summaries, published)
    outcome.judges = sorted({row.judge for row in rows if row.judge is not None})
    _write(settings, found.sources, outcome, published, tell)
    return outcome


def _measure(
    settings: Settings, names: Sequence[str], sources: Sequence[pictures.Source], outcome: Outcome, tell: Report
) -> list[Measurement]:
    table = Table(settings.out / "measurements.csv", Measurement)
    known: set[object] = {key for key, row in table.rows.items() if row.is_complete(settings.judged)}
    tasks = measure.tasks_for(names, settings.sweep, sources, known, settings.judged)
    if tasks:
        for result in measure.run_all(tasks, settings.jobs, tell):
            table.add(result.rows)
            if result.error is not None:
                outcome.problems.append(f"{result.task.codec} failed on {result.task.source.name}: {result.error}")
    order = {
        (c.name, c.version(), source.digest, s): None
        for c in (codec_of(name) for name in names)
        for source in sources
        for s in settings.sweep(c)
    }
    forgotten = table.prune({codec_of(name).name: codec_of(name).version() for name in names})
    if forgotten:  # a package edited while it is measured loses its rows, too
        tell(f"{forgotten} row(s) of other versions (code, weights, libraries) left {table.path}")
    table.rewrite(sorted(table.rows.values(), key=lambda r: (r.codec, r.version, r.setting, r.picture)))
    return [table.rows[key] for key in order if key in table.rows]


def _time(
    settings: Settings,
    names: Sequence[str],
    sources: Sequence[pictures.Source],
    rows: Sequence[Measurement],
    tell: Report,
) -> tuple[list[Timing], list[Memory]]:
    measured = {row.codec for row in rows}
    typical = {n: timings.typical_setting(codec_of(n), rows) for n in names if codec_of(n).name in measured}
    times = Table(settings.out / "timings.csv", Timing)
    able = {(row.codec, row.digest) for row in rows}
    for timing in timings.time_all(typical, sources, settings.threads, able, set(times.rows), tell):
        times.add([timing])
    versions = {codec_of(n).name: codec_of(n).version() for n in names}
    times.prune(versions)
    times.rewrite(sorted(times.rows.values(), key=lambda t: (t.codec, t.version, t.threads, t.picture)))
    memory = Table(settings.out / "memory.csv", Memory)
    memory.prune(versions)
    memory.rewrite(memory.rows.values())
    for name, setting in typical.items():
        codec = codec_of(name)
        largest = max((s for s in sources if (codec.name, s.digest) in able), key=lambda s: s.megapixels)
        if (codec.name, codec.version(), largest.digest, settings.threads) not in memory.rows:
            tell(f"memory of {codec.name}")
            memory.add([timings.memory_of(name, setting, largest, settings.threads)])
    digests = {s.digest for s in sources}

    def wanted(row: Observation) -> bool:
        return row.digest in digests and row.version == versions.get(row.codec) and row.threads == settings.threads

    return [t for t in times.rows.values() if wanted(t)], [m for m in memory.rows.values() if wanted(m)]


def _write(
    settings: Settings,
    sources: Sequence[pictures.Source],
    outcome: Outcome,
    published: Sequence[PublishedCurve],
    tell: Report,
) -> None:
    heading = f"{settings.images.resolve().name}, {len(sources)} pictures"
    conditions = machine.describe() | {"threads": f"{settings.threads} when timed, 1 when measured"}
    if settings.qualities:
        conditions["qualities"] = ", ".join(f"{q:g}" for q in settings.qualities)
    conditions |= {
        f"version of {name}": codec_of(name).version() for name in settings.names if _measured(name, outcome)
    }
    if outcome.judges:
        conditions["judge"] = "; ".join(outcome.judges)
    content = {
        "heading": heading,
        "conditions": conditions,
        "pictures": {s.name: s.digest for s in sources},
        "problems": outcome.problems,
        "left out": outcome.left_out,
        "rivals": outcome.rivals,
        "codecs": [s.fields() for s in outcome.summaries],
        "against published curves": [row.fields() for row in outcome.against],
    }
    (settings.out / "results.json").write_text(json.dumps(content, indent=1) + "\n")
    (settings.out / "table.md").write_text(tables.markdown(outcome.summaries, outcome.rivals))
    if outcome.against:
        (settings.out / "published.md").write_text(tables.against_markdown(outcome.against))
    files = plots.draw_all(settings.out, heading, outcome.summaries, published)
    notes = outcome.problems + [f"left out: {', '.join(n)}: {why}" for why, n in outcome.left_out.items()]
    notes += refusals(outcome.summaries)
    shown = _shown(settings, sources, outcome, tell)
    report.write(
        settings.out / "report.html", heading, outcome.summaries, files, shown, conditions, notes, outcome.against
    )


def refusals(summaries: Sequence[Summary]) -> list[str]:
    """Why a comparison was not made, codec by codec."""
    return [
        f"{s.codec}: no BD-rate by {quality.title}: {s.bd(quality).refused}"
        for s in summaries
        for quality in qualities.ALL
        if s.bd(quality).refused
    ]


def _measured(name: str, outcome: Outcome) -> bool:
    return codec_of(name).name in {s.codec for s in outcome.summaries}


def _shown(
    settings: Settings, sources: Sequence[pictures.Source], outcome: Outcome, tell: Report
) -> list[report.Shown]:
    """Pictures spread over the folder, each as JPEG and as our first model at the same bytes."""
    ours = [s for s in outcome.summaries if s.is_ours]
    if not ours or not _measured(codecs.REFERENCE, outcome):
        return []
    name = next(n for n in settings.names if codec_of(n).name == ours[0].codec)
    count = min(settings.shown, len(sources))
    pages = []
    for source in (sources[i * len(sources) // count] for i in range(count)):
        tell(f"{source.name} at equal bytes")
        pixels = pictures.read(source.path)
        pair = equal_bytes.pair_of(codec_of(codecs.REFERENCE), codec_of(name), pixels, settings.shown_quality)
        pages.append(report.show(source.name, pixels, pair))
    return pages
