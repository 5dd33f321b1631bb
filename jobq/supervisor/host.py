"""The warm process of a slot, which makes one call after the other (python/host.py is its own side)."""

from __future__ import annotations

import json
import os
import select
import signal
import time

from jobq.supervisor.calls import OVER, TOLD, Begun, Calls
from jobq.supervisor.logs import Log
from jobq.supervisor.spawn import LOG_FLAGS
from jobq.supervisor.tree import signal_group
from jobq.system import is_file_at, open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jobq.supervisor.channel import Channel
    from jobq.supervisor.messages import JobMessage
    from jobq.supervisor.running import Running
    from jobq.supervisor.spawn import Spawner

LEAVE_S = 1.0  # seconds that it may take to exit once it has no more to do
KILLED_S = 5.0  # ... once it was killed
IDLE_S = 60.0  # seconds without a call after which it exits
PAUSE = 0.002  # seconds between two looks whether it has exited
MOST_REST = 1 << 20  # bytes that it may print at its exit


def kind_of(job: JobMessage) -> tuple[Any, ...]:
    """Return what the calls of one process have in common: program, directory, umask and variables."""
    own = {name: value for name, value in job["set"].items() if not name.startswith("JOBQ_JOB_")}
    return job["command"], job["cwd"], job["umask"], job["env"], own


class Host:
    """One warm process, a child of the supervisor."""

    def __init__(self, spawner: Spawner, job: JobMessage, output: str) -> None:
        """Start it for such jobs as this one, with its output into that file. Raises OSError, ValueError."""
        self.kind = kind_of(job)
        self.told, told = os.pipe()
        calls, self.calls = os.pipe()
        try:
            self.pid = spawner.spawn({**job, "log": output, "stdin": f"fd:{calls}"}, replies=told)
        except BaseException:
            os.close(self.calls)
            os.close(self.told)
            raise
        finally:
            os.close(calls)
            os.close(told)
        os.set_blocking(self.told, False)
        self.made = 0  # calls
        self.modules: dict[str, int] = {}  # files that it has imported functions from -> when they were changed

    def give(self, head: dict[str, Any], jobs: Sequence[JobMessage]) -> None:
        """Hand over a batch. If the process is dead, that shows soon."""
        data = json.dumps(head).encode("ascii") + b"\n" + b"".join(job["line"] for job in jobs)
        try:
            while data:
                data = data[os.write(self.calls, data) :]
        except OSError:
            pass

    def hear(self) -> bool:
        """Take what wakes us, which says no more than that. Return False if no more will come."""
        try:
            return bool(os.read(self.told, 1 << 16))
        except OSError:
            return True

    def is_stale(self) -> bool:
        """Return True if a module that it has imported was changed since."""
        return any(changed_at(path) != at for path, at in self.modules.items())

    def leave(self) -> None:
        """Let it exit, and reap it; KILL it if it does not, with all of its group."""
        self.close()
        until = time.monotonic() + LEAVE_S
        while time.monotonic() < until + KILLED_S:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            if time.monotonic() >= until:
                signal_group(self.pid, signal.SIGKILL)
            time.sleep(PAUSE)

    def close(self) -> None:
        """Close what connects us with the process."""
        os.close(self.calls)
        if self.told >= 0:
            os.close(self.told)


def changed_at(path: str) -> int:
    """Return when a file was last changed, in nanoseconds; 0 if it is gone."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


class Warm:
    """The warm process of a slot, if there is one, started when it is first needed, and replaced when it has to be.

    Its output goes to K.out. What a call has printed is moved to the log of that call: by the process itself if it goes
    on, else by us.
    """

    def __init__(self, spawner: Spawner, channel: Channel, files: str) -> None:
        """`files`: the path of the files of the slot, without what they end in."""
        self.spawner = spawner
        self.channel = channel
        self.host: Host | None = None
        self.idle_since = 0.0  # monotonic seconds
        self.output = f"{files}.out"
        self.file = f"{files}.calls"
        self.calls: Calls | None = None
        self.number = 0  # of the batch
        self.reply: dict[str, Any] | None = None  # of the call that is watched, or was the last one
        self.last_log = ""  # of the call that was made last
        self.spare = -1  # the log of a call that can have no other

    def make_ready(self) -> Calls:
        """Return the file of calls, to `begin` another batch. Raises OSError."""
        if self.calls is not None and not is_file_at(self.calls.fd, self.file):
            self.calls.close()  # a cleaner has removed it
            self.calls = None
            self.retire()  # it has the other file open
        if self.calls is None:
            self.calls = Calls(self.file, new=True)
        if self.spare < 0:
            self.spare = os.open(os.devnull, os.O_WRONLY)
        self.number += 1
        self.reply = None
        return self.calls

    def make_way(self, job: JobMessage) -> None:
        """End a process that can't make the call of this job."""
        host = self.host
        if host is not None and (host.kind != kind_of(job) or host.is_stale() or self.has_died()):
            self.retire()

    def begin(self, jobs: Sequence[JobMessage]) -> int:
        """Hand over a batch, after `make_way`; return the pid of the process. Raises OSError, ValueError."""
        assert self.calls is not None
        is_new = not os.path.lexists(self.output)
        if is_new:
            os.close(open_plain(self.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        if self.host is None:
            is_new = False  # it gets it as its first output
            self.host = Host(self.spawner, jobs[0], self.output)
            self.channel.poll.register(self.host.told, select.POLLIN)
        head = {"batch": self.number, "calls": len(jobs), "file": self.file, "output": self.output}
        self.host.give({**head, "is_new": is_new}, jobs)
        return self.host.pid

    def begun(self) -> Begun:
        """Return which call has begun last. Raises OSError."""
        assert self.calls is not None
        if self.host is not None and self.host.told >= 0 and not self.host.hear():
            self.channel.poll.unregister(self.host.told)  # it is dying, or a function has closed all descriptors
            os.close(self.host.told)
            self.host.told = -1
        return self.calls.begun()

    def replies(self) -> list[dict[str, Any]]:
        """Return the replies that have come since the last call of this. Raises OSError."""
        assert self.calls is not None
        found = self.calls.replies()
        if self.host is not None:
            self.host.made += len(found)
            for reply in found:
                self.host.modules.update(reply.get("modules", {}))
        return found

    def take_output(self, job: JobMessage, *, moved: bool = False) -> Log:
        """Make the output the log of this job: of its call, which runs or has just ended. Return the log.

        `moved`: the process may have done it already. Where there is no way, the log is that of nobody.
        """
        path = job["log"]
        try:
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)  # a cleaner may have removed it
            if not moved or os.lstat(self.output).st_size or not os.path.lexists(path):
                os.rename(self.output, path)
        except OSError:
            if not os.path.lexists(path):
                path = self.output
        try:
            fd = open_plain(path, LOG_FLAGS | os.O_CREAT)
        except OSError:
            path, fd, self.spare = os.devnull, self.spare, -1
        return Log(path, fd, job["log_max"], followed=job.get("followed", False))

    def close_output(self, log: Log) -> dict[str, int]:
        """Close the log of a call that has ended; return its sizes. Nobody else's output is added to it."""
        log.trim()
        sizes = log.sizes()
        os.close(log.fd)
        if log.path == self.output:
            remove(self.output)
            return {"log_bytes": sizes["log_bytes"], "log_dropped": sizes["log_bytes"]}
        return sizes

    def keep_rest(self) -> None:
        """Add what the process has printed at its exit to the log of its last call. Start anew."""
        try:
            with open(open_plain(self.output, os.O_RDONLY), "rb") as f:
                rest = f.read(MOST_REST)
            if rest and self.last_log and os.path.isdir(os.path.dirname(self.last_log)):
                with open(open_plain(self.last_log, LOG_FLAGS | os.O_CREAT), "ab") as log:
                    log.write(rest)
        except OSError:
            pass
        remove(self.output)

    def is_over(self, job: Running) -> bool:
        """Return True if the call is over and the process lives on; not if it is being ended."""
        return self.host is not None and self.host.pid == job.pid and self.begun().doing == OVER and job.stop is None

    def end(self, job: Running) -> dict[str, Any] | None:
        """Return how the call has ended; None if its process has, too, or is no warm one. Leftovers end the process."""
        if self.host is None or self.host.pid != job.pid:
            return None
        if job.stop is not None or self.reply is None:
            self.forget()  # the caller reaps it
            return None
        if not self.is_over(job):  # it has died behind the reply
            self.reply.setdefault("replaced", "its process died")
        if "replaced" in self.reply:
            self.retire()
            job.main_has_ended()
        self.idle_since = time.monotonic()
        return {"outcome": "exit", **{name: self.reply[name] for name in TOLD if name in self.reply}}

    def has_died(self) -> bool:
        """Return True if the process has ended between two calls."""
        return (
            self.host is not None
            and os.waitid(os.P_PID, self.host.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def tend(self) -> float | None:
        """End a process that has nothing to do for IDLE_S; return the seconds until that; None: there is none."""
        if self.host is not None and (time.monotonic() >= self.idle_since + IDLE_S or self.has_died()):
            self.retire()
        return None if self.host is None else self.idle_since + IDLE_S - time.monotonic()

    def forget(self) -> None:
        """Close what connects us with the process: it is dead, or dying, and another one reaps it."""
        if self.host is not None:
            host = self._let_go(self.host)
            host.close()

    def retire(self) -> None:
        """End the process, if there is one."""
        if self.host is not None:
            self._let_go(self.host).leave()
            self.keep_rest()

    def _let_go(self, host: Host) -> Host:
        if host.told >= 0:
            self.channel.poll.unregister(host.told)
        self.host = None
        return host


def remove(path: str) -> None:
    """Delete the file, if there is one."""
    try:
        os.unlink(path)
    except OSError:
        pass
