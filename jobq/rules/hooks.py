"""Hooks: what a job, or a person's settings, ask to be run when a job begins or ends.

A hook is a job of its own, added in the transaction of the move that it is for: so it is run once, has its own log, and
survives what kills the worker. Hooks take no slot and wait for none: the queue is not delayed by them.
"""

from __future__ import annotations

from collections.abc import Iterator

from jobq.command import Command, as_typed
from jobq.job import Job, Spec, State
from jobq.rules.serving import HOOKS
from jobq.typed import NamedTuple

AT_ONCE = 4  # hooks that run at once, over all workers
TIME_LIMIT = 60.0  # seconds
FIRST = 2_000_000  # a priority above those of all jobs
LONGEST = 1000  # characters of a command that a hook is told
SCRIPT = "presets.py"  # what notifies and pings, run by path


class Hook(NamedTuple):
    """A hook to be added: its spec, and what it runs."""

    spec: Spec
    command: Command


def is_hook(job: Job) -> bool:
    """Return True if the job is a hook."""
    return job.spec.queue == HOOKS


def note_of(job: Job) -> str:
    """Return what a hook is for, in words: "on failure of 12"; "" for other jobs."""
    if not is_hook(job):
        return ""
    told = dict(job.spec.vars)
    event = told.get("JOBQ_HOOK", "")
    return "hook on idle" if event == "idle" else f"hook on {event} of {told.get('JOBQ_JOB_ID', '?')}"


def has_hooks(spec: Spec) -> bool:
    """Return True if something is to be run when such a job begins or ends. Asked at each move, so it is plain."""
    return bool(spec.on_success or spec.on_failure or spec.on_finish or spec.notify or spec.ping)


def hooks_of(before: Job, after: Job, presets: tuple[str, ...]) -> Iterator[Hook]:
    """Yield the hooks of a move; `presets`: the words that run SCRIPT."""
    event = _event(before, after)
    if not event:
        return
    spec = after.spec
    lines: list[Command | None] = []
    if event != "start":
        lines += [spec.on_success if event == "success" else None, spec.on_failure if event == "failure" else None]
        lines += [spec.on_finish, (*presets, "notify") if spec.notify else None]
    if spec.ping:
        lines.append((*presets, "ping", spec.ping))
    for command in lines:
        if command is not None:
            yield Hook(_spec_of(after, event), command)


def _event(before: Job, after: Job) -> str:
    if after.state.final and not before.state.final:
        ends = {State.SUCCEEDED: "success", State.FAILED: "failure"}
        return ends.get(after.state, str(after.state))
    starts = after.state is State.RUNNING and before.state is State.QUEUED and not before.has_started
    return "start" if starts else ""


def _spec_of(job: Job, event: str) -> Spec:
    ending = job.ending
    told = {
        "JOBQ_HOOK": event,
        "JOBQ_JOB_ID": str(job.id),
        "JOBQ_JOB_NAME": job.spec.name or "",
        "JOBQ_JOB_QUEUE": job.spec.queue,
        "JOBQ_JOB_STATE": str(job.state),
        "JOBQ_JOB_ATTEMPT": str(len(job.attempts)),
        "JOBQ_JOB_COMMAND": as_typed(job.command)[:LONGEST].replace("\0", ""),
    }
    if job.state.final:
        told["JOBQ_JOB_EXIT_CODE"] = str(job.exit_code)
        told["JOBQ_JOB_OUTCOME"] = str(ending)[:LONGEST].replace("\0", "") if ending is not None else ""
        if job.seconds is not None:
            told["JOBQ_JOB_SECONDS"] = f"{job.seconds:.3f}"
    # A lock of its own, which nobody can name: a short job must not be told of as ended before it has begun.
    return spec_for(
        job.spec, dict(job.spec.vars) | told, runner=job.runner, locks=(f"{HOOKS} {job.id}",) * bool(job.spec.ping)
    )


def spec_for(like: Spec, told: dict[str, str], *, runner: str | None = None, locks: tuple[str, ...] = ()) -> Spec:
    """Return the spec of a hook with the directory and environment of another one, and these variables."""
    return Spec(
        cwd=like.cwd,
        env=like.env,
        umask=like.umask,
        queue=HOOKS,
        priority=FIRST,
        retries=0,
        timeout=TIME_LIMIT,
        slots=0,
        runner=runner,
        locks=locks,
        vars=tuple(sorted(told.items())),
    )
