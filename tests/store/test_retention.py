"""Retention of finished jobs under right and wrong clocks: the time is simulated, the store is real."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobq.moment import Moment
from jobq.store import compaction, retention
from jobq.store.journal import encode_line
from jobq.store.retention import NOTE, Age, Ages, time_between
from jobq.store.selection import open_failures
from jobq.store.store import Store
from jobq.store.usage import usage_of
from tests.conftest import assert_sound
from tests.helpers.changes import Remove, update
from tests.helpers.finished import DAY, NOW, add, later, run

YEARS = 10 * 365 * DAY
KEEP = retention.KEEP


class World:
    """One machine: the real time, and the time that its clocks show."""

    def __init__(self) -> None:
        self.real = 1e6
        self.wall_off = NOW.wall
        self.booted = 0.0
        self.boots = 1

    @property
    def now(self) -> Moment:
        return Moment(self.real + self.wall_off, self.real - self.booted, f"boot {self.boots}")

    def passes(self, seconds: float) -> Moment:
        self.real += seconds
        return self.now

    def reboot(self, off: float, wall_off: float) -> Moment:
        """Switch the machine off for `off` seconds; it starts with a wall clock that is wrong by `wall_off` seconds."""
        self.real += off
        self.boots += 1
        self.booted, self.wall_off = self.real, NOW.wall + wall_off
        return self.passes(30.0)


def shown(store: Store) -> set[int]:
    """Return the ids of the finished jobs."""
    store.read()
    return {job.id for job in store.finished_jobs()}


def keep(store: Store, now: Moment) -> None:
    """Apply the retention, as a worker does."""
    if retention.look(store, now):
        assert compaction.compact(store.path, now)


def with_log(store: Store, now: Moment, command: str = "true") -> int:
    """Add a job that finishes at `now` and has a log; return its id."""
    (job_id,) = add(store, command)
    run(store, job_id, 0, now)
    store.logs.make_folder(job_id)
    Path(store.logs.path(job_id, 1)).touch(0o600)
    return job_id


@pytest.mark.parametrize("off", [YEARS, 14 * DAY, -14 * DAY, -YEARS])
@pytest.mark.parametrize("filed", [True, False])
def test_a_wrong_clock_for_a_moment_removes_nothing(store: Store, off: float, *, filed: bool) -> None:
    world = World()
    job_id = with_log(store, world.now)
    if filed:
        assert compaction.compact(store.path, world.now)
    for wall_off in (0.0, off, 0.0):
        world.wall_off = NOW.wall + wall_off
        for _ in range(3):
            keep(store, world.passes(2.0))
            assert compaction.compact(store.path, world.now)
    assert shown(store) == {job_id}
    assert os.path.exists(store.logs.path(job_id, 1))


@pytest.mark.parametrize("off", [YEARS, -14 * DAY, -YEARS])
def test_a_job_that_finished_under_a_wrong_clock_is_kept_as_long_as_any_other(store: Store, off: float) -> None:
    """The wrong clock names the file. Under the right clock, the job counts neither as old nor as future."""
    world = World()
    world.reboot(0.0, off)
    wrong = with_log(store, world.now)
    assert compaction.compact(store.path, world.passes(60.0))
    world.wall_off = NOW.wall
    right = with_log(store, world.passes(60.0))
    assert compaction.compact(store.path, world.now)
    for _ in range(6):
        keep(store, world.passes(DAY))
        assert shown(store) == {wrong, right}
    for _ in range(2):
        keep(store, world.passes(DAY))
    assert shown(store) == set()
    assert not os.path.exists(store.logs.path(wrong, 1))


def test_files_of_future_days_are_joined_to_todays_file(store: Store) -> None:
    """The join keeps every later record of a job."""
    old, failed, gone = add(store, "old", "failed", "gone")
    for job_id, status in ((old, 0), (failed, 1), (gone, 0)):
        run(store, job_id, status, NOW)
    assert compaction.compact(store.path, NOW)
    ahead = later(4000)._replace(boot=NOW.boot + 5)
    run(store, add(store, "ahead")[0], 1, ahead)
    update(store, lambda _: [Remove(gone)], ahead.wall)
    before = Store(store.path)
    before.read()
    assert compaction.compact(store.path, ahead)
    assert compaction.compact(store.path, later(1)._replace(boot=ahead.boot + 5))
    assert sorted(path.stem for path in Path(store.path, "finished").iterdir()) == ["2023-11-14", "2023-11-15"]
    assert shown(store) == {old, failed, 4}
    count, last = open_failures(store, 3)  # their places were recorded
    assert (count, [job.id for job in last]) == (2, [4, failed])
    assert set(before.find_all([old, failed, 4])) == {old, failed, 4}  # although the files that it knew are removed
    before.close()


def test_a_few_jobs_are_removed_even_if_they_never_left_the_journal(store: Store) -> None:
    job_ids = [with_log(store, NOW) for _ in range(3)]
    assert not retention.look(store, NOW)
    keep(store, later(6.9))
    assert shown(store) == set(job_ids)
    keep(store, later(40))
    assert shown(store) == set()
    assert not any(os.path.exists(store.logs.path(job_id, 1)) for job_id in job_ids)


def test_a_store_that_was_not_used_for_months_keeps_its_jobs_for_a_while(store: Store) -> None:
    """No process saw that time pass: the machine may have been off, or its clock may be wrong."""
    world = World()
    job_id = with_log(store, world.now)
    keep(store, world.now)
    keep(store, world.reboot(200 * DAY, 0.0))
    for _ in range(7):
        assert shown(store) == {job_id}
        keep(store, world.passes(DAY))
    assert shown(store) == set()


def test_the_times_of_short_processes_and_short_boots_add_up(store: Store) -> None:
    """The machine runs for an hour a day, and a worker for a moment of it."""
    world = World()
    with_log(store, world.now)
    keep(store, world.now)
    days = 0
    while shown(store):
        keep(store, world.reboot(23 * 3600.0, 0.0))
        keep(store, world.passes(3600.0))
        days += 1
    assert 7 * 24 - 2 <= days <= 7 * 24


def test_a_clock_that_starts_in_the_past_at_each_boot_does_not_delay_removal(store: Store) -> None:
    """The machine has no clock battery: a job finishes on 1 January 1970 after each boot."""
    world = World()
    most = 0
    for _ in range(30):
        world.reboot(60.0, -NOW.wall - world.real)
        with_log(store, world.now)
        keep(store, world.passes(60.0))
        world.wall_off = NOW.wall
        with_log(store, world.passes(60.0))
        keep(store, world.now)
        keep(store, world.passes(DAY))
        most = max(most, len(shown(store)))
    assert 12 <= most <= 18


def test_a_job_that_finishes_late_on_an_old_day_counts_as_new(store: Store) -> None:
    """The clock was set back to the day on which others had finished."""
    world = World()
    old = with_log(store, world.now)
    retention.look(store, world.now)
    retention.look(store, world.passes(6.9 * DAY))
    world.wall_off -= 6.9 * DAY
    retention.look(store, world.now)
    new = with_log(store, world.now)
    retention.look(store, world.now)
    for _ in range(6):
        keep(store, world.passes(DAY))
        assert compaction.compact(store.path, world.now)
        assert shown(store) == {old, new}


def test_a_young_file_keeps_the_files_of_later_days() -> None:
    """The later files may hold later records of its jobs."""
    old = Age(1, 9 * DAY)
    young = {"2023-11-01": old, "2023-11-02": Age(1, DAY), "2023-11-03": old}
    assert Ages(NOW, young, {}).kept(KEEP).files.keys() == {"2023-11-02", "2023-11-03"}


def test_two_workers_that_count_at_once_count_the_time_once(store: Store) -> None:
    world = World()
    with_log(store, world.now)
    retention.look(store, world.now)
    for _ in range(5):
        stale = world.passes(DAY)
        retention.look(store, world.passes(3600.0))
        retention.look(store, stale)  # with clocks that were read earlier
    (age,) = Ages.read(store.root).ends.values()
    assert age.seconds == 5 * (DAY + 3600.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        lambda path: path.write_bytes(path.read_bytes().replace(b'"files"', b'"filed"')),
        lambda path: path.write_bytes(
            encode_line({"wall": 1, "boot": 1, "boot_id": "boot", "files": {"..": [1, 1]}, "ends": 1})
        ),
        lambda path: path.write_bytes(
            encode_line({"wall": 1, "boot": 1, "boot_id": "boot", "files": {}, "ends": {"2023-11-14": [0, "x"]}})
        ),
    ],
)
def test_without_a_valid_note_the_count_of_time_starts_anew(store: Store, spoil: Callable[[Path], object]) -> None:
    job_id = with_log(store, NOW)
    keep(store, NOW)
    spoil(Path(store.path, NOTE))
    keep(store, later(30))
    assert shown(store) == {job_id}
    keep(store, later(38))
    assert shown(store) == set()


def test_a_note_that_can_not_be_written_does_no_harm(store: Store) -> None:
    job_id = with_log(store, NOW)
    Path(store.path, NOTE).mkdir(0o700)
    keep(store, NOW)
    keep(store, later(30))
    assert compaction.compact(store.path, later(40))
    assert shown(store) == {job_id}
    Path(store.path, NOTE).rmdir()


def test_a_shorter_note_replaces_a_longer_one(store: Store) -> None:
    add(store, "true")
    long = Ages(NOW, {f"2023-11-{day:02}": Age(day, float(day)) for day in range(1, 30)}, {})
    long.write(store.root)
    assert Ages.read(store.root) == long
    Ages(later(1), {}, {}).write(store.root)
    assert Ages.read(store.root) == Ages(later(1), {}, {})


SECONDS = st.floats(0, 3 * DAY)
JUMPS = st.floats(-YEARS, YEARS)


@given(passed=SECONDS, wall=JUMPS, boot=JUMPS, reboots=st.booleans(), since=SECONDS)
def test_no_more_time_is_counted_than_has_passed_if_one_clock_is_right(
    passed: float, wall: float, boot: float, *, reboots: bool, since: float
) -> None:
    def now(wall: float, boot: float) -> Moment:
        at = min(since, passed) if reboots else NOW.boot + passed
        return Moment(NOW.wall + passed + wall, at + boot, "next boot" if reboots else NOW.boot_id)

    for seen in (time_between(NOW, now(wall, 0.0)), time_between(NOW, now(0.0, boot))):
        assert 0.0 <= seen <= passed + 1e-6
    if not reboots:
        assert time_between(NOW, now(0.0, 0.0)) == pytest.approx(passed, abs=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32))
def test_a_job_younger_than_seven_days_survives_bad_clocks(seed: int) -> None:
    """Clocks jump, the machine is switched off, notes are lost: no job younger than 7 days of real time is removed.

    Once the clock has been right for long enough, every finished job is removed.
    """
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        store, world = Store(f"{folder}/store"), World()
        ended: dict[int, float] = {}
        now = world.now
        for _ in range(60):
            stale = now
            now = world.passes(dice.choice([1.0, 60.0, 3600.0, 8 * 3600.0, DAY, 2 * DAY]) * dice.random())
            match dice.choice(["end", "end", "look", "look", "file", "jump", "right", "reboot", "rm", "stale", "lost"]):
                case "end":
                    ended[with_log(store, now)] = world.real
                case "look":
                    keep(store, now)
                case "file" if ended:
                    compaction.compact(store.path, now)
                case "jump":
                    world.wall_off = NOW.wall + dice.choice([YEARS, -YEARS, 14 * DAY, -14 * DAY, 3600.0])
                case "right":
                    world.wall_off = NOW.wall
                case "reboot":
                    now = world.reboot(dice.choice([10.0, DAY, 30 * DAY]), dice.choice([0.0, 0.0, YEARS, -14 * DAY]))
                case "rm" if there := shown(store):
                    gone = dice.choice(sorted(there))
                    update(store, lambda _, gone=gone: [Remove(gone)], now.wall)  # type: ignore[misc]
                    del ended[gone]
                case "stale" if ended:
                    retention.look(store, stale)
                case "lost":
                    Path(store.path, NOTE).unlink(missing_ok=True)
            there = shown(store)
            young = {job_id for job_id, at in ended.items() if world.real - at < KEEP}
            assert young <= there <= ended.keys()
            assert all(os.path.exists(store.logs.path(job_id, 1)) for job_id in there)
        world.wall_off = NOW.wall
        for _ in range(18):  # the record of a removal by hand is kept for as long again
            keep(store, world.passes(DAY))
        assert shown(store) == set()
        assert not ended or os.listdir(f"{store.path}/finished") == []
        store.close()
        assert_sound(Path(store.path))


def test_the_disk_use_stays_flat_over_weeks_of_work(store: Store) -> None:
    """Jobs with 8 KiB of output each; the worker looks each quarter of a day, as a worker would each ten minutes."""
    world, used = World(), []
    for day in range(24):
        for _ in range(4):
            now = world.passes(DAY / 4)
            for _ in range(3):
                job_id = with_log(store, now)
                Path(store.logs.path(job_id, 1)).write_bytes(b"x" * 8192)
            keep(store, now)
            if day in {9, 16}:
                now = world.reboot(3600.0, 0.0)
        used.append(usage_of(store.path).total)
    weeks = [max(used[start : start + 7]) for start in (10, 17)]
    assert weeks[1] <= weeks[0] * 1.1
    assert max(used) < 12 * 10 * (8192 + 4096)
    assert min(len(shown(store)), 84) == 84  # of the last seven days, all are there
