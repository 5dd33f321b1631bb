"""Rescue: recover the jobs of dead workers, as soon as a worker, `wait`, `cancel`, `requeue` or `run` notices.

A worker is dead if and only if its lock is free. An attempt that it answered for goes on if its supervisor is alive: a
worker that rescues adopts it. If its supervisor is dead, the evidence that this left tells how the attempt ended.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from functools import partial

from jobq.engine import Finder, engine_of, make_finder
from jobq.engine.local.adoption import may_still_run, runs_elsewhere
from jobq.engine.task import Found, Key, Trace
from jobq.errors import StoreError, StoreForbidden
from jobq.job import Ending, Job, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.rules.hooks import is_hook
from jobq.store import presence, registration
from jobq.store.place import check_workers_place
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.typed import NamedTuple
from jobq.worker.tasks import trace_of

RANDOM = random.SystemRandom()


class Rescued(NamedTuple):
    """The result of a rescue."""

    adopted: list[Trace]  # running attempts that the rescuer answers for from now on
    recovered: list[Job]
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
        check_workers_place(store.path, store.header)
    except StoreForbidden:
        return done  # a worker that lives on another machine looks like a dead one
    root = store.root
    registration.sweep(root, now.wall)
    tokens = {*presence.tokens(root), *_tokens_in(state)} - {adopter}
    for token in sorted(token for token in tokens if not presence.is_alive(root, token)):
        try:
            _rescue_one(store, token, now, adopter, done)
        except (StoreError, OSError):
            if not done.adopted and not done.recovered:
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
    dead_lock = registration.DeadWorkerLock.take(store.root, token)
    if exists and dead_lock is None and os.path.exists(f"{workers}/{token}/{presence.LOCK}"):
        return  # another process rescues it, or it is alive after all
    look = Look(workers)
    needed = True
    try:
        for job in _answered_for(store.read_settled(), token):
            look.at(job, trace_of(store, job), now)
        why = runs_elsewhere if presence.is_copied(store.root, token) else partial(may_still_run, who="worker")
        done.held.extend(map(why, look.unknown))
        adopted: list[Trace] = []
        recovered: list[Job] = []
        with store.transaction(now.wall) as changes:
            for job, key in _still_running(changes.state, look.endings, token):
                recovered.append(lifecycle.finish(job, look.endings[key], now, RANDOM.random()))
                changes.put(recovered[-1])
            if adopter is not None:
                for job, key in _still_running(changes.state, look.alive, token):
                    adopted.append(look.alive[key])
                    changes.put(lifecycle.adopt(job, now, owner=adopter))
            for job in orphans_of_run(changes.state, token, now):
                recovered.append(job)
                changes.put(job)
        done.adopted.extend(adopted)
        done.recovered.extend(recovered)
        if adopter is None:
            look.forward_cancels(store.state)
        needed = is_needed(store.state, token)
    finally:
        look.close()
        if dead_lock is not None:
            dead_lock.close(remove=not needed)
        elif exists and not needed:
            registration.remove_folder(f"{workers}/{token}")


class Look:
    """A look at the attempts of one dead worker, each by the engine that runs it."""

    def __init__(self, workers: str) -> None:
        """`workers` is the folder of all worker folders."""
        self.endings: dict[Key, Ending] = {}
        self.alive: dict[Key, Trace] = {}
        self.unknown: list[int] = []  # jobs of which nobody can tell
        self._workers = workers
        self._finders: dict[str, Finder | None] = {}

    def _finder(self, trace: Trace) -> Finder | None:
        engine = engine_of(trace.attempt.handle)
        if engine not in self._finders:
            self._finders[engine] = make_finder(engine, self._workers)
        return self._finders[engine]

    def at(self, job: Job, trace: Trace, now: Moment) -> None:
        """Find out what became of the last attempt of the job. Raises OSError."""
        finder = self._finder(trace)
        cancelled_for = None if job.cancel_asked_at is None else abs(now.wall - job.cancel_asked_at)
        found = finder.find(trace, cancelled_for) if finder is not None else Found()
        if found.ending is not None:
            self.endings[trace.key] = found.ending
        elif found.runs:
            self.alive[trace.key] = trace
        else:
            self.unknown.append(job.id)

    def forward_cancels(self, state: StoreState) -> None:
        """Forward cancel requests to what runs, as no worker answers for it."""
        for key, trace in self.alive.items():
            job = state.jobs.get(key.job_id)
            finder = self._finder(trace)
            if job is not None and job.state is State.RUNNING and job.cancel_asked_at is not None and finder:
                finder.cancel(trace)

    def close(self) -> None:
        """Release what proves the endings."""
        for finder in self._finders.values():
            if finder is not None:
                finder.close()


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
    """Yield the waiting jobs of a `jobq run` that is over, cancelled: no other worker may run them, except for hooks.

    Each has to show in `state` before the next is requested: the end of one may skip another, or add a hook.
    """
    while token.startswith(presence.OWN_JOBS):
        waiting = (job for job in state.unfinished() if job.runner == token and job.state is not State.RUNNING)
        job = next(waiting, None)
        if job is None:
            return
        yield job._replace(anyone=True) if is_hook(job) else lifecycle.cancel(job, now)
