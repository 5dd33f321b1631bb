"""The start of a job's main process, as by its shell: session, directory, umask, environment, signals, outputs."""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import stat

from jobq.sealed import sha256
from jobq.supervisor.messages import INHERITED
from jobq.system import PLANTED, open_plain, shell_argv

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

    from jobq.supervisor.messages import JobMessage

SHORT = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})  # not the job's fault
NOT_FOUND = 127
SHELL_SAYS = {  # the shell line itself may have exited with it, too
    126: "a shell's status for a command that it can't execute; see the log",
    NOT_FOUND: "a shell's status for a command that it does not find; see the log",
}
NO_LOADER = "the program that loads it is missing; was it built for another system?"
WINDOWS = "its first line ends in CR; write it with Unix line endings"
MOST_ENVIRONMENTS = 32  # kept in memory
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


class Spawner:
    """Starter of jobs, with a cache of the environments that it has read."""

    def __init__(self) -> None:
        self.environments: dict[str, dict[str, str]] = {}

    def spawn(self, job: JobMessage, replies: int = -1) -> int:
        """Start the job in its session, directory, umask, environment; return its pid. Raises OSError, ValueError.

        `replies`: a descriptor that it gets as its descriptor 3; -1: none.
        """
        environment = {**self.environment(job["env"]), **job["set"]}
        if job["result"]:
            environment.pop("PYTHONINSPECT", None)  # it takes each exit of a function for an error
        command = job["command"]
        argv = shell_argv(command) if isinstance(command, str) else list(command)
        mask = os.umask(job["umask"])
        stdin = stderr = -1
        try:
            stdin = open_input(job.get("stdin") or "/dev/null")
            stderr = open_errors(job)
            os.chdir(job["cwd"])
            environment["PWD"] = job["cwd"]
            program = find_program(argv[0], environment.get("PATH", "/usr/bin:/bin"))
            try:
                return spawn_in_session(
                    program, argv, environment, job["log"], stdin=stdin, stderr=stderr, replies=replies
                )
            except OSError as e:
                if e.errno != errno.ENOEXEC:
                    if os.path.exists(job["log"]) and (why := trouble_with_script(program, e.errno or 0)):
                        raise ValueError(f"{program[:200]}: {why}") from None
                    raise
                # A script without "#!": execvp(3) and every shell run it by sh.
                argv = ["/bin/sh", program, *argv[1:]]
                return spawn_in_session("/bin/sh", argv, environment, job["log"], stdin=stdin, stderr=stderr)
        finally:
            for fd in {stdin, stderr} - {-1}:
                os.close(fd)
            os.umask(mask)
            os.chdir("/")

    def environment(self, path: str) -> dict[str, str]:
        """Return the captured environment in the file at `path`, named by its digest. Raises OSError, ValueError."""
        if path not in self.environments:
            if len(self.environments) >= MOST_ENVIRONMENTS:
                self.environments.clear()
            with open(open_plain(path, os.O_RDONLY), "rb") as f:
                data = f.read()
            if f"{sha256(data)}.json" != os.path.basename(path):
                raise ValueError(f"its captured environment was changed: {path}")
            self.environments[path] = json.loads(data)
        return self.environments[path]


def open_input(path: str) -> int:
    """Open a file for a job to read from; return the descriptor. Raises ValueError, for a FIFO too: it would block."""
    if path.startswith(INHERITED):
        number = int(path[len(INHERITED) :])
        os.set_inheritable(number, False)  # the job gets it as its input, and only so
        return os.dup(number)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as e:
        raise ValueError(f"its input {path[:200]}: {e.strerror}") from None
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        os.close(fd)
        raise ValueError(f"its input {path[:200]} is no file")
    os.set_blocking(fd, True)
    return fd


def open_errors(job: JobMessage) -> int:
    """Open the file for a job's stderr; return the descriptor, -1 if it goes to the log. Raises ValueError."""
    path = job.get("stderr")
    if not path:
        return -1
    try:
        if job.get("apart"):
            return open_plain(path, LOG_FLAGS)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    except OSError as e:
        raise ValueError(f"its stderr {path[:200]}: {e.strerror}") from None
    os.set_blocking(fd, True)
    return fd


def spawn_error(error: OSError | ValueError, job: JobMessage) -> dict[str, Any]:
    """Return the ending of a job that could not be started; statuses as in a shell: 127 not found, else 126."""
    if isinstance(error, ValueError):
        return {"outcome": "spawn_error", "status": 126, "error": str(error)}
    number = error.errno or 0
    where = error.filename if isinstance(error.filename, str) else str(job["command"])
    if number == errno.ENOENT and not os.path.exists(job["log"]):
        where = job["log"]  # it was there a moment ago
    shown = where[:200]
    if number in SHORT or (where == job["log"] and number not in PLANTED):
        # Not the job's fault, and perhaps over soon: hand the job back.
        return {"outcome": "spawn_error", "error": f"{shown}: {error.strerror}", "counted": False}
    if where == job["env"]:
        return {"outcome": "spawn_error", "status": 126, "error": f"captured environment {shown}: {error.strerror}"}
    if where == job["cwd"]:
        return {"outcome": "spawn_error", "status": 126, "error": f"working directory {shown}: {error.strerror}"}
    if number == errno.ENOENT:
        return {"outcome": "spawn_error", "status": 127, "error": f"{shown}: not found"}
    return {"outcome": "spawn_error", "status": 126, "error": f"{shown}: {error.strerror}"}


def trouble_with_script(program: str, number: int) -> str:
    """Return why execve(2) fails with errno `number` for a program that exists; "" if the errno explains it."""
    if not os.access(program, os.X_OK):
        return ""
    first = first_line(program)
    if not first.startswith(b"#!"):
        return NO_LOADER if number == errno.ENOENT and first else ""
    if first.endswith(b"\r"):
        return WINDOWS
    name = os.fsdecode(first[2:].split(maxsplit=1)[0]) if first[2:].strip() else ""
    if not os.path.exists(name):
        return f"its interpreter {name} is missing"
    return "" if os.access(name, os.X_OK) else f"its interpreter {name} is not executable"


def first_line(path: str) -> bytes:
    """Return the first line of a file, at most 256 bytes; empty if it is not a plain file or can't be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.read(fd, 256).partition(b"\n")[0] if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        finally:
            os.close(fd)
    except OSError:
        return b""


def what_status_says(job: JobMessage, end: dict[str, Any]) -> dict[str, str]:
    """Return {"error": reason} if the exit status of a command that failed by itself tells the reason, else {}."""
    if end["outcome"] != "exit":
        return {}
    if isinstance(job["command"], str):
        says = SHELL_SAYS.get(end["status"])
        return {"error": says} if says else {}
    script = os.path.join(job["cwd"], job["command"][0])
    if end["status"] == NOT_FOUND and first_line(script).endswith(b"\r"):
        return {"error": f"{script[:200]}: {WINDOWS}"}  # "#!/usr/bin/env bash\r": env(1) finds no such program
    return {}


def find_program(name: str, path: str) -> str:
    """Return the program that execvp(3) would run, by the job's PATH and directory. Raises OSError."""
    if "/" in name:
        return name
    denied = False
    for folder in path.split(":"):
        program = f"{folder or '.'}/{name}"
        if os.path.isfile(program):
            if os.access(program, os.X_OK):
                return program
            denied = True
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number), name)


@functools.lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8
def ignored_signals() -> list[int]:
    """Return the ignored signals, which the job must not inherit; execve(2) itself resets the caught ones."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def spawn_in_session(
    program: str, argv: list[str], environment: dict[str, str], log: str, *, stdin: int, stderr: int, replies: int = -1
) -> int:
    """Call posix_spawn(3): a session of its own, default signals, empty mask, both outputs into the log.

    `stderr`: the descriptor that it gets in the place of the log; `replies`: one that it gets as its third; -1: none.

    The job opens the log itself, so that `is_open_nowhere_else` can tell its descriptors from the supervisor's.
    """
    return os.posix_spawn(
        program,
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, LOG_FLAGS, 0),
            (os.POSIX_SPAWN_DUP2, 1 if stderr < 0 else stderr, 2),
            *([(os.POSIX_SPAWN_DUP2, replies, 3)] if replies >= 0 else []),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=ignored_signals(),
    )
