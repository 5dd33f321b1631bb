"""Runs attempts on this machine: one supervisor process for each slot, started when first needed.

The worker reserves a slot, records its claim, then submits. Ends come back over the supervisor's pipe, from its file
if it dies, and from the lock and file of an adopted supervisor that some dead worker had started.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from typing import NamedTuple

from jobq import supervisor
from jobq.engine.remains import NOT_STARTED, Supervision, ending_from, settle
from jobq.engine.task import Ended, Key, Task
from jobq.errors import EngineBroken
from jobq.job import Attempt, Record
from jobq.store.journal import decode_line

LEAVE_S = 2.0  # seconds that an idle supervisor may take to leave
START_PAUSE = 1.0  # seconds before a supervisor that could not start is tried again
MOST_FAILED_STARTS = 10  # in a row


class Slot:
    """One supervisor of ours."""

    def __init__(self, supervision: Supervision, process: subprocess.Popen[bytes]) -> None:
        self.supervision = supervision
        self.process = process
        self.ready = False  # has said hello
        self.key: Key | None = None  # what it is running
        self.unread = b""

    @property
    def name(self) -> str:
        """As attempts record it: "token/slot"."""
        return f"{os.path.basename(self.supervision.folder)}/{self.supervision.slot}"


class Dead(NamedTuple):
    """A supervisor of ours that died with a job."""

    supervision: Supervision
    key: Key


class Adopted:
    """The supervisor of a dead worker, busy with one attempt. `fd` is readable when it ends (-1: ask the lock)."""

    def __init__(self, supervision: Supervision, key: Key) -> None:
        self.supervision = supervision
        self.key = key
        self.fd = -1
        pid = supervision.pid()
        if pid is not None and hasattr(os, "pidfd_open"):
            try:
                self.fd = os.pidfd_open(pid)
            except OSError:
                self.fd = -1


class LocalEngine:
    """All running attempts of one worker."""

    def __init__(self, folder: str, store: str, *, bound: bool = False) -> None:
        """`folder` is the worker's own; `bound`: jobs end with the worker instead of outliving it."""
        self._folder = folder
        self._store = store
        self._bound = bound
        self._slots: list[Slot] = []
        self._idle: list[Slot] = []
        self._started = 0
        self._start_again_at = float("-inf")
        self._failed_starts = 0
        supervisor.become_subreaper()  # what a killed supervisor leaves behind comes to us
        self._adopted: dict[Key, Adopted] = {}
        self._ended: list[Ended] = []
        self._selector = selectors.DefaultSelector()
        self._dead: list[Dead] = []
        self._attempts: dict[Key, Attempt] = {}
        self._locks: dict[Key, int] = {}  # of dead supervisors, until their end is recorded

    # -- slots -----------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """How many attempts are under way, adopted ones included."""
        return sum(slot.key is not None for slot in self._slots) + len(self._adopted) + len(self._dead)

    def reserve(self, count: int) -> list[str]:
        """Names of up to `count` idle slots that are ready to be given a job; missing ones are being started.

        A slot is idle as soon as its job has ended: who gives it the next must record that end first, or with it.
        What can't be started for lack of processes or descriptors is tried again after a while.
        """
        missing = count - len(self._idle) - sum(not slot.ready for slot in self._slots)
        if missing > 0 and time.monotonic() >= self._start_again_at:
            try:
                for _ in range(missing):
                    self._start()
            except OSError:
                self._start_again_at = time.monotonic() + START_PAUSE
        return [slot.name for slot in self._idle[:count]]

    def _start(self) -> None:
        supervision = Supervision(self._folder, str(self._started))
        self._started += 1
        errors = os.open(f"{self._folder}/{supervision.slot}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.fchmod(errors, 0o600)
        try:
            process = subprocess.Popen(
                [
                    sys.executable,
                    *("-I", "-S", "-X", "utf8"),
                    supervisor.__file__,
                    self._folder,
                    supervision.slot,
                    "1" if self._bound else "0",
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )
        finally:
            os.close(errors)
        slot = Slot(supervision, process)
        self._slots.append(slot)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, slot)

    def submit(self, name: str, task: Task) -> None:
        """Give the reserved slot its job. Whatever goes wrong comes back as its end."""
        slot = next(slot for slot in self._idle if slot.name == name)
        self._idle.remove(slot)
        slot.key = task.key
        self._attempts[task.key] = task.attempt
        message = {
            "id": task.key.job_id,
            "n": task.key.n,
            "command": task.command,
            "cwd": task.cwd,
            "umask": task.umask,
            "env": task.env_file,
            "set": task.variables,
            "log": task.log,
            "timeout": task.timeout,
            "grace": task.grace,
            "log_max": task.log_max,
            "boot": task.boot_id,
            "once": task.once,
        }
        data = json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"
        assert slot.process.stdin is not None
        try:
            while data:
                data = data[slot.process.stdin.write(data) :]
        except OSError:
            pass  # it is dead: its pipe says so, and its file what became of the job

    def withdraw(self, key: Key) -> None:
        """An attempt that was claimed could not be submitted."""
        self._ended.append(Ended(key, NOT_STARTED))

    # -- what comes back -----------------------------------------------------------------------------

    def watch(self, fd: int) -> None:
        """Let `wait` return when this descriptor is readable, too."""
        self._selector.register(fd, selectors.EVENT_READ, None)

    def wait(self, timeout: float | None) -> list[int]:
        """Sleep until something happens, at most `timeout` seconds; the watched descriptors that are readable."""
        ready = []
        for key, _events in self._selector.select(timeout):
            match key.data:
                case Slot() as slot:
                    self._hear(slot)
                case Adopted() as adopted:
                    self._selector.unregister(adopted.fd)
                    os.close(adopted.fd)
                    adopted.fd = -1  # `ended` settles it
                case _:
                    ready.append(key.fd)
        return ready

    def ended(self) -> list[Ended]:
        """The attempts that ended since they were last `recorded`; they are told until then."""
        for adopted in [adopted for adopted in self._adopted.values() if adopted.fd < 0]:
            if self._settle(adopted.supervision, adopted.key):
                del self._adopted[adopted.key]
        for dead in list(self._dead):
            if self._settle(dead.supervision, dead.key):
                self._dead.remove(dead)
        return list(self._ended)

    def recorded(self, ended: list[Ended]) -> None:
        """These ends are durable: what was kept for them can go."""
        keys = {end.key for end in ended}
        self._ended = [end for end in self._ended if end.key not in keys]
        for key in keys:
            self._attempts.pop(key, None)
            if key in self._locks:
                os.close(self._locks.pop(key))

    def _hear(self, slot: Slot) -> None:
        assert slot.process.stdout is not None
        try:
            data = os.read(slot.process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._bury(slot)
            return
        slot.unread += data
        *lines, slot.unread = slot.unread.split(b"\n")
        for line in lines:
            self._understand(slot, decode_line(line))

    def _understand(self, slot: Slot, message: Record) -> None:
        if "hello" in message:
            if message["hello"] != supervisor.PROTOCOL:
                raise EngineBroken("jobq was changed under this worker", "start the worker again")
            slot.ready = True
            self._failed_starts = 0
            self._idle.append(slot)
        elif (key := slot.key) is not None and (message.get("id"), message.get("n")) == tuple(key):
            self._ended.append(Ended(key, ending_from(message)))
            slot.key = None
            self._idle.append(slot)

    def _bury(self, slot: Slot) -> None:
        """A supervisor has died: its file tells what became of its job, if it had one."""
        assert slot.process.stdout is not None
        assert slot.process.stdin is not None
        self._selector.unregister(slot.process.stdout)
        slot.process.stdout.close()
        slot.process.stdin.close()
        slot.process.wait()
        self._slots.remove(slot)
        if slot in self._idle:
            self._idle.remove(slot)
        if slot.key is None:
            if not slot.ready:
                self._failed_starts += 1
                self._start_again_at = time.monotonic() + START_PAUSE
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise EngineBroken(f"a supervisor could not start: {self._why(slot)}")
            return
        while supervisor.kill_children(spared={other.process.pid for other in self._slots}):
            continue
        self._dead.append(Dead(slot.supervision, slot.key))  # `ended` settles it

    def _why(self, slot: Slot) -> str:
        try:
            with open(f"{self._folder}/{slot.supervision.slot}.err", encoding="utf-8", errors="replace") as f:
                return f.read().strip().rpartition("\n")[2] or f"exit {slot.process.returncode}"
        except OSError as e:
            return str(e)

    def _settle(self, supervision: Supervision, key: Key) -> bool:
        """Whether it is over; what is needed of it until that is recorded is kept."""
        lock = supervision.lock_if_dead()
        if lock is None:
            return False
        ending = settle(supervision, self._attempts[key], key, self._store, lock)
        if ending is None:
            if lock >= 0:
                os.close(lock)
            return False
        if lock >= 0:
            self._locks[key] = lock
        self._ended.append(Ended(key, ending))
        return True

    # -- attempts of dead workers --------------------------------------------------------------------

    def adopt(self, supervision: Supervision, key: Key, attempt: Attempt) -> None:
        """Answer for a running attempt from now on."""
        self._attempts[key] = attempt
        adopted = Adopted(supervision, key)
        self._adopted[key] = adopted
        if adopted.fd >= 0 and not supervision.is_alive():  # it has ended meanwhile, and the handle may be a stranger's
            os.close(adopted.fd)
            adopted.fd = -1
        if adopted.fd >= 0:
            self._selector.register(adopted.fd, selectors.EVENT_READ, adopted)

    # -- orders ------------------------------------------------------------------------------------

    def cancel(self, key: Key) -> bool:
        """End the attempt: TERM, its grace, KILL; its end comes back as cancelled. Whether the order was given."""
        return self._order(key, f"cancel {key.job_id} {key.n}")

    def stop(self, key: Key, grace: float) -> bool:
        """End the attempt because the worker stops; `grace` seconds from TERM to KILL. Whether the order was given."""
        return self._order(key, f"stop {key.job_id} {key.n} {grace}")

    def _order(self, key: Key, text: str) -> bool:
        if key in self._adopted:
            return self._adopted[key].supervision.order(text)
        return any(slot.key == key and slot.supervision.order(text) for slot in self._slots)

    def running(self) -> list[Key]:
        """The attempts under way."""
        return [slot.key for slot in self._slots if slot.key is not None] + list(self._adopted)

    def close(self) -> None:
        """Let the supervisors go: idle ones end, busy ones finish their job by themselves."""
        for slot in self._slots:
            assert slot.process.stdin is not None
            slot.process.stdin.close()
        for slot in self._slots:
            try:
                if slot.key is None:
                    slot.process.wait(LEAVE_S)
                    continue
            except subprocess.TimeoutExpired:
                pass  # it has an end that the disk does not take: its lock keeps that safe
            slot.process.returncode = 0  # it outlives us: nothing to wait for
        self._selector.close()
        for lock in self._locks.values():
            os.close(lock)
