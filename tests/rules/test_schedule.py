"""Schedules: each instant fires once at most, however the clock moves, and "all" misses none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobq.rules.rhythm import Rhythm, instants, parse
from jobq.rules.schedule import COUNTED, LATE, Firing, due

START = 1_806_000_000.0  # two days before the clocks of Berlin skip an hour
RHYTHMS: list[Rhythm] = [
    parse(text, "Europe/Berlin", START)
    for text in ("* * * * *", "*/15 * * * *", "30 2 * * *", "0 9-17 * * MON-FRI", "@every 7s", "@every 1h", "@once 2027-03-28T02:30")
]  # fmt: skip
MINUTELY, *_ = RHYTHMS
STEPS = st.one_of(
    st.floats(-2 * 3600.0, 2 * 3600.0), st.floats(-60.0, 90.0), st.sampled_from([0.0, 60.0, 30_000.0, -30_000.0])
)
POLICIES = st.sampled_from(["once", "all", "skip"])


@given(rhythm=st.sampled_from(RHYTHMS), missed=POLICIES, steps=st.lists(STEPS, max_size=25), most=st.integers(1, 40))
def test_each_instant_fires_once_at_most_however_the_clock_moves(
    rhythm: Rhythm, missed: str, steps: list[float], most: int
) -> None:
    now = mark = latest = START
    fired: list[float] = []
    for step in steps:
        now += step
        latest = max(latest, now)
        firing = due(rhythm, mark, now, missed, most)
        assert firing.mark >= mark
        assert len(firing.instants) <= (1 if missed == "once" else most)
        assert all(mark < instant <= min(now, firing.mark) for instant in firing.instants)
        if missed == "skip":
            assert all(instant >= now - LATE for instant in firing.instants)
        mark = firing.mark
        fired += firing.instants
    assert fired == sorted(set(fired))
    assert set(fired) <= set(instants(rhythm, START, latest, 1_000_000))


@given(rhythm=st.sampled_from(RHYTHMS), steps=st.lists(STEPS, max_size=25), most=st.integers(1, 2000))
def test_all_misses_none(rhythm: Rhythm, steps: list[float], most: int) -> None:
    now = mark = latest = START
    fired: list[float] = []
    for step in [*steps, 0.0]:
        now = now + step if step else latest
        latest = max(latest, now)
        while (firing := due(rhythm, mark, now, "all", most)).instants:
            fired += firing.instants
            mark = firing.mark
    assert fired == instants(rhythm, START, latest, 1_000_000)


@given(rhythm=st.sampled_from(RHYTHMS), missed=POLICIES, slept=st.floats(0.0, 50_000.0))
def test_every_instant_of_a_time_without_workers_is_fired_or_counted(rhythm: Rhythm, missed: str, slept: float) -> None:
    passed = instants(rhythm, START, START + slept, 1_000_000)
    firing = due(rhythm, START, START + slept, missed, 1_000_000)
    assert firing.missed == min(len(passed) - len(firing.instants), COUNTED)
    assert firing.mark == (passed[-1] if passed else START)
    if missed == "once":
        assert firing.instants == tuple(passed[-1:])


def test_nothing_is_due_between_two_instants_and_the_mark_stays() -> None:
    for missed in ("once", "all", "skip"):
        assert due(MINUTELY, START, START + 59.9, missed, 9) == Firing((), START, 0)
        assert due(MINUTELY, START, START + 60.0, missed, 9) == Firing((START + 60.0,), START + 60.0, 0)


def test_skip_drops_what_is_late_and_never_comes_back_to_it() -> None:
    hourly = RHYTHMS[5]
    assert due(hourly, START, START + 3661.0, "skip", 9) == Firing((), START + 3600.0, 1)
    assert due(hourly, START, START + 3659.0, "skip", 9) == Firing((START + 3600.0,), START + 3600.0, 0)
    assert due(hourly, START, START + 9000.0, "skip", 9) == Firing((), START + 7200.0, 2)


def test_a_clock_that_is_set_back_fires_nothing_twice_and_goes_on_where_it_was() -> None:
    first = due(MINUTELY, START, START + 3600.0, "once", 9)
    assert first == Firing((START + 3600.0,), START + 3600.0, 59)
    assert due(MINUTELY, first.mark, START + 60.0, "once", 9) == Firing((), START + 3600.0, 0)
    assert due(MINUTELY, first.mark, START + 3660.0, "once", 9).instants == (START + 3660.0,)


def test_years_without_a_worker_are_quickly_dealt_with() -> None:
    """The last instant is found from the end, and the others are counted up to a bound."""
    firing = due(MINUTELY, START, START + 20 * 366 * 86_400.0, "once", 9)
    assert firing == Firing((START + 20 * 366 * 86_400.0,), START + 20 * 366 * 86_400.0, COUNTED)
