"""The use cases, as Python: what every command does, without a terminal.

from jobq import Queue

job = Queue().add("ffmpeg -i a.mov a.mp4", priority=10)
job.wait(timeout=60)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from jobq import adding, changes, waiting
from jobq.calls import Target, call_of, options_of
from jobq.changes import Changed, Edit
from jobq.command import Command
from jobq.copies import Copies
from jobq.embedded import working
from jobq.intake import Added, Request
from jobq.job import Job, Spec
from jobq.keeping import Keeping
from jobq.looking import Looking
from jobq.options.lines import JobLine
from jobq.options.request import JobOptions, check_command, of_add
from jobq.python.handles import JobHandle
from jobq.python.inside import HANDLERS, Handler
from jobq.python.results import returned
from jobq.rules import lifecycle
from jobq.scheduling import Schedules, Timing
from jobq.settings.places import store_path
from jobq.specs import edited_fields, make_requests, make_spec, repeats
from jobq.store.store import Store
from jobq.tables import Queues, Resources
from jobq.workers import Workers

if TYPE_CHECKING:
    from jobq.schedules import Schedule
    from jobq.worker.loop import Worker

R = TypeVar("R")


class Queue(Looking, Keeping):
    """One store, seen as a queue, in any thread. `path` None: JOBQ_STORE, else the user's state directory."""

    def __init__(self, path: str | None = None) -> None:
        self._path = os.path.abspath(store_path(path))
        self._of_thread = threading.local()

    def __repr__(self) -> str:
        return f"Queue({self.path!r})"

    @property
    def _store(self) -> Store:
        """The store as this thread has it open: what one thread does never disturbs another."""
        try:
            store: Store = self._of_thread.store
        except AttributeError:
            store = self._of_thread.store = Store(self._path)
        return store

    @property
    def store(self) -> Store:
        """The files of the queue, for code that extends jobq; the commands need none of it."""
        return self._store

    @property
    def queues(self) -> Queues:
        """The settings of its queues."""
        return Queues(self._store)

    @property
    def resources(self) -> Resources:
        """The resources that jobs may need."""
        return Resources(self._store)

    @property
    def schedules(self) -> Schedules:
        """The schedules."""
        return Schedules(self._store)

    @property
    def workers(self) -> Workers:
        """The live workers."""
        return Workers(self._store)

    @property
    def copies(self) -> Copies:
        """Copies of the store, to and from other machines."""
        return Copies(self._store)

    def spec(self, *, runner: str | None = None, **options: Unpack[JobOptions]) -> Spec:
        """Return the spec that these options ask for, with this process's directory, umask and environment captured.

        Raises UsageError, NotSaved.
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

    def add(self, command: str | Sequence[str], **options: Unpack[JobOptions]) -> JobHandle[Any]:
        """Enqueue one job: a string is a shell line, a sequence an exact argv; `options`: see `JobOptions`.

        With `key`, `once` or `unique` it may return the job that is this work already. Raises UsageError, Refused (the
        name is taken), NotFound, NotSaved.
        """
        words = command if isinstance(command, str) or not isinstance(command, Sequence) else tuple(command)
        return self._add_one(words, options)

    def call(
        self,
        function: Target,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        python: str | None = None,
        check: bool = True,
        **options: Unpack[JobOptions],
    ) -> JobHandle[Any]:
        """Enqueue a call of a function, a handler, "module:function" or "FILE.py:function".

        Arguments are values that JSON can hold, and dataclasses, dates and the like (python/conversion.py). The call is
        made by this interpreter, or `python`. `check`: refuse arguments that do not fit, as far as the function is
        known here. `options` as for `add`; those of a handler hold unless others are given. Raises UsageError, Refused,
        NotSaved.
        """
        target = HANDLERS.get(function, function) if isinstance(function, str) else function
        command = call_of(target, args, kwargs or {}, python, check=check)
        if isinstance(target, Handler):
            return self._add_one(command, options_of(target.options, options), target.function)
        return self._add_one(command, options, None if isinstance(target, str) else target)

    def schedule(
        self,
        name: str,
        when: str,
        work: str | Sequence[str] | Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        /,
        *,
        zone: str | None = None,
        missed: str | None = None,
        overlap: str | None = None,
        replace: bool = False,
        **options: Unpack[JobOptions],
    ) -> Schedule:
        """Enqueue a job at each of these times, such as "0 3 * * *" or "@every 10m" (`jobq schedule add --help`).

        `work`: a shell line or an argv, as for `add`; or a function or a handler with its arguments, as for `call`.
        `replace`: take the place of a schedule of that name, as a script does that runs more than once. Raises
        UsageError, Refused (there is one, and `replace` is not given), NotSaved.
        """
        if callable(work):
            command: Command = call_of(work, args, kwargs or {}, None)
        else:
            command = work if isinstance(work, str) else tuple(work)
        wanted = options_of(work.options if isinstance(work, Handler) else None, options)
        return self.schedules.add(name, command, Timing(when, zone, missed, overlap), wanted, replace=replace)

    def _add_one(self, command: Command, options: Mapping[str, Any], function: object = None) -> JobHandle[Any]:
        added = self.enqueue([command], lambda: self.spec(**options), **of_add(options))
        return JobHandle(self, adding.job_of(self._store, added), function)

    def get(self, job: int | str) -> JobHandle[Any]:
        """Return a handle of the job with this id, or of the latest one with this name. Raises NotFound."""
        return JobHandle(self, self.named(job) if isinstance(job, str) else self.job(job))

    def result(self, job: int | Job | JobHandle[R]) -> Any:
        """Return what the function of a finished job (or the one of that id) returned.

        Raises NotFound, Refused if it is not finished or no Python job, CallFailed with what it raised.
        """
        found = self.job(job if isinstance(job, int) else job.id)
        return returned(found, self.result_of(found, len(found.attempts)))

    # -- waiting -------------------------------------------------------------------------------------

    def wait(self, job: int | Job | JobHandle[Any], timeout: float | None = None) -> Job:
        """Return the job (or the one of that id) once it is finished. Raises NotFound, WaitTimeout."""
        return self.wait_all([job if isinstance(job, int) else job.id], timeout)[0]

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

    def requeue(self, job_ids: Sequence[int], from_step: str | None = None) -> Changed:
        """Give finished jobs another turn, with all their retries. Raises NotFound, NotSaved.

        `from_step`: this step and those behind it are run again. Raises UsageError if a job has no such step.
        """
        if from_step is not None:
            changes.forget_steps(self._store, self.jobs_of(job_ids), from_step)
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

    def working(
        self, slots: int = 1, queues: Sequence[str] = (), stop_after: float = 30.0
    ) -> AbstractContextManager[None]:
        """Run a worker process beside this one while a `with` block runs, and stop it gracefully at its end.

        `stop_after`: the seconds that it then waits for running jobs; the rest is handed back. Raises EngineBroken.
        """
        return working(self.path, self.workers, slots, queues, stop_after)

    def worker(self, **settings: Any) -> Worker:
        """Return a worker of this queue, with the settings of `worker.loop.Worker`."""
        return self.workers.make(**settings)


def enqueue(handler: Handler[Any, R], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> JobHandle[R]:
    """Enqueue a call of a handler, in the store and with the options that it names. Raises as `Queue.call`."""
    store = handler.options.get("store")
    queue = store if isinstance(store, Queue) else Queue(store)
    return queue.call(handler, args, kwargs, python=handler.options.get("python"))
