"""The changes that follow from a change of a job; no other module decides them. `Transaction.put` carries it out.

Workers, rescues, cancels and requeues end and begin jobs in several places; none of them looks further than its own
job. Dependencies, keys, hooks and schedules get their rules here.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobq.job import Job


def consequences(state: object, before: Job | None, after: Job) -> Iterator[Job]:  # noqa: ARG001
    """Yield the jobs that change because `before` has become `after`, as they are then. So far no rule needs it."""
    return iter(())
