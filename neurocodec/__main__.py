"""python -m neurocodec, and what the command `neurocodec` starts."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line, stopped in a word from the first import on."""
    try:
        from neurocodec import cli
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
