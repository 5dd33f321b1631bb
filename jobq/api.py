"""The use cases, as Python: what every command does, without a terminal.

from jobq import Queue

job = Queue().add("ffmpeg -i a.mov a.mp4", priority=10)
job = Queue().wait(job.id, timeout=60)
"""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypedDict, Unpack

from jobq import clock
from jobq.command import Call, Command
from jobq.errors import CallFailed, JobqError, NotFound, Refused, UsageError, WaitTimeout
from jobq.job import Job, Moment, Spec, State
from jobq.options.request import call_command, check_command, check_variables, current_directory, spec_fields
from jobq.python.results import result_of
from jobq.rules import lifecycle
from jobq.rules.lifecycle import WrongState
from jobq.rules.serving import LiveWorker
from jobq.settings import environment, store_path
from jobq.store import compaction, presence
from jobq.store.environment import capture, passed_on
from jobq.store.selection import open_failures
from jobq.store.state import StoreState
from jobq.store.store import EnvironmentGone, Store
from jobq.store.transaction import Add, Transaction
from jobq.system import current_umask, utf8

FIRST_POLL, LAST_POLL = 0.01, 0.1  # seconds between two looks of `wait`
CHECK_DEAD_EVERY = 1.0  # seconds between two looks for dead workers of `wait`


class JobOptions(TypedDict, total=False):
    """What a job may ask for, all of it optional; the same as the options of `jobq add`. Times are seconds."""

    queue: str
    priority: int | str  # higher first; "low", "normal", "high"
    retries: int  # attempts after the first; 0: never started twice
    timeout: float | str | None  # or "10m"
    grace: float | str  # from TERM to KILL
    log_max: int | str  # bytes, or "64M": of longer output the beginning and the end are kept
    name: str | None  # unique among unfinished jobs
    cwd: str | None
    env: Mapping[str, str]  # on top of the environment of this process


class Changed(NamedTuple):
    """What a change of several jobs came to: the jobs after it, and why others were left as they are."""

    jobs: list[Job]
    refused: list[Refused]


class Queue:
    """One store, seen as a queue. `path` None: JOBQ_STORE, else the user's state directory."""

    def __init__(self, path: str | None = None) -> None:
        self.store = Store(store_path(path))

    # -- adding --------------------------------------------------------------------------------------

    def spec(self, *, runner: str | None = None, **options: Unpack[JobOptions]) -> Spec:
        """Return the spec that these options ask for, with this process's directory, umask and environment captured.

        Raises UsageError, NotSaved, TypeError for an option that there is not.
        """
        fields = spec_fields(options)
        cwd, variables = options.get("cwd"), options.get("env") or {}
        check_variables(variables)
        directory = os.path.abspath(os.path.expanduser(cwd)) if cwd else current_directory()
        if not os.path.isdir(directory):
            raise UsageError(f"the working directory {directory} does not exist", "name another one with --cwd")
        environ = environment()
        digest = self.store.save_environment(capture(environ, variables))
        others = tuple(passed_on(environ, variables).items())
        return Spec(cwd=utf8(directory), env=digest, umask=current_umask(), runner=runner, vars=others, **fields)

    def add_many(self, commands: Sequence[Command], make_spec: Callable[[], Spec]) -> Sequence[int]:
        """Store one job for each command, all or none; their ids. Raises UsageError, Refused, NotSaved."""
        for number, command in enumerate(commands, 1):
            check_command(command, number if len(commands) > 1 else 0)
        if not commands:
            return []
        for _ in range(10):
            spec = make_spec()
            try:
                return self._store(spec, commands)
            except EnvironmentGone:
                continue
        return self._store(make_spec(), commands)

    def _store(self, spec: Spec, commands: Sequence[Command]) -> Sequence[int]:
        now = clock.now().wall
        if spec.name is None:
            return self.store.append(Add(spec, commands), now)
        with self.store.transaction(now) as changes:
            other = changes.state.named(spec.name)
            if other is not None and not other.state.final:
                raise Refused(f"job {other.id} is named {spec.name} and is {other.state}", "choose another name")
            return changes.add(Add(spec, commands))

    def add(self, command: str | Sequence[str], **options: Unpack[JobOptions]) -> Job:
        """Enqueue one job: a string is a shell line, a sequence an exact argv; `options`: see `JobOptions`.

        Raises UsageError, Refused (the name is taken), NotSaved.
        """
        words = command if isinstance(command, str) or not isinstance(command, Sequence) else tuple(command)
        (job_id,) = self.add_many([words], lambda: self.spec(**options))
        return self.job(job_id)

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
        (job_id,) = self.add_many([command], lambda: self.spec(**options))
        return self.job(job_id)

    def result(self, job: int | Job) -> Any:
        """What the function of a finished job (or the one of that id) returned.

        Raises NotFound, Refused if it is not finished or no Python job, CallFailed with what it raised.
        """
        job_id = job.id if isinstance(job, Job) else job
        job = self.job(job_id)
        if not isinstance(job.command, Call):
            raise Refused(f"job {job_id} is a command: it has output, but no result", f"'jobq log {job_id}'")
        if not job.state.final:
            raise Refused(f"job {job_id} is {job.state}: it has no result yet", "wait for it")
        found = result_of(job, len(job.attempts), self.store.logs)
        if job.state is not State.SUCCEEDED or found is None or found.error is not None:
            raise CallFailed(job_id, job.state, found.error if found else None)
        return found.value

    # -- looking -------------------------------------------------------------------------------------

    def job(self, job_id: int) -> Job:
        """The job of that id. Raises NotFound."""
        self.store.read()
        return self.store.get(job_id)

    def named(self, name: str) -> Job:
        """The unfinished job of that name, else the latest finished one. Raises NotFound."""
        name = unicodedata.normalize("NFC", name)
        job = self.store.read().named(name)
        if job is not None and not job.state.final:
            return job
        for old in self.store.finished_jobs():
            if old.spec.name == name:
                return old
        raise NotFound(f"named {name}")

    def jobs_of(self, job_ids: Sequence[int]) -> list[Job]:
        """The jobs of these ids, in this order. Raises NotFound."""
        self.store.read()
        return list(self._all(job_ids).values())

    def jobs(self) -> list[Job]:
        """The unfinished jobs, by id."""
        return sorted(self.store.read().unfinished(), key=lambda job: job.id)

    def finished(self) -> Iterator[Job]:
        """The finished jobs, the last one first; reads no more than is asked for."""
        self.store.read()
        return self.store.finished_jobs()

    def open_failures(self, most: int = 20) -> tuple[int, list[Job]]:
        """How many failures nobody has dealt with (requeued, removed, acknowledged), and the last, newest first."""
        self.store.read()
        return open_failures(self.store, most)

    def workers(self) -> list[str]:
        """The tokens of the live workers that take any job."""
        root = self.store.existing()
        return presence.alive(root) if root is not None else []

    def live_workers(self) -> list[LiveWorker]:
        """The live workers that take any job, and what each serves."""
        root = self.store.existing()
        return presence.live(root) if root is not None else []

    # -- waiting -------------------------------------------------------------------------------------

    def wait(self, job: int | Job, timeout: float | None = None) -> Job:
        """The job (or the one of that id) once it is finished. Raises NotFound, WaitTimeout."""
        return self.wait_all([job.id if isinstance(job, Job) else job], timeout)[0]

    def wait_all(
        self,
        job_ids: Sequence[int],
        timeout: float | None = None,
        *,
        meanwhile: Callable[[list[int]], None] = lambda _open: None,
    ) -> list[Job]:
        """The jobs once all are finished; `meanwhile` is told about once a second which are not.

        Raises NotFound, WaitTimeout.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        poll = FIRST_POLL
        looked = float("-inf")
        open_ids = list(job_ids)
        while True:
            self.store.read()
            open_ids = [job_id for job_id, job in self._all(open_ids).items() if not job.state.final]
            if not open_ids:
                return list(self._all(job_ids).values())
            if time.monotonic() - looked >= CHECK_DEAD_EVERY:
                looked = time.monotonic()
                meanwhile(open_ids)
                if self._owner_is_dead(open_ids):
                    self._rescue()
                    continue
            if deadline is not None and time.monotonic() >= deadline:
                raise WaitTimeout(
                    f"{some(open_ids)} not finished after {timeout:g} s", "'jobq list' shows why; the jobs go on"
                )
            rest = poll if deadline is None else min(poll, max(0.0, deadline - time.monotonic()))
            time.sleep(rest)
            poll = min(poll * 1.5, LAST_POLL)

    def _rescue(self) -> None:
        """See to what dead workers have left."""
        from jobq.worker.rescue import rescue  # noqa: PLC0415  # with all that knows processes: most commands never need it

        rescue(self.store, clock.now())

    def _owner_is_dead(self, job_ids: Iterable[int]) -> bool:
        root = self.store.existing()
        if root is None or not self.store.may_write:
            return False  # it is for those who may write to settle a dead one's affairs
        owners = {job.attempts[-1].owner for job in map(self.store.get, job_ids) if job.state is State.RUNNING}
        runners = {job.runner for job in map(self.store.get, job_ids) if job.runner is not None and not job.state.final}
        return any(not presence.is_alive(root, owner) for owner in owners | runners)

    # -- changing ------------------------------------------------------------------------------------

    def cancel(self, job_ids: Sequence[int]) -> Changed:
        """End these jobs: at once where they wait, else as a wish that the owner of the process carries out.

        Returns them as they are then: cancelled, or running with the wish noted. Raises NotFound, NotSaved.
        """
        done = self._change(job_ids, lifecycle.cancel)
        running = [job.id for job in done.jobs if job.state is State.RUNNING]
        try:
            if running and self._owner_is_dead(running):
                self._rescue()  # which tells their supervisors
                now = self.store.find_all(job_ids)
                return Changed([now.get(job.id, job) for job in done.jobs], done.refused)
        except (JobqError, OSError):
            pass  # what was asked is done; `wait`, or the next worker, will see to the dead one's affairs
        return done

    def requeue(self, job_ids: Sequence[int]) -> Changed:
        """Give finished jobs another turn, with all their retries. Raises NotFound, NotSaved."""
        if any(job_id in self.store.read().running for job_id in job_ids):
            self._rescue()
        return self._change(job_ids, lifecycle.requeue)

    def acknowledge(self, job_ids: Sequence[int]) -> Changed:
        """Note that a person knows of these failures: they count no longer. Raises NotFound, NotSaved."""
        return self._change(job_ids, lifecycle.acknowledge)

    def recover_if_orphaned(self, job_id: int) -> None:
        """Record the end of a running job whose worker is dead, if it has ended. Raises as `wait`."""
        if self._owner_is_dead([job_id]):
            self._rescue()

    def remove(self, job_ids: Sequence[int]) -> Changed:
        """Forget jobs, their logs, and what of their environment nobody else needs; running ones are refused.

        Raises NotFound, NotSaved.
        """
        done = Changed([], [])
        with self._changing(job_ids, clock.now()) as (changes, jobs):
            for job in jobs:
                if job.state is State.RUNNING:
                    hint = f"'jobq cancel --wait {job.id}' ends it; then 'jobq rm {job.id}'"
                    done.refused.append(WrongState(job, "be removed", hint))
                    continue
                done.jobs.append(job)
                changes.remove(job.id, open_failure=job.is_open_failure)
        try:
            self.store.logs.remove({job.id for job in done.jobs})
            compaction.forget_environments(self.store, {job.spec.env for job in done.jobs})
        except (JobqError, OSError):
            pass  # what was asked is done; the next compaction cleans up
        return done

    def _change(self, job_ids: Sequence[int], move: Callable[[Job, Moment], Job]) -> Changed:
        now = clock.now()
        done = Changed([], [])
        with self._changing(job_ids, now) as (changes, jobs):
            for before in jobs:
                try:
                    after = move(before, now)
                    self._check_name(changes.state, after)
                except Refused as e:
                    done.refused.append(e)
                    continue
                done.jobs.append(after)
                if after is not before:
                    changes.put(after)
        return done

    @contextmanager
    def _changing(self, job_ids: Sequence[int], now: Moment) -> Iterator[tuple[Transaction, Iterator[Job]]]:
        """A transaction, and these jobs as they are in it, finished long ago or not. Raises NotFound.

        Old files are read before the lock is taken: they are large. If compaction moves jobs there meanwhile, they are
        read again.
        """
        while True:
            self.store.read()
            known = self._all(job_ids)
            generation = self.store.header.generation if self.store.header else 0
            with self.store.transaction(now.wall) as changes:
                header, jobs = self.store.header, changes.state.jobs
                if header is not None and header.generation != generation and not jobs.keys() >= known.keys():
                    continue
                if gone := known.keys() & changes.state.removed:
                    raise NotFound(str(min(gone)))
                yield changes, (jobs.get(job_id, known[job_id]) for job_id in known)
            break
        if compaction.is_due(self.store):
            try:  # there may be no worker to do it
                compaction.compact(self.store.path, now, known=compaction.Checkpoint.by(self.store))
            except (JobqError, OSError):
                pass  # what was asked is done; the next change, or a worker, will try again

    def _all(self, job_ids: Sequence[int]) -> dict[int, Job]:
        """The jobs of these ids. Raises NotFound."""
        found = self.store.find_all(job_ids)
        for job_id in job_ids:
            if job_id not in found:
                raise NotFound(str(job_id))
        return found

    def _check_name(self, state: StoreState, job: Job) -> None:
        if job.spec.name is not None and not job.state.final:
            other = state.named(job.spec.name)
            if other is not None and other.id != job.id and not other.state.final:
                raise Refused(f"job {other.id} is named {job.spec.name} too and is {other.state}", "cancel it first")


def some(job_ids: Sequence[int]) -> str:
    """ "job 3", "jobs 3, 4 and 5", "jobs 3, 4, 5 and 96 more"."""
    if len(job_ids) == 1:
        return f"job {job_ids[0]} is"
    shown = ", ".join(map(str, job_ids[:4]))
    return f"jobs {shown}{f' and {len(job_ids) - 4} more' if len(job_ids) > 4 else ''} are"
