"""What supervisors leave in the worker's folder, read from outside: whether one lives, and how its attempt ended.

Used for the worker's own supervisors after their death, and for those of a dead worker.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import time
from typing import NamedTuple

from jobq import system
from jobq.engine.task import Key
from jobq.job import Attempt, Ending, Outcome, Record
from jobq.records import BadRecord, read_ending
from jobq.store.folder import read_all
from jobq.store.journal import BadLine, decode_line
from jobq.store.lock import try_lock
from jobq.supervisor import tree

KILL_ROUNDS = 1000
KILL_PAUSE = 0.002  # seconds between two of them
BLIND = {
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}  # nothing is seen then, but may be there
CLEAN_LOOKS = 3  # what forks just then may be missed by one
NAMED = re.compile(rb'"id":(\d+),"n":(\d+),')
TORN = "torn"  # a line that can't be read: whatever it said is not known


class Supervision(NamedTuple):
    """The files of one supervisor."""

    folder: str  # of the worker that started it
    slot: str

    @classmethod
    def named(cls, workers: str, name: str) -> Supervision:
        """From "token/slot", as an attempt records it; `workers` is the folder of all worker folders."""
        token, _, slot = name.partition("/")
        return cls(f"{workers}/{os.path.basename(token)}", os.path.basename(slot))

    def lock_if_dead(self) -> int | None:
        """Its lock, taken, if it is dead (-1 if it never had one); None while it lives."""
        try:
            fd = os.open(f"{self.folder}/{self.slot}.lock", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return -1
        try:
            taken = try_lock(fd)
        except OSError:
            os.close(fd)
            raise
        if taken:
            return fd
        os.close(fd)
        return None

    def is_alive(self) -> bool:
        """Whether it holds its lock."""
        lock = self.lock_if_dead()
        if lock is not None and lock >= 0:
            os.close(lock)
        return lock is None

    def pid(self) -> int | None:
        """Its process, as long as it lives."""
        try:
            with open(system.open_plain(f"{self.folder}/{self.slot}.lock", os.O_RDONLY), encoding="ascii") as f:
                return int(f.read())
        except (OSError, ValueError):
            return None

    def order(self, text: str) -> bool:
        """Write an order to its control FIFO; False if it does not listen any more."""
        try:
            fd = os.open(f"{self.folder}/{self.slot}.ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            os.write(fd, f"{text}\n".encode("ascii"))
        except OSError:
            return False
        finally:
            os.close(fd)
        self._wake()
        return True

    def _wake(self) -> None:
        """A supervisor that its own job has stopped must hear the order: CONT, sent to no stranger."""
        pid = self.pid()
        if pid is None or not hasattr(os, "pidfd_open"):
            return
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if self.is_alive():  # after the handle was made: so it is its own
                signal.pidfd_send_signal(handle, signal.SIGCONT)
        except OSError:
            pass
        finally:
            os.close(handle)

    def events(self, key: Key) -> dict[str, Record]:
        """What it has noted of that attempt, by event; a torn last line is left out."""
        try:
            fd = os.open(f"{self.folder}/{self.slot}.ends", os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return {}
        try:
            data = read_all(fd)
        finally:
            os.close(fd)
        noted: dict[str, Record] = {}
        lines = data.split(b"\n")
        for at, raw in enumerate(lines, 1):
            try:
                record = decode_line(raw)
            except BadLine:
                # One that was cut off says truly whom it is about; one that was damaged might have named this attempt.
                named = NAMED.search(raw) if at == len(lines) else None
                if raw and (named is None or (int(named[1]), int(named[2])) == key):
                    noted[TORN] = {}
                continue
            if (record.get("id"), record.get("n")) != key:
                continue
            if record.get("event") == "start":
                noted.clear()  # what is before is a try at the same attempt that came to nothing
            noted[str(record.get("event"))] = record
        return noted


NO_ENDING = {"event", "id", "n", "claim", "crc"}
NOT_STARTED = Ending(Outcome.INTERRUPTED, error="it was not started", counted=False)


def ending_from(record: Record) -> Ending:
    """The ending in an "end" record of a supervisor. Raises BadRecord."""
    return read_ending({name: value for name, value in record.items() if name not in NO_ENDING})


def noted_ending(noted: dict[str, Record], attempt: Attempt) -> Ending | None:
    """How a live supervisor, busy with another job by now, has noted that this claim of the attempt is over."""
    for event in ("end", "not_started"):
        record = noted.get(event, {})
        if record.get("claim") == attempt.claimed_at:
            return NOT_STARTED if event == "not_started" else ending_from(record)
    return None


def of_this_claim(noted: dict[str, Record], attempt: Attempt) -> dict[str, Record]:
    """Without what was noted of an earlier claim of the attempt, which came to nothing (older versions name none)."""
    claim = attempt.claimed_at
    return {event: record for event, record in noted.items() if record.get("claim", claim) == claim}


def settle(supervision: Supervision, attempt: Attempt, key: Key, store: str, lock: int) -> Ending | None:
    """How the attempt of a dead supervisor ended; what is left of its processes is killed first.

    The caller holds the supervisor's `lock` and keeps it until the ending is recorded; -1: there is none. Only a
    supervisor whose files are there, whole, of this boot, and without a start, has not started the job. None: there
    still are processes of it, so that it is not over.
    """
    noted = of_this_claim(supervision.events(key), attempt)
    if "end" in noted:
        try:
            return ending_from(noted["end"])
        except BadRecord:
            pass
    same_boot = attempt.boot_id in {"", system.boot_id()}
    if "not_started" in noted or (lock >= 0 and same_boot and not noted.keys() & {"start", TORN}):
        return NOT_STARTED
    started = noted.get("start", {})
    if same_boot and not kill_leftovers(key, store, noted.get("pid")):
        return None
    return Ending(Outcome.LOST, error="its supervisor died", started_at=started.get("at"), ended_at=time.time())


def kill_leftovers(key: Key, store: str, spawned: Record | None) -> bool:
    """KILL every process of an attempt whose supervisor is dead, until several looks see none; whether that was so.

    They are known by the variables in their environment, by the session of the main process, and as children of those.
    """
    clean = 0
    for _ in range(KILL_ROUNDS):
        found = _marked(key, store) | _session(spawned)
        if found:
            found |= tree.descendants(*(pid for pid, _ in found)) or set()
        found -= tree.kill_all(found)  # what is another user's by now, nobody else can end
        clean = 0 if found else clean + 1
        if clean == CLEAN_LOOKS:
            return True
        time.sleep(KILL_PAUSE)
    return False


def _marked(key: Key, store: str) -> set[tree.Process]:
    wanted = {f"JOBQ_JOB_ID={key.job_id}".encode(), f"JOBQ_JOB_ATTEMPT={key.n}".encode()}
    found = set()
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                variables = set(f.read().split(b"\0"))
        except OSError as e:
            if e.errno in BLIND:
                raise
            continue
        if wanted <= variables and any(_same_store(variable, store) for variable in variables):
            stat = tree.read_stat(pid)
            if stat is not None and not stat[2]:
                found.add((pid, stat[1]))
    return found


def _same_store(variable: bytes, store: str) -> bool:
    name, _, path = variable.partition(b"=")
    if name != b"JOBQ_STORE":
        return False
    try:
        return os.path.samefile(path, store)
    except OSError:
        return False


def _session(spawned: Record | None) -> set[tree.Process]:
    """Members of the session of the main process; its number is not given away as long as there are any."""
    if spawned is None:
        return set()
    leader, ticks = spawned.get("pid"), os.sysconf("SC_CLK_TCK")
    found = set()
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
            started = int(fields[19])
            if int(fields[3]) != leader or fields[0] in {b"Z", b"X"}:
                continue
        except (OSError, ValueError, IndexError) as e:
            if getattr(e, "errno", 0) in BLIND:
                raise
            continue
        at = started / ticks
        if at < spawned["from"] - 0.05 or (pid == leader and at > spawned["to"] + 0.05):
            return set()  # the number went to a stranger
        found.add((pid, started))
    return found


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError as e:
        if e.errno in BLIND:
            raise
        return []
