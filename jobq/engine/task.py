"""What an engine is told about an attempt, and what it tells back."""

from __future__ import annotations

import json
from typing import NamedTuple

from jobq.job import Attempt, Call, Ending, Job, Moment
from jobq.retry import attempts_left
from jobq.store.store import Store


class Key(NamedTuple):
    """One attempt of one job."""

    job_id: int
    n: int


class Task(NamedTuple):
    """All that is needed to run one attempt. Seconds; absolute paths."""

    key: Key
    attempt: Attempt
    command: str | tuple[str, ...]  # a shell line or an argv
    cwd: str
    umask: int
    env_file: str
    variables: dict[str, str]  # on top of the environment
    log: str
    timeout: float | None
    grace: float
    log_max: int  # bytes
    boot_id: str
    once: bool  # it must not be started again, whatever happens

    @classmethod
    def of(cls, job: Job, store: Store, now: Moment) -> Task:
        """The last attempt of the job, which was just claimed."""
        spec, attempt = job.spec, job.attempts[-1]
        variables = {"JOBQ_JOB_ID": str(job.id), "JOBQ_JOB_ATTEMPT": str(attempt.n), "JOBQ_STORE": store.path}
        if spec.name is not None:
            variables["JOBQ_JOB_NAME"] = spec.name
        command = job.command
        return cls(
            Key(job.id, attempt.n),
            attempt,
            argv_of(command, store.logs.result_path(job.id, attempt.n)) if isinstance(command, Call) else command,
            spec.cwd,
            spec.umask,
            store.environment_path(spec.env),
            variables,
            store.logs.path(job.id, attempt.n),
            spec.timeout,
            spec.grace,
            spec.log_max,
            now.boot_id,
            not attempts_left(job),
        )


class Ended(NamedTuple):
    """An attempt is over."""

    key: Key
    ending: Ending


def argv_of(call: Call, result_path: str) -> tuple[str, ...]:
    """The program and arguments that make the call, and leave what it returns at `result_path`."""
    from jobq import child  # noqa: PLC0415  # only for functions

    arguments = json.dumps({"args": call.args, "kwargs": call.kwargs}, separators=(",", ":"), allow_nan=False)
    return (call.python, "-u", child.__file__, call.function, arguments, result_path)
