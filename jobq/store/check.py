"""Invariants of a store: the checker that `jobq doctor` and the tests run."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from jobq.errors import StoreDamaged
from jobq.job import Job, State
from jobq.rules.lifecycle import MOVES, Event
from jobq.store import compaction, environment, finished, place, presence, retention, worker_log
from jobq.store.folder import Folder
from jobq.store.format import JOURNAL, PAUSED
from jobq.store.hint import HINT
from jobq.store.journal import Header, is_day
from jobq.store.lock import StoreLock
from jobq.store.logs import Logs
from jobq.store.store import Store
from jobq.system import NETWORK_FILESYSTEMS, filesystem
from jobq.typed import NamedTuple

QUARANTINE = "quarantine"
FOLDERS = {finished.FINISHED, environment.ENV, Logs.NAME, presence.WORKERS, QUARANTINE}
REPAIRED = "repaired as "  # starts a step of the history after a loss of lines; the job's state follows
OURS = frozenset(
    {
        StoreLock.NAME,
        place.IGNORED,
        JOURNAL,
        HINT,
        finished.FINISHED,
        environment.ENV,
        Logs.NAME,
        presence.WORKERS,
        QUARANTINE,
        compaction.NEXT,
        compaction.COMPACT_LOCK,
        retention.NOTE,
        PAUSED,
        worker_log.NAME,
        worker_log.OLDER,
    }
)


class Health(NamedTuple):
    """The state of a store; `header` None: there is none yet."""

    header: Header | None
    journal_size: int  # bytes
    snapshot_size: int  # bytes
    jobs: int  # in the journal
    next_id: int
    alive: int  # workers
    dead: int
    network: str  # type of the network filesystem, "" for a local one
    foreign: list[str]  # names that are not of jobq
    problems: list[str]  # a sentence each


def examine(store: Store) -> Health:
    """Check everything that must hold of the store. Raises StoreDamaged if it can't be read further."""
    found = list(problems(store))
    root = store.existing()
    tokens = presence.tokens(root) if root is not None else []
    alive = sum(presence.is_alive(root, token) for token in tokens if root is not None)
    kind = filesystem(store.path)
    return Health(
        store.header if root is not None else None,
        *store.journal_size,
        len(store.state.jobs),
        store.state.next_id,
        alive,
        len(tokens) - alive,
        kind if kind in NETWORK_FILESYSTEMS else "",
        foreign(root) if root is not None else [],
        found,
    )


def problems(store: Store) -> Iterator[str]:
    """Yield every problem as one sentence. Raises StoreDamaged if the store can't be read further."""
    state, root = store.read(), store.existing()
    if store.header is None or root is None:
        return
    names: dict[str, int] = {}
    environments: dict[str, str] = {}  # digest -> a job or a schedule that needs it
    for schedule in state.schedules.values():
        environments.setdefault(schedule.spec.env, f"schedule {schedule.name}")
    for job in state.jobs.values():
        yield from job_problems(job, state.next_id)
        if not job.state.final:
            if job.spec.name is not None:
                if job.spec.name in names:
                    yield f"jobs {names[job.spec.name]} and {job.id} are unfinished and both named {job.spec.name}"
                names[job.spec.name] = job.id
            environments.setdefault(job.spec.env, f"job {job.id}")
    for digest, who in environments.items():
        try:
            environment.load(root, digest)
        except StoreDamaged as e:
            yield f"{who}: {e}"
    for job in store.finished_jobs():
        if job.id not in state.jobs:
            yield from job_problems(job, state.next_id)
            if not job.state.final:
                yield f"job {job.id} is {job.state}, but stored as finished"
    yield from state.check_indexes()
    yield from _files(root)


def job_problems(job: Job, next_id: int) -> Iterator[str]:
    """Yield the problems of one job by itself."""
    if not 0 < job.id < next_id:
        yield f"job {job.id}: its id was never given out; the next id is {next_id}"
    if [attempt.n for attempt in job.attempts] != list(range(1, len(job.attempts) + 1)):
        yield f"job {job.id}: its attempts are not numbered 1, 2, ..."
    under_way = [attempt.n for attempt in job.attempts if attempt.ending is None]
    if under_way != ([len(job.attempts)] if job.state is State.RUNNING else []):
        yield f"job {job.id} is {job.state}, but attempts {under_way} have no ending"
    if job.state.final != (job.finished_at is not None):
        yield f"job {job.id} is {job.state}, but its end time is {job.finished_at}"
    if job.retries_used > job.spec.retries and not any(step.event == Event.EDIT for step in job.history):
        yield f"job {job.id}: {job.retries_used} retries used, but the limit is {job.spec.retries}"
    state = State.QUEUED
    known = job.history
    for at, step in enumerate(job.history):
        if step.event.startswith(REPAIRED):
            state, known = _state_in(step.event) or state, job.history[at + 1 :]
    for step in known:
        try:
            state = MOVES[state, Event(step.event)]
        except (KeyError, ValueError):
            yield f"job {job.id}: its history has event {step.event!r}, which is not allowed in state {state}"
            return
    if state is not job.state:
        yield f"job {job.id} is {job.state}, but its history says {state}"


def _state_in(event: str) -> State | None:
    try:
        return State(event.removeprefix(REPAIRED))
    except ValueError:
        return None


def _files(root: Folder) -> Iterator[str]:
    """Yield the paths that other users can access, and the paths of jobq that are not the right kind of file."""
    for path, folders, files in os.walk(root.path):
        if path == root.path:  # files that jobq did not make are not checked
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
            kind = _kind(os.path.relpath(full, root.path).split("/"))
            if kind is not None and stat.S_IFMT(mode) != kind:
                yield f"{full} is {KINDS[stat.S_IFMT(mode)]} in the place of {KINDS[kind]}: move it away"


KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _kind(names: list[str]) -> int | None:
    """Return the file type (stat.S_IF*) expected at this path below the store; None for a name that is not jobq's."""
    match names:
        case [*_, name] if name.startswith("."):
            return None
        case [name]:
            return stat.S_IFDIR if name in FOLDERS else stat.S_IFREG
        case [environment.ENV, name] if environment.digest_in(name):
            return stat.S_IFREG
        case [finished.FINISHED, name] if is_day(name.removesuffix(".jsonl")):
            return stat.S_IFREG
        case [Logs.NAME, bucket, *rest] if bucket.isdecimal() and (not rest or Logs.owner(rest[0]) is not None):
            if rest and rest[0].endswith(".tty"):
                return stat.S_IFIFO
            return stat.S_IFREG if rest else stat.S_IFDIR
        case [presence.WORKERS, token] if presence.is_token(token):
            return stat.S_IFDIR
        case [presence.WORKERS, token, name] if presence.is_token(token):
            slot, _, suffix = name.partition(".")
            if name == presence.WAKEUP or (slot.isdecimal() and suffix == "ctl"):
                return stat.S_IFIFO
            if name == presence.LOCK or (slot.isdecimal() and suffix in {"lock", "ends", "err"}):
                return stat.S_IFREG
    return None


def foreign(root: Folder) -> list[str]:
    """Return the names in the store that are not jobq's: it never opens, executes or removes them."""
    return sorted(name for name in root.names() if name not in OURS and not name.startswith(f".{JOURNAL}."))
