"""Options that commands of several modules share, and the numbers that options take."""

from __future__ import annotations

import click


class Number(click.FloatRange):
    """A number in a range, which messages and help call what people call it."""

    name = "number"


class WholeNumber(click.IntRange):
    """As :class:`Number`."""

    name = "whole number"


force_option = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")
