"""What is done about dead workers, by whoever notices first: a worker, `wait`, `cancel`, `requeue` or `run`.

A worker is dead if and only if its lock is free. Each attempt that it answered for either still has a live supervisor,
and goes on (a worker that rescues adopts it), or has one that ended, and its end is taken from what that left.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from jobq.engine.local.adoption import may_still_run, runs_elsewhere
from jobq.engine.local.evidence import STUCK_AFTER, SupervisorFiles, determine_ending, recorded_ending
from jobq.engine.task import Key, Trace
from jobq.errors import StoreError, StoreForbidden
from jobq.job import Ending, Job, Moment, State
from jobq.rules import lifecycle
from jobq.store import presence
from jobq.store.state import Jobs
from jobq.store.store import Store

RANDOM = random.SystemRandom()


class Adoption(NamedTuple):
    """A running attempt that the rescuer answers for from now on."""

    supervision: SupervisorFiles
    trace: Trace


class Rescued(NamedTuple):
    """What a rescue has done."""

    adopted: list[Adoption]
    settled: list[Job]
    held: list[str]  # a sentence for each job of which something may still run, and nobody can tell


def rescue(store: Store, now: Moment, *, adopter: str | None = None) -> Rescued:
    """Settle the affairs of every dead worker; `adopter` is the token of the live worker that takes over what runs.

    Raises as `Store.update` does, unless something was settled before: then that is returned, and the rest is for the
    next time.
    """
    done = Rescued([], [], [])
    jobs = store.read()
    if store.header is None:
        return done
    try:
        store.check_workers_place()
    except StoreForbidden:
        return done  # what lives on another machine can't be told from what is dead there
    root = store.root
    presence.sweep(root, now.wall)
    tokens = {*presence.tokens(root), *_tokens_in(jobs)} - {adopter}
    for token in sorted(token for token in tokens if not presence.is_alive(root, token)):
        try:
            _rescue_one(store, token, now, adopter, done)
        except (StoreError, OSError):
            if not done.adopted and not done.settled:
                raise
            break
    return done


def _tokens_in(jobs: Jobs) -> Iterator[str]:
    """The workers that answer for a running job, or that waiting jobs belong to."""
    for job_id in jobs.running:
        yield jobs.by_id[job_id].attempts[-1].owner
    for (_, runner), count in jobs.waiting.active.items():
        if runner is not None and count:
            yield runner


def _rescue_one(store: Store, token: str, now: Moment, adopter: str | None, done: Rescued) -> None:
    workers = f"{store.path}/{presence.WORKERS}"
    exists = os.path.isdir(f"{workers}/{token}")
    dead_lock = presence.DeadWorkerLock.take(store.root, token)
    if exists and dead_lock is None and os.path.exists(f"{workers}/{token}/{presence.LOCK}"):
        return  # somebody else is at it, or it has come and gone
    locks: dict[SupervisorFiles, int | None] = {}
    needed = True
    try:
        endings, alive = _look_at(store, _answered_for(store.read_settled(), token), locks, now)
        known = endings.keys() | alive.keys()
        unknown = [job.id for job in _answered_for(store.jobs, token) if Trace.of(job, store).key not in known]
        why = runs_elsewhere if presence.is_copied(store.root, token) else partial(may_still_run, who="worker")
        done.held.extend(map(why, unknown))
        adopted: list[Adoption] = []
        settled: list[Job] = []

        def decide(jobs: Jobs) -> Iterator[Job]:
            for job, key in _still_running(jobs, endings, token):
                after = lifecycle.finish(job, endings[key], now, RANDOM.random())
                settled.append(after)
                yield after
            if adopter is not None:
                for job, key in _still_running(jobs, alive, token):
                    adopted.append(Adoption(alive[key], Trace.of(job, store)))
                    yield lifecycle.adopt(job, now, owner=adopter)
            for job in orphans_of_run(jobs, token, now):
                settled.append(job)
                yield job

        store.update(decide, now.wall)
        done.adopted.extend(adopted)
        done.settled.extend(settled)
        if adopter is None:
            _forward_cancels(store.jobs, alive)
        needed = is_needed(store.jobs, token)
    finally:
        for held in locks.values():
            if held is not None and held >= 0:
                os.close(held)
        if dead_lock is not None:
            dead_lock.close(remove=not needed)
        elif exists and not needed:
            presence.remove_folder(f"{workers}/{token}")


def _look_at(
    store: Store, running: Iterable[Job], locks: dict[SupervisorFiles, int | None], now: Moment
) -> tuple[dict[Key, Ending], dict[Key, SupervisorFiles]]:
    """How these attempts ended, and which go on; `locks` takes the locks of dead supervisors, to be kept."""
    endings: dict[Key, Ending] = {}
    alive: dict[Key, SupervisorFiles] = {}
    for job in running:
        attempt = job.attempts[-1]
        key = Key(job.id, attempt.n)
        supervision = SupervisorFiles.named(f"{store.path}/{presence.WORKERS}", attempt.supervisor)
        if supervision not in locks:
            locks[supervision] = supervision.lock_if_dead()
        lock = locks[supervision]
        if lock is not None:
            ending = determine_ending(supervision, Trace.of(job, store), lock, given_up=_is_given_up(job, lock, now))
        else:
            ending = recorded_ending(supervision.events(key), attempt)
            if ending is None:
                alive[key] = supervision
        if ending is not None:
            endings[key] = ending
    return endings, alive


def _is_given_up(job: Job, lock: int, now: Moment) -> bool:
    """Whether a person has cancelled a job that can't be ended from here, or not for some time."""
    asked_at = job.cancel_asked_at
    return asked_at is not None and (lock < 0 or abs(now.wall - asked_at) > STUCK_AFTER)


def _forward_cancels(jobs: Jobs, alive: Mapping[Key, SupervisorFiles]) -> None:
    """Nobody answers for these attempts: the wish to cancel one goes to its supervisor directly."""
    for key, supervision in alive.items():
        job = jobs.by_id.get(key.job_id)
        if job is not None and job.state is State.RUNNING and job.cancel_asked_at is not None:
            supervision.order(f"cancel {key.job_id} {key.n}")


def _answered_for(jobs: Jobs, token: str) -> list[Job]:
    running = (jobs.by_id[job_id] for job_id in jobs.running)
    return [job for job in running if job.attempts[-1].owner == token]


def _still_running(jobs: Jobs, keys: Iterable[Key], owner: str) -> Iterator[tuple[Job, Key]]:
    """Those of the attempts that nobody has settled meanwhile."""
    for key in keys:
        job = jobs.by_id.get(key.job_id)
        if job is not None and job.state is State.RUNNING and job.attempts[-1][:2] == (key.n, owner):
            yield job, key


def is_needed(jobs: Jobs, token: str) -> bool:
    """Whether a running attempt has its supervisor's files in the folder of this worker."""
    return any(jobs.by_id[job_id].attempts[-1].supervisor.startswith(f"{token}/") for job_id in jobs.running)


def orphans_of_run(jobs: Jobs, token: str, now: Moment) -> Iterator[Job]:
    """The waiting jobs of a `jobq run` that is over, cancelled: nobody else may run them."""
    if token.startswith(presence.OWN_JOBS):
        for job in list(jobs.unfinished()):
            if job.runner == token and job.state is not State.RUNNING:
                yield lifecycle.cancel(job, now)
