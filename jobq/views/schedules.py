"""The table and the details of schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobq.command import to_record
from jobq.durations import span
from jobq.environ import local_zone
from jobq.errors import UsageError
from jobq.job import Job
from jobq.options.table import OPTIONS
from jobq.rules.firing import next_instant
from jobq.rules.reasons import day_and_time
from jobq.rules.zones import local_at, zone_of
from jobq.schedules import Schedule
from jobq.scheduling import NONSENSE
from jobq.views.aligned import aligned
from jobq.views.detail import options_of
from jobq.views.lines import why_ended
from jobq.views.rows import out_rows
from jobq.views.text import clock_time, command_line, iso_time, safe

HEADERS = ("NAME", "WHEN", "NEXT", "LAST", "NOTE", "COMMAND")


def print_schedules(schedules: Sequence[Schedule], last: Mapping[int, Job], now: float) -> None:
    """Print a line for each schedule. `last`: the jobs that they have added last, by id; `now`: wall clock."""
    out_rows(*aligned([HEADERS, *(_cells(schedule, last, now) for schedule in schedules)]))


def _cells(schedule: Schedule, last: Mapping[int, Job], now: float) -> tuple[str, ...]:
    job = last.get(schedule.last or 0)
    notes = [_next(schedule)[1]]
    if schedule.mark > now + NONSENSE:
        notes.append(f"the clock was ahead: nothing fires before {clock_time(schedule.mark)}; pause and resume it")
    notes += [f"{schedule.dropped} dropped"] if schedule.dropped else []
    return (
        safe(schedule.name),
        safe(schedule.when),
        in_words(schedule, now),
        f"job {job.id} {job.state}" if job else "",
        safe("; ".join(filter(None, notes))),
        command_line(schedule.command),
    )


def _next(schedule: Schedule) -> tuple[float | None, str]:
    """Return the next instant of a schedule, and why it can't fire or got no job the last time ("": it can and did)."""
    try:
        return next_instant(schedule), schedule.trouble
    except UsageError as e:
        return None, str(e)


def in_words(schedule: Schedule, now: float) -> str:
    """Return when it fires next: "tomorrow 03:00, in 14h05m"."""
    at, _ = _next(schedule)
    if at is None:
        return "paused" if schedule.paused else "no more"
    return (
        f"{local_words(at, schedule.zone, now)}, in {span(at - now)}" if at > now else "now, as soon as a worker runs"
    )


def local_words(at: float, zone: str, now: float) -> str:
    """Return an instant as the clocks of a zone show it, in words, with the zone if it is not the one here."""
    clocks = zone_of(zone)
    words = day_and_time(local_at(at, clocks), local_at(now, clocks))
    return words if zone == local_zone() else f"{words} {safe(zone)}"


def describe(schedule: Schedule, job: Job | None, upcoming: Sequence[float], now: float) -> str:
    """Return the text of `jobq schedule show`. `job`: the one that it has added last."""
    _, problem = _next(schedule)
    rows = [
        ("schedule", safe(schedule.name)),
        ("when", f"{safe(schedule.when)}, in {safe(schedule.zone)}"),
        ("missed", schedule.missed),
        ("overlap", schedule.overlap),
        ("command", command_line(schedule.command)),
        ("directory", safe(schedule.spec.cwd)),
        *options_of(schedule.spec),
        ("since", clock_time(schedule.start)),
        ("fired", str(schedule.fired)),
        ("dropped", str(schedule.dropped)),
        *([("last", f"job {job.id} {job.state} {why_ended(job)}".rstrip())] if job else []),
        *([("trouble", safe(problem))] if problem else []),
        ("next", in_words(schedule, now)),
        *(("", local_words(at, schedule.zone, now)) for at in upcoming[1:]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.rjust(width)}  {value}" for name, value in rows)


def schedule_data(schedule: Schedule, job: Job | None) -> dict[str, Any]:
    """Return the data of one schedule for `--json`. Times are UTC."""
    at, problem = _next(schedule)
    spec = schedule.spec
    return {
        "name": schedule.name,
        "when": schedule.when,
        "zone": schedule.zone,
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "paused": schedule.paused,
        "next": iso_time(at),
        "last_job": schedule.last,
        "last_state": job.state if job else None,
        "fired": schedule.fired,
        "dropped": schedule.dropped,
        "trouble": problem or None,
        "command": to_record(schedule.command),
        "cwd": spec.cwd,
        "options": {
            option.name: option.as_json(getattr(spec, option.name))
            for option in OPTIONS
            if option.in_spec and getattr(spec, option.name) != option.default
        },
    }
