"""The program, also as `python -m jobq`: the one place where errors are told and exit codes made."""

from __future__ import annotations

import sys

from jobq.errors import JobqError, NotSaved
from jobq.views.console import complain

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import NoReturn

BUG = 70


def main() -> NoReturn:
    """Run the command line, and exit."""
    if sys.platform == "win32":
        sys.exit("jobq: Windows is not supported yet; under WSL it runs as on Linux")
    try:
        sys.exit(run(sys.argv[1:]))
    except JobqError as e:
        complain(str(e), e.hint)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as e:
        show_if_debugging(e)
        complain(
            f"{e.filename or 'the store'}: {e.strerror or e}",
            "the disk or the system refused it; mend that, then look with 'jobq'",
        )
        sys.exit(NotSaved.exit_code)
    except Exception as e:  # the traceback is never the user's answer
        show_if_debugging(e)
        complain(f"this is a bug in jobq: {type(e).__name__}: {e}", "JOBQ_DEBUG=1 shows where; please report it")
        sys.exit(BUG)


def run(words: list[str]) -> int:
    """Do what these words say: a plain `add` at once, everything else by the full command line. The exit code."""
    from jobq import quick  # noqa: PLC0415  # within reach of the handlers above, as all that takes time

    if quick.add(words):
        return 0
    from jobq import cli  # noqa: PLC0415

    return cli.run(words)


def show_if_debugging(e: Exception) -> None:
    """Raise it again if the user wants the traceback."""
    from jobq.settings import debugging  # noqa: PLC0415

    if debugging():
        raise e


if __name__ == "__main__":
    main()
