"""What must always hold of a store: the checker behind `jobq doctor`, and behind every test."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from jobq.errors import StoreDamaged
from jobq.job import Job, State
from jobq.lifecycle import MOVES, Event
from jobq.store import compaction, environment, finished, retention, workers
from jobq.store.folder import Folder
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.store import Store

QUARANTINE = "quarantine"
REPAIRED = "repaired as "  # a step of the history where lines of it were lost; the state follows
OURS = frozenset(
    {
        StoreLock.NAME,
        JOURNAL,
        HINT,
        finished.FINISHED,
        environment.ENV,
        Logs.NAME,
        workers.WORKERS,
        QUARANTINE,
        compaction.NEXT,
        compaction.COMPACT_LOCK,
        retention.NOTE,
    }
)


def problems(store: Store) -> Iterator[str]:
    """Everything that is wrong, a sentence each. Raises StoreDamaged where reading can't go on."""
    jobs = store.read()
    if store.header is None:
        return
    names: dict[str, int] = {}
    environments: dict[str, int] = {}  # digest -> a job that needs it
    for job in jobs.by_id.values():
        yield from job_problems(job, jobs.next_id)
        if not job.state.final:
            if job.spec.name is not None:
                if job.spec.name in names:
                    yield f"jobs {names[job.spec.name]} and {job.id} are unfinished and both named {job.spec.name}"
                names[job.spec.name] = job.id
            environments.setdefault(job.spec.env, job.id)
    for digest, job_id in environments.items():
        try:
            environment.load(store.root, digest)
        except StoreDamaged as e:
            yield f"job {job_id}: {e}"
    for job in store.finished_jobs():
        if job.id not in jobs.by_id:
            yield from job_problems(job, jobs.next_id)
            if not job.state.final:
                yield f"job {job.id} is {job.state}, but stored as finished"
    if jobs.running != {job.id for job in jobs.by_id.values() if job.state is State.RUNNING}:
        yield "the index of running jobs is off"
    yield from _open_modes(store.root)


def job_problems(job: Job, next_id: int) -> Iterator[str]:
    """What is wrong with one job by itself."""
    if not 0 < job.id < next_id:
        yield f"job {job.id}: the next id is {next_id}"
    if [attempt.n for attempt in job.attempts] != list(range(1, len(job.attempts) + 1)):
        yield f"job {job.id}: its attempts are not numbered 1, 2, ..."
    under_way = [attempt.n for attempt in job.attempts if attempt.ending is None]
    if under_way != ([len(job.attempts)] if job.state is State.RUNNING else []):
        yield f"job {job.id} is {job.state}, but attempts {under_way} have no end"
    if job.state.final != (job.finished_at is not None):
        yield f"job {job.id} is {job.state}, finished at {job.finished_at}"
    if job.retries_used > job.spec.retries:
        yield f"job {job.id}: {job.retries_used} retries used of {job.spec.retries}"
    state = State.QUEUED
    known = job.history
    for at, step in enumerate(job.history):
        if step.event.startswith(REPAIRED):
            state, known = State(step.event.removeprefix(REPAIRED)), job.history[at + 1 :]
    for step in known:
        try:
            state = MOVES[state, Event(step.event)]
        except (KeyError, ValueError):
            yield f"job {job.id}: its history has {step.event!r} while it was {state}"
            return
    if state is not job.state:
        yield f"job {job.id} is {job.state}, its history says {state}"


def _open_modes(root: Folder) -> Iterator[str]:
    for path, folders, files in os.walk(root.path):
        if path == root.path:  # what is not ours is not our business
            folders[:] = [name for name in folders if name in OURS]
            files = [name for name in files if name in OURS]  # noqa: PLW2901
        for name in [*folders, *files]:
            full = f"{path}/{name}"
            try:
                mode = os.lstat(full).st_mode
            except FileNotFoundError:
                continue
            if stat.S_IMODE(mode) & 0o077 and not stat.S_ISLNK(mode):
                yield f"{full} can be accessed by others (mode {stat.S_IMODE(mode):04o})"


def foreign(root: Folder) -> list[str]:
    """What lies in the store and is none of jobq's: never opened, executed or removed."""
    return sorted(name for name in root.names() if name not in OURS and not name.startswith(f".{JOURNAL}."))
