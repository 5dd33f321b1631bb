"""One transaction: changes that are decided under the lock, and become durable together or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

from jobq.command import Command, Record
from jobq.errors import JobqError
from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.rules.consequences import consequences
from jobq.rules.dependencies import Dependents
from jobq.rules.hooks import SCRIPT, has_hooks, hooks_of
from jobq.rules.uniqueness import identity_of
from jobq.schedules import Schedule
from jobq.store.environment import EnvironmentGone
from jobq.store.journal import encode_line
from jobq.store.operations import AddJobs, Move, Operation, PutJob, RemoveJob
from jobq.store.schedules import SetSchedule
from jobq.store.state import StoreState
from jobq.store.writer import transaction_lines
from jobq.typed import NamedTuple

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PRESETS = (sys.executable, "-I", f"{PACKAGE}/{SCRIPT}")  # with no module of the person's on the path


class Add(NamedTuple):
    """New jobs of one spec; their ids are given out in this order when they are stored."""

    spec: Spec
    commands: Sequence[Command]


class FormatTooOld(JobqError):
    """The store has to be compacted into a later format before it can hold this operation."""

    def __init__(self, operation: Operation) -> None:
        super().__init__(f"the store can't hold such a {operation.KIND} yet", "try again")
        self.format = operation.needs()


class MustLook(JobqError):
    """The store has queues of limited capacity: jobs have to be added in a transaction."""

    def __init__(self) -> None:
        super().__init__("the store has queues of limited capacity", "try again")


def check_format(operation: Operation, store_format: int) -> None:
    """Raise FormatTooOld if a store of this format can't hold the operation."""
    if store_format < operation.needs():
        raise FormatTooOld(operation)


class Archive(NamedTuple):
    """The parts of the store that a transaction needs beside the state."""

    require_environment: Callable[[str], None]  # raises if the environment of this digest is gone
    find: Callable[[Collection[int]], dict[int, Job]]  # those of these jobs that exist, finished long ago or not
    skipped: Sequence[Job]  # jobs that were skipped, and may have left the journal


class Transaction:
    """The changes so far. Each shows in `state` at once; whoever reads the store sees all of them, later, or none."""

    def __init__(self, state: StoreState, at: float, store_format: int, archive: Archive) -> None:
        """`at`: wall clock of the changes."""
        self.state = state
        self._at = at
        self._moment = Moment(at, 0.0, "")
        self._format = store_format
        self._archive = archive
        self._seq = state.seq + 1
        self._ops: list[tuple[Record, int]] = []
        self.followed: list[Job] = []  # that changed because others did: skipped, or waiting again
        self.hooks: list[int] = []  # that were added
        self._found: dict[int, Job] = {}  # jobs that have left the journal
        self._looked_up: set[int] = set()

    def __bool__(self) -> bool:
        """True once there is something to write."""
        return bool(self._ops)

    # -- the world of `consequences` ---------------------------------------------------------------

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The jobs of the journal."""
        return self.state.jobs

    @property
    def dependents(self) -> Dependents:
        """The jobs that wait for others."""
        return self.state.dependents

    def find(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return those of these jobs that exist, finished long ago or not; old files are read once for each."""
        if missing := set(job_ids) - self.jobs.keys() - self._looked_up:
            self._found |= self._archive.find(missing)
            self._looked_up |= missing
        return {i: job for i in job_ids if (job := self.jobs.get(i) or self._found.get(i)) is not None}

    def is_taken(self, job: Job) -> bool:
        """Return True if another job has the name of this one by now, or does its work."""
        state, identity = self.state, identity_of(job.spec, job.command)
        others = [state.named(job.spec.name)] if job.spec.name is not None else []
        others += [state.keys.unfinished(identity, state.jobs)] if identity is not None else []
        return any(other is not None and other.id != job.id and not other.state.final for other in others)

    def skipped_for(self, job: Job) -> list[Job]:
        """Return the jobs that were skipped because of this one, by id."""
        known = {
            other.id: other
            for other in self._archive.skipped
            if other.skipped_for == job.id and other.id not in self.state.removed and other.id not in self.jobs
        }
        known |= {job_id: self.jobs[job_id] for job_id in self.state.dependents.skipped_for(job.id)}
        return [known[job_id] for job_id in sorted(known)]

    # -- changes -----------------------------------------------------------------------------------

    def put(self, job: Job, was: Job | None = None) -> None:
        """Move a job to this value, with all that follows from it. `was`: its value, if it had left the journal.

        Raises ValueError if what was asked for differs: that is for `edit`.
        """
        before = self.state.jobs.get(job.id)
        if before is not None and (
            job.command is not before.command or (job.spec is not before.spec and job.spec != before.spec)
        ):
            raise ValueError(f"job {job.id} can't be moved and edited at once")
        self._follow([self._apply(job, was)])

    def edit(self, job: Job, was: Job | None = None) -> None:
        """Replace a job as a whole, with the options and the command that it has now; `was` as for `put`."""
        before = self.state.jobs.get(job.id)
        if before is None or before.spec.env != job.spec.env:
            self._archive.require_environment(job.spec.env)
        self._follow([self._apply(job, was, whole=True)])

    def _follow(self, changes: list[list[Job]]) -> None:
        """Make the changes that follow from a change, and those that follow from them, one behind the other.

        A job that several others skip is skipped once: the first of them takes it out of the index.
        """
        skipped: set[int] = set()
        while changes:
            more = changes[-1]
            if not more:
                changes.pop()
                continue
            job = more.pop()
            if job.state is State.SKIPPED and job.id in skipped:
                continue
            skipped.add(job.id)
            changes.append(self._apply(job, None))
            self.followed.append(self.state.jobs[job.id])

    def _apply(self, job: Job, was: Job | None, *, whole: bool = False) -> list[Job]:
        """Make one change; return those that follow from it."""
        before = self.state.jobs.get(job.id)
        whole = whole or (before is not None and job.spec is not before.spec and job.spec != before.spec)
        more = list(consequences(self, before or was, job, self._moment))
        if more and any(other.skipped_for == job.id for other in more):
            job = job._replace(skips=True)
        if before is None and not whole:
            self._archive.require_environment(job.spec.env)
        if whole:
            self.record(PutJob(job))
        else:
            self._note(PutJob(job) if before is None else Move.of(before, job))
            self.state.put(job, self._seq, is_back=before is None)
        earlier = before or was
        if earlier is not None and has_hooks(job.spec):
            self._add_hooks(earlier, job)
        return more[::-1]

    def _add_hooks(self, before: Job, after: Job) -> None:
        """Add the hooks of a move; none if the job's environment is gone: its end has to be recorded all the same."""
        hooks = list(hooks_of(before, after, PRESETS))
        try:
            if hooks:
                self._archive.require_environment(after.spec.env)
        except EnvironmentGone:
            return
        for hook in hooks:
            self.hooks.extend(self.add(Add(hook.spec, [hook.command])))

    def add(self, new: Add) -> range:
        """Add jobs; return their ids."""
        self._archive.require_environment(new.spec.env)
        whole = AddJobs(self.state.next_id, self.state.shared(new.spec), new.commands)
        for part in whole.parts():
            self._note(part)
        return self.state.add(whole.first, whole.spec, whole.commands, self._at)

    def set_schedule(self, schedule: Schedule) -> None:
        """Set a schedule, whose environment has to be there."""
        self._archive.require_environment(schedule.spec.env)
        self.record(SetSchedule(schedule))

    def remove(self, job_id: int, *, open_failure: bool = False) -> None:
        """Forget a job, with all that follows from it; `open_failure`: it is one."""
        before = self.state.jobs.get(job_id)
        more = list(consequences(self, before, None, self._moment))
        self.record(RemoveJob(job_id, open_failure=open_failure and before is None))
        self._follow([more[::-1]])

    def record(self, operation: Operation) -> None:
        """Make any other change. Raises FormatTooOld."""
        self._note(operation)
        operation.apply(self.state, self._seq, self._at)

    def _note(self, operation: Operation) -> None:
        check_format(operation, self._format)
        self._ops.append((operation.encode(), operation.weight()))

    def lines(self) -> list[bytes]:
        """Return the lines of the journal that say it."""
        return transaction_lines(self._ops, self.state.seq, self._at, encode_line)
