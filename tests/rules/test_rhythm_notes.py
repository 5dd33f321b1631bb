"""Sentences about rhythms: they are true to what the rhythm does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobq.rules.rhythm import instants, next_after, parse
from jobq.rules.rhythm_notes import warnings, why

DAY = 86_400.0


def at(text: str) -> float:
    """Return an instant, in UTC if nothing else is said."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


NOW = at("2026-11-30")
SKIPPED = "02:30 does not exist on 2027-03-28 in Europe/Berlin: it fires at 03:00 then"
TWICE = "02:30 comes twice on 2027-10-31 in Europe/Berlin: it fires the first time"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*/7 * * * *", ["'*/7' fires unevenly: at minute 56 and then at minute 0, 4 later"]),
        ("*/15 */5 * * *", ["'*/5' fires unevenly: at hour 20 and then at hour 0, 4 later"]),
        ("0 0 1 */5 *", ["'*/5' fires unevenly: at month 11 and then at month 1, 2 later"]),
        ("*/90 * * * *", ["'*/90' fires at minute 0 alone: there are only 60"]),
        ("0 0 */2 * *", ["'*/2' fires unevenly: it begins again with day 1 of each month"]),
        ("0 0 * * */2", ["'*/2' fires unevenly: it begins again with weekday 0 of each week"]),
        ("0 0 * * */7", ["'*/7' fires at weekday 0 alone: there are only 7"]),
        ("0 0 31 * *", ["day 31 is not in every month: it does not come in Feb, Apr, Jun, Sep, Nov"]),
        ("0 0 1,30 2-4 *", ["day 30 is not in every month: it does not come in Feb"]),
        ("0 0 29 2 *", ["day 29 comes in February only in leap years"]),
        ("0 0 13 * FRI", ["both days are restricted: it fires if '13' matches or 'FRI' does"]),
        (
            "0 0 */31 * MON",
            [
                "'*/31' fires at day 1 alone: there are only 31",
                "both days are restricted, and one begins with '*': it fires only if '*/31' and 'MON' match",
            ],
        ),
        ("30 2 * * *", [SKIPPED, TWICE]),
        ("30 2 28 3 *", [SKIPPED]),
        (
            "*/15 2 * * *",
            [
                "02:00 does not exist on 2027-03-28 in Europe/Berlin: it does not fire for it",
                "02:00 comes twice on 2027-10-31 in Europe/Berlin: it fires both times",
            ],
        ),
        ("*/15 * * * *", []),
        ("*/12 */6 * */3 *", []),
        ("0 9-17 * * MON-FRI", []),
        ("0 0 L * *", []),
        ("@hourly", []),
        ("@monthly", []),
        ("@every 7m", []),
        ("@once 2027-03-28T02:30", []),
    ],
)  # fmt: skip
def test_what_may_surprise_is_said(text: str, expected: list[str]) -> None:
    assert warnings(parse(text, "Europe/Berlin", NOW), NOW) == expected


def test_the_warnings_about_the_clocks_are_true() -> None:
    rhythm = parse("30 2 * * *", "Europe/Berlin", NOW)
    assert warnings(rhythm, NOW) == [SKIPPED, TWICE]
    assert next_after(rhythm, at("2027-03-27T12:00")) == at("2027-03-28T03:00+02:00")
    assert next_after(rhythm, at("2027-10-30T12:00")) == at("2027-10-31T02:30+02:00")
    assert len(instants(rhythm, at("2027-10-30T12:00"), at("2027-10-31T12:00"), 9)) == 1
    assert warnings(rhythm, at("2027-04-01"))[0] == TWICE
    assert warnings(parse("30 2 * * *", "Asia/Kolkata", NOW), NOW) == []
    wild = parse("*/15 2 * * *", "Europe/Berlin", NOW)
    assert instants(wild, at("2027-03-27T12:00"), at("2027-03-28T12:00"), 99) == []
    assert len(instants(wild, at("2027-10-30T12:00"), at("2027-10-31T12:00"), 99)) == 8


@pytest.mark.parametrize(
    ("text", "when", "sentence"),
    [
        ("30 2 * * *", "2026-12-01T02:30:59+01:00", "it fires at 2026-12-01 02:30 in Europe/Berlin"),
        ("30 2 * * *", "2026-12-01T03:31+01:00", "it does not fire at 2026-12-01 03:31 in Europe/Berlin: minute 31 is not in '30'; hour 3 is not in '2'"),
        ("30 2 * 1-3 *", "2026-12-01T02:30+01:00", "month 12 is not in '1-3'"),
        ("0 0 * * MON-FRI", "2026-12-05T00:00+01:00", "in Europe/Berlin: Saturday is not in 'MON-FRI'"),
        ("0 0 31 * *", "2026-12-05T00:00+01:00", "in Europe/Berlin: day 5 is not in '31'"),
        ("0 0 13 * FRI", "2026-12-05T00:00+01:00", "day 5 is not in '13'; Saturday is not in 'FRI'"),
        ("0 0 13 * FRI", "2026-12-04T00:00+01:00", "it fires at 2026-12-04 00:00 in Europe/Berlin"),
        ("30 2 * * *", "2027-03-28T03:00+02:00", "it fires at 2027-03-28 03:00 in Europe/Berlin, in the place of a time that the clocks skip then"),
        ("30 2 * * *", "2027-10-31T02:30+02:00", "it fires at 2027-10-31 02:30 in Europe/Berlin"),
        ("30 2 * * *", "2027-10-31T02:30+01:00", "the clocks show this time twice, and it fires the first time"),
        ("*/30 2 * * *", "2027-10-31T02:30+01:00", "it fires at 2027-10-31 02:30 in Europe/Berlin"),
        ("@every 10m", "2026-11-30T01:10:30+01:00", "it fires at 2026-11-30 01:10 in Europe/Berlin"),
        ("@every 10m", "2026-11-30T01:11+01:00", ": it fires every 10m, counted from 2026-11-30 01:00:00"),
        ("@once 2026-12-24T18:00", "2026-12-24T18:00+01:00", "it fires at 2026-12-24 18:00 in Europe/Berlin"),
        ("@once 2026-12-24T18:00", "2026-12-24T18:01+01:00", ": it fires at 2026-12-24 18:00:00 alone"),
    ],
)  # fmt: skip
def test_why_names_the_field_that_does_not_match(text: str, when: str, sentence: str) -> None:
    assert why(parse(text, "Europe/Berlin", NOW), at(when)).endswith(sentence)
    assert why(parse(text, "Europe/Berlin", NOW), at(when)).startswith("it ")
