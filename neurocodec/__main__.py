"""python -m neurocodec, and what the command `neurocodec` starts."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN = 0.01  # seconds


def main() -> None:
    """The command line, stopped in a word from the first import on."""
    sys.unraisablehook = insist
    try:
        from neurocodec import cli
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    cli.main()


def insist(unraisable: UnraisableHookArgs) -> None:
    """Have an interrupt come again that Python drops, as it does with what is raised in its callbacks, such as those
    of an import."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(AGAIN, interrupt).start()
    else:
        sys.__unraisablehook__(unraisable)


def interrupt() -> None:
    """Send SIGINT to the main thread, which wakes it, too, where it waits."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:  # Windows
        signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
