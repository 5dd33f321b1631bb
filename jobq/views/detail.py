"""The details of one job, as lines of text."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator

from jobq.api import Queue
from jobq.command import kind
from jobq.durations import span
from jobq.errors import StoreDamaged
from jobq.job import Attempt, Job, Spec, State
from jobq.options.table import OPTIONS, JobOption
from jobq.python.results import Result
from jobq.rules import policies
from jobq.rules.reasons import Situation
from jobq.views.console import painted
from jobq.views.logs import plain_lines
from jobq.views.marks import STYLES
from jobq.views.table import reason
from jobq.views.text import clock_time, command_line, safe, size

MOST_DELAYS = 6  # shown
LAST_LINES = 5  # of output
MOST_SHOWN = 1 << 20  # bytes; a larger result is not printed


ALWAYS = {"queue", "priority", "retries", "timeout", "grace"}  # shown even if nobody asked for it


def label_of(option: JobOption) -> str:
    """Return the name of an option as it is shown: that of its long flag."""
    return option.flags[0].removeprefix("--")


def describe(job: Job, situation: Situation, queue: Queue) -> str:
    """Return the text of `jobq show` for one job."""
    note = reason(job, situation)
    says_more = note not in {"", job.state}
    rows = [
        ("job", str(job.id) + (f" ({safe(job.spec.name)})" if job.spec.name else "")),
        ("state", painted(str(job.state), STYLES.get(job.state, "")) + (f": {note}" if says_more else "")),
        ("command", command_line(job.command)),
        ("runs as", safe(kind(job.command))),
        ("directory", safe(job.spec.cwd)),
        *options_of(job.spec, ALWAYS),
        *([("delays", _delays(job.spec))] if job.spec.retries else []),
        ("environment", f"{_variables(job, queue)}, umask {job.spec.umask:03o}"),
        *([("waited", waited)] if (waited := _waited(job, queue)) else []),
        ("added", clock_time(job.added_at)),
        *([("retries used", str(job.retries_used))] if job.retries_used else []),
        *((safe(step.event), clock_time(step.at)) for step in job.history),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name.rjust(width)}  {value}" for name, value in rows]
    for attempt in job.attempts:
        lines += ["", *_attempt_lines(attempt, queue.log_path(job.id, attempt.n), situation.now.wall)]
        if os.path.exists(errors := queue.log_path(job.id, attempt.n, stderr=True)):
            lines.append(f"  stderr {safe(errors)}")
        lines += _result_lines(job, queue.result_of(job, attempt.n, MOST_SHOWN))
    return "\n".join([*lines, *_step_lines(job, queue), *_last_words(job, queue)])


def _step_lines(job: Job, queue: Queue) -> Iterator[str]:
    """Yield the steps of a job, and how they have ended."""
    steps = queue.steps_of(job.id)
    if steps:
        yield from ("", "steps:")
    width = max((len(safe(name)) for name in steps), default=0)
    for name, step in steps.items():
        ended = "done" if step.get("status") == 0 else f"failed: exit {step.get('status')}"
        seconds = step.get("seconds")
        took = f", {span(seconds)}" if isinstance(seconds, (int, float)) else ""
        yield f"  {safe(name).ljust(width)}  {safe(ended)} in attempt {safe(str(step.get('n')))}{took}"


def _last_words(job: Job, queue: Queue) -> Iterator[str]:
    """Yield the last lines of output of a job that runs or has failed."""
    if not job.attempts or job.state not in {State.RUNNING, State.FAILED}:
        return
    lines = plain_lines(queue.log_path(job.id, len(job.attempts)), LAST_LINES)
    if any(lines):
        yield from ("", f"its last lines ('jobq log {job.id}' has all):", *(f"  {line}" for line in lines))


def options_of(spec: Spec, always: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield the options that were given, and those that are `always` shown."""
    for option in OPTIONS:
        if option.in_spec and option.name != "name":  # which stands in the first line
            value = getattr(spec, option.name)
            if value != option.default or option.name in always:
                yield label_of(option), safe(option.shown(value))


REASONS = {
    "held": "held",
    "after": "after other jobs",
    "scheduled": "until its time",
    "retry": "before retries",
    "ready": "until it was its turn",
}


def _waited(job: Job, queue: Queue) -> str:
    """Return how long the job has waited, and for what: "3m12s: 1m00s held, 2m12s until it was its turn"."""
    waited = queue.time_waited(job)
    parts = [f"{span(seconds)} {REASONS[reason]}" for reason, seconds in waited.items()]
    return f"{span(sum(waited.values()))}: {', '.join(parts)}" if parts else ""


def _delays(spec: Spec) -> str:
    """Return the times before the retries, without jitter: "1.0 s, 2.0 s, 4.0 s, ... 1h00m"."""
    delays = [span(policies.delay(spec.backoff, n)) for n in range(1, min(spec.retries, MOST_DELAYS) + 1)]
    last = span(policies.delay(spec.backoff, spec.retries))
    return ", ".join(delays) + (f", ... {last}" if spec.retries > MOST_DELAYS else "")


def _variables(job: Job, queue: Queue) -> str:
    try:
        return f"{len(queue.environment_of(job))} variables"
    except StoreDamaged as e:
        return safe(f"none: {e.what}: {e.path}")  # the rest of the job is still shown


def _result_lines(job: Job, result: Result | None) -> Iterator[str]:
    if result is None:
        return
    if result.unread:
        yield f"  result of {size(result.unread)}: Queue().result({job.id}) returns it in Python"
    elif result.error is None:
        yield f"  result {safe(json.dumps(result.value, ensure_ascii=False))}"
    else:
        yield f"  raised {safe(result.error['type'])}: {safe(result.error['message'])}"
        trace = result.error["traceback"].rstrip()
        yield from (f"    {safe(line)}" for line in trace.split("\n") if trace)


def _attempt_lines(attempt: Attempt, log: str, now: float) -> Iterator[str]:
    ending = attempt.ending
    if ending is None:
        elapsed = span(now - attempt.claimed_at)
        yield f"attempt {attempt.n}: running since {clock_time(attempt.claimed_at)}, for {elapsed}"
    else:
        yield f"attempt {attempt.n}: {safe(str(ending))}"
        if ending.seconds is not None:
            memory = f", {size(1024 * ending.max_rss_kib)}" if ending.max_rss_kib else ""
            yield (
                f"  started {clock_time(ending.started_at)}, took {span(ending.seconds)}"
                f" (user {span(ending.user_s)}, system {span(ending.system_s)}{memory})"
            )
        if ending.replaced:
            yield f"  its process made no other call: {safe(ending.replaced)}"
    if not os.path.exists(log):
        yield "  its output is not kept any more" if ending is not None and ending.log_bytes else "  no output"
        return
    dropped = ""
    if ending is not None and ending.log_dropped:
        dropped = f" ({size(ending.log_dropped)} of {size(ending.log_bytes)} dropped)"
    yield f"  log {safe(log)}{dropped}"
