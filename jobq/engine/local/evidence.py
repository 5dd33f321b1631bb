"""The evidence that supervisors leave in the worker's folder: whether one lives, and how its attempt ended.

It is read for the worker's own supervisors after their death, and for those of a dead worker.
"""

from __future__ import annotations

import os
import re
import signal
import time

from jobq import system
from jobq.command import Record
from jobq.engine.local.batches import end_in_batch, start_in_batch
from jobq.engine.task import NOT_STARTED, Key, Trace
from jobq.errors import Planted
from jobq.job import Attempt, Ending, Outcome
from jobq.options.values import COUNT
from jobq.store.folder import open_checked, read_all
from jobq.store.journal import BadLine, decode_line
from jobq.store.lock import try_lock
from jobq.store.records import CLOCK, MISFITS, TIME, read_ending
from jobq.supervisor import tree
from jobq.supervisor.mark import HOOK_VARIABLE, VARIABLE, wearers, wears
from jobq.typed import NamedTuple

STUCK_AFTER = 5.0  # seconds after which an attempt that can't be ended is reported, and takes no slot
KILL_SECONDS = 0.2  # seconds to spend at a time on the processes left of an attempt
KILL_PAUSE = 0.002  # seconds between two checks
CLEAN_LOOKS = 3  # one check may miss a process that forks just then
NAMED = re.compile(rb'"id":(\d+),"n":(\d+),')
TORN = "torn"  # stands for a line that can't be read: its content is not known
MISSING = -1  # there is no lock file
COPIED = -2  # the lock file is a copy, perhaps with the whole store: it proves nothing


class SupervisorFiles(NamedTuple):
    """The files of one supervisor."""

    folder: str  # of the worker that started it
    slot: str

    @classmethod
    def named(cls, workers: str, name: str) -> SupervisorFiles:
        """Return the files of "token/slot", as an attempt records it; `workers` is the folder of all worker folders."""
        token, _, slot = name.partition("/")
        return cls(f"{workers}/{os.path.basename(token)}", os.path.basename(slot))

    def lock_if_dead(self) -> int | None:
        """Return its lock, taken, if it is dead; MISSING or COPIED if the file proves nothing; None while it lives."""
        try:
            fd = open_checked(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except (FileNotFoundError, Planted):
            return MISSING  # or something else is there, which proves no more
        try:
            lock = (COPIED if system.LockRecord(fd).is_copy else fd) if try_lock(fd) else None
        except OSError:
            os.close(fd)
            raise
        if lock != fd:
            os.close(fd)
        return lock

    def may_run(self) -> bool:
        """Return True if its process may run, by its command line; for a lock that proves nothing. Raises OSError."""
        if not tree.proc_is_ours():
            return True
        wanted = f"/{os.path.basename(self.folder)}\0{self.slot}\0".encode()
        return any(wanted in tree.read_proc(pid, "cmdline") for pid in tree.pids())

    def is_alive(self) -> bool:
        """Return True if it holds its lock. The check takes it shared: two checks do not disturb each other."""
        try:
            fd = open_checked(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except (FileNotFoundError, Planted):
            return False
        try:
            return not try_lock(fd, shared=True)
        finally:
            os.close(fd)

    def pid(self) -> int | None:
        """Return the pid in its lock file, if that is valid in this namespace. The process may be dead."""
        try:
            fd = system.open_plain(f"{self.folder}/{self.slot}.lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            return system.LockRecord(fd).pid
        finally:
            os.close(fd)

    def order(self, text: str) -> bool:
        """Write an order to its control FIFO. Return False if nobody reads it any more."""
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
        """Continue the process, in case anybody has stopped it (SIGSTOP); no other process gets the CONT."""
        pid = self.pid()
        if pid is None or not hasattr(os, "pidfd_open"):
            return
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if self.is_alive():  # checked after the handle was made: so it is this process's
                signal.pidfd_send_signal(handle, signal.SIGCONT)
        except OSError:
            pass
        finally:
            os.close(handle)

    def events(self, key: Key) -> dict[str, Record]:
        """Return its records of that attempt, by event; TORN is among them if a line that may be one can't be read."""
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
                if at == len(lines) and raw.startswith(b'{"event":"batch"'):
                    continue  # none of those calls was handed over
                # A line that was cut off still names its own attempt; a damaged one may have named this attempt.
                named = NAMED.search(raw) if at == len(lines) else None
                if raw and (named is None or (int(named[1]), int(named[2])) == key):
                    recorded[TORN] = {}
                continue
            if record.get("event") == "batch":
                record = start_in_batch(record, key)
            if (record.get("id"), record.get("n")) != key:
                continue
            if not _fits(record):
                recorded[TORN] = {}
                continue
            if record.get("event") == "start":
                recorded.clear()  # earlier records are of a claim of this attempt that was not started
            recorded[str(record.get("event"))] = record
        return recorded


def _fits(record: Record) -> bool:
    """Return True if a supervisor can have written this record: it may be acted on, and recorded."""
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
            return event not in {"start", "pid"}  # one of a later version
    return False


NO_ENDING = {"event", "id", "n", "claim", "crc"}


def ending_from(record: Record) -> Ending:
    """Return the ending in an "end" record of a supervisor. Raises BadRecord."""
    return read_ending({name: value for name, value in record.items() if name not in NO_ENDING})


def recorded_ending(recorded: dict[str, Record], attempt: Attempt) -> Ending | None:
    """Return the ending that a live supervisor, busy with another job by now, recorded of this claim; else None."""
    for event in ("end", "not_started"):
        record = recorded.get(event, {})
        if record.get("claim") == attempt.claimed_at:
            return NOT_STARTED if event == "not_started" else ending_from(record)
    return None


def of_this_claim(recorded: dict[str, Record], attempt: Attempt) -> dict[str, Record]:
    """Return the records without those of earlier claims of the attempt; older versions record no claim."""
    claim = attempt.claimed_at
    return {event: record for event, record in recorded.items() if record.get("claim", claim) == claim}


def determine_ending(supervision: SupervisorFiles, trace: Trace, lock: int, *, given_up: bool = False) -> Ending | None:
    """Return how the attempt of a dead supervisor ended; kill what is left of its processes first.

    The caller holds the supervisor's `lock` and keeps it until the ending is recorded, or it is MISSING or COPIED. Only
    a supervisor whose files are there, whole, of this boot, and without a start, has not started the job. Return None
    if processes of it may still run: it is not over then, unless a person has `given_up` waiting. Raises OSError.
    """
    attempt = trace.attempt
    recorded = of_this_claim(supervision.events(trace.key), attempt)
    if "end" in recorded:
        return ending_from(recorded["end"])
    same_boot = attempt.boot_id in {"", system.boot_id()}
    if "not_started" in recorded or (lock >= 0 and same_boot and not recorded.keys() & {"start", TORN}):
        return NOT_STARTED
    files = f"{supervision.folder}/{supervision.slot}"
    of_batch = lock >= 0 and same_boot
    if of_batch and (ending := end_in_batch(files, recorded, trace.log)) is not None:
        return ending
    error = "its supervisor died"
    if same_boot and not is_gone(supervision, trace, recorded, lock):
        if not given_up:
            return None
        error += ", and some of its processes may still run"
    elif of_batch and (ending := end_in_batch(files, recorded, trace.log)) is not None:
        return ending  # it has ended meanwhile
    started = recorded.get("start", {})
    return Ending(Outcome.LOST, error=error, started_at=started.get("at"), ended_at=time.time())


def is_gone(supervision: SupervisorFiles, trace: Trace, recorded: dict[str, Record], lock: int) -> bool:
    """Return True if nothing is left of an attempt of this boot whose supervisor holds no lock; kill what is ours."""
    if lock == COPIED:
        return False  # the original store decides how it ended, and whether it runs again
    if lock < 0 and supervision.may_run():
        return False  # its files were removed, or they are those of another store, of which ours is a copy
    # The recorded mark: if a backup was restored, this store's directory may differ from that at the start of the job.
    mark = recorded.get("start", {}).get("mark", trace.mark)
    if not kill_leftovers(mark):
        return False
    if lock < 0 or system.LockRecord(lock).is_near:
        return True
    # It ran in another pid namespace: its processes may be invisible from here (pid_namespaces(7)).
    try:
        log = system.open_plain(trace.log, os.O_RDONLY)
    except OSError:
        return True
    try:
        return system.is_open_nowhere_else(log)
    finally:
        os.close(log)


def jobs_with_processes(path: str, uuid: str) -> set[int]:
    """Return the jobs of the store at `path` with this `uuid` that have live processes, by their environment."""
    found = set()
    store, name = b"\0JOBQ_STORE=%b\0" % os.fsencode(path), f":{uuid}".encode()
    for pid in tree.pids():
        data = b"\0" + tree.read_proc(pid, "environ")
        if store in data:
            said = dict(variable.partition(b"=")[::2] for variable in data.split(b"\0"))
            number = said.get(HOOK_VARIABLE.encode(), said.get(b"JOBQ_JOB_ID", b""))
            mark = said.get(VARIABLE.encode(), b"")
            if number.isdigit() and len(number) < 18 and mark.endswith(name):
                found.add(int(number))
    return found


def kill_leftovers(mark: int) -> bool:
    """KILL every process that carries the mark, and its descendants. Return True if several checks find none left.

    After KILL_SECONDS it leaves what can't die now, or is another user's, as the caller has other work. If nothing is
    left, it looks CLEAN_LOOKS times, however long that takes among thousands of processes: else it would never know.
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
        if clean == CLEAN_LOOKS or (found and time.monotonic() >= until):
            return not found
        time.sleep(KILL_PAUSE)
