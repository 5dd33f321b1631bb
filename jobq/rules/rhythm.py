"""Rhythms: the instants that a person has described. Pure: instants are seconds since 1970, and nothing reads a clock.

The rule for clocks that are set (as in Debian's cron(8), "Local time changes"): a rhythm of fixed times has one instant
for each, right after the gap if the clocks skip it, and the first of two if it is repeated. A rhythm whose minute or
hour begins with "*" follows elapsed time: it has an instant whenever the clocks show one of its times.

cronsim reads the expressions and finds the times, but without a zone. With one, version 2.8 differs from that rule.
Asked in the second of two hours, it returns an instant of the first one, which has passed ("30 2 * * *" in Berlin).
With "*", it misses times on the days when clocks are set by half an hour or by three ("*/15 2 * * *" on Lord Howe
Island on 2020-04-05), and returns 1:00 for a midnight that is skipped ("*/20 0 * * FRI" in Cairo on 2023-04-28).
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from jobq.durations import duration
from jobq.errors import UsageError
from jobq.rules.zones import first_change, first_instant, instant_of, local_at, offset_at, zone_of
from jobq.typed import NamedTuple

if TYPE_CHECKING:
    from cronsim import CronSim

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FORMS = (
    "write in quotes: five fields (minute hour day-of-month month day-of-week), @daily, '@every 10m'"
    " or '@once 2027-01-31T18:00'"
)
FIELDS = {  # and what each may be
    "a minute": "0 to 59",
    "an hour": "0 to 23",
    "a day of the month": "1 to 31, L (the last day) or LW (the last weekday)",
    "a month": "1 to 12 or JAN to DEC",
    "a day of the week": "0 to 7 or SUN to SAT (0 and 7 are SUN, and a range like 5-7 goes up), 5L or MON#1",
}
YEARS = 50 * 366 * 86_400.0  # seconds; without an instant in so long, as in cronsim, there is none
LATEST = 2.5e11  # seconds since 1970: year 9892, as all calendars of the system know that


class Cron(NamedTuple):
    """Five fields, for the clocks of a zone."""

    text: str  # as a person wrote it, with single spaces
    zone: str
    fields: str

    @property
    def follows_elapsed_time(self) -> bool:
        """True if it fires whenever the clocks show its times; False: once for each of them."""
        minute, hour, *_ = self.fields.split()
        return minute.startswith("*") or hour.startswith("*")


class Every(NamedTuple):
    """Instants at the same distance, counted from its start, which is none of them."""

    text: str
    zone: str  # only to show them
    start: float
    period: float


class Once(NamedTuple):
    """A single instant."""

    text: str
    zone: str
    at: float


Rhythm = Cron | Every | Once


# -- reading ------------------------------------------------------------------------------------------


def parse(text: str, zone: str, start: float) -> Rhythm:
    """Return the rhythm of a schedule that was made at the instant `start`. Raises UsageError."""
    text = " ".join(text.split())
    word, _, rest = text.partition(" ")
    word = word.lower()
    clocks = zone_of(zone)
    rhythm: Rhythm
    if word == "@every":
        rhythm = Every(text, zone, start, _period(rest))
    elif word == "@once":
        rhythm = Once(text, zone, _moment(rest, clocks))
        if not start < rhythm.at <= LATEST:
            raise UsageError(
                f"{text!r:.60} can never fire: it is not between now and the year 9892", "name another time"
            )
    else:
        if word.startswith("@") and (rest or word not in ALIASES):
            raise UsageError(f"{text!r:.60} is not a schedule", f"{', '.join(ALIASES)}, @every and @once are known")
        rhythm = Cron(text, zone, ALIASES.get(word) or _checked(text))
    if next_after(rhythm, start) is None:
        raise _never(text, f"no such time comes within 50 years in {zone}")
    return rhythm


def _period(text: str) -> float:
    if not text:
        raise UsageError("@every names no time", "write it in quotes, as in '@every 10m'")
    period = duration(text)
    if not 1 <= period <= YEARS:
        raise UsageError(f"{text!r:.60} is no period of a schedule", "the shortest is 1s, the longest 50 years")
    return period


def _moment(text: str, clocks: tzinfo) -> float:
    try:
        moment = datetime.fromisoformat(text)
        return first_instant(moment, clocks) if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r:.60} is not a time", "write it like '@once 2027-01-31T18:00'") from None


def _checked(text: str) -> str:
    """Return five fields that can be read. Raises UsageError, which names the wrong one."""
    words = text.split()
    if len(words) == 6:
        raise UsageError(
            f"{text!r:.60} has six fields: there are no seconds", f"{FORMS}; '@every 10s' fires by seconds"
        )
    if len(words) != 5:
        raise UsageError(f"{text!r:.60} is not a schedule: it has {len(words)} fields", FORMS)
    if (problem := _problem(words)) is None:
        return text
    for n, (name, values) in enumerate(FIELDS.items()):
        if _problem(["*"] * n + [words[n]] + ["*"] * (4 - n)) is not None:
            raise UsageError(
                f"{words[n]!r:.60} is not {name}, in {text!r:.60}", f"it may be {values}; or *, */2, 1-5, 1,3"
            )
    raise _never(text, problem)  # each of them is right, but not with the others


def _problem(words: list[str]) -> str | None:
    """Return why these fields can't be read; None if they can."""
    from cronsim import CronSim, CronSimError  # noqa: PLC0415

    try:
        CronSim(" ".join(words), datetime(2027, 1, 1))
    except CronSimError:
        return "none of these months has such a day"
    except ValueError:
        return "a number has thousands of digits"
    return None


def _never(text: str, why: str) -> UsageError:
    return UsageError(f"{text!r:.60} can never fire: {why}", "choose another day or month")


# -- instants -----------------------------------------------------------------------------------------


def next_after(rhythm: Rhythm, after: float) -> float | None:
    """Return the first instant later than `after`, or None: there is none, or none within fifty years."""
    match rhythm:
        case Once():
            at: float | None = rhythm.at if rhythm.at > after else None
        case Every(_, _, start, period):
            number = max(1, int((after - start) // period))  # of an instant that is not later than the next one
            while start + number * period <= after:
                number += 1
            at = start + number * period
        case Cron():
            try:
                find = _next_elapsed if rhythm.follows_elapsed_time else _next_fixed
                at = find(rhythm, after)
            except (ValueError, OverflowError, OSError):
                at = None  # beyond the calendar
    return at if at is not None and at <= LATEST else None


def times(rhythm: Cron, after: datetime) -> CronSim:
    """Return the times on a clock, later than `after` (rounded down to a second), that the fields describe."""
    from cronsim import CronSim  # noqa: PLC0415

    return CronSim(rhythm.fields, after)


def _next_fixed(rhythm: Cron, after: float) -> float | None:
    zone = zone_of(rhythm.zone)
    for local in times(rhythm, local_at(after, zone)):
        at = first_instant(local, zone)
        if at > after:  # else it was shown for the first time before, and is repeated
            return at
    return None


def _next_elapsed(rhythm: Cron, after: float) -> float | None:
    """Look at one stretch after the other in which nobody sets the clocks: there they show elapsed time."""
    zone = zone_of(rhythm.zone)
    begin, local = after, local_at(after, zone)
    while begin < after + YEARS:
        found = next(times(rhythm, local), None)
        if found is None:
            return None
        at = instant_of(found, offset_at(begin, zone))
        change = first_change(begin, at, zone)
        if change is None:
            return at
        begin, local = change, local_at(change, zone) - timedelta(seconds=1)  # the first time there is one of them
    return None


def instants(rhythm: Rhythm, after: float, until: float, most: int) -> list[float]:
    """Return the instants later than `after`, up to `until`, the first `most` of them."""
    found: list[float] = []
    while len(found) < most and (at := next_after(rhythm, after)) is not None and at <= until:
        found.append(at)
        after = at
    return found


def last_until(rhythm: Rhythm, after: float, until: float) -> float | None:
    """Return the last instant later than `after`, up to `until`, or None. It is fast also if there were millions."""
    width = 60.0
    while True:
        begin = max(after, until - width)
        at = next_after(rhythm, begin)
        if at is not None and at <= until:
            while (later := next_after(rhythm, at)) is not None and later <= until:
                at = later
            return at
        if begin <= after:
            return None
        width *= 2
