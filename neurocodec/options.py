"""Options that commands of several modules share, and the numbers that options take."""

from __future__ import annotations

import math
from typing import Any

import click


class Number(click.FloatRange):
    """A number in a range, which messages and help call what people call it."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):  # in no range, and compares as if it were in all
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


class WholeNumber(click.IntRange):
    """As :class:`Number`."""

    name = "whole number"


force_option = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")
