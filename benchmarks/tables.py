"""The comparison as a table: for the terminal, and as Markdown for a README."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.against import Against
from benchmarks.summary import SIMILARITIES, BdRate, Summary

AGAINST = ["codec", "published curve", "BD-rate MS-SSIM", "BD-rate PSNR"]
TAKEN_AS_THEY_ARE = (
    "Published curves are taken as they are: a comparison says something where they are of these pictures."
)


def columns() -> list[str]:
    """The heads of the table."""
    sizes = [f"size at MS-SSIM {s:.2f}" for s in SIMILARITIES]
    return ["codec", "BD-rate MS-SSIM", "BD-rate PSNR", *sizes, "encode s/MP", "decode s/MP", "memory MB"]


def cells(s: Summary) -> list[str]:
    """One codec's line."""
    sizes = [percent(size.percent) for size in s.sizes] or ["-"] * len(SIMILARITIES)
    memory = "-" if s.encode_mb is None or s.decode_mb is None else f"{s.encode_mb:.0f} / {s.decode_mb:.0f}"
    times = [number(s.encode_s_per_mp), number(s.decode_s_per_mp), memory]
    return [s.label, window(s.bd_ms_ssim), window(s.bd_psnr), *sizes, *times]


def text(summaries: Sequence[Summary]) -> str:
    """Aligned with spaces."""
    return _aligned([columns(), *(cells(s) for s in summaries)])


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


def markdown(summaries: Sequence[Summary]) -> str:
    """As Markdown; our lines are bold."""
    rows = [columns()]
    for s in summaries:
        bold = "**" if s.is_ours else ""
        rows.append([f"{bold}{cell}{bold}" for cell in cells(s)])
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]]) + "\n"


def window(value: BdRate) -> str:
    """ "-60.0 % (9.6 to 22.5 dB)"."""
    if value.percent is None:
        return "refused" if value.refused else "-"
    return f"{percent(value.percent)} ({value.low:.1f} to {value.high:.1f} dB)"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
