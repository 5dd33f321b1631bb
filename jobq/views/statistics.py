"""Figures about many jobs, as rows of a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobq.durations import span
from jobq.job import Job, State
from jobq.rules.statistics import Group, Spread, group
from jobq.views.text import iso_time, safe, shortened

LONGEST_NAME = 40  # characters
HEADS = ("JOBS", "OK", "FAILED", "OTHER", "RETRIES", "RUN p50", "p90", "MAX", "WAIT p50", "p90")


def rows(head: str, groups: Sequence[Group]) -> list[list[str]]:
    """Return the head of a table, and a row for each group."""
    return [[head, *HEADS], *(_row(one) for one in groups)]


def _row(one: Group) -> list[str]:
    counts = one.jobs, one.succeeded, one.failed, one.other, one.retries
    times = one.run.p50, one.run.p90, one.run.longest, one.wait.p50, one.wait.p90
    return [
        shortened(safe(one.name), LONGEST_NAME),
        *map(str, counts),
        *("-" if seconds is None else span(seconds) for seconds in times),
    ]


def totals(jobs: Sequence[Job]) -> str:
    """Return all jobs in one line: "40 jobs: 38 succeeded (95 %), 2 failed; 14m02s of CPU"."""
    one = group("", jobs)
    ended = sum(job.state in {State.SUCCEEDED, State.FAILED} for job in jobs)
    share = f" ({100 * one.succeeded / ended:.0f} %)" if ended else ""
    others = f", {one.other} other" if one.other else ""
    count = "1 job" if one.jobs == 1 else f"{one.jobs} jobs"
    return f"{count}: {one.succeeded} succeeded{share}, {one.failed} failed{others}; {span(one.cpu)} of CPU"


def group_data(one: Group) -> dict[str, Any]:
    """Return the figures as JSON; all times are seconds."""
    return {
        "name": one.name,
        "jobs": one.jobs,
        "succeeded": one.succeeded,
        "failed": one.failed,
        "other": one.other,
        "retries": one.retries,
        "run_s": _spread_data(one.run),
        "wait_s": _spread_data(one.wait),
        "cpu_s": round(one.cpu, 6),
        "last_at": iso_time(one.last),
    }


def _spread_data(times: Spread) -> dict[str, float | None]:
    return {"p50": times.p50, "p90": times.p90, "max": times.longest}
