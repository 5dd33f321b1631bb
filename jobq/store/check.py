"""What must always hold of a store (the checker behind `jobq doctor`, and every test); the way back from damage."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from jobq.errors import NotSaved, StoreDamaged
from jobq.job import BadRecord, Job, State, Step
from jobq.lifecycle import MOVES, Event
from jobq.store import compaction, environment, finished, workers
from jobq.store.folder import Folder
from jobq.store.jobs import Jobs
from jobq.store.journal import HINT, JOURNAL, BadLine, Header, Hint, decode_line, read_hint, write_hint
from jobq.store.lock import StoreLock
from jobq.store.store import RUNS, Store
from jobq.version import VERSION

QUARANTINE = "quarantine"
REPAIRED = "repaired as "  # a step of the history where lines of it were lost; the state follows
OURS = frozenset(
    {
        StoreLock.NAME,
        JOURNAL,
        HINT,
        finished.FINISHED,
        environment.ENV,
        RUNS,
        workers.WORKERS,
        QUARANTINE,
        compaction.NEXT,
        compaction.COMPACT_LOCK,
    }
)


def problems(store: Store) -> Iterator[str]:
    """Everything that is wrong, a sentence each. Raises StoreDamaged where reading can't go on."""
    jobs = store.read()
    if store.header is None:
        return
    names: dict[str, int] = {}
    for job in jobs.by_id.values():
        yield from job_problems(job, jobs.next_id)
        if not job.state.final:
            if job.spec.name is not None:
                if job.spec.name in names:
                    yield f"jobs {names[job.spec.name]} and {job.id} are unfinished and both named {job.spec.name}"
                names[job.spec.name] = job.id
            if not environment.exists(store.root, job.spec.env):
                yield f"job {job.id}: its environment {job.spec.env[:12]} is missing"
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


class Loss(NamedTuple):
    """What `accept_loss` had to leave out."""

    lines: int
    bytes: int
    kept_as: str
    jobs: int  # that are still there


def accept_loss(store: Store) -> Loss:
    """Put a journal made of everything readable in the place of a damaged one, which is kept in quarantine.

    Raises NotSaved, LockTimeout, StoreTooNew.
    """
    root = store.root
    with store.lock:
        data = root.read(JOURNAL) or b""
        jobs, header, lost = _salvage(root, data)
        hint = read_hint(root)
        jobs.next_id = max([jobs.next_id, hint.next_id if hint else 1, *(job_id + 1 for job_id in jobs.by_id)])
        leaving = [job for job in jobs.by_id.values() if job.state.final]
        sizes = finished.append(root, header.finished, leaving, jobs.removed, finished.day_of(time.time()))
        generation = max(header.generation, hint.generation if hint else 0) + 1
        header = header._replace(generation=generation, version=VERSION, finished=sizes)
        fd, size = compaction.write_generation(root, header, jobs.snapshot())
        os.close(fd)
        kept_as = f"{QUARANTINE}/{generation - 1}-{os.urandom(4).hex()}.jsonl"
        _replace_journal(root, kept_as)
        write_hint(root, Hint(generation, size, jobs.seq, jobs.next_id, size))
    return Loss(len(lost), sum(lost), f"{store.path}/{kept_as}", len(jobs.by_id))


def _salvage(root: Folder, data: bytes) -> tuple[Jobs, Header, list[int]]:
    """Jobs, header, and the lengths of the lines that were left out."""
    jobs = Jobs()
    lost = []
    first, _, rest = data.partition(b"\n")
    try:
        header = Header.decode(first, root.path)
    except StoreDamaged:
        lost.append(len(first))
        header = Header(0, uuid.uuid4().hex, os.uname().nodename, VERSION, _sizes_on_disk(root))
    for raw in rest.split(b"\n"):
        if not raw:
            continue
        try:
            line = decode_line(raw)
            if "ops" in line:
                jobs.next_id = max([jobs.next_id, *(job_id + 1 for job_id in jobs.by_id)])
                jobs.apply(line)
            elif "jobs" in line and "specs" in line:
                jobs.apply_snapshot(line)
            elif "snapshot_end" in line:
                jobs.seq, jobs.next_id = line["seq"], line["next_id"]
        except (BadLine, BadRecord, KeyError):
            lost.append(len(raw))
    jobs.next_id = max([jobs.next_id, *(job_id + 1 for job_id in jobs.by_id)])
    for job in list(jobs.by_id.values()):
        if any(job_problems(job, jobs.next_id)):
            jobs.put(job._replace(history=(*job.history, Step(f"{REPAIRED}{job.state}", time.time()))))
    return jobs, header, lost


def _sizes_on_disk(root: Folder) -> dict[str, int]:
    folder = root.existing(finished.FINISHED)
    if folder is None:
        return {}
    sizes = {name.removesuffix(".jsonl"): os.stat(name, dir_fd=folder.fd).st_size for name in folder.names()}
    folder.close()
    return sizes


def _replace_journal(root: Folder, kept_as: str) -> None:
    quarantine = root.sub(QUARANTINE)
    try:
        if JOURNAL in root.names():
            os.link(JOURNAL, os.path.basename(kept_as), src_dir_fd=root.fd, dst_dir_fd=quarantine.fd)
            os.fsync(quarantine.fd)
        os.rename(compaction.NEXT, JOURNAL, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        os.fsync(root.fd)
    except OSError as e:
        raise NotSaved(f"{root.path}/{JOURNAL}", e) from None
    finally:
        quarantine.close()
