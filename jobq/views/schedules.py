"""The table and the details of schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jobq.command import to_record
from jobq.durations import span
from jobq.errors import UsageError
from jobq.job import Job
from jobq.options.table import OPTIONS
from jobq.rules.firing import next_instant
from jobq.rules.zones import local_at, zone_of
from jobq.schedules import Schedule
from jobq.scheduling import NONSENSE
from jobq.views.console import out
from jobq.views.lines import why_ended
from jobq.views.text import clock_time, command_line, iso_time, safe

HEADERS = ("NAME", "WHEN", "NEXT", "LAST", "NOTE", "COMMAND")


def print_schedules(schedules: Sequence[Schedule], last: Mapping[int, Job], now: float) -> None:
    """Print a line for each schedule. `last`: the jobs that they have added last, by id; `now`: wall clock."""
    lines = [HEADERS, *(_cells(schedule, last, now) for schedule in schedules)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADERS) - 1)]
    for *cells, command in lines:
        out("  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), command]).rstrip())


def _cells(schedule: Schedule, last: Mapping[int, Job], now: float) -> tuple[str, ...]:
    job = last.get(schedule.last or 0)
    notes = [trouble(schedule)]
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


def trouble(schedule: Schedule) -> str:
    """Return why a schedule can't fire, or got no job the last time; "" if nothing is wrong."""
    try:
        next_instant(schedule)
    except UsageError as e:
        return str(e)
    return schedule.trouble


def in_words(schedule: Schedule, now: float) -> str:
    """Return when it fires next: "tomorrow 03:00, in 14h05m"."""
    if schedule.paused:
        return "paused"
    try:
        at = next_instant(schedule)
    except UsageError:
        return "never"
    if at is None:
        return "no more"
    if at <= now:
        return "now, as soon as a worker runs"
    return f"{day_and_time(at, schedule.zone, now)}, in {span(at - now)}"


def day_and_time(at: float, zone: str, now: float) -> str:
    """Return an instant as the clocks of the zone show it: "03:00", "tomorrow 03:00", "2027-01-31 03:00"."""
    try:
        clocks = zone_of(zone)
    except UsageError:
        return clock_time(at)
    local, today = local_at(at, clocks), local_at(now, clocks)
    days = (local.date() - today.date()).days
    day = {0: "", 1: "tomorrow "}.get(days, f"{local:%a} " if 0 < days < 7 else f"{local:%Y-%m-%d} ")
    return f"{day}{_time(local)}"


def _time(local: datetime) -> str:
    return f"{local:%H:%M:%S}" if local.second else f"{local:%H:%M}"


def describe(schedule: Schedule, job: Job | None, upcoming: Sequence[float], now: float) -> str:
    """Return the text of `jobq schedule show`. `job`: the one that it has added last."""
    spec = schedule.spec
    given = [
        (option.flags[0].removeprefix("--"), safe(option.shown(getattr(spec, option.name))))
        for option in OPTIONS
        if option.in_spec and getattr(spec, option.name) != option.default
    ]
    rows = [
        ("schedule", safe(schedule.name)),
        ("when", f"{safe(schedule.when)}, in {safe(schedule.zone)}"),
        ("missed", schedule.missed),
        ("overlap", schedule.overlap),
        ("command", command_line(schedule.command)),
        ("directory", safe(spec.cwd)),
        *given,
        ("made", clock_time(schedule.start)),
        ("fired", str(schedule.fired)),
        ("dropped", str(schedule.dropped)),
        *([("last", f"job {job.id} {job.state} {why_ended(job)}".rstrip())] if job else []),
        *([("trouble", safe(problem))] if (problem := trouble(schedule)) else []),
        ("next", in_words(schedule, now)),
        *(("", day_and_time(at, schedule.zone, now)) for at in upcoming[1:]),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.rjust(width)}  {value}" for name, value in rows)


def schedule_data(schedule: Schedule, job: Job | None) -> dict[str, Any]:
    """Return the data of one schedule for `--json`. Times are UTC."""
    try:
        at = next_instant(schedule)
    except UsageError:
        at = None
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
        "trouble": trouble(schedule) or None,
        "command": to_record(schedule.command),
        "cwd": spec.cwd,
        "options": {
            option.name: option.as_json(getattr(spec, option.name))
            for option in OPTIONS
            if option.in_spec and getattr(spec, option.name) != option.default
        },
    }
