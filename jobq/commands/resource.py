"""jobq resource"""

from __future__ import annotations

from typing import Annotated

import typer

from jobq.commands.common import Json, queue_of
from jobq.errors import UsageError
from jobq.options.values import WholeNumber
from jobq.rules.sharing import LOCK
from jobq.views.console import info, out
from jobq.views.envelope import envelope
from jobq.views.text import safe

COUNT = WholeNumber(0, 999_999, "a whole number; 0 removes the resource")


def resource(
    context: typer.Context,
    words: Annotated[list[str] | None, typer.Argument(metavar="[set NAME N]", help="How much there is of it.")] = None,
    *,
    json: Json = False,
) -> None:
    """Show what jobs share, or set how much there is.

    A job with --need gpu=2 starts when two are free, and is told which: JOBQ_GPU=0,1 (also CUDA_VISIBLE_DEVICES).

    Examples: jobq resource; jobq resource set gpu 4
    """
    queue = queue_of(context)
    match words or []:
        case []:
            pass
        case ["set", name, text]:
            number = COUNT.parse(text)
            queue.resources.set(name, number)
            info(f"resource {safe(name)}: {number}" if number else f"there is no {safe(name)} any more")
            return
        case _:
            raise UsageError("the words are not understood", "write it like: jobq resource set gpu 4")
    shared = queue.resources.shared()
    names = sorted({*shared.counts, *shared.held()})
    if json:
        rows = [
            {"name": n, "count": shared.count(n), "free": shared.free(n), "jobs": [*shared.holders(n)]} for n in names
        ]
        out(envelope(resources=rows))
        return
    for name in names:
        holders = ", ".join(map(str, sorted(shared.holders(name)))) or "nobody"
        counts = "" if name.startswith(LOCK) else f": {max(shared.free(name), 0)} of {shared.count(name)} free"
        out(f"{safe(name)}{counts}, held by {holders}")
    if not names:
        info("no resources are set, and no lock is held; 'jobq resource set gpu 4' sets one")
