"""Worker folders: they show which workers are alive and what they serve, and let other processes wake them.

    workers/<token>/lock     held by the worker for its life: a worker is alive if and only if it is held
    workers/<token>/bell     a FIFO; a byte in it wakes the worker
    workers/<token>/serves   the worker's description of itself, one sealed line:
                             {"queues":null|[...],"slots":4,"pid":7,"since":1.5,"stopping":false}
    workers/<token>/<k>.*    files of its supervisors (see jobq/supervisor)
    workers/<token>/child.py  its copy of the script that calls functions (see jobq/engine/local/caller.py)

Workers of older versions have no `serves`. A worker whose `serves` can't be read counts as serving every queue.
A token starts with "w" for a worker that takes any job, with "r" for one that only works for its own `jobq run`.
"""

from __future__ import annotations

import os
import time

from jobq.errors import NotSaved, Planted, StoreError
from jobq.rules.serving import LiveWorker
from jobq.sealed import from_json, is_whole, seal, to_json
from jobq.store.folder import MAKE_AGAIN, PRIVATE_FILE, Folder, make_private_dir, write_all
from jobq.store.lock import is_held, try_lock
from jobq.system import LockRecord, hold_new, is_file_at, is_suspended, open_fifo, open_plain

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Collection

WORKERS = "workers"
LOCK = "lock"
WAKEUP = "bell"
SERVES = "serves"
MOST_SERVES = 1 << 20  # bytes of a `serves` file that are read
ANY_JOB = "w"
OWN_JOBS = "r"
CUT_SHORT = 60.0  # seconds after which nobody still makes or removes a folder


def is_token(name: str) -> bool:
    """Return True if `name` has the form of a worker's token; other names there are not jobq's."""
    return len(name) == 13 and name[0] in {ANY_JOB, OWN_JOBS} and not name[1:].strip("0123456789abcdef")


def tokens(root: Folder) -> list[str]:
    """Return the tokens of all worker folders, of live and dead workers."""
    folder = root.existing(WORKERS)
    if folder is None:
        return []
    try:
        return [name for name in folder.names() if is_token(name)]
    finally:
        folder.close()


def is_alive(root: Folder, token: str) -> bool:
    """Return True if the worker holds its lock."""
    workers = root.existing(WORKERS)
    if workers is None:
        return False
    folder = workers.existing(token)
    workers.close()
    if folder is None:
        return False
    try:
        return is_held(folder, LOCK)
    except Planted:
        return False  # unknown; `DeadWorkerLock` leaves the folder alone until that is moved away
    finally:
        folder.close()


def alive(root: Folder) -> list[str]:
    """Return the tokens of the live workers that take any job."""
    return [token for token in tokens(root) if token.startswith(ANY_JOB) and is_alive(root, token)]


def live(root: Folder) -> list[LiveWorker]:
    """Return the live workers that take any job, with what each serves."""
    return [described(root, token) for token in alive(root)]


def described(root: Folder, token: str) -> LiveWorker:
    """Return the worker as it describes itself; it serves every queue if that can't be read."""
    try:
        fd = open_plain(f"{WORKERS}/{token}/{SERVES}", os.O_RDONLY, dir_fd=root.fd)
    except OSError:
        return LiveWorker(token)
    try:
        line = os.read(fd, MOST_SERVES).removesuffix(b"\n")
        record = from_json(line.decode("ascii")) if is_whole(line) else None
    except (OSError, ValueError, RecursionError):
        return LiveWorker(token)
    finally:
        os.close(fd)
    match record:
        case {
            "queues": None | list() as queues,
            "slots": int() as slots,
            "pid": int() as pid,
            "since": int() | float() as since,
            "stopping": bool() as stopping,
        } if queues is None or all(isinstance(queue, str) for queue in queues):
            suspended = is_suspended(pid) and _lock_record(root, token, "pid") is not None
            return LiveWorker(
                token, queues=queues, slots=slots, pid=pid, since=since, stopping=stopping, suspended=suspended
            )
    return LiveWorker(token)


def is_copied(root: Folder, token: str) -> bool:
    """Return True if the worker's folder is a copy: the worker belongs to the store that this one was copied from."""
    return bool(_lock_record(root, token, "is_copy"))


def _lock_record(root: Folder, token: str, field: str) -> object:
    """Return a field of the record in the worker's lock file; None where there is none."""
    try:
        fd = open_plain(f"{WORKERS}/{token}/{LOCK}", os.O_RDONLY, dir_fd=root.fd)
    except OSError:
        return None
    try:
        return getattr(LockRecord(fd), field)
    except OSError:
        return None
    finally:
        os.close(fd)


def notify(root: Folder) -> None:
    """Wake every worker. Never raises, even if no worker listens or a FIFO is full: the change is already saved."""
    try:
        for token in tokens(root):
            notify_one(root, token)
    except (OSError, StoreError):
        pass  # workers read the store by themselves after a while


def notify_one(root: Folder, token: str) -> bool:
    """Wake one worker; return False if no process reads its FIFO."""
    try:
        fd = open_fifo(f"{WORKERS}/{token}/{WAKEUP}", dir_fd=root.fd)
    except OSError:
        return False
    try:
        os.write(fd, b"!")
    except OSError:
        pass
    finally:
        os.close(fd)
    return True


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

    def is_stopping(self) -> None:
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
            while len(os.read(self.wakeup_fd, 4096)) == 4096:
                pass
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
