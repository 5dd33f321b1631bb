"""The program, also as `python -m jobq`. It prints errors and turns them into exit codes."""

import sys

from jobq.startup import hurry, isolate

hurry()
isolate()  # before the imports below, so that they come from jobq's own environment

import errno  # noqa: E402
import os  # noqa: E402

from jobq.errors import NO_DIRECTORY, Interrupted, JobqError, NotSaved, UsageError  # noqa: E402
from jobq.exit_codes import BUG, TRY_AGAIN  # noqa: E402
from jobq.views.console import error, out, print_errors_as_json, take_over  # noqa: E402

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run the command line, and end the process.

    Output is not buffered, and no file is left half written. So Python's own cleaning is left out: it takes a tenth of
    the time of `jobq add`.
    """
    if sys.platform == "win32":
        sys.exit("jobq: Windows is not supported; run jobq under WSL, as on Linux")
    take_over()
    os._exit(outcome(sys.argv[1:]))


def outcome(words: list[str]) -> int:
    """Run the command and print its error, if any. Return the exit code. An interrupted process ends here."""
    try:
        if "--json" in words:
            from jobq.commands.words import wants_json  # noqa: PLC0415

            if wants_json(words):
                print_errors_as_json()
        return run(words)
    except JobqError as e:
        error(str(e), e.hint)
        return e.exit_code
    except (KeyboardInterrupt, Interrupted) as e:
        from jobq.worker.signals import end_by  # noqa: PLC0415

        end_by(getattr(e, "number", 0))
    except Exception as e:  # the traceback is never the user's answer
        show_if_debugging(e)
        return tell(e)


SHORT = {  # errno -> the resource that the machine has too little of
    errno.ENOMEM: "memory",
    errno.EMFILE: "descriptors",
    errno.ENFILE: "descriptors",
    errno.EAGAIN: "processes",
}


def shortage(e: Exception) -> str:
    """Return the resource that the machine has too little of, if that caused this error; else ""."""
    if isinstance(e, MemoryError) or (isinstance(e, SystemError) and "exception" in str(e)):  # a failed allocation
        return "memory"
    if isinstance(e, RuntimeError) and "can't start new thread" in str(e):
        return "processes"
    if isinstance(e, ImportError):  # from the loader of libraries, which gives no errno
        reasons = {"failed to map segment": "memory"} | {os.strerror(number): what for number, what in SHORT.items()}
        return next((what for reason, what in reasons.items() if reason in str(e)), "")
    return SHORT.get(e.errno or 0, "") if isinstance(e, OSError) else ""


def tell(e: Exception) -> int:
    """Print an unexpected error. Return the exit code."""
    if short := shortage(e):
        error(f"the machine is short of {short}", "try again later, or raise the limit that 'ulimit -a' shows")
        return TRY_AGAIN
    if isinstance(e, ImportError) and (e.name or "").partition(".")[0] == "jobq":
        error(f"jobq's own files can't be read: {e}", "try again; if it stays so, install jobq again")
        return TRY_AGAIN
    if isinstance(e, FileNotFoundError) and is_nowhere():
        error(NO_DIRECTORY, "cd somewhere")
        return UsageError.exit_code
    if isinstance(e, OSError):
        error(
            f"{e.filename or 'the store'}: {e.strerror or e}",
            "fix the disk or the system, then check with 'jobq'",
        )
        return NotSaved.exit_code
    error(f"this is a bug in jobq: {type(e).__name__}: {e}", "please report it; JOBQ_DEBUG=1 shows the traceback")
    return BUG


def is_nowhere() -> bool:
    """Return True if the working directory was removed."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def run(words: list[str]) -> int:
    """Print the version, run plain commands of a few kinds without typer, all else by it. Return the exit code."""
    if words in (["--version"], ["-V"]):
        from jobq.version import VERSION  # noqa: PLC0415

        out(f"jobq {VERSION}")
        return 0
    if words[:1] in (["progress"], ["step"]):
        from jobq.commands import inside_job  # noqa: PLC0415  # slow imports belong inside the handlers above

        if (code := inside_job.quick(words)) is not None:
            return code
    if words[:1] == ["completion"]:
        from jobq.commands import offers  # noqa: PLC0415

        if offers.offer(words):
            return 0
    if "add" in words[:3]:  # behind --store DIR, perhaps
        from jobq.commands import quick_add  # noqa: PLC0415

        if quick_add.add(words):
            return 0
    from jobq.commands import quick_list  # noqa: PLC0415

    if quick_list.read(words):
        return 0
    from jobq import cli  # noqa: PLC0415

    return cli.run(words)


def show_if_debugging(e: Exception) -> None:
    """Raise the error again if JOBQ_DEBUG asks for the traceback."""
    try:
        from jobq.environ import debugging  # noqa: PLC0415
    except (OSError, ImportError):  # no file can be opened any more, so the error was of the kind that `tell` knows
        return
    if debugging():
        raise e


if __name__ == "__main__":
    main()
