"""Looking for jobs in the whole store, finished ones included."""

from __future__ import annotations

from jobq.job import Job
from jobq.store.store import Store


def open_failures(store: Store, most: int) -> tuple[int, list[Job]]:
    """Return how many failures nobody has dealt with, and the last of them, the newest first. Call `read` first."""
    state, archive = store.state, store.archive()
    here = sorted((job for job in state.jobs.values() if job.is_open_failure), key=_by_end, reverse=True)
    elsewhere = state.jobs.keys() | state.removed
    count, base = state.failures.count, state.failures.base
    if count is not None and base is not None:
        places = [place for place in reversed(base.last) if place.id not in elsewhere][: max(0, most - len(here))]
        found = [job for place in places if (job := archive.at(place)) is not None]
        if len(here) + len(found) >= min(most, count):
            return count, (here + found)[:most]
    base = archive.open_failures(elsewhere)  # the places that are known were dealt with: look for the others
    found = [job for place in reversed(base.last) if (job := archive.at(place)) is not None]
    return base.number + len(here), (here + found)[:most]


def _by_end(job: Job) -> tuple[float, int]:
    return (job.finished_at or 0.0, job.id)
