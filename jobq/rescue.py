"""What is done about dead workers, by whoever notices first: a worker, `wait`, `cancel`, `requeue` or `run`.

A worker is dead if and only if its lock is free. Each attempt that it answered for either still has a live supervisor,
and goes on (a worker that rescues adopts it), or has one that ended, and its end is taken from what that left.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import NamedTuple

from jobq import lifecycle
from jobq.engine.remains import Supervision, settle
from jobq.engine.task import Key
from jobq.job import Ending, Job, Moment, State
from jobq.store import Jobs, Store
from jobq.store import workers as presence

ROLL = random.SystemRandom()


class Rescued(NamedTuple):
    """What a rescue has done."""

    adopted: list[tuple[Supervision, Key]]
    settled: list[Job]


def rescue(store: Store, now: Moment, *, adopter: str | None = None) -> Rescued:
    """Settle the affairs of every dead worker; `adopter` is the token of the live worker that takes over what runs.

    Raises as `Store.update` does.
    """
    done = Rescued([], [])
    jobs = store.read()
    if store.header is None:
        return done
    root = store.root
    tokens = set(presence.tokens(root)) | set(_tokens_in(jobs))
    tokens.discard(adopter or "")
    for token in sorted(tokens):
        if not presence.is_alive(root, token):
            _rescue_one(store, token, now, adopter, done)
    return done


def _tokens_in(jobs: Jobs) -> Iterator[str]:
    for job_id in jobs.running:
        attempt = jobs.by_id[job_id].running
        assert attempt is not None
        yield attempt.owner


def _rescue_one(store: Store, token: str, now: Moment, adopter: str | None, done: Rescued) -> None:
    workers = f"{store.path}/{presence.WORKERS}"
    exists = os.path.isdir(f"{workers}/{token}")
    inheritance = presence.Inheritance.take(store.root, token)
    if exists and inheritance is None:
        return  # somebody else is at it, or it has come and gone
    locks: list[int] = []
    empty = False
    try:
        endings: dict[Key, Ending] = {}
        alive: dict[Key, Supervision] = {}
        for job in _answered_for(store.read(), token):
            attempt = job.attempts[-1]
            key, supervision = Key(job.id, attempt.n), Supervision.named(workers, attempt.supervisor)
            lock = supervision.lock_if_dead()
            if lock is None:
                alive[key] = supervision
                continue
            if lock >= 0:
                locks.append(lock)
            endings[key] = settle(supervision, key, store.path)

        def decide(jobs: Jobs) -> Iterator[Job]:
            done.settled.clear()
            done.adopted.clear()
            for key, ending in endings.items():
                job = jobs.by_id.get(key.job_id)
                if job is not None and _is_running(job, key, token):
                    after = lifecycle.finish(job, ending, now, ROLL.random())
                    done.settled.append(after)
                    yield after
            for key, supervision in alive.items() if adopter is not None else ():
                job = jobs.by_id.get(key.job_id)
                if job is not None and _is_running(job, key, token):
                    done.adopted.append((supervision, key))
                    yield lifecycle.adopt(job, now, owner=adopter or "")
            if token.startswith(presence.OWN_JOBS):
                yield from _orphans_of_run(jobs, token, now)

        if endings or (alive and adopter) or token.startswith(presence.OWN_JOBS):
            store.update(decide, now.wall)
        empty = not any(
            job.attempts[-1].supervisor.startswith(f"{token}/")
            for job in (store.jobs.by_id[job_id] for job_id in store.jobs.running)
        )
    finally:
        for lock in locks:
            os.close(lock)
        if inheritance is not None:
            inheritance.close(remove=empty)


def _answered_for(jobs: Jobs, token: str) -> list[Job]:
    running = (jobs.by_id[job_id] for job_id in jobs.running)
    return [job for job in running if job.attempts[-1].owner == token]


def _is_running(job: Job, key: Key, owner: str) -> bool:
    return job.state is State.RUNNING and job.attempts[-1].n == key.n and job.attempts[-1].owner == owner


def _orphans_of_run(jobs: Jobs, token: str, now: Moment) -> Iterator[Job]:
    """The waiting jobs of a `jobq run` that is dead: nobody else may run them, so they end with it."""
    for job in list(jobs.by_id.values()):
        if job.spec.runner == token and not job.state.final and job.state is not State.RUNNING:
            yield lifecycle.cancel(job, now)
