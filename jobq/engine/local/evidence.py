"""What supervisors leave in the worker's folder, read from outside: whether one lives, and how its attempt ended.

Used for the worker's own supervisors after their death, and for those of a dead worker.
"""

from __future__ import annotations

import os
import re
import signal
import time
from typing import NamedTuple

from jobq import system
from jobq.command import Record
from jobq.engine.task import Key, Trace
from jobq.errors import Planted
from jobq.job import Attempt, Ending, Outcome
from jobq.options.values import COUNT
from jobq.store.folder import open_checked, read_all
from jobq.store.journal import BadLine, decode_line
from jobq.store.lock import try_lock
from jobq.store.records import CLOCK, MISFITS, TIME, read_ending
from jobq.supervisor import tree
from jobq.supervisor.mark import VARIABLE, wearers, wears

STUCK_AFTER = 5.0  # seconds after which what can't be ended is told of, and takes no slot any more
KILL_SECONDS = 0.2  # seconds that are spent at a time on what is left of an attempt
KILL_PAUSE = 0.002  # seconds between two looks
CLEAN_LOOKS = 3  # what forks just then may be missed by one
NAMED = re.compile(rb'"id":(\d+),"n":(\d+),')
TORN = "torn"  # a line that can't be read: whatever it said is not known
MISSING = -1  # there is no lock file
COPIED = -2  # the lock file is a copy, and so is the store perhaps: it tells nothing of the supervisor


class SupervisorFiles(NamedTuple):
    """The files of one supervisor."""

    folder: str  # of the worker that started it
    slot: str

    @classmethod
    def named(cls, workers: str, name: str) -> SupervisorFiles:
        """From "token/slot", as an attempt records it; `workers` is the folder of all worker folders."""
        token, _, slot = name.partition("/")
        return cls(f"{workers}/{os.path.basename(token)}", os.path.basename(slot))

    def lock_if_dead(self) -> int | None:
        """Its lock, taken, if it is dead; MISSING or COPIED if the file does not tell; None while it lives."""
        try:
            fd = open_checked(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except (FileNotFoundError, Planted):
            return MISSING  # or there is something else, which tells no more
        try:
            lock = (COPIED if system.LockRecord(fd).is_copy else fd) if try_lock(fd) else None
        except OSError:
            os.close(fd)
            raise
        if lock != fd:
            os.close(fd)
        return lock

    def may_run(self) -> bool:
        """Whether its process is there, by its command line; for when the lock does not tell. Raises OSError."""
        if not tree.proc_is_ours():
            return True
        wanted = f"/{os.path.basename(self.folder)}\0{self.slot}\0".encode()
        return any(wanted in tree.read_proc(pid, "cmdline") for pid in tree.pids())

    def is_alive(self) -> bool:
        """Whether it holds its lock. Two who only ask do not disturb each other."""
        try:
            fd = open_checked(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except (FileNotFoundError, Planted):
            return False
        try:
            return not try_lock(fd, shared=True)
        finally:
            os.close(fd)

    def pid(self) -> int | None:
        """Its process, as long as it lives and has a number here."""
        try:
            fd = system.open_plain(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            return system.LockRecord(fd).pid
        finally:
            os.close(fd)

    def order(self, text: str) -> bool:
        """Write an order to its control FIFO; False if it does not listen any more."""
        try:
            fd = system.open_fifo(f"{self.folder}/{self.slot}.ctl")
        except OSError:
            return False
        try:
            os.write(fd, f"{text}\n".encode("ascii"))
        except OSError:
            return False
        finally:
            os.close(fd)
        self.keep_going()
        return True

    def keep_going(self) -> None:
        """Continue the process if its job, or anybody, has stopped it (SIGSTOP); CONT is sent to no stranger."""
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
        """What it has recorded of that attempt, by event; a torn last line is left out."""
        try:
            fd = open_checked(f"{self.folder}/{self.slot}.ends", os.O_RDONLY)
        except FileNotFoundError:
            return {}
        except Planted:
            return {TORN: {}}
        try:
            data = read_all(fd)
        finally:
            os.close(fd)
        recorded: dict[str, Record] = {}
        lines = data.split(b"\n")
        for at, raw in enumerate(lines, 1):
            try:
                record = decode_line(raw)
            except BadLine:
                # One that was cut off says truly whom it is about; one that was damaged might have named this attempt.
                named = NAMED.search(raw) if at == len(lines) else None
                if raw and (named is None or (int(named[1]), int(named[2])) == key):
                    recorded[TORN] = {}
                continue
            if (record.get("id"), record.get("n")) != key:
                continue
            if not _fits(record):
                recorded[TORN] = {}
                continue
            if record.get("event") == "start":
                recorded.clear()  # what is before is a try at the same attempt that came to nothing
            recorded[str(record.get("event"))] = record
        return recorded


def _fits(record: Record) -> bool:
    """Whether this is what a supervisor notes: it may be acted on, and recorded."""
    match record:
        case {"event": "start", "at": at}:
            return TIME.allows(at) and type(record.get("mark", 0)) is int
        case {"event": "pid", "pid": pid, "from": begun, "to": over}:
            return COUNT.allows(pid) and CLOCK.allows(begun) and CLOCK.allows(over)
        case {"event": "end"}:
            try:
                ending_from(record)
            except MISFITS:
                return False
            return True
        case {"event": str() as event}:
            return event not in {"start", "pid"}  # what a later version notes beside
    return False


NO_ENDING = {"event", "id", "n", "claim", "crc"}
NOT_STARTED = Ending(Outcome.INTERRUPTED, error="it was not started", counted=False)


def ending_from(record: Record) -> Ending:
    """The ending in an "end" record of a supervisor. Raises BadRecord."""
    return read_ending({name: value for name, value in record.items() if name not in NO_ENDING})


def recorded_ending(recorded: dict[str, Record], attempt: Attempt) -> Ending | None:
    """How a live supervisor, busy with another job by now, has recorded that this claim of the attempt is over."""
    for event in ("end", "not_started"):
        record = recorded.get(event, {})
        if record.get("claim") == attempt.claimed_at:
            return NOT_STARTED if event == "not_started" else ending_from(record)
    return None


def of_this_claim(recorded: dict[str, Record], attempt: Attempt) -> dict[str, Record]:
    """Without what was recorded of an earlier one of the attempt, which came to nothing (older versions name none)."""
    claim = attempt.claimed_at
    return {event: record for event, record in recorded.items() if record.get("claim", claim) == claim}


def determine_ending(supervision: SupervisorFiles, trace: Trace, lock: int, *, given_up: bool = False) -> Ending | None:
    """How the attempt of a dead supervisor ended; what is left of its processes is killed first.

    The caller holds the supervisor's `lock` and keeps it until the ending is recorded, or it is MISSING or COPIED. Only
    a supervisor whose files are there, whole, of this boot, and without a start, has not started the job. None: that
    nothing of it runs any more can't be proven, so that it is not over; unless a person has `given_up` waiting for it.
    """
    attempt = trace.attempt
    recorded = of_this_claim(supervision.events(trace.key), attempt)
    if "end" in recorded:
        return ending_from(recorded["end"])
    same_boot = attempt.boot_id in {"", system.boot_id()}
    if "not_started" in recorded or (lock >= 0 and same_boot and not recorded.keys() & {"start", TORN}):
        return NOT_STARTED
    error = "its supervisor died"
    if same_boot and not is_gone(supervision, trace, recorded, lock):
        if not given_up:
            return None
        error += ", and something of it may still run"
    started = recorded.get("start", {})
    return Ending(Outcome.LOST, error=error, started_at=started.get("at"), ended_at=time.time())


def is_gone(supervision: SupervisorFiles, trace: Trace, recorded: dict[str, Record], lock: int) -> bool:
    """Whether nothing is left of an attempt of this boot whose supervisor holds no lock; what is ours is killed."""
    if lock == COPIED:
        return False  # the original store answers for it, and for whether it runs again
    if lock < 0 and supervision.may_run():
        return False  # its files were removed, or they are those of another store, of which ours is a copy
    # As recorded: since a backup was restored, this store's directory may be another one than when the job began.
    mark = recorded.get("start", {}).get("mark", trace.mark)
    if not kill_leftovers(mark):
        return False
    if lock < 0 or system.LockRecord(lock).is_near:
        return True
    # It ran where processes have other numbers, and may not be seen from here at all (pid_namespaces(7)).
    try:
        log = system.open_plain(trace.log, os.O_RDONLY)
    except OSError:
        return True
    try:
        return system.is_open_nowhere_else(log)
    finally:
        os.close(log)


def jobs_with_processes(path: str, uuid: str) -> set[int]:
    """The jobs of the store of this path and name that live processes say, in their environment, to belong to."""
    found = set()
    store, name = b"\0JOBQ_STORE=%b\0" % os.fsencode(path), f":{uuid}".encode()
    for pid in tree.pids():
        data = b"\0" + tree.read_proc(pid, "environ")
        if store in data:
            said = dict(variable.partition(b"=")[::2] for variable in data.split(b"\0"))
            number, mark = said.get(b"JOBQ_JOB_ID", b""), said.get(VARIABLE.encode(), b"")
            if number.isdigit() and len(number) < 18 and mark.endswith(name):
                found.add(int(number))
    return found


def kill_leftovers(mark: int) -> bool:
    """KILL every process that carries the mark, and its descendants; whether none is left, as several looks see it.

    Spends little time on it, as its caller has others to serve: what can't die now, or is another user's, stays.
    """
    until = time.monotonic() + KILL_SECONDS
    clean = 0
    while True:
        tree.kill_children(lambda pid: wears(pid, mark))
        found = wearers(mark)
        if found:
            found |= tree.descendants(*(pid for pid, _ in found)) or set()
        tree.kill_all(found)
        clean = 0 if found else clean + 1
        if clean == CLEAN_LOOKS or time.monotonic() >= until:
            return clean == CLEAN_LOOKS
        time.sleep(KILL_PAUSE)
