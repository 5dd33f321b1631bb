"""The table of queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobq.queues import QueueSettings
from jobq.typed import NamedTuple
from jobq.views.aligned import aligned
from jobq.views.rows import out_rows
from jobq.views.text import safe

HEADERS = ("QUEUE", "WAITING", "RUNNING", "LIMIT", "CAPACITY", "WORKERS", "NOTE")


class QueueRow(NamedTuple):
    """One queue: its settings, its unfinished jobs, the workers that take them, and why nothing starts."""

    settings: QueueSettings
    waiting: int
    running: int
    workers: int
    paused: str
    unserved: str


def print_queues(rows: Sequence[QueueRow]) -> None:
    """Print a line for each queue."""
    out_rows(*aligned([HEADERS, *map(_cells, rows)], right=range(1, len(HEADERS) - 1)))


def _cells(row: QueueRow) -> tuple[str, ...]:
    limit, capacity = row.settings.limit, row.settings.capacity
    notes = [row.paused, row.unserved if row.waiting else "", is_full(row.running, limit) if row.waiting else ""]
    return (
        safe(str(row.settings.name)),
        str(row.waiting),
        str(row.running),
        str(limit or "-"),
        str(capacity or "-"),
        str(row.workers),
        safe("; ".join(filter(None, notes))),
    )


def is_full(running: int, limit: int | None) -> str:
    """Return "full" if as many jobs run as may."""
    return "full" if limit is not None and running >= limit else ""


def queue_data(row: QueueRow) -> dict[str, Any]:
    """Return the data of one queue for `--json`."""
    return {
        "name": row.settings.name,
        "waiting": row.waiting,
        "running": row.running,
        "limit": row.settings.limit,
        "capacity": row.settings.capacity,
        "workers": row.workers,
        "paused": row.paused or None,
    }
