"""All that is known at one point of the journal: jobs, queues, and the indexes of the jobs.

Operations (operations.py) and snapshots (snapshot.py) change a state; nothing else does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from jobq.command import BadRecord, Command, Record
from jobq.job import Job, Spec
from jobq.queues import QueueSettings
from jobq.rules.dependencies import Dependents
from jobq.rules.order import Waiting
from jobq.rules.serving import ALL_QUEUES
from jobq.rules.sharing import wants
from jobq.rules.uniqueness import Keys, to_keep
from jobq.schedules import Schedule
from jobq.store.failures import Tally, was_open
from jobq.store.indexes import Names, Running
from jobq.store.records import MOST_ID
from jobq.typed import NamedTuple

NEVER = float("-inf")  # before all expiry


class Later(NamedTuple):
    """The keys of a later version in the snapshot: one object for each line that has some, and one for its end mark."""

    lines: list[Record]
    end: Record


class StoreState:
    """The state of the store as of the line `seq`."""

    def __init__(self) -> None:
        self.seq = 0
        self.next_id = 1
        self.jobs: dict[int, Job] = {}  # unfinished ones, and those that finished since the snapshot
        self.removed: set[int] = set()  # since the snapshot
        self.queues: dict[str | None, QueueSettings] = {}  # those that differ from the default; None: all queues
        self.limits: dict[str, int] = {}  # of `queues`
        self.schedules: dict[str, Schedule] = {}
        self.dependents = Dependents()
        self.waiting = Waiting(self.dependents.waits_for)
        self.running = Running()
        self.names = Names()
        self.keys = Keys()
        self.failures = Tally()
        self.finished = 0  # of `jobs`
        self.moves = 0  # changes of jobs and schedules since the snapshot: so much of the journal is out of date
        self.later = Later([], {})
        self._specs: dict[Spec, Spec] = {}  # equal specs are one object

    def put(self, job: Job, seq: int, *, is_back: bool = False) -> None:
        """Set the job to this value, as of the line `seq`. `is_back`: it had left the journal."""
        before = self.jobs.get(job.id)
        was = before.is_open_failure if before is not None else is_back and was_open(job)
        self.failures.note(seq, job.is_open_failure - was)
        self.jobs[job.id] = job
        self.finished += job.state.final - (before is not None and before.state.final)
        self.moves += before is not None
        self._note(before, job)

    def _note(self, before: Job | None, after: Job | None) -> None:
        """Let every index know: `before` has become `after`."""
        released = self.dependents.note(before, after, self.jobs)
        self.waiting.note(before, after)
        for job_id in released:
            if (job := self.jobs.get(job_id)) is not None:
                self.waiting.place(job)
        for job in (before, after):
            if job is not None and (job.spec.locks or job.spec.needs):
                self.waiting.offer(wants(job.spec), self.jobs)
        self.running.note(before, after)
        self.names.note(before, after)
        self.keys.note(before, after)

    def add(self, first: int, spec: Spec, commands: Sequence[Command], at: float) -> range:
        """Add new jobs with ids from `first` on. Raises BadRecord if these can't be given out."""
        if first < self.next_id:
            raise BadRecord(f"id {first} was given out before")
        ids = range(first, first + len(commands))
        if ids.stop > MOST_ID:
            raise BadRecord(f"id {first} is beyond all that are given out")
        for job_id, command in zip(ids, commands, strict=True):
            self.jobs[job_id] = Job(job_id, spec, command, at)
        self.dependents.add(spec, ids, self.jobs)
        self.waiting.add(spec, ids)
        self.names.add_many(spec, ids)
        self.keys.add_many(spec, ids, commands)
        self.next_id = ids.stop
        return ids

    def remove(self, job_id: int, seq: int, *, open_failure: bool) -> None:
        """Forget the job, as of the line `seq`; `open_failure`: it was one, if it had left the journal."""
        before = self.jobs.get(job_id)
        self.failures.note(seq, -(open_failure if before is None else before.is_open_failure))
        self._drop(job_id)
        self.keys.forget(job_id)
        self.removed.add(job_id)

    def _drop(self, job_id: int) -> None:
        before = self.jobs.pop(job_id, None)
        self.finished -= before is not None and before.state.final
        self.moves += 1
        self._note(before, None)

    def set_queue(self, settings: QueueSettings) -> None:
        """Replace the settings of a queue."""
        if settings == QueueSettings(settings.name):
            self.queues.pop(settings.name, None)
        else:
            self.queues[settings.name] = settings
        self.limits = {name: s.limit for name, s in self.queues.items() if name is not None and s.limit is not None}

    def set_schedule(self, schedule: Schedule) -> None:
        """Set a schedule. One that fires makes the journal longer, like the moves of jobs."""
        self.moves += schedule.name in self.schedules
        self.schedules[schedule.name] = schedule

    def set_resource(self, name: str, count: int) -> None:
        """Set how much there is of a resource; 0: there is none."""
        counts = self.waiting.shared.counts
        counts[name] = count
        if not count:
            del counts[name]
        self.waiting.offer([name], self.jobs)

    @property
    def resources(self) -> dict[str, int]:
        """The count of each resource."""
        return self.waiting.shared.counts

    def pauses(self) -> dict[str, str]:
        """Return the reasons of the paused queues, by name; "*": all queues."""
        return {
            settings.name or ALL_QUEUES: str(settings.pause)
            for settings in self.queues.values()
            if settings.pause is not None
        }

    def stopped(self) -> frozenset[str]:
        """Return the paused queues of which the running jobs are stopped meanwhile ("*": all)."""
        every = (settings for settings in self.queues.values() if settings.pause is not None)
        return frozenset(one.name or ALL_QUEUES for one in every if one.pause is not None and one.pause.running)

    def leave_finished(self, still_there: Collection[object]) -> None:
        """Drop the finished jobs that compaction has moved out of the journal; the others changed meanwhile."""
        gone = [job for job in self.jobs.values() if job.state.final and job.id not in still_there]
        for job in gone:
            self._drop(job.id)
        self.keys.keep(to_keep(gone, NEVER))
        self.removed &= set(still_there)
        self.moves = 0
        self._specs = {job.spec: job.spec for job in self.jobs.values() if job.spec.extra is None}

    def environments(self) -> set[str]:
        """Return the digests of the environments that jobs and schedules name."""
        return {job.spec.env for job in self.jobs.values()} | {one.spec.env for one in self.schedules.values()}

    def unfinished(self) -> Iterator[Job]:
        """Yield the jobs that are not in a final state."""
        return (job for job in self.jobs.values() if not job.state.final)

    def named(self, name: str) -> Job | None:
        """Return the unfinished job of that name, else the latest finished one that is still in the journal."""
        return self.names.find(name, self.jobs)

    def shared(self, spec: Spec) -> Spec:
        """Return the one object that stands for specs equal to this one."""
        if spec.extra is not None:
            return spec
        return self._specs.setdefault(spec, spec)

    def check_indexes(self) -> Iterator[str]:
        """Yield a sentence for every index that does not say what the jobs say."""
        fresh = (
            ("running jobs", self.running, Running()),
            ("names", self.names, Names()),
            ("keys", self.keys, Keys()),
        )
        for what, index, again in fresh:
            for job in self.jobs.values():
                again.note(None, job)
            if index != again:
                yield f"the index of {what} is wrong"
        dependents = Dependents()
        for job in self.jobs.values():
            dependents.note(None, job, self.jobs)
        if self.dependents != dependents:
            yield "the index of jobs that wait for others is wrong"
