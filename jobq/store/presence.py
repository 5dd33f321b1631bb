"""Worker folders: they show which workers are alive and what they serve, and let other processes wake them.

    workers/<token>/lock     held by the worker for its life: a worker is alive if and only if it is held
    workers/<token>/bell     a FIFO; a byte in it wakes the worker
    workers/<token>/serves   the worker's description of itself, one sealed line:
                             {"queues":null|[...],"slots":4,"pid":7,"since":1.5,"stopping":false}
    workers/<token>/slots, stop   what it was told: {"order":8}, {"order":"leave"}, sealed
    workers/<token>/<k>.*    files of its supervisors (see jobq/supervisor)
    workers/<token>/child.py  its copies of this and other scripts that call functions (see jobq/engine/local/caller.py)

Workers of older versions have no `serves`. A worker whose `serves` can't be read counts as serving every queue.
A token starts with "w" for a worker that takes any job, with "r" for one that only works for its own `jobq run`.
"""

from __future__ import annotations

import os

from jobq.errors import NotSaved, Planted, StoreError
from jobq.rules.serving import LiveWorker
from jobq.sealed import from_json, is_whole, seal, to_json
from jobq.store.folder import Folder, write_all
from jobq.store.lock import is_held
from jobq.system import LockRecord, is_suspended, open_fifo, open_plain

WORKERS = "workers"
LOCK = "lock"
WAKEUP = "bell"
SERVES = "serves"
SLOTS, STOP = "slots", "stop"
LEAVE, HAND_BACK = "leave", "hand back"  # how to stop
MOST_SERVES = 1 << 20  # bytes of a `serves` file that are read
ANY_JOB = "w"
OWN_JOBS = "r"


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
    record = _sealed(root, f"{WORKERS}/{token}/{SERVES}")
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


def order(root: Folder, token: str, name: str, value: int | str) -> None:
    """Tell a worker its number of SLOTS from now on, or how to STOP, and wake it. Raises NotSaved."""
    path = f"{WORKERS}/{token}/{name}"
    try:
        fd = root.file(path, os.O_WRONLY | os.O_CREAT)
        try:
            write_all(fd, seal(to_json({"order": value})[:-1].encode("ascii")), 0)
        finally:
            os.close(fd)
    except OSError as e:
        raise NotSaved(f"{root.path}/{path}", e) from None
    notify_one(root, token)


def ordered(root: Folder, token: str, name: str) -> object:
    """Return what a worker was told last, None if it was not."""
    record = _sealed(root, f"{WORKERS}/{token}/{name}")
    return record.get("order") if isinstance(record, dict) else None


def _sealed(root: Folder, path: str) -> object:
    """Return the sealed line at the beginning of a file; None if there is none, or none that can be read."""
    try:
        fd = open_plain(path, os.O_RDONLY, dir_fd=root.fd)
    except OSError:
        return None
    try:
        line = os.read(fd, MOST_SERVES).partition(b"\n")[0]
        return from_json(line.decode("ascii")) if is_whole(line) else None
    except (OSError, ValueError, RecursionError):
        return None
    finally:
        os.close(fd)


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
