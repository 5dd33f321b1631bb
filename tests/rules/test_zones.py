"""Time zones: names, and the instants at which clocks are set."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime

import pytest

from jobq.errors import UsageError
from jobq.rules.zones import first_change, first_instant, zone_of


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Europe/Berlni", "Europe/Berlin"),
        ("europe/berlin ", "Europe/Berlin"),
        ("berlin", "Europe/Berlin"),
        ("New York", "America/New_York"),
        ("America/NewYork", "America/New_York"),
        ("Calcuta", "Asia/Calcutta"),
    ],
)
def test_the_zone_that_was_meant_is_suggested(name: str, meant: str) -> None:
    with pytest.raises(UsageError, match="is not a time zone") as caught:
        zone_of(name)
    assert caught.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("name", ["", "xyzzy", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "x" * 5000])
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a time zone") as caught:
        zone_of(name)
    assert len(str(caught.value)) < 100


def test_a_machine_without_zones_is_named_as_the_cause_and_has_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    with pytest.raises(
        UsageError, match="'Europe/Nowhere' can't be looked up: this machine knows no time zones"
    ) as caught:
        zone_of("Europe/Nowhere")
    assert "tzdata" in caught.value.hint
    assert zone_of("UTC") is zone_of("z") is zone_of("gmt") is UTC


def test_the_first_instant_of_a_time_is_the_end_of_the_gap_where_the_clocks_skip_it() -> None:
    berlin = zone_of("Europe/Berlin")
    for local, instant in [
        ("2027-03-28T02:30", "2027-03-28T01:00"),
        ("2027-03-28T03:00", "2027-03-28T01:00"),
        ("2027-10-31T02:30", "2027-10-31T00:30"),
        ("2027-07-01T00:00", "2027-06-30T22:00"),
    ]:
        assert first_instant(datetime.fromisoformat(local), berlin) == datetime.fromisoformat(f"{instant}Z").timestamp()


def test_the_first_change_of_the_clocks_lies_within_the_bounds() -> None:
    berlin, change = zone_of("Europe/Berlin"), datetime(2027, 3, 28, 1, tzinfo=UTC).timestamp()
    assert first_change(change - 1e6, change + 1e6, berlin) == change
    assert first_change(change - 0.5, change, berlin) == change
    assert first_change(change - 1e6, change - 0.5, berlin) is None
    assert first_change(change, change + 1e6, berlin) is None
    assert first_change(change, change, berlin) is None
