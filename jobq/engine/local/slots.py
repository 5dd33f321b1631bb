"""One supervisor of this worker: its process, its tasks, and its messages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from jobq.command import Record
from jobq.engine.local.evidence import SupervisorFiles
from jobq.engine.task import Key, Task
from jobq.store.journal import decode_line
from jobq.supervisor import SCRIPT
from jobq.supervisor.endings import ENCODER
from jobq.supervisor.messages import INHERITED
from jobq.system import open_plain, utf8

if TYPE_CHECKING:
    from jobq.supervisor.messages import JobMessage

LEAVE_S = 2.0  # seconds that idle supervisors may take to exit


def script_stamp() -> tuple[int, int, int] | None:
    """Return device, inode and time of the supervisors' script, to detect a later version; None while it is missing."""
    try:
        status = os.stat(SCRIPT)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


LOADED_STAMP = script_stamp()  # of the version that this process runs: taken at its import, before a worker starts


class Slot:
    """A process that runs one job after the other. `keys`: its attempts that have not ended, in order."""

    def __init__(self, folder: str, number: int, *, bound: bool, stdin: int | None = None) -> None:
        """Start it, with its files in `folder`; `bound`: its job ends with the worker. Raises OSError.

        `stdin`: the descriptor that jobs get which ask for no other input; None: they have none.
        """
        self._stdin = stdin
        self.supervision = SupervisorFiles(folder, str(number))
        self.ready = False  # it has sent its hello
        self.keys: list[Key] = []
        self.heard_at = 0.0  # when it got its tasks, or sent its last ending
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
                pass_fds=() if stdin is None else (stdin,),
            )
        finally:
            os.close(errors)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.unsent = b""  # input that it has not taken yet: nobody must wait until it reads
        self.stuck: str | None = None  # why its job can't be ended, if so
        os.set_blocking(self.stdin.fileno(), False)
        os.set_blocking(self.stdout.fileno(), False)

    @property
    def name(self) -> str:
        """The name as attempts record it: "token/slot"."""
        return f"{os.path.basename(self.supervision.folder)}/{self.supervision.slot}"

    def give(self, tasks: list[Task]) -> None:
        """Give it tasks, to run one after the other. If it is dead, its pipe hangs up and its file has the endings."""
        self.keys = [task.trace.key for task in tasks]
        self.heard_at, self.asked_back = time.monotonic(), False
        self.stuck = None
        self.unsent = b"".join(_message(task, self._stdin, first=task is tasks[0]) for task in tasks)
        self.send()

    def send(self) -> bool:
        """Write as much of its input as it takes now. Return True if nothing is left, or it can't take any more."""
        try:
            while self.unsent:
                self.unsent = self.unsent[os.write(self.stdin.fileno(), self.unsent) :]
        except BlockingIOError:
            return False
        except OSError:
            self.hang_up()  # if it lives, it exits; tasks that did not reach it were not started
        return True

    def hear(self) -> list[Record] | None:
        """Return its new messages; None if it is dead."""
        try:
            data = os.read(self.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        if not data:
            return None
        *lines, self._unread = (self._unread + data).split(b"\n")
        return [decode_line(line) for line in lines]

    def hang_up(self) -> None:
        """Close its input: an idle one exits, a busy one finishes its job by itself."""
        self.leaving = True
        self.unsent = b""
        self.stdin.close()

    def let_go(self, until: float) -> None:
        """Wait for an idle one to exit, until `until` (monotonic seconds). `hang_up` comes first."""
        self.stdout.close()  # what it reports from now on is in K.ends
        try:
            if not self.keys:
                self.process.wait(max(0.0, until - time.monotonic()))
                return
        except subprocess.TimeoutExpired:
            pass  # it has an ending that can't be written: while it holds its lock, that is safe
        self.process.returncode = 0  # it outlives us: do not wait for it

    def bury(self) -> None:
        """Reap it, as it is dead, and close its pipes."""
        self.unsent = b""
        self.stdout.close()
        self.stdin.close()
        self.process.wait()

    def keep_going(self) -> bool:
        """Continue the process, our unreaped child, if it was stopped (SIGSTOP). Return True if it was."""
        try:
            stopped = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)
            if stopped is not None:
                os.kill(self.process.pid, signal.SIGCONT)
        except OSError:
            return False
        return stopped is not None

    def why(self) -> str:
        """Return the last line of its stderr, or its exit status."""
        try:
            with open(open_plain(self._errors, os.O_RDONLY), encoding="utf-8", errors="replace") as f:
                return f.read().strip().rpartition("\n")[2] or f"exit {self.process.returncode}"
        except OSError as e:
            return str(e)


def _options() -> list[str]:
    """Return Python options: isolated, UTF-8, and the settings for compiled files, which isolation would hide."""
    options = ["-I", "-S", "-X", "utf8"]
    if sys.dont_write_bytecode:
        options.append("-B")
    if sys.pycache_prefix:
        options += ["-X", f"pycache_prefix={sys.pycache_prefix}"]
    return options


def _message(task: Task, stdin: int | None, *, first: bool) -> bytes:
    trace = task.trace
    inherited = None if stdin is None else f"{INHERITED}{stdin}"
    message: JobMessage = {
        "id": trace.key.job_id,
        "n": trace.key.n,
        "command": task.command,
        "cwd": task.cwd,
        "umask": task.umask,
        "env": task.env_file,
        "set": task.variables,
        "log": utf8(trace.log),
        "stdin": task.stdin or inherited,
        "stderr": task.stderr,
        "apart": task.apart,
        "timeout": task.timeout,
        "idle_timeout": task.idle_timeout,
        "grace": task.grace,
        "log_max": task.log_max,
        "boot": task.boot_id,
        "once": task.once,
        "followed": task.followed,
        "mark": trace.mark,
        "result": task.result and utf8(task.result),
        "call": task.call,
        "claim": trace.attempt.claimed_at,
        "first": first,
    }
    return ENCODER.encode(message).encode("ascii") + b"\n"
