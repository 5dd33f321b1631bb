"""What is seen is durable, and what was refused is not there: reading behind a dead writer, and errors of the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobq.errors import JournalMoved, LockTimeout, NotSaved, SyncFailed
from jobq.job import Job, Moment, Spec, State
from jobq.rules import lifecycle
from jobq.store import journal, writer
from jobq.store.folder import Folder
from jobq.store.hint import HINT, read_hint
from jobq.store.journal import JOURNAL
from jobq.store.lock import StoreLock
from jobq.store.state import Jobs
from jobq.store.store import Store

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")


def failing(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def spec_of(store: Store) -> Spec:
    return Spec("/", store.save_environment({}))


@pytest.fixture
def left(store: Store) -> Iterator[Store]:
    """Somebody has cancelled job 1, and died before his sync."""
    store.enqueue(spec_of(store), ["true"], NOW.wall)
    hint = Path(store.path, HINT).read_bytes()
    store.update(lambda jobs: [lifecycle.cancel(jobs.by_id[1], NOW)], NOW.wall)
    Path(store.path, HINT).write_bytes(hint)
    reader = Store(store.path)
    yield reader
    reader.close()


def state(store: Store) -> State:
    return store.read().by_id[1].state


def test_what_a_dead_writer_left_is_written_anew_and_synced_before_it_is_shown(
    left: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    size = Path(left.path, JOURNAL).stat().st_size
    hint = read_hint(left.root)
    assert hint is not None

    def pwrite(fd: int, data: bytes, at: int, real: Callable[[int, bytes, int], int] = os.pwrite) -> int:
        done.append(f"{'journal' if left.root.holds(JOURNAL, fd) else 'hint'} {at} {len(data)}")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(journal, "sync", lambda _fd: done.append(f"sync, shown: {left.jobs.by_id[1].state}"))
    assert state(left) is State.CANCELLED
    assert done[:2] == [f"journal {hint.size} {size - hint.size}", "sync, shown: queued"]
    done.clear()
    assert state(left) is State.CANCELLED
    assert done == []  # once is enough


def test_what_cannot_be_made_durable_is_not_shown_until_it_can(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "sync", failing)
    assert state(left) is State.QUEUED
    assert state(left) is State.QUEUED
    with pytest.raises(SyncFailed):
        left.update(lambda _: [], NOW.wall)
    monkeypatch.undo()
    assert state(left) is State.CANCELLED


def test_a_reader_waits_for_no_writer(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobq.store.lock.time.sleep", lambda _: pytest.fail("it waits"))
    with Store(left.path).lock:
        assert state(left) is State.QUEUED
    assert state(left) is State.CANCELLED


def test_where_nothing_can_be_written_nothing_is_tried(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Path(left.path, JOURNAL).read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(StoreLock, "acquire", lambda *_: pytest.fail("a lock was taken"))
    assert state(left) is State.QUEUED
    assert Path(left.path, JOURNAL).read_bytes() == before


def test_a_reader_leaves_a_torn_tail_alone(left: Store) -> None:
    path = Path(left.path, JOURNAL)
    with path.open("ab") as f:
        f.write(b'{"seq":3,"at":1')
    before = path.read_bytes()
    assert [state(left), state(left)] == [State.CANCELLED] * 2
    assert path.read_bytes() == before
    left.update(lambda jobs: [lifecycle.requeue(jobs.by_id[1], NOW)], NOW.wall)
    assert [state(left), state(Store(left.path))] == [State.QUEUED] * 2


def test_usually_a_reader_takes_no_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.enqueue(spec_of(store), ["true"], NOW.wall)
    monkeypatch.setattr(StoreLock, "acquire", lambda *_: pytest.fail("a lock was taken"))
    assert state(Store(store.path)) is State.QUEUED


def test_a_late_hint_that_cannot_be_written_costs_one_look(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(journal, "sync", synced.append)
    monkeypatch.setattr("jobq.store.store.write_hint", lambda *_: None)
    assert [state(left) for _ in range(3)] == [State.CANCELLED] * 3
    assert len(synced) == 1


def test_a_reader_in_the_middle_of_a_change_lets_nobody_in(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late hint makes it look for the lock, which its own process has."""
    monkeypatch.setattr("jobq.store.store.write_hint", lambda *_: None)

    def decide(jobs: Jobs) -> Iterator[Job]:
        Path(left.path, HINT).unlink()
        left.read()
        with pytest.raises(LockTimeout), StoreLock(Folder.create(left.path), 0.0):
            pytest.fail("a second writer was let in")
        yield lifecycle.requeue(jobs.by_id[1], NOW)

    left.update(decide, NOW.wall)
    assert state(left) is State.QUEUED


@pytest.mark.parametrize("replaced", [True, False])
def test_a_change_that_went_to_a_journal_without_its_name_is_refused(store: Store, replaced: bool) -> None:
    store.enqueue(spec_of(store), ["true"], NOW.wall)
    path = Path(store.path, JOURNAL)
    before = path.read_bytes()

    def decide(jobs: Jobs) -> Iterator[Job]:
        path.rename(path.with_suffix(".moved"))
        if replaced:
            path.write_bytes(before)
            path.chmod(0o600)
        yield lifecycle.cancel(jobs.by_id[1], NOW)

    with pytest.raises(JournalMoved) as refusal:
        store.update(decide, NOW.wall)
    assert (refusal.value.exit_code, JOURNAL in str(refusal.value)) == (75, True)
    assert path.with_suffix(".moved").read_bytes() == before
    if not replaced:
        path.with_suffix(".moved").rename(path)
    assert state(store) is State.QUEUED
    assert list(store.enqueue(spec_of(store), ["true"], NOW.wall)) == [2]


@pytest.mark.parametrize("spoiled", [True, False])
def test_an_error_tells_whether_it_could_be_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch, spoiled: bool
) -> None:
    store.enqueue(spec_of(store), ["true"], NOW.wall)
    real = writer.write_all
    monkeypatch.setattr(writer, "sync", failing)
    monkeypatch.setattr(os, "ftruncate", failing)
    monkeypatch.setattr(
        writer, "write_all", lambda fd, data, at: real(fd, data, at) if spoiled or data != b"\0" else failing()
    )
    with pytest.raises(NotSaved) as refusal:
        store.enqueue(spec_of(store), ["true"], NOW.wall)
    assert "check with 'jobq'" in refusal.value.hint
    if spoiled:
        monkeypatch.undo()
        assert store.read().by_id.keys() == {1}
        assert list(store.enqueue(spec_of(store), ["true"], NOW.wall)) == [2]
