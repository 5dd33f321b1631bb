"""jobq step"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import exit_with
from jobq.commands.inside_job import run_step
from jobq.errors import UsageError


def step(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the step, unique in the job.")],
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What it runs, as for 'jobq add'.")
    ] = None,
) -> None:
    """Run a command inside a job, once.

    When the job runs again (a retry, 'jobq requeue'), a step that has succeeded with the same command is skipped, and
    its output is printed again. 'jobq requeue 7 --from-step train' forgets that step and those behind it. Outside of a
    job it only runs the command.

    Example: jobq step fetch -- curl -fsSO https://example.org/data
    """
    if not command:
        raise UsageError(
            "no command is given", "give one, as in: jobq step fetch -- curl -fsSO https://example.org/data"
        )
    exit_with(run_step(name, command))
