"""The data that a worker and an engine exchange about an attempt."""

from __future__ import annotations

from typing import NamedTuple

from jobq.command import to_run
from jobq.job import Attempt, Ending, Job, Moment
from jobq.rules.retry import attempts_left
from jobq.store.store import Store
from jobq.supervisor.mark import VARIABLE, mark_of
from jobq.system import utf8


class Key(NamedTuple):
    """One attempt of one job."""

    job_id: int
    n: int


class Trace(NamedTuple):
    """Facts about an attempt that are known even if its worker and its supervisor are dead."""

    key: Key
    attempt: Attempt
    mark: int  # all its processes carry it
    log: str
    added_at: float = 0.0  # tells the job from another one with its number, after a backup was restored

    @classmethod
    def of(cls, job: Job, store: Store) -> Trace:
        """Return the trace of the last attempt of the job."""
        attempt = job.attempts[-1]
        mark = mark_of(store.identity, attempt.supervisor, job.id, attempt.n, attempt.claimed_at)
        return cls(Key(job.id, attempt.n), attempt, mark, store.logs.path(job.id, attempt.n), job.added_at)

    def is_of(self, job: Job) -> bool:
        """Return True if this is an attempt of the job which is missing in its record."""
        return job.added_at == self.added_at and self.key.n > len(job.attempts)


class Task(NamedTuple):
    """The data to run one attempt. Times in seconds, absolute paths, texts in UTF-8, as supervisors read them."""

    trace: Trace
    command: str | tuple[str, ...]  # a shell line or an argv
    cwd: str
    umask: int
    env_file: str
    variables: dict[str, str]  # on top of the environment
    timeout: float | None
    grace: float
    log_max: int  # bytes
    boot_id: str
    once: bool  # it must not be started again, whatever happens
    result: str | None  # path of the result file of a function
    followed: bool  # a reader follows the log, and must miss nothing

    @classmethod
    def of(cls, job: Job, store: Store, now: Moment, child: str, *, followed: bool = False) -> Task:
        """Return the task for the last attempt of the job, just claimed; `child` is the script that calls functions."""
        spec, attempt = job.spec, job.attempts[-1]
        trace = Trace.of(job, store)
        variables = {
            **dict(spec.vars),
            "JOBQ_JOB_ID": str(job.id),
            "JOBQ_JOB_ATTEMPT": str(attempt.n),
            "JOBQ_STORE": utf8(store.path),
            VARIABLE: f"{trace.mark:x}:{store.uuid}",
        }
        if spec.name is not None:
            variables["JOBQ_JOB_NAME"] = spec.name
        result = store.logs.result_path(job.id, attempt.n) if job.call is not None else None
        return cls(
            trace,
            to_run(job.command, utf8(child), utf8(result or "")),
            spec.cwd,
            spec.umask,
            utf8(store.environment_path(spec.env)),
            variables,
            spec.timeout,
            spec.grace,
            spec.log_max,
            now.boot_id,
            not attempts_left(job),
            result,
            followed,
        )


class Ended(NamedTuple):
    """An attempt that is over."""

    key: Key
    ending: Ending
