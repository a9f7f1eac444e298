"""Rows of dataclasses in CSV files: appended as they are measured, so that a stopped run loses nothing."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from benchmarks.measure import Measurement
from benchmarks.timings import Observation

Row = TypeVar("Row", bound=Measurement | Observation)


class Table(Generic[Row]):
    """A CSV file whose lines are rows of one dataclass, one for each key.

    A file that an earlier release wrote may lack the last columns, if they have defaults. Its rows get the defaults.
    The next row that is added rewrites the file with all columns.
    """

    def __init__(self, path: Path, kind: type[Row]) -> None:
        self.path, self.kind = path, kind
        self.rows: dict[object, Row] = {}
        self.is_short = False  # True if the file lacks columns
        if path.exists():
            self._read()

    def _read(self) -> None:
        hints = get_type_hints(self.kind)
        names = [f.name for f in fields(self.kind)]
        with self.path.open(newline="") as file:
            reader = csv.DictReader(file)
            found = list(reader.fieldnames or ())
            optional = [f.name for f in fields(self.kind) if f.default is not MISSING]
            if found != names[: len(found)] or not set(names[len(found) :]) <= set(optional):
                raise ValueError(f"{self.path} has other columns than this version writes: remove it.")
            self.is_short = len(found) < len(names)
            for number, line in enumerate(reader, 2):
                if None in line.values():  # the last line of a run that was killed while it wrote
                    continue
                try:
                    values: dict[str, Any] = {name: _value(hints[name], line[name]) for name in found}
                except ValueError as error:
                    raise ValueError(f"{self.path}, line {number}: {error}: mend or remove it.") from None
                row = self.kind(**values)
                self.rows[row.key] = row

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows, to memory and to the file."""
        new = list(rows)
        if not new:
            return
        names = [f.name for f in fields(self.kind)]
        if self.is_short:
            self.rewrite(self.rows.values())
        complete = not self.path.exists() or self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not complete:
                file.write("\n")
            if file.tell() == 0:
                writer.writerow(names)
            for row in new:
                self.rows[row.key] = row
                writer.writerow([getattr(row, name) for name in names])

    def prune(self, versions: Mapping[str, str]) -> int:
        """Forget what these codecs measured in another version than the one given for each -> how many rows."""
        before = len(self.rows)
        self.rows = {k: r for k, r in self.rows.items() if versions.get(r.codec, r.version) == r.version}
        return before - len(self.rows)

    def rewrite(self, rows: Iterable[Row]) -> None:
        """The file anew, sorted: what a run leaves does not depend on which worker was first."""
        beside = self.path.with_suffix(".tmp")
        names = [f.name for f in fields(self.kind)]
        with beside.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([getattr(row, name) for name in names] for row in rows)
        beside.replace(self.path)
        self.is_short = False


def _value(hint: Any, text: str) -> object:
    """Return the value of a cell. An empty cell is None if the type allows it. Raises ValueError."""
    kinds = get_args(hint) or (hint,)
    return None if not text and type(None) in kinds else kinds[0](text)
