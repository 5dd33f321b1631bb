"""New jobs: all of one request in one transaction, except those that are there already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from jobq import clock
from jobq.errors import Refused, WaitTimeout
from jobq.intake import Added, QueueFull, Request, has_room, placed, store_request
from jobq.job import Job
from jobq.options.request import check_commands
from jobq.store.store import Store
from jobq.store.transaction import Add, MustLook
from jobq.store.upgrade import recapturing, upgrading
from jobq.waiting import Poll


def add(store: Store, make_requests: Callable[[], Sequence[Request]]) -> Added:
    """Store the jobs of all requests, all or none. Raises UsageError, Refused, NotFound, NotSaved, WaitTimeout.

    `make_requests` is called again if the environment that it captured was removed meanwhile.
    """
    begun = time.monotonic()
    longest = 0.0

    def store_them() -> Added:
        nonlocal longest
        requests = make_requests()
        longest = max((request.wait_room for request in requests), default=0.0)
        return _store_jobs(store, requests)

    while True:
        try:
            return recapturing(lambda: upgrading(store, store_them))
        except QueueFull as e:
            if not longest or not e.may_fit:
                raise
            _wait_for_room(store, e, begun + longest, longest)


def _wait_for_room(store: Store, full: QueueFull, until: float, longest: float) -> None:
    """Return when there is room for the jobs, without the lock; `until`: monotonic. Raises WaitTimeout."""
    poll = Poll(store)
    while not has_room(store.read(), full.queue, full.count):
        left = until - time.monotonic()
        if left <= 0:
            raise WaitTimeout(f"{full} after {longest:g} s", "nothing was added")
        poll.sleep(at_most=left)


def _store_jobs(store: Store, requests: Sequence[Request]) -> Added:
    commands = [command for request in requests for command in request.commands]
    lines = [line for request in requests for line in request.lines]
    check_commands(commands, lines)
    if not commands:
        return Added((), ())
    now = clock.now()
    if len(requests) == 1 and requests[0].is_plain:
        try:
            ids: Sequence[int] = store.append(Add(requests[0].spec, commands), now.wall)
        except MustLook:
            pass
        else:
            return Added(ids, ids)
    with store.transaction(now.wall) as transaction:
        added: list[Added] = []
        for request in requests:
            added.append(store_request(store, transaction, placed(request, added), now))
    return Added(
        [i for one in added for i in one.ids],
        [i for one in added for i in one.new],
        [i for one in added for i in one.replaced],
    )


def job_of(store: Store, added: Added) -> Job:
    """Return the only job that was added, or was there. Raises Refused if that is known, and its record is gone."""
    store.read()
    job = store.find_all(added.ids).get(added.ids[0])
    if job is None:
        raise Refused(f"job {added.ids[0]} has done this work, and its record is gone", "leave out once and key")
    return job
