"""The live workers of a queue."""

from __future__ import annotations

from jobq import Queue


def tokens(queue: Queue) -> list[str]:
    """Return the tokens of the live workers that take any job."""
    return [worker.token for worker in queue.workers.all()]
