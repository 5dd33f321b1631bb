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
from jobq.store.folder import PRIVATE_FILE, Folder

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from filelock import UnixFileLock

POLL_S = 0.002
UNUSABLE: list[UnixFileLock] = []  # locks that could not be released
FILES_ONLY = frozenset({errno.EBADF, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})  # some disks can't lock directories


class ByFilelock:
    """The lock of a file, by filelock: how the full program takes it."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.fd = -1  # of the file while the lock is held
        self._folder = folder
        self._name = name
        self._lock: UnixFileLock | None = None

    def take(self) -> bool:
        """Take the lock without waiting; return False if it is held. Raises OSError, Planted."""
        from filelock import Timeout, UnixFileLock  # noqa: PLC0415  # 20 ms: only those who change something pay for it

        if not os.path.samestat(os.stat(self._folder.path), os.fstat(self._folder.fd)):
            raise OSError(errno.ESTALE, "another directory is at its path now")
        # Else filelock, which knows only the path, would make a directory in the place of one that was moved away.
        if self._lock is None:
            os.close(self._folder.file(self._name, os.O_RDWR | os.O_CREAT))  # ours and private, whoever made it
            path = f"{self._folder.path}/{self._name}"
            self._lock = UnixFileLock(
                path, mode=PRIVATE_FILE, thread_local=False, fallback_to_soft=False, on_acquired=self._is_held_by
            )
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            return False
        return True

    def _is_held_by(self, fd: int) -> None:
        self.fd = fd

    def release(self) -> None:
        """Release the lock, if it is held. What it protected is done: an error here is none of the caller's."""
        fd, self.fd = self.fd, -1
        if self._lock is None:
            return
        try:
            self._lock.release()
        except OSError:
            # The lock goes with its open file. The descriptor is filelock's, so it gets another file.
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, fd, inheritable=False)
            os.close(null)
            UNUSABLE.append(self._lock)  # it would try again when it is deleted, and complain
            self._lock = None

    def close(self) -> None:
        """Release the lock, and look at the path anew next time."""
        self.release()
        self._lock = None


class ByFlock:
    """The same lock by flock(2) itself: for `add`, which has no time to load filelock."""

    def __init__(self, folder: Folder, name: str) -> None:
        self.fd = -1
        self._folder = folder
        self._name = name

    def take(self) -> bool:
        """Take the lock without waiting; return False if it is held. Raises OSError, Planted."""
        if self.fd < 0:
            self.fd = self._folder.file(self._name, os.O_RDWR | os.O_CREAT)
        return try_lock(self.fd)

    def release(self) -> None:
        """Release the lock, if it is held."""
        try:
            if self.fd >= 0:
                fcntl.flock(self.fd, fcntl.LOCK_UN)
        except OSError:
            self.close()

    def close(self) -> None:
        """Close the descriptor, which also releases the lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class StoreLock:
    """The exclusive right to write to the store, as a context manager; not reentrant, one holder per object.

    It is two locks. Other versions and other programs know only the lock of the file `store.lock`. A writer that holds
    it also locks the directory of the store itself: if the file is deleted or replaced meanwhile, the next writer locks
    another file, but the lock of the directory still stops it. So two writers that do this never overlap. A writer of
    an older version still can, because it locks only the file.
    """

    NAME = "store.lock"

    def __init__(
        self,
        folder: Folder,
        timeout: float = 10.0,
        in_a_hurry: Callable[[], bool] = lambda: False,
        by: type[ByFilelock | ByFlock] = ByFilelock,
    ) -> None:
        """`in_a_hurry` is called while waiting; it returns True to stop waiting. `by`: how the file is locked."""
        self._folder = folder
        self._file = by(folder, self.NAME)
        self.in_a_hurry = in_a_hurry
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
        while not self._take():
            if time.monotonic() >= deadline or self.in_a_hurry():
                raise LockTimeout(f"{self._folder.path}/{self.NAME}", timeout, self._holder())
            time.sleep(POLL_S)

    def _take(self) -> bool:
        """Take both locks without waiting, or none."""
        try:
            taken = self._file.take()
        except (OSError, NotImplementedError) as e:  # the latter: a filesystem that can't lock files
            cause = e if isinstance(e, OSError) else OSError(errno.ENOLCK, str(e))
            raise NotSaved(f"{self._folder.path}/{self.NAME}", cause) from None
        if not taken:
            return False
        try:
            self.held = try_lock(self._folder.fd)
        except OSError as e:
            if e.errno not in FILES_ONLY:
                raise
            self.held = True
        finally:
            if not self.held:
                self._file.release()
        if self.held and not self._folder.holds(self.NAME, self._file.fd):
            self.release()
            self._file.close()  # the file was replaced: older versions lock the new one
        return self.held

    def _holder(self) -> str:
        try:
            file = os.stat(self.NAME, dir_fd=self._folder.fd, follow_symlinks=False).st_ino
        except OSError:
            file = 0
        return holder(file, os.fstat(self._folder.fd).st_ino)

    def release(self) -> None:
        """Release both locks."""
        self.held = False
        try:
            fcntl.flock(self._folder.fd, fcntl.LOCK_UN)  # first: the next writer takes it after the file's lock
        except OSError:
            pass  # a filesystem that can't lock directories
        self._file.release()

    def close(self) -> None:
        """Release the lock of the file, and its descriptor."""
        self._file.close()


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


def holder(*inodes: int) -> str:
    """Return the holder of a lock on one of these files, for messages: "process 123", or "another process"."""
    try:
        with open("/proc/locks", encoding="ascii") as f:
            for line in f:
                fields = line.split()
                if "->" not in fields and fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) in inodes:
                    return f"process {fields[4]}"
    except (OSError, ValueError, IndexError):
        pass
    return "another process"
