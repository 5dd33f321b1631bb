"""The data of jobs as JSON. A test pins its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobq.command import to_record
from jobq.job import Attempt, Job, State
from jobq.options.table import OPTIONS
from jobq.python.results import Result
from jobq.rules.progress import Progress
from jobq.views.text import iso_time


def job_data(job: Job, reason: str = "", progress: Progress | None = None) -> dict[str, Any]:
    """Return the data of one job. Times are UTC, durations are seconds. `progress`: its latest report, if it runs."""
    return {
        "id": job.id,
        "name": job.spec.name,
        "state": job.state,
        "reason": reason or None,
        "progress": progress_data(progress) if progress is not None and job.state is State.RUNNING else None,
        "command": to_record(job.command),
        "cwd": job.spec.cwd,
        **{option.name: option.as_json(getattr(job.spec, option.name)) for option in OPTIONS if option.in_spec},
        "retries_used": job.retries_used,
        "added_at": iso_time(job.added_at),
        "finished_at": iso_time(job.finished_at),
        "place": job.place,
        "skipped_for": job.skipped_for,
        "cancel_asked_at": iso_time(job.cancel_asked_at),
        "acknowledged": job.state is State.FAILED and not job.is_open_failure,
        "exit_code": job.exit_code if job.state.final else None,
        "attempts": [attempt_data(attempt) for attempt in job.attempts],
        "history": [{"event": "add", "at": iso_time(job.added_at)}]
        + [{"event": step.event, "at": iso_time(step.at)} for step in job.history],
    }


def progress_data(progress: Progress) -> dict[str, Any]:
    """Return the latest report of a job."""
    return {"fraction": progress.fraction, "text": progress.text, "at": iso_time(progress.at)}


def result_data(found: Result | None) -> dict[str, Any]:
    """Return what a Python function returned, or raised (type, message, traceback), the last time; null for neither."""
    return {"result": found.value if found else None, "raised": found.error if found else None}


def steps_data(steps: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the steps of a job, in the order in which they were first run."""
    return [
        {"name": name, "attempt": step.get("n"), "status": step.get("status"), "at": iso_time(step.get("at")),
         "seconds": step.get("seconds")}
        for name, step in steps.items()
    ]  # fmt: skip


def attempt_data(attempt: Attempt) -> dict[str, Any]:
    """Return the data of one attempt. `given`: the indices that it got of each resource."""
    ending = attempt.ending
    return {
        "n": attempt.n,
        "worker": attempt.owner,
        "claimed_at": iso_time(attempt.claimed_at),
        "started_at": iso_time(ending.started_at) if ending else None,
        "ended_at": iso_time(ending.ended_at) if ending else None,
        "outcome": ending.outcome if ending else None,
        "status": ending.status if ending else None,
        "signal": ending.signal if ending else None,
        "error": ending.error if ending else None,
        "user_s": ending.user_s if ending else None,
        "system_s": ending.system_s if ending else None,
        "max_rss_kib": (ending.max_rss_kib or None) if ending else None,
        "log_bytes": ending.log_bytes if ending else None,
        "log_dropped": ending.log_dropped if ending else None,
        "replaced": ending.replaced if ending else None,
        "given": {name: list(indices) for name, indices in attempt.given},
    }
