"""The command line: one group, whose commands are in ``commands``, ``explore`` and ``training``. Errors end here."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from neurocodec import __version__
from neurocodec.commands.bulk import bulk
from neurocodec.commands.compress import compress
from neurocodec.commands.decompress import decompress
from neurocodec.commands.inspect import info, models, verify
from neurocodec.commands.shared import printable
from neurocodec.errors import NeurocodecError, memory_errors
from neurocodec.explore.commands import explain, interpolate, sample, traverse
from neurocodec.explore.repairs import inpaint, restore
from neurocodec.training.commands import export, train


class Command(click.Group):
    """Turns our errors into one sentence and exit code 1, and an interrupt into a word and 130."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*arguments, **extra)
        except KeyboardInterrupt:  # of which click would make "Aborted!" and 1
            click.echo("Stopped.", err=True)
            sys.exit(130)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with memory_errors():
                return super().invoke(ctx)
        except NeurocodecError as error:
            raise click.ClickException(printable(str(error))) from error
        except OSError as error:
            if error.errno == errno.EPIPE or error.strerror is None:
                raise  # click ends quietly when a reader goes away
            raise click.ClickException(
                printable(f"{error.filename or 'standard output'}: {error.strerror}.")
            ) from error
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(130)
        except MemoryError as error:
            raise click.ClickException("not enough memory for this picture.") from error


@click.group(cls=Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="neurocodec")
def main() -> None:
    """A neural image codec: pictures into much smaller files than JPEG, and back.

    \b
    Example:
      neurocodec compress photo.png photo.nc
      neurocodec decompress photo.nc photo-again.png
    """


for command in (
    compress,
    decompress,
    info,
    verify,
    models,
    bulk,
    train,
    export,
    restore,
    inpaint,
    sample,
    interpolate,
    traverse,
    explain,
):
    main.add_command(command)
