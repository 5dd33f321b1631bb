"""The live workers, as lines or as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.rules.serving import LiveWorker
from jobq.views.console import info, out
from jobq.views.envelope import envelope
from jobq.views.text import clock_time, iso_time, safe


def print_workers(workers: Sequence[LiveWorker], *, json: bool) -> None:
    """Print a line for each worker, or JSON."""
    if json:
        rows = [
            {
                "pid": worker.pid or None,
                "slots": worker.slots or None,
                "queues": worker.queues,
                "since": iso_time(worker.since) if worker.since else None,
                "stopping": worker.stopping,
                "suspended": worker.suspended,
            }
            for worker in workers
        ]
        out(envelope(workers=rows))
        return
    for worker in workers:
        served = "all queues" if worker.queues is None else ", ".join(worker.queues)
        states = [word for word in ("stopping", "suspended") if getattr(worker, word)]
        notes = f" ({', '.join(states)})" if states else ""
        out(f"pid {worker.pid}: {worker.slots} slots, {safe(served)}, since {clock_time(worker.since)}{notes}")
    if not workers:
        info("no worker is running")
