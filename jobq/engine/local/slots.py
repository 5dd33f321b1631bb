"""One supervisor of this worker: its process, what it was given, and what it says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from jobq.command import Record
from jobq.engine.local.evidence import SupervisorFiles
from jobq.engine.task import Key, Task
from jobq.store.journal import decode_line
from jobq.supervisor import SCRIPT
from jobq.supervisor.endings import ENCODER
from jobq.system import open_plain, utf8

LEAVE_S = 2.0  # seconds that idle supervisors may take to leave


def script_stamp() -> tuple[int, int, int] | None:
    """What tells the supervisors' script from a later one of the same name; None while there is none."""
    try:
        status = os.stat(SCRIPT)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


LOADED_STAMP = script_stamp()  # of the version that this process runs: taken before anybody can know of it


class Slot:
    """A process that runs one job after the other. `keys` is what it was given and has not ended, in this order."""

    def __init__(self, folder: str, number: int, *, bound: bool) -> None:
        """Start it, with its files in `folder`; `bound`: its job ends with the worker. Raises OSError."""
        self.supervision = SupervisorFiles(folder, str(number))
        self.ready = False  # has said hello
        self.keys: list[Key] = []
        self.heard_at = 0.0  # when it was given them, or told the last end
        self.asked_back = False
        self.leaving = False
        self._unread = b""
        self._errors = f"{folder}/{number}.err"
        errors = open_plain(self._errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.fchmod(errors, 0o600)
            self.process = subprocess.Popen(
                [sys.executable, *_options(), SCRIPT, folder, str(number), "1" if bound else "0"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
            )
        finally:
            os.close(errors)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.unsent = b""  # of what it was given: it may not read, and nobody must wait for it
        self.stuck: str | None = None  # why its job can't be ended, if so
        os.set_blocking(self.stdin.fileno(), False)
        os.set_blocking(self.stdout.fileno(), False)

    @property
    def name(self) -> str:
        """As attempts record it: "token/slot"."""
        return f"{os.path.basename(self.supervision.folder)}/{self.supervision.slot}"

    def give(self, tasks: list[Task]) -> None:
        """Have it run these, one after the other. If it is dead, its pipe says so, and its file what became of them."""
        self.keys = [task.trace.key for task in tasks]
        self.heard_at, self.asked_back = time.monotonic(), False
        self.stuck = None
        self.unsent = b"".join(_message(task, first=task is tasks[0]) for task in tasks)
        self.send()

    def send(self) -> bool:
        """Write as much of what it was given as it takes now; whether that is all, or it can't be given any more."""
        try:
            while self.unsent:
                self.unsent = self.unsent[os.write(self.stdin.fileno(), self.unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self.hang_up()  # if it lives, it leaves, and what it was not told of has not been started
        return True

    def hear(self) -> list[Record] | None:
        """What it has said since; None if it is dead."""
        try:
            data = os.read(self.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [decode_line(line) for line in lines]

    def hang_up(self) -> None:
        """Give it nothing more: an idle one ends, a busy one finishes its job by itself."""
        self.leaving = True
        self.unsent = b""
        self.stdin.close()

    def let_go(self, until: float) -> None:
        """Return when it has ended, if it is idle, or at `until` (monotonic); it has been hung up on."""
        try:
            if not self.keys:
                self.process.wait(max(0.0, until - time.monotonic()))
                return
        except subprocess.TimeoutExpired:
            pass  # it has an end that the disk does not take: its lock keeps that safe
        self.process.returncode = 0  # it outlives us: nothing to wait for

    def bury(self) -> None:
        """It is dead: release what belongs to it."""
        self.unsent = b""
        self.stdout.close()
        self.stdin.close()
        self.process.wait()

    def keep_going(self) -> bool:
        """Continue the process if something has stopped it (SIGSTOP); whether that was so. It is our unreaped child."""
        try:
            stopped = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)
            if stopped is not None:
                os.kill(self.process.pid, signal.SIGCONT)
        except OSError:
            return False
        return stopped is not None

    def why(self) -> str:
        """What it complained of last, or its exit status."""
        try:
            with open(open_plain(self._errors, os.O_RDONLY), encoding="utf-8", errors="replace") as f:
                return f.read().strip().rpartition("\n")[2] or f"exit {self.process.returncode}"
        except OSError as e:
            return str(e)


def _options() -> list[str]:
    """Isolated, in UTF-8, and with what this Python was told about compiled files, which isolation would hide."""
    options = ["-I", "-S", "-X", "utf8"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return options


def _message(task: Task, *, first: bool) -> bytes:
    trace = task.trace
    message = {
        "id": trace.key.job_id,
        "n": trace.key.n,
        "command": task.command,
        "cwd": task.cwd,
        "umask": task.umask,
        "env": task.env_file,
        "set": task.variables,
        "log": utf8(trace.log),
        "timeout": task.timeout,
        "grace": task.grace,
        "log_max": task.log_max,
        "boot": task.boot_id,
        "once": task.once,
        "followed": task.followed,
        "mark": trace.mark,
        "result": task.result and utf8(task.result),
        "claim": trace.attempt.claimed_at,
        "first": first,
    }
    return ENCODER.encode(message).encode("ascii") + b"\n"
