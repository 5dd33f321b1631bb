"""Waiting for jobs: poll, recover the jobs of dead workers, time out. One place for `wait`, `log -f` and Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

from jobq import clock
from jobq.errors import WaitTimeout
from jobq.job import Job
from jobq.store.selection import find_all
from jobq.store.store import Store
from jobq.store.surroundings import is_orphaned

FIRST_POLL, LAST_POLL = 0.01, 0.1  # seconds between two looks
CHECK_DEAD_EVERY = 1.0  # seconds between two checks for dead workers


class Poll:
    """The rhythm of one wait: quick at first and after news, slower while nothing happens."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seconds = FIRST_POLL
        self._checked_at = float("-inf")
        self._seq = -1  # of the store, at the last look

    def has_changed(self) -> bool:
        """Return True at first, and whenever the store is not as it was at the last call."""
        before, self._seq = self._seq, self._store.read().seq
        return self._seq != before

    def sleep(self, *, news: bool = False, at_most: float = LAST_POLL) -> None:
        """Sleep until the next look; `at_most`: seconds."""
        time.sleep(max(0.0, min(self.next(news=news), at_most)))

    def next(self, *, news: bool = False) -> float:
        """Return the seconds until the next look."""
        self._seconds = FIRST_POLL if news else min(self._seconds * 1.5, LAST_POLL)
        return self._seconds

    def is_time_to_check(self) -> bool:
        """Return True about once a second."""
        now = time.monotonic()
        if now - self._checked_at < CHECK_DEAD_EVERY:
            return False
        self._checked_at = now
        return True

    def recover(self, job_ids: Sequence[int]) -> bool:
        """Recover these jobs if their worker is dead; return True if it was. Raises as `rescue`."""
        return recover_if_orphaned(self._store, job_ids)


def recover_if_orphaned(store: Store, job_ids: Sequence[int]) -> bool:
    """Record how running jobs of dead workers ended, if one of these is among them; return True if so."""
    if not is_orphaned(store, job_ids):
        return False
    recover(store)
    return True


def recover(store: Store) -> None:
    """Recover the jobs of all dead workers."""
    from jobq.worker.rescue import rescue  # noqa: PLC0415  # with all that knows processes: most commands never need it

    rescue(store, clock.now())


class WaitOptions(TypedDict, total=False):
    """The options of a wait for several jobs."""

    enough: int  # return those that are finished once there are so many
    meanwhile: Callable[[list[int]], None]  # gets the ids of the unfinished ones about once a second


def wait_all(
    store: Store, job_ids: Sequence[int], timeout: float | None = None, **options: Unpack[WaitOptions]
) -> list[Job]:
    """Return the jobs once all are finished, or enough of them. Raises NotFound, WaitTimeout."""
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    poll = Poll(store)
    job_ids = list(dict.fromkeys(job_ids))
    enough = options.get("enough", len(job_ids))
    open_ids = job_ids
    while True:
        store.read()
        open_ids = [job_id for job_id, job in find_all(store, open_ids).items() if not job.state.final]
        if not open_ids or len(job_ids) - len(open_ids) >= enough:
            return [job for job in find_all(store, job_ids).values() if job.state.final]
        if poll.is_time_to_check():
            if "meanwhile" in options:
                options["meanwhile"](open_ids)
            if poll.recover(open_ids):
                continue
        if time.monotonic() >= deadline:
            raise WaitTimeout(
                f"{some(open_ids)} not finished after {timeout:g} s", "'jobq list' shows why; the jobs go on"
            )
        poll.sleep(at_most=deadline - time.monotonic())


def some(job_ids: Sequence[int]) -> str:
    """Return "job 3 is", "jobs 3, 4 are", "jobs 3, 4, 5, 6 and 96 more are"."""
    if len(job_ids) == 1:
        return f"job {job_ids[0]} is"
    shown = ", ".join(map(str, job_ids[:4]))
    return f"jobs {shown}{f' and {len(job_ids) - 4} more' if len(job_ids) > 4 else ''} are"
