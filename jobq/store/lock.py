"""flock(2) locks: the store's one write lock, and the locks whose being held means that a process is alive.

A flock belongs to the open file description: it goes with the last descriptor, however the process dies, so it is
never handed to a child (all descriptors are close-on-exec). The lock files are never unlinked while the store lives.
Waiting polls, because a blocking flock can't be given a time limit in a process that may have threads.
"""

from __future__ import annotations

import fcntl
import os
import time

from jobq.errors import LockTimeout, NotSaved
from jobq.store.folder import Folder

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from types import TracebackType

POLL_S = 0.002


class StoreLock:
    """The exclusive right to write to the store, as a context manager; not reentrant, one holder an object."""

    NAME = "store.lock"

    def __init__(self, folder: Folder, timeout: float = 10.0) -> None:
        self._folder = folder
        self._fd = -1
        self.timeout = timeout  # seconds

    def __enter__(self) -> StoreLock:
        deadline = time.monotonic() + self.timeout
        while True:
            if self._fd < 0:
                self._fd = self._open()
            if try_lock(self._fd):
                if self._is_at_its_path():
                    return self
                self.close()  # the file was replaced: what we hold guards nothing
            elif time.monotonic() >= deadline:
                path = f"{self._folder.path}/{self.NAME}"
                raise LockTimeout(path, self.timeout, holder(self._fd))
            else:
                time.sleep(POLL_S)

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError:
            self.close()

    def _open(self) -> int:
        try:
            return self._folder.file(self.NAME, os.O_RDWR | os.O_CREAT)
        except OSError as e:
            raise NotSaved(f"{self._folder.path}/{self.NAME}", e) from None

    def _is_at_its_path(self) -> bool:
        try:
            there = os.stat(self.NAME, dir_fd=self._folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._fd))

    def close(self) -> None:
        """Release the descriptor, and the lock with it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock if that needs no waiting. A shared try only asks: two askers do not disturb each other."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(folder: Folder, name: str) -> bool:
    """Whether a live process holds the lock file `name`. A missing file is held by nobody."""
    try:
        fd = folder.file(name, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def holder(fd: int) -> str:
    """Who holds the lock of this file, for messages: "process 123", or "another process"."""
    inode = os.fstat(fd).st_ino
    try:
        with open("/proc/locks", encoding="ascii") as f:
            for line in f:
                fields = line.split()
                if "->" not in fields and fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                    return f"process {fields[4]}"
    except (OSError, ValueError, IndexError):
        pass
    return "another process"
