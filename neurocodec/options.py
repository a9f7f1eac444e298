"""Options that commands of several modules share."""

from __future__ import annotations

import click

force_option = click.option("-f", "--force", is_flag=True, help="Overwrite OUT if it exists.")
