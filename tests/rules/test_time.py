"""Jobs that wait for a time, and jobs that leave if they have not started by then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobq.errors import UsageError
from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.options.instants import instant
from jobq.rules import lifecycle, retry
from jobq.rules.order import Waiting, will_end
from jobq.rules.reasons import Situation, why_waiting

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
BERLIN = ZoneInfo("Europe/Berlin")
WEDNESDAY = datetime(2026, 12, 2, 10, 30, 15, tzinfo=BERLIN)


def later(seconds: float, wall: float | None = None) -> Moment:
    return Moment(NOW.wall + (seconds if wall is None else wall), NOW.boot + seconds, NOW.boot_id)


def job_of(**options: object) -> Job:
    return Job(1, Spec("/", "", asked=NOW, **options), "x", NOW.wall)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("22:00", datetime(2026, 12, 2, 22, tzinfo=BERLIN)),
        ("9:00", datetime(2026, 12, 3, 9, tzinfo=BERLIN)),
        ("10:30:16", datetime(2026, 12, 2, 10, 30, 16, tzinfo=BERLIN)),
        ("today 9:00", datetime(2026, 12, 2, 9, tzinfo=BERLIN)),
        ("Tomorrow 9:00", datetime(2026, 12, 3, 9, tzinfo=BERLIN)),
        ("tomorrow", datetime(2026, 12, 3, tzinfo=BERLIN)),
        ("wed 11:00", datetime(2026, 12, 2, 11, tzinfo=BERLIN)),
        ("wednesday 10:00", datetime(2026, 12, 9, 10, tzinfo=BERLIN)),
        ("mon 8:00", datetime(2026, 12, 7, 8, tzinfo=BERLIN)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=BERLIN)),
        ("2026-12-24 18:00", datetime(2026, 12, 24, 18, tzinfo=BERLIN)),
        ("2026-12-24 9:00", datetime(2026, 12, 24, 9, tzinfo=BERLIN)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24T18:00-05:00", datetime(2026, 12, 24, 23, tzinfo=UTC)),
        ("22:00 UTC", datetime(2026, 12, 2, 22, tzinfo=UTC)),
        ("tomorrow 9:00 America/New_York", datetime(2026, 12, 3, 9, tzinfo=ZoneInfo("America/New_York"))),
        ("2026-07-01 12:00 Asia/Tokyo", datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))),
    ],
)
def test_a_time_is_understood_as_people_write_it(
    text: str, expected: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    import time  # noqa: PLC0415

    time.tzset()
    assert instant(text, WEDNESDAY) == expected.timestamp()
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "text", ["", "25:00", "9", "9am", "tomorow 9:00", "mo 8:00", "2026-13-01", "tomorrow 9:00 Europe/Nowhere", "1:2:3:4",
             "22:00 ../../etc/passwd", "mon mon"]
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        instant(text, WEDNESDAY)


@pytest.mark.parametrize("text", ["9999-12-31", "9001-01-01", "0900-01-01"])
def test_a_time_that_can_not_be_stored_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is too far away"):
        instant(text, WEDNESDAY)


def test_the_zone_that_was_meant_is_suggested() -> None:
    with pytest.raises(UsageError, match="'Europe/Berlni' is not a time zone") as caught:
        instant("22:00 Europe/Berlni", WEDNESDAY)
    assert caught.value.hint == "did you mean Europe/Berlin?"


def test_a_delay_counts_by_the_boot_clock_and_an_instant_by_the_wall_clock() -> None:
    delayed, at = job_of(delay=600.0), job_of(at=NOW.wall + 600)
    assert (retry.wait(delayed, NOW), retry.wait(at, NOW)) == (600, 600)
    set_ahead = later(10, wall=900)
    assert retry.wait(delayed, set_ahead) == 590
    assert retry.wait(at, set_ahead) == -300
    rebooted = Moment(NOW.wall + 100, 5.0, "next boot")
    assert (retry.wait(delayed, rebooted), retry.wait(at, rebooted)) == (500, 500)


def test_a_delay_is_only_for_the_first_start() -> None:
    job = lifecycle.claim(job_of(delay=600.0), later(600), owner="w", supervisor="w/0")
    assert job.not_before is None


@pytest.mark.parametrize("options", [{"delay": 600.0}, {"at": NOW.wall + 600}])
def test_it_is_claimed_when_its_time_has_come(options: dict[str, float]) -> None:
    waiting, job = Waiting(), job_of(**options)
    waiting.add(job.spec, range(1, 2))
    jobs = {1: job}
    assert 0 < (waiting.wake(jobs, NOW) or 0) <= 600
    assert list(waiting.take(jobs, 1, NOW)) == []
    assert waiting.upcoming(jobs, 5) == [job]
    waiting.wake(jobs, later(600))
    assert list(waiting.take(jobs, 1, later(600))) == [job]


def test_nobody_sleeps_past_an_instant_because_the_wall_clock_is_set() -> None:
    waiting, job = Waiting(), job_of(at=NOW.wall + 86_400)
    waiting.add(job.spec, range(1, 2))
    assert (waiting.wake({1: job}, NOW) or 1e9) <= 30


def test_it_expires_unless_it_has_started() -> None:
    waiting, job = Waiting(), job_of(expires=60.0)
    waiting.add(job.spec, range(1, 2))
    jobs = {1: job}
    assert waiting.expired(jobs, later(59)) == []
    assert waiting.next_deadline(jobs, later(59)) == pytest.approx(1)
    assert waiting.expired(jobs, later(60)) == [job]
    assert waiting.expired(jobs, later(60)) == [job]  # until that is recorded
    assert list(waiting.take(jobs, 1, later(60))) == []
    jobs[1] = lifecycle.expire(job, later(60))
    waiting.note(job, jobs[1])
    assert waiting.expired(jobs, later(60)) == []
    assert waiting.next_deadline(jobs, later(60)) is None
    assert lifecycle.claim(job, NOW, owner="w", supervisor="w/0").deadline is None


def test_a_requeued_job_that_had_expired_has_its_time_again() -> None:
    job = lifecycle.requeue(lifecycle.expire(job_of(expires=60.0), later(60)), later(100))
    assert job.state is State.QUEUED
    assert retry.left(job, later(100)) == 60


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"delay": 600.0}, "starts in 10m00s"),
        ({"at": NOW.wall + 3 * 86_400}, "in 3d00h"),
        ({"expires": 0.0}, "expired; the next worker records it"),
    ],
)
def test_the_reason_says_when(options: dict[str, float], says: str) -> None:
    assert says in why_waiting(job_of(**options), Situation(NOW))


def test_the_reason_names_the_day() -> None:
    start = datetime.fromtimestamp(NOW.wall).replace(hour=12, minute=0, second=0)
    now = Moment(start.timestamp(), 1.0, "boot")
    for days, says in ((0, "13:00, in"), (1, "tomorrow 13:00, in"), (3, " 13:00, in 3d"), (40, "-")):
        at = (start + timedelta(days=days, hours=1)).timestamp()
        assert says in why_waiting(job_of(at=at), Situation(now))


def test_a_worker_that_drains_does_not_wait_for_a_scheduled_job() -> None:
    def goes_on(job: Job, now: Moment) -> bool:
        return bool(will_end([job], lambda _job: (), now, lambda _job: True))

    assert not goes_on(job_of(delay=600.0), NOW)
    assert goes_on(job_of(delay=600.0), later(600))
    assert goes_on(job_of(), NOW)
    assert not goes_on(lifecycle.hold(job_of(), NOW), NOW)
