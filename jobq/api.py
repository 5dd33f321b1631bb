"""The use cases, as Python: what every command does, without a terminal.

from jobq import Queue

job = Queue().add("ffmpeg -i a.mov a.mp4", priority=10)
job = Queue().wait(job.id, timeout=60)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from jobq import adding, changes, clock, waiting
from jobq.changes import Changed, Edit
from jobq.command import Command
from jobq.copies import Copies
from jobq.errors import UsageError
from jobq.intake import Added, Request
from jobq.job import Job, Spec
from jobq.options.lines import JobLine
from jobq.options.request import JobOptions, call_command, check_command, of_add
from jobq.options.selectors import Selected, Wanted, parse
from jobq.python.results import LARGEST, Result, result_of, returned
from jobq.rules import lifecycle
from jobq.rules.dependencies import parents_of
from jobq.rules.reasons import Situation
from jobq.rules.waits import time_waited
from jobq.scheduling import Schedules
from jobq.settings.stores import store_path
from jobq.specs import edited_fields, make_requests, make_spec, repeats
from jobq.store.place import hide_from_git
from jobq.store.selection import find_named, narrowed, open_failures, resolve, with_ancestors
from jobq.store.store import Store
from jobq.store.surroundings import survey
from jobq.store.usage import Usage, usage_of
from jobq.tables import Queues, Resources
from jobq.workers import Workers

if TYPE_CHECKING:
    from jobq.store.check import Health
    from jobq.store.repair import Loss
    from jobq.worker.loop import Worker


class Queue:
    """One store, seen as a queue. `path` None: JOBQ_STORE, else the user's state directory."""

    def __init__(self, path: str | None = None) -> None:
        self._store = Store(store_path(path))
        self.queues = Queues(self._store)
        self.resources = Resources(self._store)
        self.schedules = Schedules(self._store)
        self.workers = Workers(self._store)
        self.copies = Copies(self._store)

    @property
    def path(self) -> str:
        """The directory of the store."""
        return self._store.path

    @property
    def store(self) -> Store:
        """The files of the queue, for code that extends jobq; the commands need none of it."""
        return self._store

    def spec(self, *, runner: str | None = None, **options: Unpack[JobOptions]) -> Spec:
        """Return the spec that these options ask for, with this process's directory, umask and environment captured.

        Raises UsageError, NotSaved, TypeError for an option that there is not.
        """
        return make_spec(self._store, options, runner)

    def add_many(self, commands: Sequence[Command], make_spec: Callable[[], Spec]) -> Sequence[int]:
        """Store one job for each command, all or none; their ids. Raises UsageError, Refused, NotFound, NotSaved."""
        return self.enqueue(commands, make_spec).ids

    def enqueue(self, commands: Sequence[Command], make_spec: Callable[[], Spec], **options: Any) -> Added:
        """Do the same, and return which jobs are new. `options`: `on_conflict`, `hold`. Raises as `add_many`."""
        return adding.add(self._store, lambda: [Request(make_spec(), commands, **options)])

    def enqueue_lines(self, jobs: Sequence[JobLine]) -> Added:
        """Store jobs with options of their own, all or none; a job may be after those before it, by name.

        Raises as `add_many`.
        """
        return adding.add(self._store, lambda: make_requests(self._store, jobs))

    def add(self, command: str | Sequence[str], **options: Unpack[JobOptions]) -> Job:
        """Enqueue one job: a string is a shell line, a sequence an exact argv; `options`: see `JobOptions`.

        With `key`, `once` or `unique` it may return the job that is this work already. Raises UsageError, Refused (the
        name is taken), NotFound, NotSaved.
        """
        words = command if isinstance(command, str) or not isinstance(command, Sequence) else tuple(command)
        return adding.job_of(self._store, self.enqueue([words], lambda: self.spec(**options), **of_add(options)))

    def call(
        self,
        function: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        python: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Enqueue a call of `function` ("module:function") with JSON arguments, by this interpreter or `python`.

        `options` as for `add`. Raises UsageError, Refused, NotSaved.
        """
        if isinstance(args, str) or not isinstance(args, Sequence):
            raise UsageError(f"args is a list of arguments, not {args!r:.60}")
        command = call_command(function, list(args), dict(kwargs or {}), python or sys.executable)
        return adding.job_of(self._store, self.enqueue([command], lambda: self.spec(**options), **of_add(options)))

    def result(self, job: int | Job) -> Any:
        """Return what the function of a finished job (or the one of that id) returned.

        Raises NotFound, Refused if it is not finished or no Python job, CallFailed with what it raised.
        """
        job = self.job(job.id if isinstance(job, Job) else job)
        return returned(job, self.result_of(job, len(job.attempts)))

    # -- looking -------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Return True if there is a store already; the first add makes it."""
        return self._store.read() is not None and self._store.header is not None

    def select(self, wanted: Wanted) -> Selected:
        """Return the jobs that words name (ids, ranges, names, "@", "@failed"; no words: all), as far as they match.

        Raises NotFound, UsageError.
        """
        selectors = list(map(parse, wanted.words))
        self._store.read()
        named = resolve(self._store, selectors) if selectors else None
        return narrowed(self._store, named, wanted.filters)

    def with_ancestors(self, jobs: Sequence[Job]) -> list[Job]:
        """Return these jobs, which were just read, and all that they are after, directly or through others."""
        return with_ancestors(self._store, jobs)

    def job(self, job_id: int) -> Job:
        """Return the job of that id. Raises NotFound."""
        self._store.read()
        return self._store.get(job_id)

    def named(self, name: str) -> Job:
        """Return the unfinished job of that name, else the latest finished one. Raises NotFound."""
        self._store.read()
        return find_named(self._store, name)

    def jobs_of(self, job_ids: Sequence[int]) -> list[Job]:
        """Return the jobs of these ids, in this order. Raises NotFound."""
        self._store.read()
        return list(waiting.find_all(self._store, job_ids).values())

    def known(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return those of these jobs that exist, by id."""
        self._store.read()
        return self._store.find_all(job_ids)

    def jobs(self) -> list[Job]:
        """Return the unfinished jobs, by id."""
        return sorted(self._store.read().unfinished(), key=lambda job: job.id)

    def finished(self) -> Iterator[Job]:
        """Yield the finished jobs, the last one first; reads no more than is asked for."""
        self._store.read()
        return self._store.finished_jobs()

    def open_failures(self, most: int = 20) -> tuple[int, list[Job]]:
        """Return the number of open failures (not requeued, removed or acknowledged), and the last, newest first."""
        self._store.read()
        return open_failures(self._store, most)

    def situation(self, jobs: Iterable[Job]) -> Situation:
        """Return the facts beside these jobs, which were just read: workers, pauses, the time."""
        return survey(self._store, jobs, clock.now())

    def time_waited(self, job: Job) -> dict[str, float]:
        """Return the seconds that a job, which was just read, has waited, by reason (`rules.waits.REASONS`)."""
        return time_waited(job, self._store.find_all(parents_of(job.spec)).values(), clock.now().wall)

    def log_path(self, job_id: int, attempt: int, *, stderr: bool = False) -> str:
        """Return the file with the output of an attempt (or its `stderr`, if that is apart), if it exists or not."""
        return (self._store.logs.error_path if stderr else self._store.logs.path)(job_id, attempt)

    def result_of(self, job: Job, attempt: int, most: int = LARGEST) -> Result | None:
        """Return what a Python function returned or raised, without values of more than `most` bytes; None: nothing."""
        return result_of(job, attempt, self._store.logs, most)

    def environment_of(self, job: Job) -> dict[str, str]:
        """Return the variables of a job: those that were captured, and those in its spec. Raises StoreDamaged."""
        return {**self._store.load_environment(job.spec.env), **dict(job.spec.vars)}

    # -- waiting -------------------------------------------------------------------------------------

    def wait(self, job: int | Job, timeout: float | None = None) -> Job:
        """Return the job (or the one of that id) once it is finished. Raises NotFound, WaitTimeout."""
        return self.wait_all([job.id if isinstance(job, Job) else job], timeout)[0]

    def wait_all(
        self, job_ids: Sequence[int], timeout: float | None = None, **options: Unpack[waiting.WaitOptions]
    ) -> list[Job]:
        """Return the jobs once all are finished, or enough of them. Raises NotFound, WaitTimeout."""
        return waiting.wait_all(self._store, job_ids, timeout, **options)

    def poll(self) -> waiting.Poll:
        """Return the rhythm for a wait of one's own."""
        return waiting.Poll(self._store)

    # -- changing ------------------------------------------------------------------------------------

    def cancel(self, job_ids: Sequence[int]) -> Changed:
        """End these jobs: at once where they wait, else by a wish that the owner of the process carries out.

        Returns them as they are then: cancelled, or running with the wish recorded. Raises NotFound, NotSaved.
        """
        return changes.cancel(self._store, job_ids)

    def type_in(self, job: Job, data: bytes) -> None:
        """Type in the terminal of a running job with `pty`. Raises Refused."""
        self._store.logs.type_in(job.id, len(job.attempts), data)

    def requeue(self, job_ids: Sequence[int]) -> Changed:
        """Give finished jobs another turn, with all their retries. Raises NotFound, NotSaved."""
        if any(job_id in self._store.read().running for job_id in job_ids):
            waiting.recover(self._store)
        return changes.change(self._store, sorted(job_ids), lifecycle.requeue)

    def hold(self, job_ids: Sequence[int]) -> Changed:
        """Keep waiting jobs from starting until they are released. Raises NotFound, NotSaved."""
        return changes.change(self._store, job_ids, lifecycle.hold)

    def release(self, job_ids: Sequence[int]) -> Changed:
        """Let held jobs start. Raises NotFound, NotSaved."""
        return changes.change(self._store, job_ids, lifecycle.release)

    def move(self, job_ids: Sequence[int], before: int | None = None) -> Changed:
        """Let waiting jobs start right before that job, with its priority; None: before all of their queues.

        Raises NotFound, Refused, NotSaved.
        """
        return changes.move(self._store, job_ids, before)

    def acknowledge(self, job_ids: Sequence[int]) -> Changed:
        """Record that a person knows of these failures: they count no longer. Raises NotFound, NotSaved."""
        return changes.change(self._store, job_ids, lifecycle.acknowledge)

    def again(self, job_ids: Sequence[int], **options: Unpack[JobOptions]) -> Added:
        """Add finished jobs once more, with other options if they are given. Raises as `add`, and NotFound."""
        return adding.add(self._store, lambda: repeats(self._store, self.jobs_of(job_ids), options))

    def edit(
        self,
        job_ids: Sequence[int],
        command: Command | None = None,
        seen: Job | None = None,
        **options: Unpack[JobOptions],
    ) -> Changed:
        """Change waiting jobs, unless they are not as `seen` any more. Raises UsageError, NotFound, NotSaved."""
        if command is not None:
            check_command(command, 0)
        fields, variables = edited_fields(self._store, options)
        return changes.edit(self._store, job_ids, Edit(fields, variables, command, seen))

    def remove(self, job_ids: Sequence[int], *, only_old: bool = False) -> Changed:
        """Forget jobs and what only they need, but for running ones (`only_old`: all that are not settled).

        Raises NotFound, NotSaved.
        """
        return changes.remove(self._store, job_ids, only_old=only_old)

    def create(self) -> None:
        """Make the store, if there is none, in a directory that git ignores. Raises NotSaved, StoreForbidden."""
        hide_from_git(self._store.root)

    def health(self) -> Health:
        """Check everything that must hold of the store. Raises StoreDamaged where reading can't go on."""
        from jobq.store.check import examine  # noqa: PLC0415  # only `doctor` needs it

        return examine(self._store)

    def usage(self) -> Usage:
        """Return how much room the store takes on the disk, and what for."""
        return usage_of(self._store.path)

    def repair(self) -> Loss:
        """Put a store made of everything readable in the place of a damaged one. Raises as `repair.repair`."""
        from jobq.store.repair import repair  # noqa: PLC0415

        return repair(self._store, clock.now().wall)

    def worker(self, **settings: Any) -> Worker:
        """Return a worker of this queue, with the settings of `worker.loop.Worker`."""
        return self.workers.make(**settings)
