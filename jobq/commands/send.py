"""jobq send"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jobq.commands.common import queue_of
from jobq.errors import Refused, UsageError
from jobq.options.selectors import Wanted
from jobq.system import utf8


def send(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="An id, a name, or @ for the last added.")],
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="The line to type; -: all of standard input.")
    ] = None,
    *,
    no_newline: Annotated[bool, typer.Option("--no-newline", "-n", help="Do not press Enter behind it.")] = False,
) -> None:
    """Type a line in the terminal of a job.

    For jobs that were added with --pty, while they run. Without TEXT it presses Enter.

    Examples: jobq send 7 yes; jobq send -n 7 q
    """
    queue = queue_of(context)
    ids = queue.select(Wanted([job])).ids
    if len(ids) != 1:
        raise UsageError(f"{job} selects {len(ids)} jobs", "name one job")
    found = queue.job(ids[0])
    if found.running is None:
        raise Refused(f"job {found.id} does not run: its state is {found.state}")
    if not found.spec.pty:
        raise Refused(f"job {found.id} has no terminal", "add it with --pty")
    if text == ["-"]:
        data = sys.stdin.buffer.read()
    else:
        words = " ".join(map(utf8, text or ()))
        data = f"{words}{'' if no_newline else chr(10)}".encode("utf-8", "surrogateescape")
    queue.type_in(found, data)
