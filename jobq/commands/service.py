"""jobq service, service install, service remove"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobq.commands.common import exit_with, queue_of
from jobq.commands.options import value_of
from jobq.errors import UsageError
from jobq.options.values import WORD_CHARACTERS, parse_name
from jobq.services import Manager, Service, lingers
from jobq.views.console import info, out
from jobq.views.text import safe

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the service, if you have several.")]


def named(name: str) -> str:
    """Return the name of a service. Raises UsageError."""
    if not name or not WORD_CHARACTERS.issuperset(name):
        raise UsageError(f"--name: {name!r:.60} can't be the name of a service", "use letters, digits, _ and -")
    return name


def service(context: typer.Context, *, name: Name = "jobq") -> None:
    """Show whether a worker runs as a service.

    Its exit code is 0 if it does, else 1. 'service install' and 'service remove' change that.

    Examples: jobq service; jobq service install -j 4
    """
    one = Service(named(name), queue_of(context).path)
    state = Manager().status(one)
    out(f"{one.name}: {state}")
    tell_lingering()
    exit_with(int(state != "active"))


def install(
    context: typer.Context,
    *,
    slots: Annotated[int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Jobs at once.")] = None,
    queues: Annotated[
        list[str] | None, typer.Option("--queue", "-q", metavar="NAME", help="Serve only this queue (may be repeated).")
    ] = None,
    name: Name = "jobq",
    print_: Annotated[bool, typer.Option("--print", help="Print the file for the system, and do nothing.")] = False,
) -> None:
    """Run a worker as a service of yours.

    It is one of systemd, or of launchd: started now and whenever you log in, and again if it is killed.

    Examples: jobq service install -j 4; jobq service install --name gpu -q gpu
    """
    words: list[str] = [] if slots is None else ["--jobs", str(slots)]
    for queue in queues or ():
        words += ["--queue", value_of("--queue", parse_name, queue)]
    one = Service(named(name), queue_of(context).path, words)
    if print_:
        out(*one.text().rstrip("\n").split("\n"))
        return
    Manager().install(one)
    info(f"the service {one.name} runs a worker: {safe(one.path)}")
    tell_lingering()


def remove(context: typer.Context, *, name: Name = "jobq") -> None:
    """Stop the service, and forget it.

    Jobs that run are handed back.

    Example: jobq service remove
    """
    one = Service(named(name), queue_of(context).path)
    info(
        f"the service {one.name} is removed" if Manager().remove(one) else f"nothing changed: {one.name} is no service"
    )


def tell_lingering() -> None:
    """Print that services end with the session, if they do."""
    known: Any = lingers()
    if known is False:
        info("it runs as long as you are logged in; 'loginctl enable-linger' lets it run from boot on")
