"""jobq progress"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.inside_job import report


def progress(
    value: Annotated[str, typer.Argument(metavar="PERCENT", help="40, 40% or 4/10; - if it is not known.")],
    text: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="What is being done.")] = None,
) -> None:
    """Tell how far the job is, from inside the job.

    The live table, 'jobq list' and --json show it, with the time left. Elsewhere it does nothing.

    Examples: jobq progress 40 'resizing'; jobq progress 4/10
    """
    report(value, text or ())
