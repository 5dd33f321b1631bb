"""Schedules in workers, step by step: missed instants, overlap, set clocks, two workers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobq import clock
from jobq.job import Job, Spec, State
from jobq.schedules import Schedule
from jobq.scheduling import Schedules
from jobq.store import compaction
from jobq.store.format import LIMITS
from jobq.store.store import Store
from jobq.worker.schedules import LOOK
from jobq.worker.schedules import Schedules as Firing
from tests.worker.test_loop import Life

DAY = 86_400.0


@pytest.fixture
def life(store: Store) -> Iterator[Life]:
    yield from living(store)


def living(store: Store) -> Iterator[Life]:
    """A worker of a store that can hold schedules."""
    life = Life(store)
    life.add("first")
    compaction.compact(store.path, life.now, least_format=LIMITS)
    life.step()
    life.runner.end(1)
    life.step()
    yield life
    life.worker._context.registration.leave(remove=True)


def schedule(life: Life, when: str = "@every 1h", **fields: object) -> Schedule:
    """Add a schedule now."""
    spec = Spec("/", life.store.save_environment({}), **fields.pop("spec", {}))  # type: ignore[arg-type]
    now = life.now.wall
    made = Schedule("x", when, "UTC", now, spec, "true", mark=now)._replace(**fields)  # type: ignore[arg-type]
    with life.store.transaction(now) as changes:
        changes.set_schedule(made)
    return made


def jobs(life: Life) -> list[Job]:
    """The jobs of the schedule, by id."""
    found = [job for job in life.store.read().jobs.values() if dict(job.spec.labels).get("schedule") == "x"]
    return sorted(found, key=lambda job: job.id)


def times(life: Life) -> list[str]:
    """The instants for which it has jobs."""
    return [dict(job.spec.vars)["JOBQ_SCHEDULED_AT"] for job in jobs(life)]


def known(life: Life) -> Schedule:
    return life.store.read().schedules["x"]


def test_it_sleeps_until_the_instant_and_fires_once(life: Life) -> None:
    schedule(life, "@every 8s")
    assert 0 < life.step() <= 8
    assert jobs(life) == []
    life.step(8.0)
    life.step()
    assert [job.state for job in jobs(life)] == [State.RUNNING]
    assert (known(life).fired, known(life).last) == (1, jobs(life)[0].id)


@pytest.mark.parametrize(
    ("missed", "overlap", "count", "dropped"),
    [("once", "skip", 1, 71), ("all", "queue", 72, 0), ("all", "allow", 72, 0), ("skip", "skip", 0, 72)],
)
def test_three_days_without_a_worker(life: Life, missed: str, overlap: str, count: int, dropped: int) -> None:
    schedule(life, missed=missed, overlap=overlap)
    life.step(3 * DAY + 120)  # later than a minute after the last
    life.step()
    assert len(jobs(life)) == count
    assert (known(life).fired, known(life).dropped) == (count, dropped)
    assert len(set(times(life))) == count
    if overlap == "queue":
        assert [job.spec.after_any for job in jobs(life)][1:] == [(job.id,) for job in jobs(life)][:-1]


def test_a_clock_that_is_set_fires_nothing_twice_and_misses_nothing(life: Life) -> None:
    schedule(life, overlap="allow")
    for seconds, clock_set in (
        (3601.0, 0.0),
        (10.0, -3600.0),
        (3601.0, -3600.0),
        (10.0, 0.0),
        (3601.0, DAY),
        (10.0, 0.0),
    ):
        life.clock_set = clock_set
        life.step(seconds)
        life.step()
    assert len(times(life)) == len(set(times(life)))
    assert known(life).fired == len(times(life))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 5000.0), st.sampled_from([-7200.0, -60.0, 0.0, 60.0, 7200.0]), st.booleans()),
        max_size=25,
    ),
    st.sampled_from(["once", "all", "skip"]),
)
def test_two_workers_and_any_clock_fire_each_instant_at_most_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float, bool]], missed: str
) -> None:
    with ExitStack() as stack:
        path = tmp_path_factory.mktemp("store") / "store"
        iterator = living(Store(str(path)))
        one = next(iterator)
        stack.callback(lambda: next(iterator, None))
        two = Life(Store(str(path)))
        stack.callback(lambda: two.worker._context.registration.leave(remove=True))
        two.boot = one.boot
        schedule(one, "*/20 * * * *", missed=missed, overlap="allow")
        begin = one.now.wall
        for seconds, clock_set, second in steps:
            for life in (one, two):
                life.boot += seconds
                life.clock_set = clock_set
            (two if second else one).step()
        assert len(times(one)) == len(set(times(one)))
        assert known(one).fired == len(times(one))
        latest = max([begin, *(begin + sum(s for s, _, _ in steps[: n + 1]) + c for n, (_, c, _) in enumerate(steps))])
        if missed == "all":
            assert len(times(one)) == int(latest // 1200) - int(begin // 1200)


@pytest.mark.parametrize(("overlap", "count"), [("skip", 1), ("queue", 2), ("allow", 2)])
def test_an_unfinished_job(life: Life, overlap: str, count: int) -> None:
    schedule(life, overlap=overlap)
    life.step(3601.0)
    life.step(3600.0)
    life.step()
    assert len(jobs(life)) == count
    assert known(life).dropped == 2 - count
    states = [job.state for job in jobs(life)]
    assert states == {"skip": ["running"], "queue": ["running", "queued"], "allow": ["running", "running"]}[overlap]


def test_a_paused_one_and_one_that_is_over_fire_nothing(life: Life) -> None:
    schedule(life, paused=True)
    life.step(7200.0)
    assert jobs(life) == []
    schedule(life, "@once 2023-11-16T00:00:00")
    life.step(2 * DAY)
    life.step(DAY)
    assert times(life) == ["2023-11-16T00:00:00Z"]
    assert known(life).fired == 1


def test_what_is_refused_is_recorded_and_the_next_one_goes_on(life: Life) -> None:
    schedule(life, spec={"needs": (("gpu", 1),)})
    life.step(3601.0)
    assert jobs(life) == []
    assert "needs gpu=1, and there are 0" in known(life).trouble
    with life.store.transaction(life.now.wall) as changes:
        changes.state.set_resource("gpu", 1)
    life.store._view.forget()
    life.step(3600.0)
    assert known(life).dropped >= 1


def test_an_unknown_time_zone_stops_nothing_else(life: Life) -> None:
    made = schedule(life)
    with life.store.transaction(life.now.wall) as changes:
        changes.set_schedule(made._replace(name="lost", zone="Mars/Base"))
    life.step(3601.0)
    assert len(jobs(life)) == 1


def test_a_long_backlog_is_added_as_it_starts(life: Life) -> None:
    schedule(life, "@every 1s", missed="all", overlap="allow")
    life.step(1000.0)
    life.step()
    assert len(jobs(life)) == 100
    (duty,) = (duty for duty in life.worker._duties if isinstance(duty, Firing))
    with pytest.MonkeyPatch.context() as patched:  # as long as the last one waits, nobody takes the lock
        patched.setattr(life.store, "transaction", None)
        assert [duty.step(life.now) for _ in range(5)] == [LOOK] * 5
    while len(jobs(life)) < 300:
        for key in life.runner.running():
            life.runner.end(key.job_id, key.n)
        life.step(0.1)
    assert len(times(life)) == len(set(times(life)))


def test_a_mark_of_a_wrong_clock_can_be_reset(life: Life) -> None:
    from_far = clock.now().wall + 400 * DAY
    schedule(life, mark=from_far)
    schedules = Schedules(life.store)
    schedules.pause("x", paused=True)
    schedules.pause("x", paused=False)
    assert known(life).mark < from_far
