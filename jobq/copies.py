"""A whole store as lines of JSON, and a new store made of them, here or on another machine.

    {"jobq":"export","version":1,"format":5,"host":"...","at":...,"next_id":8}     the first line
    {"environment":"sha256","variables":{...}}      of some jobs or schedules
    {"queue":{...}} {"resources":{...}} {"schedule":{...}} {"key":[...]} {"job":{...}}     as in the journal
    {"end":true,"jobs":7}                           the last line: without it, some are missing

Output is not in it. Environments hold secrets, and so does an export.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator

from jobq import clock
from jobq.command import BadRecord, Record
from jobq.errors import Refused, StoreDamaged
from jobq.job import Ending, Job, Outcome, State
from jobq.moment import Moment
from jobq.options.values import COUNT
from jobq.queues import QueueSettings
from jobq.rules import lifecycle
from jobq.rules.uniqueness import Kept
from jobq.schedules import Schedule
from jobq.store import making
from jobq.store.check import job_problems
from jobq.store.contents import Tables
from jobq.store.environment import digest_in
from jobq.store.format import FORMAT
from jobq.store.journal import parse_object
from jobq.store.records import ID, MISFITS, job_record, read_job, why
from jobq.store.schedules import read_schedule, schedule_record
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.tables import queue_record, read_kept, read_queue, read_resources
from jobq.store.transaction import Archive, Transaction
from jobq.typed import NamedTuple

VERSION = 1
WHY = "it ran when it was exported"


class Imported(NamedTuple):
    """The result of an import: numbers, and the jobs that ran when they were exported, as they are now."""

    jobs: int
    schedules: int
    ran: list[Job]


class Contents:
    """All that the lines of an export hold."""

    def __init__(self) -> None:
        self.header: Record = {}
        self.environments: dict[str, dict[str, str]] = {}
        self.queues: list[QueueSettings] = []
        self.resources: dict[str, int] = {}
        self.keys: list[Kept] = []
        self.schedules: list[Schedule] = []
        self.jobs: dict[int, Job] = {}
        self.is_whole = False


class Copies:
    """Exports of one store, and imports into it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_new(self) -> bool:
        """Return True if nothing was ever put into the store."""
        state = self._store.read()
        return state.next_id == 1 and state.seq == 0

    def export(self) -> Iterator[str]:
        """Yield the lines of an export, from one point in time. Raises StoreDamaged."""
        store = self._store
        state = store.read()
        tables = Tables.of(state)
        jobs = [*store.finished_jobs(), *state.unfinished()]
        yield _line({
            "jobq": "export",
            "version": VERSION,
            "format": store.header.format if store.header else FORMAT,
            "host": os.uname().nodename,
            "at": clock.now().wall,
            "next_id": state.next_id,
        })  # fmt: skip
        named = {job.spec.env for job in jobs} | {schedule.spec.env for schedule in tables.schedules}
        for digest in sorted(named):
            try:
                yield _line({"environment": digest, "variables": store.load_environment(digest)})
            except StoreDamaged:
                if any(job.spec.env == digest and not job.state.final for job in jobs):
                    raise
        yield from (_line({"queue": queue_record(settings)}) for settings in tables.queues)
        if tables.resources:
            yield _line({"resources": dict(tables.resources)})
        yield from (_line({"schedule": schedule_record(schedule)}) for schedule in tables.schedules)
        yield from (_line({"key": list(kept)}) for kept in tables.keys)
        yield from (_line({"job": job_record(job)}) for job in jobs)
        yield _line({"end": True, "jobs": len(jobs)})

    def import_(self, lines: Iterable[bytes]) -> Imported:
        """Make the store of an export, all or nothing: it must hold none yet.

        Jobs that ran then are not running here: with retries left they wait again, else they have been interrupted.
        Raises Refused for a store that is there, and for what is no export, with the line; NotSaved.
        """
        store = self._store
        if not self.is_new():
            raise Refused(
                f"{store.path} holds jobs already", "import into a new store, with --store DIR before the command"
            )
        found = _read(lines)
        now = clock.now()
        for digest, variables in found.environments.items():
            if store.save_environment(variables) != digest:
                raise Refused(f"the environment {digest[:12]} was changed after the export", "export once more")
        tables = Tables(found.queues, found.resources, found.keys, found.schedules)
        ran = [job.id for job in found.jobs.values() if job.state is State.RUNNING]
        state = _with_nothing_running(found, now)
        making.fill(store, list(state.jobs.values()), tables, state.next_id, now)
        return Imported(len(found.jobs), len(found.schedules), [state.jobs[job_id] for job_id in ran])


def _line(record: Record) -> str:
    return json.dumps(record, separators=(",", ":"))


def _with_nothing_running(found: Contents, now: Moment) -> StoreState:
    """Return the jobs as they are once none runs any more, with all that follows from that, as in any store."""
    state = StoreState()
    state.next_id = found.header["next_id"]
    for job in found.jobs.values():
        state.put(job, 0)
    changes = Transaction(state, now.wall, FORMAT, Archive(lambda _digest: None, lambda _ids: {}, []))
    for job in found.jobs.values():
        if job.state is State.RUNNING:
            changes.put(_stopped(job, now))
    return state


def _stopped(job: Job, now: Moment) -> Job:
    ending = Ending(Outcome.INTERRUPTED, error=WHY, started_at=job.attempts[-1].claimed_at, counted=False)
    return lifecycle.finish(job, ending, now, random.random())  # noqa: S311  # this end is not retried by chance


def _read(lines: Iterable[bytes]) -> Contents:
    """Return what the lines hold. Raises Refused that names the line."""
    found = Contents()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = parse_object(line.rstrip(b"\r\n"))
            if number == 1:
                found.header = _header(record)
            else:
                _take(found, record)
        except MISFITS as e:
            hint = "give what 'jobq export' has printed" if number == 1 else "export once more"
            raise Refused(f"line {number} is not of an export: {why(e)}", hint) from None
    if not found.is_whole:
        raise Refused("the export is not whole: its last line is missing", "export once more")
    return found


def _header(record: Record) -> Record:
    """Check the first line. Raises BadRecord."""
    match record:
        case {"jobq": "export", "version": int() as version, "format": int() as form, "next_id": next_id}:
            if version > VERSION or form > FORMAT:
                raise BadRecord("a later version of jobq made it, so this one can't read it")
            if ID.allows(next_id):
                return record
    raise BadRecord("it does not begin as one does")


def _take(found: Contents, record: Record) -> None:
    """Take in one line. Raises one of MISFITS."""
    match record:
        case {"environment": str() as digest, "variables": dict() as variables} if digest_in(f"{digest}.json"):
            if not all(isinstance(value, str) for value in variables.values()):
                raise BadRecord("a variable that is no text")
            found.environments[digest] = variables
        case {"queue": settings}:
            found.queues.append(read_queue(settings))
        case {"resources": resources}:
            found.resources = read_resources(resources)
        case {"schedule": schedule}:
            found.schedules.append(read_schedule(schedule))
        case {"key": kept}:
            found.keys.append(read_kept(kept))
        case {"job": job}:
            _take_job(found, read_job(job))
        case {"end": True, "jobs": count} if COUNT.allows(count):
            if count != len(found.jobs):
                raise BadRecord(f"it says {count} jobs, and there are {len(found.jobs)}")
            found.is_whole = True
        case _:
            raise BadRecord(f"unknown: {', '.join(map(str, record))[:60]}")


def _take_job(found: Contents, job: Job) -> None:
    if job.id in found.jobs:
        raise BadRecord(f"job {job.id} is there twice")
    if problem := next(iter(job_problems(job, found.header["next_id"])), None):
        raise BadRecord(problem)
    if not job.state.final and job.spec.env not in found.environments:
        raise BadRecord(f"the environment of job {job.id} is missing")
    found.jobs[job.id] = job
