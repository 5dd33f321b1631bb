"""The write lock: one contract for both ways to take it and for filelock alone; each excludes the others."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout, UnixFileLock

from jobq.errors import LockTimeout
from jobq.store.folder import Folder
from jobq.store.lock import ByFlock, StoreLock, is_held
from tests.conftest import wait_until

Make = Callable[[Path], Any]
HOLD = "import sys; from jobq.store.folder import Folder; from jobq.store.lock import ByFilelock, ByFlock, StoreLock\n" \
    "with StoreLock(Folder.create(sys.argv[1]), by=globals()[sys.argv[2]]):\n" \
    " print('held', flush=True); sys.stdin.read()"  # fmt: skip


def full(path: Path) -> StoreLock:
    return StoreLock(Folder.create(str(path)), timeout=0.05)


def light(path: Path) -> StoreLock:
    return StoreLock(Folder.create(str(path)), timeout=0.05, by=ByFlock)


def filelocks(path: Path) -> UnixFileLock:
    Folder.create(str(path)).close()
    return UnixFileLock(path / StoreLock.NAME, timeout=0.05, mode=0o600, fallback_to_soft=False, poll_interval=0.002)


@pytest.mark.parametrize("first", [full, light, filelocks])
@pytest.mark.parametrize("second", [full, light, filelocks])
def test_one_holder_at_a_time(tmp_path: Path, first: Make, second: Make) -> None:
    with first(tmp_path / "s"):
        with pytest.raises((LockTimeout, Timeout)), second(tmp_path / "s"):
            pytest.fail("a second holder was let in")
        assert is_held(Folder.create(str(tmp_path / "s")), StoreLock.NAME)
    with second(tmp_path / "s"):
        pass
    assert not is_held(Folder.create(str(tmp_path / "s")), StoreLock.NAME)
    assert (tmp_path / "s" / StoreLock.NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [full, light, filelocks])
@pytest.mark.parametrize("by", ["ByFilelock", "ByFlock"])
def test_a_killed_holder_releases_the_lock(tmp_path: Path, make: Make, by: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "s"), by], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises((LockTimeout, Timeout)) as refusal, make(tmp_path / "s"):
        pytest.fail("a second holder was let in")
    if make is not filelocks:
        assert f"process {holder.pid}" in str(refusal.value)
    holder.kill()
    holder.communicate()
    with make(tmp_path / "s"):
        pass


@pytest.mark.parametrize("ours", [full, light])
def test_a_lock_whose_file_was_replaced_uses_the_new_file(tmp_path: Path, ours: Make) -> None:
    lock = ours(tmp_path / "s")
    with lock:
        path = tmp_path / "s" / StoreLock.NAME
        path.unlink()
        path.touch(0o600)
    with lock, pytest.raises(LockTimeout), ours(tmp_path / "s"):
        pytest.fail("the old file was taken for the lock")


@pytest.mark.parametrize("ours", [full, light])
def test_removing_or_emptying_the_lock_file_lets_nobody_in(tmp_path: Path, ours: Make) -> None:
    path = tmp_path / "s" / StoreLock.NAME
    for again in (path.unlink, lambda: path.rename(tmp_path / "elsewhere"), lambda: path.write_text("")):
        with ours(tmp_path / "s"):
            again()
            with pytest.raises(LockTimeout) as refusal, ours(tmp_path / "s"):
                pytest.fail("a second holder was let in")
            assert f"process {os.getpid()}" in str(refusal.value)
        with ours(tmp_path / "s"):
            pass


def test_every_waiting_thread_gets_the_lock(tmp_path: Path) -> None:
    folder = Folder.create(str(tmp_path / "s"))
    order: list[int] = []

    def work(n: int) -> None:
        with StoreLock(folder, timeout=20):
            order.append(n)

    with StoreLock(folder):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
        for thread in threads:
            thread.start()
        assert order == []
    wait_until(lambda: len(order) == 10)
    assert len(os.listdir(tmp_path / "s")) == 1


@pytest.mark.parametrize("ours", [full, light])
def test_a_lock_that_the_system_does_not_release_goes_with_its_file(
    tmp_path: Path, ours: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, other = ours(tmp_path), full(tmp_path)
    real = fcntl.flock

    def failing(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_UN:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
        real(fd, operation)

    lock.acquire(1.0)
    monkeypatch.setattr(fcntl, "flock", failing)
    lock.release()
    monkeypatch.undo()
    lock.close()
    fcntl.flock(lock._folder.fd, fcntl.LOCK_UN)  # as a process that ends does
    other.acquire(1.0)
    other.release()
    lock.acquire(1.0)
    lock.release()
