"""A worker's own folder: made when it registers, held by its lock, deleted when nothing in it is needed any more."""

from __future__ import annotations

import os
import time

from jobq.errors import NotSaved
from jobq.sealed import seal, to_json
from jobq.store.folder import MAKE_AGAIN, PRIVATE_FILE, Folder, make_private_dir, write_all
from jobq.store.lock import try_lock
from jobq.store.presence import ANY_JOB, LOCK, OWN_JOBS, SERVES, WAKEUP, WORKERS, is_alive, is_token
from jobq.system import hold_new, is_file_at, open_plain

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Collection

CUT_SHORT = 60.0  # seconds after which nobody still makes or removes a folder


def remove(path: str) -> None:
    """Delete a file, if it exists. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_folder(path: str) -> None:
    """Rename a worker's folder, so that it is no worker's any more, and delete it. `sweep` deletes the rest later."""
    gone = f"{os.path.dirname(path)}/.{os.path.basename(path)}"
    try:
        os.rename(path, gone)
    except OSError:
        return
    _delete(gone)


def _delete(path: str) -> None:
    import shutil  # noqa: PLC0415  # `jobq add` notifies, and deletes nothing

    shutil.rmtree(path, ignore_errors=True)


def sweep(root: Folder, wall: float) -> None:
    """Delete the rest of folders whose making or removal was interrupted. `wall`: wall-clock time now."""
    folder = root.existing(WORKERS)
    if folder is None:
        return
    try:
        for name in folder.names():
            old = (
                name.startswith(".")
                and is_token(name[1:])
                and os.stat(name, dir_fd=folder.fd).st_mtime < wall - CUT_SHORT
            )
            if old and not is_alive(root, name):
                _delete(f"{folder.path}/{name}")
    except OSError:
        pass  # the next sweep tries again
    finally:
        folder.close()


class Registration:
    """A worker's own folder, held for its life."""

    def __init__(
        self, root: Folder, *, own_jobs: bool = False, queues: Collection[str] | None = None, slots: int = 0
    ) -> None:
        """Register the worker; `queues` None: all. Raises NotSaved, StoreForbidden."""
        self._serves = {
            "queues": None if queues is None else sorted(set(queues)),
            "slots": slots,
            "pid": os.getpid(),
            "since": time.time(),
            "stopping": False,
        }
        self.token = (OWN_JOBS if own_jobs else ANY_JOB) + os.urandom(6).hex()
        self.root = root
        self._lock_fd = self.wakeup_fd = -1
        self.was_woken = False  # since somebody has looked
        self._register()

    def mend(self) -> bool:
        """Register again if a cleaner of old files deleted our folder or its files; return True if so.

        Then `wakeup_fd` has changed. Raises NotSaved, StoreForbidden.
        """
        lock, wakeup = f"{self.path}/{LOCK}", f"{self.path}/{WAKEUP}"
        if is_file_at(self._lock_fd, lock) and is_file_at(self.wakeup_fd, wakeup):
            return False
        old = (self._lock_fd, self.wakeup_fd)
        self._register()
        for fd in old:
            os.close(fd)
        return True

    def _register(self) -> None:
        """Make the folder and files that are missing; no other process sees the lock before it is held."""
        workers = self.root.sub(WORKERS)
        workers.close()
        self.path = f"{workers.path}/{self.token}"
        making = f"{workers.path}/.{self.token}"
        for tries_left in reversed(range(MAKE_AGAIN)):
            try:
                self._make(making)
                return
            except FileNotFoundError as e:  # swept away half made, by a process with a wrong clock
                _delete(making)
                if not tries_left:
                    raise NotSaved(self.path, e) from None
            except OSError as e:
                raise NotSaved(self.path, e) from None

    def _make(self, making: str) -> None:
        is_new = not os.path.isdir(self.path)
        if is_new:
            make_private_dir(making)
        folder = making if is_new else self.path
        self._describe(folder)
        lock = wakeup = -1
        try:
            lock = hold_new(f"{folder}/{LOCK}")
            remove(f"{folder}/.{WAKEUP}")
            os.mkfifo(f"{folder}/.{WAKEUP}", PRIVATE_FILE)
            os.chmod(f"{folder}/.{WAKEUP}", PRIVATE_FILE)  # whatever the umask
            # For writing too, so that a read never meets the end of the file.
            wakeup = os.open(f"{folder}/.{WAKEUP}", os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
            os.rename(f"{folder}/.{WAKEUP}", f"{folder}/{WAKEUP}")
            if is_new:
                os.rename(making, self.path)
        except OSError:
            for fd in {lock, wakeup} - {-1}:
                os.close(fd)
            raise
        self._lock_fd, self.wakeup_fd = lock, wakeup

    def _describe(self, path: str) -> None:
        """Write `serves`, all or nothing; not synced, as no worker outlives a power cut. Raises OSError."""
        new = f"{path}/.{SERVES}"
        remove(new)  # left over from a failed try
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE)
        try:
            os.fchmod(fd, PRIVATE_FILE)  # whatever the umask
            write_all(fd, seal(to_json(self._serves)[:-1].encode("ascii")), 0)
        finally:
            os.close(fd)
        os.rename(new, f"{path}/{SERVES}")

    def record_slots(self, count: int) -> None:
        """Record that the worker uses so many slots. Raises OSError."""
        self._serves["slots"] = count
        self._describe(self.path)

    def record_stop(self) -> None:
        """Record that the worker takes no more jobs. If the disk refuses it, the next call tries again."""
        if self._serves["stopping"]:
            return
        self._serves["stopping"] = True
        try:
            self._describe(self.path)
        except OSError:
            self._serves["stopping"] = False

    def drain(self) -> None:
        """Read all wakeups out of the FIFO."""
        try:
            while data := os.read(self.wakeup_fd, 4096):
                self.was_woken = True
                if len(data) < 4096:
                    break
        except BlockingIOError:
            pass

    def leave(self, *, remove: bool) -> None:
        """Release the lock; `remove` the folder if no supervisor needs it any more."""
        if remove:
            remove_folder(self.path)
        os.close(self.wakeup_fd)
        os.close(self._lock_fd)


class DeadWorkerLock:
    """The lock of a dead worker, held so that no other process recovers its jobs meanwhile."""

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def take(cls, root: Folder, token: str) -> DeadWorkerLock | None:
        """Take the lock; None if the worker lives, another process has it, or there is no plain file to lock."""
        path = f"{root.path}/{WORKERS}/{token}"
        try:
            fd = open_plain(f"{path}/{LOCK}", os.O_RDONLY)
        except OSError:
            return None
        if not try_lock(fd) or not os.path.exists(path):
            os.close(fd)
            return None
        return cls(path, fd)

    def close(self, *, remove: bool) -> None:
        """Release the lock; `remove` the folder if nothing in it is needed any more."""
        if remove:
            remove_folder(self.path)
        os.close(self._fd)
