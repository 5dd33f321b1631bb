"""From a claimed job to what an engine needs to run it: the only place where stored jobs become tasks."""

from __future__ import annotations

import os
import sys

from jobq import supervisor
from jobq.command import Call, call_record, to_host, to_run
from jobq.engine.task import Key, Task, Trace
from jobq.job import Job, Spec
from jobq.moment import Moment
from jobq.options.values import APART
from jobq.rules.hooks import is_hook
from jobq.rules.policies import exceptions_in
from jobq.rules.retry import attempts_left
from jobq.rules.sharing import variable_of
from jobq.store import environment
from jobq.store.store import Store
from jobq.supervisor.mark import HOOK_VARIABLE, VARIABLE, mark_of
from jobq.system import shell_argv, utf8

TERMINAL = os.path.join(os.path.dirname(supervisor.__file__), "terminal.py")


def is_warm(job: Job) -> bool:
    """Return True if the call is made by a process that makes others, too: nothing else about it is special."""
    spec = job.spec
    return spec.isolation == "warm" and not spec.pty and spec.stdin is None and spec.stderr is None


def rules_of(spec: Spec) -> dict[str, list[str]]:
    """Return the exceptions that decide about another attempt, as the script that makes the call takes them."""
    rules = {name: exceptions_in(getattr(spec, name)) for name in ("retry_on", "no_retry_on")}
    return {name: exceptions for name, exceptions in rules.items() if exceptions}


def trace_of(store: Store, job: Job) -> Trace:
    """Return what identifies the last attempt of the job."""
    attempt = job.attempts[-1]
    mark = mark_of(store.identity, attempt.supervisor, job.id, attempt.n, attempt.claimed_at)
    return Trace(Key(job.id, attempt.n), attempt, mark, store.logs.path(job.id, attempt.n), job.added_at)


def in_terminal(command: str | tuple[str, ...], inbox: str) -> tuple[str, ...]:
    """Return what runs the command in a terminal."""
    argv = shell_argv(command) if isinstance(command, str) else command
    return (utf8(sys.executable), "-I", "-S", utf8(TERMINAL), utf8(inbox), *argv)


def task_of(store: Store, job: Job, now: Moment, script: str, *, followed: bool = False) -> Task:
    """Return the task of the last attempt of the job, which was just claimed; `script` calls functions."""
    spec, attempt = job.spec, job.attempts[-1]
    trace = trace_of(store, job)
    told = dict(spec.vars)
    variables = {
        **told,
        "JOBQ_JOB_ID": str(job.id),
        "JOBQ_JOB_ATTEMPT": str(attempt.n),
        "JOBQ_STORE": utf8(store.path),
        "JOBQ_JOB_FILES": utf8(store.logs.prefix(job.id)),
        VARIABLE: f"{trace.mark:x}:{store.uuid}",
    }
    if spec.name is not None:
        variables["JOBQ_JOB_NAME"] = spec.name
    for resource, indices in attempt.given:
        text = ",".join(map(str, indices))
        variables[variable_of(resource)] = text
        if resource == "gpu":
            variables["CUDA_VISIBLE_DEVICES"] = text
    if is_hook(job):  # it is told of the job that it is for
        variables[HOOK_VARIABLE] = str(job.id)
        variables |= {name: value for name, value in told.items() if name.startswith("JOBQ_JOB_")}
        if "JOBQ_JOB_ID" in told and told.get("JOBQ_JOB_ATTEMPT", "0") != "0":
            path = store.logs.path(int(told["JOBQ_JOB_ID"]), int(told["JOBQ_JOB_ATTEMPT"]))
            variables["JOBQ_JOB_LOG"] = utf8(path)
    # A hook is needed above all when things go wrong, as when the directory of its job is gone.
    cwd = spec.cwd if not is_hook(job) or os.path.isdir(spec.cwd) else "/"
    result = store.logs.result_path(job.id, attempt.n) if job.call is not None else None
    apart = spec.stderr == APART
    warm: dict[str, object] | None = None
    if not isinstance(job.command, Call):
        to_start: str | tuple[str, ...] = job.command
    elif is_warm(job):
        to_start = to_host(job.command, utf8(script))
        rules = rules_of(spec)
        warm = {"function": job.command.function, "call": call_record(job.command, rules), "result": utf8(result or "")}
    else:
        to_start = to_run(job.command, utf8(script), utf8(result or ""), rules_of(spec))
    return Task(
        trace,
        in_terminal(to_start, store.logs.inbox_path(job.id, attempt.n)) if spec.pty else to_start,
        cwd,
        spec.umask,
        utf8(environment.path_of(store.path, spec.env)),
        variables,
        spec.stdin,
        utf8(store.logs.error_path(job.id, attempt.n)) if apart else spec.stderr,
        apart,
        spec.timeout,
        spec.idle_timeout,
        spec.grace,
        spec.log_max,
        now.boot_id,
        not attempts_left(job),
        result,
        warm,
        followed,
    )
