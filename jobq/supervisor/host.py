"""The warm process of a slot, which calls one function after the other (python/host.py is its own side)."""

from __future__ import annotations

import json
import os
import select
import signal
import time

from jobq.supervisor.tree import has_other_children, signal_group

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

    from jobq.supervisor.channel import Channel
    from jobq.supervisor.logs import Log
    from jobq.supervisor.messages import JobMessage
    from jobq.supervisor.running import Running
    from jobq.supervisor.spawn import Spawner

LEAVE_S = 1.0  # seconds that it may take to exit once it has no more to do
KILLED_S = 5.0  # ... once it was killed
IDLE_S = 60.0  # seconds without a call after which it exits
PAUSE = 0.002  # seconds between two looks whether it has exited


def kind_of(job: JobMessage) -> tuple[Any, ...]:
    """Return what the calls of one process have in common: program, directory, umask and variables."""
    own = sorted((name, value) for name, value in job["set"].items() if not name.startswith("JOBQ_JOB_"))
    return tuple(job["command"]), job["cwd"], job["umask"], job["env"], tuple(own)


class Host:
    """One warm process, a child of the supervisor. It has one call at a time."""

    def __init__(self, spawner: Spawner, job: JobMessage) -> None:
        """Start it, with the log of this job as its output. Raises OSError, ValueError."""
        self.kind = kind_of(job)
        self.replies, told = os.pipe()
        calls, self.calls = os.pipe()
        try:
            self.pid = spawner.spawn({**job, "stdin": f"fd:{calls}"}, replies=told)
        except BaseException:
            os.close(self.calls)
            os.close(self.replies)
            raise
        finally:
            os.close(calls)
            os.close(told)
        os.set_blocking(self.replies, False)
        self.log: tuple[int, int] | None = None  # device and inode of the log that it writes to
        self.received = b""
        self.modules: dict[str, int] = {}  # files that it has imported functions from -> when they were changed

    def give(self, job: JobMessage, log: Log) -> None:
        """Hand over a call. If the process is dead, that shows soon."""
        status = os.fstat(log.fd)
        own = {name: value for name, value in job["set"].items() if name.startswith("JOBQ_JOB_")}
        request = {**(job["call"] or {}), "mark": job["mark"], "set": own}
        there = status.st_dev, status.st_ino
        if self.log not in (None, there):
            request["log"] = job["log"]
        self.log = there
        self.received = b""
        data = json.dumps(request).encode("ascii") + b"\n"
        try:
            while data:
                data = data[os.write(self.calls, data) :]
        except OSError:
            pass

    def look(self) -> None:
        """Read what it has replied."""
        try:
            self.received += os.read(self.replies, 1 << 16)
        except OSError:
            pass

    @property
    def has_replied(self) -> bool:
        """True if the call is over, and the process lives on."""
        return self.received.endswith(b"\n")

    def reply(self) -> dict[str, Any]:
        """Return how the call has ended."""
        found: dict[str, Any] = json.loads(self.received)
        return found

    def is_stale(self) -> bool:
        """Return True if a module that it has imported was changed since."""
        return any(changed_at(path) != at for path, at in self.modules.items())

    def leave(self) -> None:
        """Let it exit, and reap it; KILL it if it does not, with all of its group."""
        os.close(self.calls)
        os.close(self.replies)
        until = time.monotonic() + LEAVE_S
        while time.monotonic() < until + KILLED_S:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                return
            if time.monotonic() >= until:
                signal_group(self.pid, signal.SIGKILL)
            time.sleep(PAUSE)


def changed_at(path: str) -> int:
    """Return when a file was last changed, in nanoseconds; 0 if it is gone."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


class Warm:
    """The warm process of a slot, if there is one, started when it is first needed, and replaced when it has to be."""

    def __init__(self, spawner: Spawner, channel: Channel) -> None:
        self.spawner = spawner
        self.channel = channel
        self.host: Host | None = None
        self.idle_since = 0.0  # monotonic seconds

    def make_way(self, job: JobMessage) -> None:
        """End a process that can't make the call of this job, before that has a log: it may print at its exit."""
        host = self.host
        fits = host is not None and job.get("call") and host.kind == kind_of(job)
        if host is not None and (not fits or host.is_stale() or self.has_died()):
            self.retire()

    def begin(self, job: JobMessage, log: Log) -> int:
        """Hand over a call, after `make_way`; return the pid of its process. Raises OSError, ValueError."""
        if self.host is None:
            self.host = Host(self.spawner, job)
            self.channel.poll.register(self.host.replies, select.POLLIN)
        self.host.give(job, log)
        return self.host.pid

    def is_over(self, job: Running) -> bool:
        """Return True if the call is over and the process lives on; not if it is being ended."""
        if self.host is None or self.host.pid != job.pid:
            return False
        self.host.look()
        return job.stop is None and self.host.has_replied

    def end(self, job: Running) -> dict[str, Any] | None:
        """Return how the call has ended; None if its process has, too, or is no warm one. Leftovers end the process."""
        if not self.is_over(job):
            if self.host is not None and self.host.pid == job.pid:
                self.forget()  # the caller reaps it
            return None
        assert self.host is not None
        reply = self.host.reply()
        self.host.modules.update(reply.pop("modules", {}))
        if reply.pop("last", None) is not None or has_other_children(job.pid):
            self.retire()
            job.main_has_ended()
        self.idle_since = time.monotonic()
        return {"outcome": "exit", **reply}

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
            self.channel.poll.unregister(self.host.replies)
            os.close(self.host.calls)
            os.close(self.host.replies)
            self.host = None

    def retire(self) -> None:
        """End the process, if there is one."""
        if self.host is not None:
            self.channel.poll.unregister(self.host.replies)
            host, self.host = self.host, None
            host.leave()
