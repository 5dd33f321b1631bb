"""flock(2) locks: the store's one write lock, and the locks that processes hold for as long as they live.

A flock belongs to the open file description. The kernel releases it with the last descriptor, however the process dies,
so no child may inherit one (all descriptors are close-on-exec). The store's own lock files are never unlinked.
Waiting polls, because a blocking flock can't be given a time limit in a process that may have threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time

from jobq.errors import LockTimeout, NotSaved
from jobq.store.folder import Folder

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

POLL_S = 0.002
FILES_ONLY = frozenset({errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})  # some disks can't lock directories


class StoreLock:
    """The exclusive right to write to the store, as a context manager; not reentrant, one holder per object.

    It is two locks. Other versions and other programs know only the lock of the file `store.lock`. A writer that holds
    it also locks the directory of the store itself: if the file is deleted or replaced meanwhile, the next writer locks
    another file, but the lock of the directory still stops it. So two writers that do this never overlap. A writer of
    an older version still can, because it locks only the file.
    """

    NAME = "store.lock"

    def __init__(self, folder: Folder, timeout: float = 10.0, in_a_hurry: Callable[[], bool] = lambda: False) -> None:
        """`in_a_hurry` is called while waiting; it returns True to stop waiting."""
        self._folder = folder
        self.in_a_hurry = in_a_hurry
        self._fd = -1
        self.timeout = timeout  # seconds
        self.held = False

    def __enter__(self) -> StoreLock:
        self.acquire(self.timeout)
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.release()

    def acquire(self, timeout: float) -> None:
        """Wait for the lock, at most `timeout` seconds. Raises LockTimeout, NotSaved, StoreForbidden."""
        deadline = time.monotonic() + timeout
        while True:
            if self._fd < 0:
                self._fd = self._open()
            busy = self._try()
            if busy is None:
                if self._folder.holds(self.NAME, self._fd):
                    return
                self.release()
                self.close()  # the file was replaced: older versions lock the new one
            elif time.monotonic() >= deadline or self.in_a_hurry():
                raise LockTimeout(f"{self._folder.path}/{self.NAME}", timeout, holder(busy))
            else:
                time.sleep(POLL_S)

    def _try(self) -> int | None:
        """Take both locks without waiting and return None, or take none and return the descriptor that is locked."""
        if not try_lock(self._fd):
            return self._fd
        try:
            self.held = try_lock(self._folder.fd)
        except OSError as e:
            if e.errno not in FILES_ONLY:
                raise
            self.held = True
        finally:
            if not self.held:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        return None if self.held else self._folder.fd

    def release(self) -> None:
        """Release both locks."""
        self.held = False
        try:
            fcntl.flock(self._folder.fd, fcntl.LOCK_UN)  # first: the next writer takes it after the file's lock
        except OSError:
            pass  # a filesystem that can't lock directories
        try:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError:
            self.close()

    def _open(self) -> int:
        try:
            return self._folder.file(self.NAME, os.O_RDWR | os.O_CREAT)
        except OSError as e:
            raise NotSaved(f"{self._folder.path}/{self.NAME}", e) from None

    def close(self) -> None:
        """Close the descriptor, which also releases the lock of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Take the lock without waiting; return False if it is held. Shared tries do not block each other."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(folder: Folder, name: str) -> bool:
    """Return True if a live process holds the lock file `name`; False if there is no such file. Raises Planted."""
    try:
        fd = folder.file(name, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def holder(fd: int) -> str:
    """Return the holder of this file's lock for messages: "process 123", or "another process"."""
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
