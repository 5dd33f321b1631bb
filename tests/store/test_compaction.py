"""Compaction: the jobs that it must keep, faults at each of its writes, and stale hints."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.api import Queue
from jobq.errors import NotSaved, StoreDamaged
from jobq.job import Spec, State
from jobq.rules import lifecycle
from jobq.schedules import Schedule
from jobq.sealed import seal
from jobq.store import check, compaction, finished, repair
from jobq.store.format import JOURNAL, LIMITS
from jobq.store.hint import HINT
from jobq.store.schedules import MarkSchedule
from jobq.store.selection import open_failures
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.conftest import Cli, assert_sound, wait_until
from tests.helpers.changes import Remove, update
from tests.helpers.finished import NOW, add, later, run


def test_a_requeued_job_shows_its_latest_end_even_if_the_clock_was_set_back(store: Store) -> None:
    (job_id,) = add(store, "x")
    run(store, job_id, 1, later(1))
    assert compaction.compact(store.path, later(1))
    store.read()
    failed = store.get(job_id)
    update(store, lambda _: [lifecycle.requeue(failed, NOW)], NOW.wall)
    run(store, job_id, 0, NOW)
    assert compaction.compact(store.path, NOW)
    assert Store(store.path).read().jobs == {}
    store.read()
    assert store.get(job_id).state is State.SUCCEEDED
    update(store, lambda _: [Remove(job_id)], NOW.wall)
    assert compaction.compact(store.path, NOW)
    store.read()
    assert store.find_all([job_id]).get(job_id) is None


def test_whole_days_are_removed_with_their_logs_and_environments(store: Store) -> None:
    old, new = add(store, "old", "new")
    run(store, old, 0, NOW)
    assert compaction.compact(store.path, NOW)
    (waiting,) = list(store.append(Add(Spec("/", store.save_environment({"B": "2"})), ["waiting"]), NOW.wall))
    for job_id in (old, new):
        store.logs.make_folder(job_id)
        Path(store.logs.path(job_id, 1)).touch(0o600)
    run(store, new, 0, later(5))
    assert compaction.compact(store.path, later(8))
    assert {job.id for job in store.read().unfinished()} == {waiting}
    assert [job.id for job in store.finished_jobs()] == [new]
    assert not os.path.exists(store.logs.path(old, 1))
    assert os.path.exists(store.logs.path(new, 1))
    assert len(os.listdir(f"{store.path}/env")) == 2
    assert compaction.compact(store.path, later(20))
    assert list(store.finished_jobs()) == []
    assert len(os.listdir(f"{store.path}/env")) == 1
    assert list(add(store, "next")) == [waiting + 1]


def test_the_journal_stays_bounded(store: Store) -> None:
    ids = add(store, *(f"echo {n} {'x' * 400}" for n in range(300)))
    for job_id in ids[:250]:
        run(store, job_id, 0)
    before = os.path.getsize(f"{store.path}/{JOURNAL}")
    assert compaction.compact(store.path, NOW)
    after = os.path.getsize(f"{store.path}/{JOURNAL}")
    assert after < before / 4
    store.read()
    assert store.find_all([ids[0]])
    assert len(list(store.finished_jobs())) == 250


COMPACT = """import sys
from jobq.moment import Moment
from jobq.store import compaction
print(compaction.compact(sys.argv[1], Moment(float(sys.argv[2]), 5_000.0, "boot")))
"""


def kill_points() -> list[tuple[str, int]]:
    return [
        (call, n)
        for call, most in (("rename", 1), ("fsync", 6), ("fdatasync", 3), ("pwrite64", 8))
        for n in range(1, most + 1)
    ]


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="strace is not installed")
@pytest.mark.parametrize(("call", "n"), kill_points())
@pytest.mark.parametrize("fault", ["signal=KILL", "error=EIO"])
def test_compaction_may_die_or_fail_at_any_write(store: Store, call: str, n: int, fault: str) -> None:
    """After every fault, an old handle and a new one go on with the same jobs."""
    one, two, three = add(store, "one", "two", "three")
    run(store, one, 0)
    run(store, two, 1)
    before = {job.id: job for job in [*store.read().unfinished(), *store.finished_jobs()]}
    subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:{fault}:when={n}",
         os.path.realpath(sys.executable), "-c", COMPACT, store.path, str(NOW.wall)],
        capture_output=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert update(store, lambda state: [lifecycle.hold(state.jobs[three], NOW)], NOW.wall) == []
    (four,) = add(store, "four")
    assert four == three + 1
    expected = {**before, three: lifecycle.hold(before[three], NOW)}
    for view in (store, Store(store.path)):
        shown = {job.id: job for job in [*view.read().unfinished(), *view.finished_jobs()]}
        shown.pop(four)
        assert shown == expected
    assert compaction.compact(store.path, NOW)
    assert {job.id for job in store.finished_jobs()} == {one, two}


def test_an_acknowledged_job_behind_a_stale_hint_is_seen(store: Store) -> None:
    """After a power cut the hint may be older than the journal."""
    add(store, "one")
    hint = Path(f"{store.path}/{HINT}").read_bytes()
    add(store, "two")
    Path(f"{store.path}/{HINT}").write_bytes(hint)
    fresh = Store(store.path)
    assert set(fresh.read().jobs) == {1, 2}
    assert add(Store(store.path), "three") == [3]


def test_a_reader_that_stays_follows_into_the_next_generation_while_another_writes(store: Store) -> None:
    add(store, "one")
    staying = Store(store.path)
    assert set(staying.read().jobs) == {1}
    assert compaction.compact(store.path, NOW)
    add(store, "two")
    with store.lock:
        assert set(staying.read().jobs) == {1, 2}
    staying.close()


def test_a_hint_that_can_not_be_written_does_no_harm(store: Store) -> None:
    add(store, "one")
    hint = Path(f"{store.path}/{HINT}").read_bytes()
    for n in (2, 3):
        Path(f"{store.path}/{HINT}").write_bytes(hint)
        other = Store(store.path)
        spec = other.read().jobs[1].spec
        assert update(other, lambda _: [Add(spec, ["more"])], NOW.wall) == [n]  # noqa: B023
    assert set(store.read().jobs) == {1, 2, 3}


def test_an_older_journal_in_the_place_of_the_new_one_is_damage_every_time(store: Store) -> None:
    add(store, "one")
    old = Path(f"{store.path}/{JOURNAL}").read_bytes()
    assert compaction.compact(store.path, NOW)
    add(store, "two")
    new = Path(f"{store.path}/{JOURNAL}").read_bytes()
    Path(f"{store.path}/{JOURNAL}").write_bytes(old)
    fresh = Store(store.path)
    for _ in range(2):
        with pytest.raises(StoreDamaged):
            fresh.read()
    with pytest.raises(StoreDamaged):
        add(fresh, "three")
    Path(f"{store.path}/{JOURNAL}").write_bytes(new)


def test_damaged_finished_days_are_reported_and_repaired(store: Store) -> None:
    one, two, three = add(store, "one", "two", "three")
    for job_id in (one, two):
        run(store, job_id, 0)
    assert compaction.compact(store.path, NOW)
    (path,) = Path(f"{store.path}/finished").iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:10] + b"x" + data[11:])
    for what in (
        lambda s: list(s.finished_jobs()),
        lambda s: s.find_all([one]).get(one),
        lambda s: list(check.problems(s)),
    ):
        fresh = Store(store.path)
        fresh.read()
        with pytest.raises(StoreDamaged):
            what(fresh)
    for cut in (data[:-5], b""):
        path.write_bytes(cut)
        fresh = Store(store.path)
        fresh.read()
        with pytest.raises(StoreDamaged):
            list(fresh.finished_jobs())
    path.write_bytes(data[:10] + b"x" + data[11:])
    loss = repair.repair(Store(store.path), NOW.wall)
    assert loss.lines == 1
    store.read()
    assert [job.id for job in store.finished_jobs()] == [two]
    assert set(store.state.jobs) == {three}
    assert add(store, "next") == [4]


def test_a_process_that_was_running_before_a_repair_reads_the_store_anew(store: Store) -> None:
    add(store, "one", "two")
    add(store, "three")
    known = dict(store.read().jobs)
    path = Path(f"{store.path}/{JOURNAL}")
    data = bytearray(path.read_bytes())
    data[data.index(b'"one"') + 1] ^= 1
    path.write_bytes(data)
    repair.repair(Store(store.path), NOW.wall)
    assert set(known) == {1, 2, 3}
    assert set(store.read().jobs) == {3}
    assert_sound(Path(store.path))


@pytest.mark.skipif(not Path("/usr/bin/strace").exists(), reason="strace is not installed")
def test_a_failed_sync_is_not_retried_and_not_acknowledged(store: Store) -> None:
    add(store, "one")
    trace = f"{store.path}.trace"
    command = ["strace", "-f", "-o", trace, "-e", "trace=fdatasync,fsync,ftruncate", "-e", "inject=fdatasync:error=EIO:when=1",
               os.path.realpath(sys.executable), "-m", "jobq", "--store", store.path, "add", "-e", "A=1", "two"]  # fmt: skip
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (74, "")
    assert set(store.read().jobs) == {1}


def test_the_journal_does_not_fill_up_with_finished_jobs(store: Store) -> None:
    """Readers have to skip them."""
    queue = Queue(store.path)
    ids = queue.add_many(["true"] * 6000, queue.spec)
    for start in range(0, 6000, 500):
        queue.cancel(ids[start : start + 500])
        state = store.read()
        assert state.finished == sum(job.state.final for job in state.jobs.values())
        assert state.finished <= compaction.MOST_FINISHED + 2 * (len(state.jobs) - state.finished)
    assert len(list(queue.finished())) == 6000


def test_the_journal_does_not_fill_up_with_the_marks_of_schedules(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule may fire for years, and get no job."""
    monkeypatch.setattr(compaction, "SLACK", 0)
    add(store, "true")
    assert compaction.compact(store.path, NOW, least_format=LIMITS)
    store.read()
    now = NOW.wall
    schedule = Schedule("x", "@every 1s", "UTC", now, Spec("/", store.save_environment({})), "true", mark=now)
    with store.transaction(now) as changes:
        changes.set_schedule(schedule)
    assert not compaction.is_due(store)
    for n in range(100):
        with store.transaction(now) as changes:
            changes.record(MarkSchedule.of(schedule._replace(mark=now + n, dropped=n)))
    assert compaction.is_due(store)
    assert compaction.compact(store.path, NOW)
    store.read()
    assert not compaction.is_due(store)
    assert store.state.schedules["x"].dropped == 99


def test_an_idle_worker_compacts_the_journal(cli: Cli) -> None:
    cli.worker("-j", "2")
    cli("add", "--from", "-", stdin="true\n" * 150)
    wait_until(lambda: not cli.queue.store.read().jobs and cli.queue.store.read().next_id == 151)
    assert len(list(cli.queue.finished())) == 150


def test_a_compaction_from_memory_still_checks_the_file_on_disk(store: Store) -> None:
    """A worker compacts from memory: it still reports damage of the file, and uses no outdated checkpoint."""
    add(store, "one", "two")
    run(store, 1, 0)
    known = compaction.Checkpoint.by(store)
    assert compaction.compact(store.path, NOW, known=known)
    assert not compaction.compact(store.path, NOW, known=known)  # it is of the generation before
    run(store, 2, 1)
    store.read_settled()
    known = compaction.Checkpoint.by(store)
    assert known is not None
    path = Path(store.path) / JOURNAL
    sound = path.read_bytes()
    at = known.upto - 40
    path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
    with pytest.raises(StoreDamaged):
        compaction.compact(store.path, NOW, known=known)
    path.write_bytes(sound)
    assert compaction.compact(store.path, NOW, known=known)
    store.read()
    assert [store.get(n).state for n in (1, 2)] == [State.SUCCEEDED, State.FAILED]


def test_a_compaction_that_fails_leaves_no_files_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second, third) = add(store, "one", "two", "three")
    run(store, first, 0)
    assert compaction.compact(store.path, NOW)
    run(store, second, 0)
    before = {path: path.stat().st_size for path in Path(store.path).rglob("*.jsonl")}

    def no_room(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "sync", no_room)
        with pytest.raises(NotSaved):
            compaction.compact(store.path, NOW)
    assert {path: path.stat().st_size for path in Path(store.path).rglob("*.jsonl")} == before
    assert not (Path(store.path) / compaction.NEXT).exists()
    assert compaction.compact(store.path, NOW)
    store.read()
    assert [store.get(n).state for n in (first, second, third)] == [State.SUCCEEDED, State.SUCCEEDED, State.QUEUED]


def test_a_command_succeeds_even_if_the_compaction_after_it_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(store.path)
    ids = queue.add_many(["true"] * 3000, queue.spec)

    def fails(*_words: object, **_more: object) -> bool:
        raise NotSaved(store.path, OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(compaction, "compact", fails)
    assert len(queue.cancel(ids).jobs) == 3000
    queue.remove(ids[:1])
    assert store.read().next_id == 3001


@pytest.mark.parametrize("number", ["[]", '"1"', "null", "true"])
def test_a_finished_job_without_a_number_is_damage(store: Store, number: str) -> None:
    (job_id,) = add(store, "true")
    run(store, job_id, 0)
    assert compaction.compact(store.path, NOW)
    (day,) = (Path(store.path) / "finished").iterdir()
    line = day.read_bytes().rstrip(b"\n")
    body = line[: line.rindex(b",")].replace(b'"id":1', b'"id":' + number.encode(), 1)
    day.write_bytes(seal(body))
    store.read()
    archive = finished.Archive(store.root, {day.stem: day.stat().st_size}, lambda _day: True)
    with pytest.raises(StoreDamaged):
        list(archive.newest_first())
    day.write_bytes(line + b"\n")


def failures(store: Store) -> tuple[int, list[int]]:
    store.read()
    count, last = open_failures(store, 3)
    return count, [job.id for job in last]


def test_open_failures_are_counted_and_found_without_reading_all_finished_jobs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(store.path)
    for job_id in add(store, *["x"] * 30):
        run(store, job_id, job_id % 3)
    assert compaction.compact(store.path, NOW)

    def refuse(*_: object) -> None:
        raise AssertionError("all finished jobs were read")

    with monkeypatch.context() as patch:
        patch.setattr(finished.Archive, "open_failures", refuse)
        patch.setattr(finished.Archive, "newest_first", refuse)
        assert failures(store) == (20, [29, 28, 26])
        queue.acknowledge([29, 26])
        queue.requeue([25])
        queue.remove([28])
        assert failures(store) == failures(Store(store.path)) == (16, [23, 22, 20])
        run(store, 25, 1)
        assert failures(store) == (17, [25, 23, 22])
    queue.acknowledge([job_id for job_id in range(1, 30, 3) if job_id != 28])
    assert compaction.compact(store.path, NOW)
    assert failures(store) == failures(Store(store.path)) == (8, [23, 20, 17])


def test_open_failures_are_counted_anew_after_an_older_version_compacted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for job_id in add(store, *["x"] * 4):
        run(store, job_id, 1)
    with monkeypatch.context() as patch:
        patch.setattr(compaction, "_open_failures", lambda *_, **__: None)
        assert compaction.compact(store.path, NOW)
    for known in (store, Store(store.path)):
        assert failures(known) == (4, [4, 3, 2])
        assert known.state.failures.count is None
    Queue(store.path).acknowledge([4])
    assert failures(store) == (3, [3, 2, 1])
    assert compaction.compact(store.path, NOW)
    assert failures(store) == (3, [3, 2, 1])
    assert store.state.failures.count == 3


def test_an_acknowledgement_does_not_cover_a_later_failure(store: Store) -> None:
    (job_id,) = add(store, "x")
    run(store, job_id, 1)
    queue = Queue(store.path)
    queue.acknowledge([job_id])
    assert failures(store) == (0, [])
    assert list(check.problems(store)) == []
    update(store, lambda state: [lifecycle.requeue(state.jobs[job_id], later(1))], NOW.wall)
    run(store, job_id, 1, later(2))
    assert failures(store) == (1, [job_id])


def test_two_processes_never_compact_at_once_even_if_the_lock_file_is_removed(store: Store) -> None:
    with compaction.compacting(store.root) as first:
        Path(store.path, compaction.COMPACT_LOCK).unlink()
        other = Store(store.path)
        with compaction.compacting(other.root) as second:
            assert (first, second) == (True, False)
