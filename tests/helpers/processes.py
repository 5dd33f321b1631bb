"""Real processes: find them, kill them, and act as the worker of a supervisor."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobq.engine.local.evidence import SupervisorFiles
from jobq.store import environment
from jobq.supervisor import SCRIPT
from tests.conftest import wait_until

if TYPE_CHECKING:
    from jobq.supervisor.messages import JobMessage


def is_alive(pid: int) -> bool:
    """Return True if the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def marked(store: Path) -> list[int]:
    """Return the live processes of this store's jobs, found by their environment."""
    wanted = f"JOBQ_STORE={store}".encode()
    found = []
    for name in os.listdir("/proc"):
        try:
            variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0") if name.isdecimal() else []
        except OSError:
            continue
        if wanted in variables and any(v.startswith(b"JOBQ_JOB_ID=") for v in variables) and is_alive(int(name)):
            found.append(int(name))
    return found


def supervisors(store: Path) -> list[int]:
    """Return the live supervisors of this store, from the pids in their lock files."""
    pids = [int(first_word(path) or "0") for path in (store / "workers").glob("*/*.lock")]
    return [pid for pid in pids if pid and is_alive(pid)]


def first_word(path: Path) -> str:
    """Return the first word of a file; "" if it is empty, or was removed or renamed meanwhile."""
    try:
        return next(iter(path.read_text().split()), "")
    except FileNotFoundError:
        return ""


def kill_both(store: Path, worker: subprocess.Popen[str]) -> None:
    """Kill a worker and its supervisors with SIGKILL."""
    os.kill(worker.pid, signal.SIGSTOP)  # so that the worker does not see its supervisors die
    for pid in supervisors(store):
        os.kill(pid, signal.SIGKILL)
    worker.kill()
    worker.wait()


def pids_in(path: Path, count: int) -> list[int]:
    """Return the pids in a file, once it holds at least `count`."""

    def read() -> list[int] | None:
        words = path.read_text().split() if path.exists() else []
        return [int(word) for word in words] if len(words) >= count else None

    return wait_until(read)


class Peer:
    """A supervisor whose worker is this process; `give` sends one batch."""

    def __init__(self, folder: Path, elsewhere: Path) -> None:
        self.elsewhere = elsewhere
        data, digest = environment.encode(os.environ)
        self.environment = elsewhere / f"{digest}.json"
        self.environment.write_bytes(data)
        command = [sys.executable, "-I", "-S", SCRIPT, str(folder), "0", "0"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.supervision = SupervisorFiles(str(folder), "0")
        assert "hello" in self.hear()

    def hear(self) -> dict[str, object]:
        assert self.process.stdout is not None
        message: dict[str, object] = json.loads(self.process.stdout.readline())
        return message

    def give(self, first_id: int, *commands: str | list[str]) -> None:
        lines = b""
        for job_id, command in enumerate(commands, first_id):
            job: JobMessage = {
                "id": job_id, "n": 1, "command": command, "cwd": str(self.elsewhere), "umask": 0o22, "set": {},
                "timeout": None, "stdin": None, "stderr": None, "apart": False, "idle_timeout": None, "env": str(self.environment), "log": str(self.elsewhere / f"{job_id}.log"),
                "grace": 1, "log_max": 1 << 20, "once": False, "claim": 1.0, "mark": 1 << 60 | job_id, "first": job_id == first_id,
                "boot": "", "followed": False, "result": None, "call": None,
            }  # fmt: skip
            lines += json.dumps(job).encode() + b"\n"
        assert self.process.stdin is not None
        self.process.stdin.write(lines)
        self.process.stdin.flush()

    def hang_up(self) -> None:
        """Close the supervisor's input, as the death of its worker does."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def leave(self) -> None:
        """Wait until the supervisor ends by itself, and check its exit code."""
        if self.process.stdin is not None:
            self.hang_up()
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0
