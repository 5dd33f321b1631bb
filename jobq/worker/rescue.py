"""Rescue: recover the jobs of dead workers, as soon as a worker, `wait`, `cancel`, `requeue` or `run` notices.

A worker is dead if and only if its lock is free. An attempt that it answered for goes on if its supervisor is alive: a
worker that rescues adopts it. If its supervisor is dead, the evidence that this left tells how the attempt ended.
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
from jobq.store.state import StoreState
from jobq.store.store import Store

RANDOM = random.SystemRandom()


class Adoption(NamedTuple):
    """A running attempt that the rescuer answers for from now on."""

    supervision: SupervisorFiles
    trace: Trace


class Rescued(NamedTuple):
    """The result of a rescue."""

    adopted: list[Adoption]
    settled: list[Job]
    held: list[str]  # a sentence for each job whose processes nobody can find or prove to be ours


def rescue(store: Store, now: Moment, *, adopter: str | None = None) -> Rescued:
    """Recover the jobs of every dead worker; `adopter` is the token of the live worker that takes over what runs.

    Raises OSError, and as `Store.update` does. If something was recovered before the error, return that instead: the
    next call recovers the rest.
    """
    done = Rescued([], [], [])
    state = store.read()
    if store.header is None:
        return done
    try:
        store.check_workers_place()
    except StoreForbidden:
        return done  # a worker that lives on another machine looks like a dead one
    root = store.root
    presence.sweep(root, now.wall)
    tokens = {*presence.tokens(root), *_tokens_in(state)} - {adopter}
    for token in sorted(token for token in tokens if not presence.is_alive(root, token)):
        try:
            _rescue_one(store, token, now, adopter, done)
        except (StoreError, OSError):
            if not done.adopted and not done.settled:
                raise
            break
    return done


def _tokens_in(state: StoreState) -> Iterator[str]:
    """Yield the tokens of workers that answer for a running job, or that waiting jobs belong to."""
    for job_id in state.running:
        yield state.jobs[job_id].attempts[-1].owner
    for (_, runner), count in state.waiting.active.items():
        if runner is not None and count:
            yield runner


def _rescue_one(store: Store, token: str, now: Moment, adopter: str | None, done: Rescued) -> None:
    workers = f"{store.path}/{presence.WORKERS}"
    exists = os.path.isdir(f"{workers}/{token}")
    dead_lock = presence.DeadWorkerLock.take(store.root, token)
    if exists and dead_lock is None and os.path.exists(f"{workers}/{token}/{presence.LOCK}"):
        return  # another process rescues it, or it is alive after all
    locks: dict[SupervisorFiles, int | None] = {}
    needed = True
    try:
        endings, alive = _look_at(store, _answered_for(store.read_settled(), token), locks, now)
        known = endings.keys() | alive.keys()
        unknown = [job.id for job in _answered_for(store.state, token) if Trace.of(job, store).key not in known]
        why = runs_elsewhere if presence.is_copied(store.root, token) else partial(may_still_run, who="worker")
        done.held.extend(map(why, unknown))
        adopted: list[Adoption] = []
        settled: list[Job] = []

        with store.transaction(now.wall) as changes:
            for job, key in _still_running(changes.state, endings, token):
                settled.append(lifecycle.finish(job, endings[key], now, RANDOM.random()))
                changes.put(settled[-1])
            if adopter is not None:
                for job, key in _still_running(changes.state, alive, token):
                    adopted.append(Adoption(alive[key], Trace.of(job, store)))
                    changes.put(lifecycle.adopt(job, now, owner=adopter))
            for job in orphans_of_run(changes.state, token, now):
                settled.append(job)
                changes.put(job)
        done.adopted.extend(adopted)
        done.settled.extend(settled)
        if adopter is None:
            _forward_cancels(store.state, alive)
        needed = is_needed(store.state, token)
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
    """Return how these attempts ended, and which go on; `locks` gets the locks of dead supervisors, to be held."""
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
    """Return True if a person has cancelled a job that can't be ended from here, or not for STUCK_AFTER seconds."""
    asked_at = job.cancel_asked_at
    return asked_at is not None and (lock < 0 or abs(now.wall - asked_at) > STUCK_AFTER)


def _forward_cancels(state: StoreState, alive: Mapping[Key, SupervisorFiles]) -> None:
    """Forward cancel requests to the supervisors, as no worker answers for these attempts."""
    for key, supervision in alive.items():
        job = state.jobs.get(key.job_id)
        if job is not None and job.state is State.RUNNING and job.cancel_asked_at is not None:
            supervision.order(f"cancel {key.job_id} {key.n}")


def _answered_for(state: StoreState, token: str) -> list[Job]:
    running = (state.jobs[job_id] for job_id in state.running)
    return [job for job in running if job.attempts[-1].owner == token]


def _still_running(state: StoreState, keys: Iterable[Key], owner: str) -> Iterator[tuple[Job, Key]]:
    """Yield those of the attempts that still run under `owner`, as nobody has recorded their ending meanwhile."""
    for key in keys:
        job = state.jobs.get(key.job_id)
        if job is not None and job.state is State.RUNNING and job.attempts[-1][:2] == (key.n, owner):
            yield job, key


def is_needed(state: StoreState, token: str) -> bool:
    """Return True if a running attempt has its supervisor's files in the folder of this worker."""
    return any(state.jobs[job_id].attempts[-1].supervisor.startswith(f"{token}/") for job_id in state.running)


def orphans_of_run(state: StoreState, token: str, now: Moment) -> Iterator[Job]:
    """Yield the waiting jobs of a `jobq run` that is over, cancelled: no other worker may run them."""
    if token.startswith(presence.OWN_JOBS):
        for job in list(state.unfinished()):
            if job.runner == token and job.state is not State.RUNNING:
                yield lifecycle.cancel(job, now)
