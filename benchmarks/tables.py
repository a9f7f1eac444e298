"""The comparison as a table: for the terminal, and as Markdown for a README."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import qualities
from benchmarks.against import Against
from benchmarks.summary import SCORES, SIMILARITIES, BdRate, Summary, measured

AGAINST = ["codec", "published curve", "BD-rate MS-SSIM", "BD-rate PSNR"]
TAKEN_AS_THEY_ARE = (
    "Published curves are taken as they are: a comparison says something where they are of these pictures."
)


def columns(summaries: Sequence[Summary]) -> list[str]:
    """Return the column headings of the table. A measure that no codec has gets no column."""
    rates = [f"BD-rate {quality.title}" for quality in measured(summaries)]
    scores = [f"size at SSIMULACRA2 {s}" for s in SCORES] if qualities.SSIMULACRA2 in measured(summaries) else []
    sizes = [f"size at MS-SSIM {s:.2f}" for s in SIMILARITIES]
    return ["codec", *rates, *scores, *sizes, "encode s/MP", "decode s/MP", "memory MB"]


def rows_of(summaries: Sequence[Summary]) -> list[list[str]]:
    """Return the column headings, and one row of cells for each codec."""
    return [columns(summaries), *(_cells(s, summaries) for s in summaries)]


def _cells(s: Summary, summaries: Sequence[Summary]) -> list[str]:
    rates = [window(s.bd(quality), quality.unit) for quality in measured(summaries)]
    scores: list[str] = []
    if qualities.SSIMULACRA2 in measured(summaries):
        scores = [percent(score.percent) for score in s.scores] or ["-"] * len(SCORES)
    sizes = [percent(size.percent) for size in s.sizes] or ["-"] * len(SIMILARITIES)
    memory = "-" if s.encode_mb is None or s.decode_mb is None else f"{s.encode_mb:.0f} / {s.decode_mb:.0f}"
    return [s.label, *rates, *scores, *sizes, number(s.encode_s_per_mp), number(s.decode_s_per_mp), memory]


def text(summaries: Sequence[Summary], versions: Mapping[str, str] | None = None) -> str:
    """Align the table with spaces. Below it, list the libraries in `versions` by the label of their codec."""
    return "\n".join([_aligned(rows_of(summaries)), *_versions(versions)])


def _versions(versions: Mapping[str, str] | None) -> list[str]:
    return [f"{label}: {version}" for label, version in (versions or {}).items()]


def against_text(rows: Sequence[Against]) -> str:
    """Our codecs against published curves, aligned with spaces."""
    return _aligned([AGAINST, *(_against(row) for row in rows)]) + f"\n{TAKEN_AS_THEY_ARE}"


def against_markdown(rows: Sequence[Against]) -> str:
    """The same as Markdown."""
    return _markdown([AGAINST, *(_against(row) for row in rows)]) + f"\n{TAKEN_AS_THEY_ARE}\n"


def _against(row: Against) -> list[str]:
    return [row.label, row.curve, window(row.bd_ms_ssim), window(row.bd_psnr)]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        aligned = [row[0].ljust(widths[0])]
        aligned += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(aligned))
    return "\n".join(lines)


def markdown(summaries: Sequence[Summary], versions: Mapping[str, str] | None = None) -> str:
    """Return the table in Markdown, with our rows in bold. Below it, list the libraries in `versions` by codec."""
    head, *rows = rows_of(summaries)
    bold = [[f"**{cell}**" for cell in row] if s.is_ours else row for s, row in zip(summaries, rows, strict=True)]
    listed = "".join(f"- {line}\n" for line in _versions(versions))
    return _markdown([head, *bold]) + (f"\n{listed}" if listed else "")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]]) + "\n"


def window(value: BdRate, unit: str = "dB") -> str:
    """Return a BD-rate and its window as text: "-60.0 % (9.6 to 22.5 dB)"."""
    if value.percent is None:
        return "refused" if value.refused else "-"
    return f"{percent(value.percent)} ({value.low:.1f} to {value.high:.1f}{f' {unit}' if unit else ''})"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
