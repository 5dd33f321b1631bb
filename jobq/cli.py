"""The command line: which commands there are, and the one place where errors are told and exit codes made."""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from jobq.errors import JobqError, NotSaved
from jobq.settings import debugging
from jobq.version import VERSION
from jobq.views.console import complain, out

BUG = 70
WORDS_END_OPTIONS = {"allow_interspersed_args": False}

app = typer.Typer(
    name="jobq",
    help="A job queue for one user on one machine: no daemon, honest exit codes, nothing lost.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        out(f"jobq {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def jobq(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="DIR", help="Where jobs are kept.  [default: JOBQ_STORE, or your state directory]"
        ),
    ] = None,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A job queue for one user on one machine: no daemon, honest exit codes, nothing lost.

    Without a command: what runs, what waits and why, what failed last.
    """
    context.obj = store
    if context.invoked_subcommand is None:
        from jobq.commands.common import queue_of  # noqa: PLC0415
        from jobq.commands.status import status  # noqa: PLC0415

        status(queue_of(context))


def _register() -> None:
    from jobq.commands.add import add  # noqa: PLC0415
    from jobq.commands.call import call  # noqa: PLC0415
    from jobq.commands.cancel import cancel  # noqa: PLC0415
    from jobq.commands.completion import completion  # noqa: PLC0415
    from jobq.commands.doctor import doctor  # noqa: PLC0415
    from jobq.commands.list import list_  # noqa: PLC0415
    from jobq.commands.log import log  # noqa: PLC0415
    from jobq.commands.requeue import requeue  # noqa: PLC0415
    from jobq.commands.rm import rm  # noqa: PLC0415
    from jobq.commands.run import run  # noqa: PLC0415
    from jobq.commands.show import show  # noqa: PLC0415
    from jobq.commands.wait import wait  # noqa: PLC0415
    from jobq.commands.worker import worker  # noqa: PLC0415

    app.command("add", context_settings=WORDS_END_OPTIONS)(add)
    app.command("call", context_settings=WORDS_END_OPTIONS)(call)
    app.command("run", context_settings=WORDS_END_OPTIONS)(run)
    app.command("worker")(worker)
    app.command("list")(list_)
    app.command("show")(show)
    app.command("log")(log)
    app.command("wait")(wait)
    app.command("cancel")(cancel)
    app.command("requeue")(requeue)
    app.command("rm")(rm)
    app.command("doctor")(doctor)
    app.command("completion")(completion)


def main() -> NoReturn:
    """Run the command line, and exit."""
    if sys.platform == "win32":
        sys.exit("jobq: Windows is not supported yet; under WSL it runs as on Linux")
    try:
        _register()
        app()
    except JobqError as e:
        complain(str(e), e.hint)
        sys.exit(e.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as e:
        if debugging():
            raise
        complain(
            f"{e.filename or 'the store'}: {e.strerror or e}",
            "the disk or the system refused it; mend that, then look with 'jobq'",
        )
        sys.exit(NotSaved.exit_code)
    except Exception as e:  # the traceback is never the user's answer
        if debugging():
            raise
        complain(f"this is a bug in jobq: {type(e).__name__}: {e}", "JOBQ_DEBUG=1 shows where; please report it")
        sys.exit(BUG)
    sys.exit(0)
