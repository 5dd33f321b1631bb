"""jobq init"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from jobq.api import Queue
from jobq.errors import Refused
from jobq.settings import places
from jobq.views.console import info
from jobq.views.text import safe


def init(
    *,
    trust: Annotated[
        bool, typer.Option("--trust", help="Use the store that is there, although another person or machine made it.")
    ] = False,
) -> None:
    """Make a store for the project in this directory.

    It is .jobq, which git ignores. Here and below, all commands use it instead of your own store, unless --store or
    JOBQ_STORE names another. A .jobq that came with a checkout is not used: its jobs may be planted.

    Examples: jobq init; jobq init --trust
    """
    path = os.path.join(os.getcwd(), places.PROJECT_STORE)
    if places.is_own(path):
        info(f"nothing changed: {safe(path)} is in use already")
        return
    there = bool(places.uuid_of(path))
    if there and not (trust or places.was_own(path) or Queue(path).copies.is_new()):
        raise Refused(
            f"{path} was made by somebody else, or on another machine",
            f"'jobq --store {places.PROJECT_STORE} list --all' shows its jobs; 'jobq init --trust' uses it",
        )
    queue = Queue(path)
    queue.create()
    places.note(path)
    info(f"{safe(path)} is the store {'again ' if there else ''}for this directory and all below it")
    if (used := places.store_path()) != path:
        info(f"note: JOBQ_STORE goes before it, and names {safe(used)}")
