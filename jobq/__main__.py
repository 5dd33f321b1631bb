"""The program, also as `python -m jobq`: loads the command line, and is quiet about a ^C meanwhile."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, and exit."""
    try:
        from jobq.cli import main as command_line  # noqa: PLC0415  # it takes a while

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
