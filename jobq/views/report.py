"""A report of jobs as one page of HTML, with its data in it; it asks for nothing from anywhere.

The page is drawn by its own script from JSON, as text nodes only: no text of a job becomes markup.
"""

from __future__ import annotations

import html
import json
import os
import platform
from collections.abc import Callable, Sequence
from typing import Any

from jobq.job import Job, State
from jobq.rules.reasons import Situation
from jobq.version import VERSION
from jobq.views.closing import effort
from jobq.views.detail import REASONS
from jobq.views.table import reason
from jobq.views.text import clock_time, command_line, safe

TEMPLATE = os.path.join(os.path.dirname(__file__), "report.html")
LONGEST_COMMAND = 300  # characters
MOST_TAILS = 50  # failures whose last lines are in the page
LAST_LINES = 30
LONGEST_TAIL = 4000  # characters


def page(
    jobs: Sequence[Job],
    around: Situation,
    waits: Callable[[Job], dict[str, float]],
    tail: Callable[[Job, int], Sequence[str]],
    store: str,
) -> bytes:
    """Return the page about these jobs. `waits`: the seconds that a job waited, by reason; `tail`: its last lines."""
    now = around.now.wall
    start = min((job.added_at for job in jobs), default=now)
    slots = _slots(jobs)
    with_tail = {job.id for job in [job for job in jobs if job.state is State.FAILED][:MOST_TAILS]}
    made = _Rows(around, start, slots)
    rows = [made.row(job, waits(job), "\n".join(tail(job, LAST_LINES)) if job.id in with_tail else "") for job in jobs]
    succeeded = sum(job.state is State.SUCCEEDED for job in jobs)
    title = f"{succeeded} of {len(jobs)} succeeded"
    data = {
        "jobs": rows,
        "start": round(start, 3),
        "sub": _effort(jobs, now, len(slots)),
        "about": {
            "host": safe(platform.node()),
            "jobq": VERSION,
            "store": safe(store),
            "written": clock_time(now),
            "first job added": clock_time(start),
        },
    }
    # "<" could end the script element.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    with open(TEMPLATE, encoding="utf-8") as f:
        template = f.read()
    return template.replace("@TITLE@", html.escape(f"jobq: {title}")).replace("@DATA@", text).encode("utf-8", "replace")


class _Rows:
    """Makes the row of each job; times are seconds since `start`."""

    def __init__(self, around: Situation, start: float, slots: dict[str, int]) -> None:
        self._around = around
        self._start = start
        self._slots = slots

    def row(self, job: Job, waits: dict[str, float], tail: str) -> list[Any]:
        """Return what the page knows of one job; the order is that of the script."""
        start, now = self._start, self._around.now.wall
        attempts = [
            [round(one.began_at - start, 3), round(one.ended_at(now) - start, 3), self._slots[one.handle]]
            for one in job.attempts
        ]
        endings = [attempt.ending for attempt in job.attempts if attempt.ending is not None]
        return [
            job.id,
            safe(job.spec.name or ""),
            command_line(job.command)[:LONGEST_COMMAND],
            str(job.state),
            reason(job, self._around),
            safe(job.spec.queue),
            round(job.added_at - start, 3),
            None if job.finished_at is None else round(job.finished_at - start, 3),
            round(sum(ending.user_s + ending.system_s for ending in endings), 3),
            attempts,
            {REASONS.get(name, name): round(seconds, 3) for name, seconds in waits.items() if seconds >= 0.001},
            tail[-LONGEST_TAIL:],
        ]


def _slots(jobs: Sequence[Job]) -> dict[str, int]:
    """Return the lane of each slot, in the order of their first attempts."""
    attempts = sorted((attempt for job in jobs for attempt in job.attempts), key=lambda attempt: attempt.claimed_at)
    names = dict.fromkeys(attempt.handle for attempt in attempts)
    return {name: lane for lane, name in enumerate(names)}


def _effort(jobs: Sequence[Job], now: float, slots: int) -> str:
    """Return the work and its time: "14m02s of work in 3m41s on 4 slots, 3.8x; 2 failed"."""
    attempts = [attempt for job in jobs for attempt in job.attempts]
    if not attempts:
        return "nothing has run"
    work = sum(attempt.ended_at(now) - attempt.began_at for attempt in attempts)
    wall = max(attempt.ended_at(now) for attempt in attempts) - min(attempt.began_at for attempt in attempts)
    return f"{effort(work, wall, slots)}; {sum(job.state is State.FAILED for job in jobs)} failed"
