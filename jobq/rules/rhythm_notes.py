"""Notes on rhythms, in sentences: what is uneven or surprising about one, and why it fires at a time or does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from jobq.durations import exact
from jobq.rules.rhythm import Cron, Every, Rhythm, next_after, times
from jobq.rules.zones import first_change, local_at, offset_at, zone_of

AHEAD = 3 * 366 * 86_400.0  # seconds in which the clocks are looked at
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
PERIODS = {"day": "month", "weekday": "week"}
FOREVER_AGO = datetime(2000, 1, 1)
SECOND = timedelta(seconds=1)


def warnings(rhythm: Rhythm, now: float) -> list[str]:
    """Return a sentence for each thing that may surprise; those about set clocks are of the three years from `now`."""
    if not isinstance(rhythm, Cron):
        return []
    return [*_uneven(rhythm.fields), *_missing_days(rhythm), *_two_days(rhythm.fields), *_set_clocks(rhythm, now)]


def _uneven(fields: str) -> Iterator[str]:
    """Yield a sentence for each step that does not divide its field, and so is shorter at the end of it."""
    sizes = {"minute": (0, 60), "hour": (0, 24), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
    for text, (name, (first, size)) in zip(fields.split(), sizes.items(), strict=True):
        for step in _steps(text):
            last = first + (size - 1) // step * step
            if last == first:
                yield f"'*/{step}' fires at {name} {first} alone: there are only {size}"
            elif name in {"day", "weekday"}:  # months have different lengths, and no step divides a week
                yield f"'*/{step}' fires unevenly: it begins again with {name} {first} of each {PERIODS[name]}"
            elif size % step:
                rest = first + size - last
                yield f"'*/{step}' fires unevenly: at {name} {last} and then at {name} {first}, {rest} later"


def _steps(text: str) -> list[int]:
    """Return the steps over a whole field, but for those of one."""
    return [step for part in text.split(",") if part.startswith("*/") and (step := int(part[2:])) > 1]


def _missing_days(rhythm: Cron) -> Iterator[str]:
    """Yield a sentence for each day of the month that is named and that not every month has."""
    days = rhythm.fields.split()[2].split(",")
    months = times(rhythm, FOREVER_AGO).months
    for day in sorted({int(day) for day in days if day.isdecimal()}):
        without = [MONTHS[month - 1] for month in sorted(months) if LONGEST[month - 1] < day]
        if without:
            yield f"day {day} is not in every month: it does not come in {', '.join(without)}"
        if day == 29 and 2 in months:
            yield "day 29 comes in February only in leap years"


def _two_days(fields: str) -> Iterator[str]:
    _, _, day, _, weekday = fields.split()
    if "*" not in {day, weekday}:
        if day.startswith("*") or weekday.startswith("*"):  # as in Debian's cron
            yield f"both days are restricted, and one begins with '*': it fires only if {day!r} and {weekday!r} match"
        else:
            yield f"both days are restricted: it fires if {day!r} matches or {weekday!r} does"


def _set_clocks(rhythm: Cron, now: float) -> Iterator[str]:
    """Yield a sentence for the first of its times that the clocks will skip, and for the first that they repeat."""
    if rhythm.fields.split()[1] == "*":
        return  # an hour more or less is no surprise
    zone, at, told = zone_of(rhythm.zone), now, set[bool]()
    elapsed = rhythm.follows_elapsed_time
    while (change := first_change(at, now + AHEAD, zone)) is not None:
        shown, otherwise = (
            local_at(change, zone),
            local_at(change, zone) + offset_at(at, zone) - offset_at(change, zone),
        )
        skips = shown > otherwise
        first = next(times(rhythm, min(shown, otherwise) - SECOND), None)
        if first is not None and first < max(shown, otherwise) and skips not in told:
            told.add(skips)
            when = f"{first:%H:%M} {{}} on {first:%Y-%m-%d} in {rhythm.zone}: it"
            if skips:
                then = "does not fire for it" if elapsed else f"fires at {shown:%H:%M} then"
                yield f"{when.format('does not exist')} {then}"
            else:
                yield f"{when.format('comes twice')} {'fires both times' if elapsed else 'fires the first time'}"
        at = change


def why(rhythm: Rhythm, at: float) -> str:
    """Return a sentence that says whether the rhythm fires in the minute of the instant `at`, and why not."""
    zone = zone_of(rhythm.zone)
    local = local_at(at, zone).replace(second=0, microsecond=0)
    begin = at - (local_at(at, zone) - local).total_seconds()
    named = f"{local:%Y-%m-%d %H:%M} in {rhythm.zone}"
    fires = next_after(rhythm, begin - 0.001)
    if fires is not None and fires < begin + 60:
        if isinstance(rhythm, Cron) and _wrong(rhythm, local):
            return f"it fires at {named}, in the place of a time that the clocks skip then"
        return f"it fires at {named}"
    if isinstance(rhythm, Cron):
        reason = "; ".join(_wrong(rhythm, local)) or "the clocks show this time twice, and it fires the first time"
    elif isinstance(rhythm, Every):
        reason = f"it fires every {exact(rhythm.period)}, counted from {local_at(rhythm.start, zone):%Y-%m-%d %H:%M:%S}"
    else:
        reason = f"it fires at {local_at(rhythm.at, zone):%Y-%m-%d %H:%M:%S} alone"
    return f"it does not fire at {named}: {reason}"


def _wrong(rhythm: Cron, local: datetime) -> list[str]:
    """Return a clause for each field that does not match a time on the clock."""
    minute, hour, day, month, weekday = rhythm.fields.split()
    found = times(rhythm, local)
    wrong = [f"minute {local.minute} is not in {minute!r}"] if local.minute not in found.minutes else []
    wrong += [f"hour {local.hour} is not in {hour!r}"] if local.hour not in found.hours else []
    wrong += [f"month {local.month} is not in {month!r}"] if local.month not in found.months else []
    if not found.match_day(local.date()):
        if not found.match_dom(local.date()):
            wrong.append(f"day {local.day} is not in {day!r}")
        if not found.match_dow(local.date()):
            wrong.append(f"{DAYS[local.weekday()]} is not in {weekday!r}")
    return wrong
