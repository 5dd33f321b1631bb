"""Durability: a change that is shown is on disk, a refused one is gone; dead writers and disk errors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobq.errors import JournalMoved, LockTimeout, NotSaved, StoreForbidden, SyncFailed
from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store import journal, writer
from jobq.store.folder import Folder, write_all
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT, read_hint
from jobq.store.lock import StoreLock
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.helpers.changes import update

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")


def failing(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def spec_of(store: Store) -> Spec:
    return Spec("/", store.save_environment({}))


@pytest.fixture
def left(store: Store) -> Iterator[Store]:
    """A store whose last writer cancelled job 1, and died before its sync."""
    store.append(Add(spec_of(store), ["true"]), NOW.wall)
    hint = Path(store.path, HINT).read_bytes()
    update(store, lambda state: [lifecycle.cancel(state.jobs[1], NOW)], NOW.wall)
    Path(store.path, HINT).write_bytes(hint)
    reader = Store(store.path)
    yield reader
    reader.close()


def state(store: Store) -> State:
    return store.read().jobs[1].state


def test_the_last_change_of_a_dead_writer_is_rewritten_and_synced_before_it_is_shown(
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
    monkeypatch.setattr(journal, "sync", lambda _fd: done.append(f"sync, shown: {left.state.jobs[1].state}"))
    assert state(left) is State.CANCELLED
    assert done[:2] == [f"journal {hint.size} {size - hint.size}", "sync, shown: queued"]
    done.clear()
    assert state(left) is State.CANCELLED
    assert done == []  # the second read writes nothing


def test_a_change_is_not_shown_until_it_can_be_synced(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "sync", failing)
    assert state(left) is State.QUEUED
    assert state(left) is State.QUEUED
    with pytest.raises(SyncFailed):
        update(left, lambda _: [], NOW.wall)
    monkeypatch.undo()
    assert state(left) is State.CANCELLED


def test_a_reader_waits_for_no_writer(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobq.store.lock.time.sleep", lambda _: pytest.fail("the reader waits"))
    writer = Store(left.path)
    with writer.lock:
        assert state(left) is State.QUEUED
    assert state(left) is State.CANCELLED


def test_a_reader_without_write_access_takes_no_lock_and_writes_nothing(
    left: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    update(left, lambda state: [lifecycle.requeue(state.jobs[1], NOW)], NOW.wall)
    assert [state(left), state(Store(left.path))] == [State.QUEUED] * 2


def test_a_whole_change_behind_the_hint_stays_when_a_torn_one_behind_it_is_cut_off(left: Store) -> None:
    with Path(left.path, JOURNAL).open("ab") as f:
        f.write(b'{"seq":3,"at":1')
    left.append(Add(spec_of(left), ["false"]), NOW.wall)
    assert [state(left), state(Store(left.path))] == [State.CANCELLED] * 2


def test_a_new_file_and_its_name_are_durable_on_return(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    root = store.root
    seen: list[str] = []

    def synced(fd: int, real: Callable[[int], None] = os.fsync) -> None:
        name = "directory" if os.path.samestat(os.fstat(fd), os.fstat(root.fd)) else "file"
        seen.append(f"{name}, named: {root.has('new')}")
        real(fd)

    monkeypatch.setattr("jobq.store.folder.sync", synced)
    monkeypatch.setattr(os, "fsync", synced)
    root.write_new("new", b"x")
    assert seen == ["file, named: False", "directory, named: True"]


def test_usually_a_reader_takes_no_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.append(Add(spec_of(store), ["true"]), NOW.wall)
    monkeypatch.setattr(StoreLock, "acquire", lambda *_: pytest.fail("a lock was taken"))
    assert state(Store(store.path)) is State.QUEUED


def test_a_late_hint_that_can_not_be_written_costs_one_sync(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(journal, "sync", synced.append)
    monkeypatch.setattr("jobq.store.tail.write_hint", lambda *_: None)
    assert [state(left) for _ in range(3)] == [State.CANCELLED] * 3
    assert len(synced) == 1


def test_a_read_in_the_middle_of_an_update_keeps_the_lock(left: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late hint makes the read try the lock, which its own process holds already."""
    monkeypatch.setattr("jobq.store.tail.write_hint", lambda *_: None)
    monkeypatch.setattr("jobq.store.writer.write_hint", lambda *_: None)

    def decide(state: StoreState) -> Iterator[Job]:
        Path(left.path, HINT).unlink()
        left.read()
        with pytest.raises(LockTimeout), StoreLock(Folder.create(left.path), 0.0):
            pytest.fail("a second writer was let in")
        yield lifecycle.requeue(state.jobs[1], NOW)

    update(left, decide, NOW.wall)
    assert state(left) is State.QUEUED


@pytest.mark.parametrize("replaced", [True, False])
def test_a_change_to_a_journal_that_was_moved_away_is_refused(store: Store, replaced: bool) -> None:
    store.append(Add(spec_of(store), ["true"]), NOW.wall)
    path = Path(store.path, JOURNAL)
    before = path.read_bytes()

    def decide(state: StoreState) -> Iterator[Job]:
        path.rename(path.with_suffix(".moved"))
        if replaced:
            path.write_bytes(before)
            path.chmod(0o600)
        yield lifecycle.cancel(state.jobs[1], NOW)

    with pytest.raises(JournalMoved) as refusal:
        update(store, decide, NOW.wall)
    assert (refusal.value.exit_code, JOURNAL in str(refusal.value)) == (75, True)
    assert path.with_suffix(".moved").read_bytes() == before
    if not replaced:
        path.with_suffix(".moved").rename(path)
    assert state(store) is State.QUEUED
    assert list(store.append(Add(spec_of(store), ["true"]), NOW.wall)) == [2]


@pytest.mark.parametrize("spoiled", [True, False])
def test_the_hint_warns_if_a_failed_write_could_not_be_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch, spoiled: bool
) -> None:
    store.append(Add(spec_of(store), ["true"]), NOW.wall)
    real = write_all
    monkeypatch.setattr(writer, "sync", failing)
    monkeypatch.setattr(os, "ftruncate", failing)
    monkeypatch.setattr(
        writer, "write_all", lambda fd, data, at: real(fd, data, at) if spoiled or data != b"\0" else failing()
    )
    with pytest.raises(NotSaved) as refusal:
        store.append(Add(spec_of(store), ["true"]), NOW.wall)
    assert "check with 'jobq'" in refusal.value.hint
    if spoiled:
        monkeypatch.undo()
        assert store.read().jobs.keys() == {1}
        assert list(store.append(Add(spec_of(store), ["true"]), NOW.wall)) == [2]


def test_a_first_add_that_left_an_environment_and_no_journal_is_begun_anew(store: Store) -> None:
    digest = store.save_environment({"A": "1"})
    store.close()
    folder = Path(store.path)
    for name in ("journal.jsonl", "store.lock"):
        (folder / name).unlink(missing_ok=True)
    fresh = Store(store.path)
    assert fresh.save_environment({"A": "1"}) == digest
    fresh.close()


def test_a_foreign_folder_named_env_does_not_count_as_a_leftover(tmp_path: Path) -> None:
    (tmp_path / "project" / "env" / "bin").mkdir(parents=True)
    with pytest.raises(StoreForbidden, match="not a jobq store, and not empty"):
        assert Store(str(tmp_path / "project")).root


def test_stores_that_nobody_closes_use_up_no_descriptors(store: Store) -> None:
    store.append(Add(spec_of(store), ["true"]), NOW.wall)
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        again = Store(store.path)
        assert len(again.read().jobs) == 1
        with again.transaction(NOW.wall):
            pass
        del again
    assert len(os.listdir("/dev/fd")) <= before
