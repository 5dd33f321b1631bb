"""Rhythms: their instants against an oracle that walks minute by minute, and what can't be one.

JOBQ_TEN_YEARS=1 compares every minute from 2020 to 2030, in some minutes; without it, the days around each change of
the clocks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.errors import UsageError
from jobq.rules.rhythm import Cron, Every, Once, Rhythm, instants, last_until, next_after, parse

TEN_YEARS = bool(os.environ.get("JOBQ_TEN_YEARS"))
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
ZONES = ["Australia/Lord_Howe", "Africa/Casablanca", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"]
EXPRESSIONS = ["30 2 * * *", "*/15 * * * *", "0 0 31 * *", "0 0 29 2 *", "@hourly", "0 9-17 * * MON-FRI"]
# Zones that set their clocks at midnight, by two hours, by three; and expressions with times in the gaps.
ODD_ZONES = [
    "Africa/Cairo",
    "America/Havana",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Australia/Lord_Howe",
    "Europe/Berlin",
]
ODD_EXPRESSIONS = ["0,30 2 * * *", "*/15 2 * * *", "0 2,3 * * *", "*/20 0 * * *", "5 * * * *", "15 1-3 * * SUN", "0 */2 1-15 * *", "0 0 13 * FRI", "10 0-23 */2 * MON"]  # fmt: skip
NAMES = dict(zip(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), range(7), strict=True))
ALIASES = {"@hourly": "0 * * * *"}


def at(text: str) -> float:
    """Return an instant, in UTC if nothing else is said."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


BEGIN, END = at("2020-01-01"), at("2030-01-01")


# -- the oracle ---------------------------------------------------------------------------------------


def values(text: str, low: int, high: int) -> set[int]:
    """Return the values of a field."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        numbers = [NAMES[word] if word in NAMES else int(word) for word in (first, last or first)]
        found |= set(range(numbers[0], numbers[1] + 1, int(step or 1)))
    return found


def matcher(text: str) -> Callable[[datetime], bool]:
    """Return a function that tells whether the fields match a time on the clock."""
    fields = ALIASES.get(text, text).split()
    minutes, hours, days, months, weekdays = map(values, fields, (0, 0, 1, 1, 0), (59, 23, 31, 12, 7))
    both = fields[2].startswith("*") or fields[4].startswith("*")

    def matches(local: datetime) -> bool:
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        by_day, by_weekday = local.day in days, not weekdays.isdisjoint({local.isoweekday(), local.isoweekday() % 7})
        return (by_day and by_weekday) if both else (by_day or by_weekday)

    return matches


def expected(texts: list[str], zone: str, begin: float, end: float) -> dict[str, list[float]]:
    """Return the instants of each expression from `begin` to `end`, of which every minute is looked at."""
    clocks = ZoneInfo(zone)
    found: dict[str, list[float]] = {text: [] for text in texts}
    elapsed = {text: any(field[0] == "*" for field in ALIASES.get(text, text).split()[:2]) for text in texts}
    asked = [(matcher(text), elapsed[text], found[text]) for text in texts]
    minute, latest = timedelta(minutes=1), None  # the latest time that the clocks have shown
    for now in range(int(begin - 4 * HOUR), int(end) + 1, 60):  # a little earlier, to know what was shown before
        local = datetime.fromtimestamp(now, clocks).replace(tzinfo=None, fold=0)
        if latest is None:
            latest = local - minute
        new = [
            latest + minute * n for n in range(1, (local - latest) // minute + 1)
        ]  # several after a gap; none if repeated
        latest = max(latest, local)
        if now >= begin:
            for matches, follows_elapsed_time, instants_found in asked:
                if matches(local) if follows_elapsed_time else any(map(matches, new)):
                    instants_found.append(float(now))
    return found


def spans(zone: str, days_around: int) -> Iterator[tuple[float, float]]:
    """Yield the spans of time to compare."""
    if TEN_YEARS:
        yield BEGIN, END
        return
    clocks = ZoneInfo(zone)
    days = [BEGIN + n * DAY for n in range(int((END - BEGIN) / DAY))]
    offsets = [datetime.fromtimestamp(day, clocks).utcoffset() for day in days]
    changes = [day for day, one, next_one in zip(days, offsets, offsets[1:], strict=False) if one != next_one]
    if zone == "Australia/Lord_Howe" or not changes:
        changes += [at("2024-02-28"), at("2021-12-30"), at("2026-04-30")]
    for day in changes:
        yield day - days_around * DAY, day + (1 + days_around) * DAY


def mismatches(texts: list[str], zone: str, days_around: int) -> list[tuple[str, str, float]]:
    """Return what differs between the rhythms and the oracle."""
    wrong = []
    for begin, end in spans(zone, days_around):
        for text, want in expected(texts, zone, begin, end).items():
            found = instants(parse(text, zone, begin), begin - 1, end, 10_000_000)
            wrong += [(text, zone, at) for at in sorted(set(found) ^ set(want))] + (
                [(text, zone, 0.0)] if found != want else []
            )
    return wrong


@pytest.mark.parametrize("zone", ZONES)
def test_the_instants_are_those_that_a_walk_minute_by_minute_finds(zone: str) -> None:
    assert mismatches(EXPRESSIONS, zone, 3) == []


@pytest.mark.parametrize("zone", ODD_ZONES)
def test_they_are_so_where_clocks_are_set_at_midnight_or_by_hours_and_for_times_in_the_gaps(zone: str) -> None:
    assert mismatches(ODD_EXPRESSIONS, zone, 1) == []


# -- examples -----------------------------------------------------------------------------------------


def first(text: str, zone: str, after: str, count: int) -> list[str]:
    """Return the first instants after a time, as UTC."""
    found = instants(parse(text, zone, at("2020-01-01")), at(after), 1e11, count)
    return [f"{datetime.fromtimestamp(one, UTC):%Y-%m-%d %H:%M}" for one in found]


def test_a_time_that_the_clocks_skip_fires_right_after_the_gap() -> None:
    assert first("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00", 2) == ["2027-03-28 01:00", "2027-03-29 00:30"]
    assert first("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 1) == ["2026-10-03 15:30"]


def test_two_times_in_one_gap_and_one_at_its_end_are_one_instant() -> None:
    assert first("0,30 2,3 * * *", "Europe/Berlin", "2027-03-27T12:00", 3) == [
        "2027-03-28 01:00",
        "2027-03-28 01:30",
        "2027-03-29 00:00",
    ]


def test_a_time_that_the_clocks_repeat_fires_the_first_time() -> None:
    assert first("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00", 2) == ["2027-10-31 00:30", "2027-11-01 01:30"]
    assert first("30 2 * * *", "Europe/Berlin", "2027-10-31T01:10", 1) == [
        "2027-11-01 01:30"
    ]  # asked in the second hour


def test_a_rhythm_with_a_wildcard_follows_elapsed_time() -> None:
    assert first("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:10", 3) == ["2027-03-28 00:30", "2027-03-28 01:00", "2027-03-28 01:30"]  # fmt: skip
    assert len(first("*/30 2 * * *", "Europe/Berlin", "2027-10-30T12:00", 4)) == 4
    assert first("*/30 2 * * *", "Europe/Berlin", "2027-10-31T00:10", 3) == ["2027-10-31 00:30", "2027-10-31 01:00", "2027-10-31 01:30"]  # fmt: skip
    assert first("*/30 2 * * *", "Europe/Berlin", "2027-03-27T12:00", 1) == ["2027-03-29 00:00"]


def test_names_of_days_and_months_and_the_last_day_are_known() -> None:
    assert first("0 0 * feb MON#1", "UTC", "2026-01-01", 1) == ["2026-02-02 00:00"]
    assert first("0 12 L 2,4 *", "UTC", "2028-01-01", 2) == ["2028-02-29 12:00", "2028-04-30 12:00"]
    assert first("0 0 * * 5L", "UTC", "2026-01-01", 1) == ["2026-01-30 00:00"]


@pytest.mark.parametrize(
    ("word", "fields"),
    [
        ("@Hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"), ("@yearly", "0 0 1 JAN *"), ("@annually", "0 0 1 1 *"),
    ],
)  # fmt: skip
def test_each_word_is_short_for_five_fields(word: str, fields: str) -> None:
    assert first(word, "Asia/Kolkata", "2026-01-01", 5) == first(fields, "Asia/Kolkata", "2026-01-01", 5)


def test_a_rhythm_is_a_value_and_keeps_what_was_written() -> None:
    one, two = (parse("  30  2 * * * ", "Europe/Berlin", start) for start in (0.0, 5e8))
    assert one == two == Cron("30 2 * * *", "Europe/Berlin", "30 2 * * *")
    assert parse("@daily", "UTC", 0.0).text == "@daily"
    assert parse("@daily", "UTC", 0.0) != parse("0 0 * * *", "UTC", 0.0) != parse("0 0 * * *", "Asia/Kolkata", 0.0)


def test_every_is_counted_from_the_start() -> None:
    every = parse("@every 10m", "UTC", 1000.5)
    assert every == Every("@every 10m", "UTC", 1000.5, 600.0)
    assert instants(every, 0.0, 2300.0, 9) == [1600.5, 2200.5]
    assert next_after(every, 1600.5) == 2200.5
    assert next_after(every, 1600.4) == 1600.5


@given(
    start=st.floats(0, 4e9), period=st.sampled_from([1.0, 1.1, 7.3, 600.0, 86_400.1]), number=st.integers(1, 2_000_000)
)
def test_no_instant_of_every_comes_twice_or_is_left_out(start: float, period: float, number: int) -> None:
    every = Every("", "UTC", start, period)
    now = start + number * period
    assert next_after(every, now) == start + (number + 1) * period
    assert next_after(every, (start + (number - 1) * period + now) / 2) == now


def test_once_is_a_single_instant() -> None:
    once = parse("@once 2027-03-28T02:30", "Europe/Berlin", at("2026-01-01"))
    assert once == Once("@once 2027-03-28T02:30", "Europe/Berlin", at("2027-03-28T01:00"))  # after the gap
    assert instants(once, 0.0, 1e11, 9) == [at("2027-03-28T01:00")]
    assert next_after(once, at("2027-03-28T01:00")) is None
    named = parse("@once 2027-01-31 18:00+05:30", "UTC", 0.0)
    assert next_after(named, 0.0) == at("2027-01-31T12:30")


@pytest.mark.parametrize("text", [*EXPRESSIONS, "* * * * *", "@every 7m", "@once 2026-05-05"])
def test_the_last_instant_until_a_time_is_found_without_those_before_it(text: str) -> None:
    rhythm = parse(text, "Europe/Berlin", at("2020-01-01"))
    for until in (at("2026-05-07T11:11:11"), at("2026-05-04T22:00"), at("2028-02-29T22:59:59.5")):
        found = instants(rhythm, until - 10 * DAY, until, 100_000) or instants(
            rhythm, until - 4 * 366 * DAY, until, 100_000
        )
        assert last_until(rhythm, at("2020-06-01"), until) == (found[-1] if found else None)
    assert last_until(rhythm, at("2026-05-07T11:11:11"), at("2026-05-07T11:11:12")) is None


def test_beyond_the_calendar_there_is_no_instant() -> None:
    for text in ("* * * * *", "0 0 * * *", "@every 1s"):
        rhythm: Rhythm = parse(text, "Europe/Berlin", 0.0)
        assert next_after(rhythm, 2.6e11) is None
        assert next_after(rhythm, 1e15) is None


# -- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("61 * * * *", "'61' is not a minute, in '61 * * * *'", "it may be 0 to 59; or"),
        ("* 24 * * *", "'24' is not an hour", "0 to 23"),
        ("* * 0 * *", "'0' is not a day of the month", "1 to 31"),
        ("* * * FOO *", "'FOO' is not a month", "JAN to DEC"),
        ("* * * * FRI-SUN", "'FRI-SUN' is not a day of the week", "a range like 5-7 goes up"),
        ("*/0 * * * *", "'*/0' is not a minute", ""),
        (f"*/{'9' * 5000} * * * *", "is not a minute", ""),
        ("*/5 * * * * *", "'*/5 * * * * *' has six fields: there are no seconds", "'@every 10s' fires by seconds"),
        ("* * *", "'* * *' is not a schedule: it has 3 fields", "five fields (minute hour"),
        ("", "'' is not a schedule: it has 0 fields", ""),
        ("@dayly", "'@dayly' is not a schedule", "@hourly, @daily"),
        ("@daily 3:00", "'@daily 3:00' is not a schedule", ""),
        ("0 0 30 2 *", "'0 0 30 2 *' can never fire: none of these months has such a day", "another day or month"),
        ("0 0 31 4,6 */2", "can never fire", ""),
        ("* * */20 * 1L", "can never fire: no such time comes within 50 years", ""),
        ("* 2 * 3 7L", "can never fire: no such time comes within 50 years in Europe/Berlin", ""),  # always in the gap
        ("@every", "@every names no time", "10m"),
        ("@every 0.5s", "'0.5s' is no period of a schedule", "the shortest is 1s"),
        ("@every 99999999999w", "is no period of a schedule", "50 years"),
        ("@once soon", "'soon' is not a time", "@once 2027-01-31T18:00"),
        ("@once 2020-01-01", "'@once 2020-01-01' can never fire: it is not between now and the year 9892", "another time"),
        ("@once 9999-01-01", "can never fire: it is not between now and the year 9892", ""),
        ("@once 9999-12-31T23:59:59-12:00", "can never fire", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, sentence: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, "Europe/Berlin", at("2026-11-30"))
    assert sentence in str(caught.value)
    assert hint in caught.value.hint


@given(st.text(st.sampled_from("*/-,#LW0123456789 @MONevryc¹²x?"), max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        rhythm = parse(text, "Europe/Berlin", 1.8e9)
    except UsageError:
        return
    assert (next_after(rhythm, 1.8e9) or 0) > 1.8e9
