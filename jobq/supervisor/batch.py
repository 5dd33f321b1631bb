"""A batch of calls, handed over to the warm process together: no time is lost between them.

What has ended is collected some hundred times a second at most. A call that takes longer than that, or that an order or
a signal may be for, is singled out: it is watched like any job, and the calls behind it wait again.
"""

from __future__ import annotations

import time

from jobq.supervisor.calls import KEEPING, ending_of
from jobq.supervisor.endings import line_of
from jobq.supervisor.host import kind_of
from jobq.supervisor.logs import Log
from jobq.supervisor.mark import wear
from jobq.supervisor.messages import key_of
from jobq.supervisor.running import Running
from jobq.supervisor.spawn import LOG_FLAGS, spawn_error
from jobq.supervisor.tree import has_other_children
from jobq.system import boot_time, open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any, Protocol

    from jobq.supervisor.calls import Calls
    from jobq.supervisor.channel import Channel
    from jobq.supervisor.endings import Endings
    from jobq.supervisor.host import Warm
    from jobq.supervisor.logs import Logs
    from jobq.supervisor.messages import JobMessage

    class Supervisor(Protocol):
        """What a batch needs of its supervisor."""

        channel: Channel
        ends: Endings
        logs: Logs
        warm: Warm
        leaving: bool
        worker_stops: bool

        def watch(self, job: Running) -> None:
            """Return when the main process has ended, or its call, or when its grace after TERM is over."""

        def finish(self, running: Running, job: JobMessage, begun: float, clock: float) -> None:
            """Report how a job that was watched has ended."""


SOON = 0.01  # seconds that a call may take until it is singled out
MOMENT = 0.001  # seconds that the process may take to move the output of a call
ROOM = 1 << 15  # bytes of a batch: it fits into the pipe


class Batch:
    """The calls, of which `done` have ended. Times: `wall` and `clock` (monotonic), both at the start."""

    def __init__(self, supervisor: Supervisor, job: JobMessage) -> None:
        """Take this call, and those behind it that go with it."""
        self.supervisor = supervisor
        self.channel, self.warm = supervisor.channel, supervisor.warm
        self.calls: Calls
        self.jobs = [job]
        self.done = 0
        if not is_alone(job):
            kind = kind_of(job)
            self.jobs += self.channel.take_more(
                lambda other: bool(other.get("call")) and not is_alone(other) and kind_of(other) == kind, ROOM
            )

    def run(self) -> None:
        """Have the calls made, and report how they have ended."""
        try:
            is_recorded = self.record_start()
        except OSError:
            is_recorded = False
        if not is_recorded:
            self.fail({"outcome": "spawn_error", "error": "the start can't be recorded", "counted": False})
            return
        if self.channel.worker_is_gone():
            for job in self.jobs:
                self.channel.not_started(job)
            return
        try:
            self.warm.make_way(self.jobs[0])
            wear(self.jobs[0]["mark"])
            pid = self.warm.begin(self.jobs)
        except (OSError, ValueError) as e:
            self.fail(spawn_error(e, {**self.jobs[0], "log": self.warm.output}))
            return
        self.see_through(pid)
        self.warm.idle_since = time.monotonic()

    def record_start(self) -> bool:
        """Record that these calls may begin from now on. Return True if that is done. Raises OSError."""
        self.calls = self.warm.make_ready()
        self.wall, self.clock, self.boot = time.time(), time.monotonic(), boot_time()
        record = {"event": "batch", "batch": self.calls.batch, "at": self.wall, "clock": self.clock}
        record["boot"] = self.jobs[0].get("boot")
        record["calls"] = [[job["id"], job["n"], job["claim"], job["mark"]] for job in self.jobs]
        ends = self.supervisor.ends
        return ends.save(line_of(record)) and (not self.jobs[0]["once"] or ends.sync())

    def fail(self, end: dict[str, Any]) -> None:
        """Report that none of the calls could start."""
        self.channel.report(*({**key_of(job), **end} for job in self.jobs))

    def see_through(self, pid: int) -> None:
        """Report endings until the batch is over, or one of its calls has been watched to its end."""
        host = self.warm.host
        assert host is not None
        while True:
            is_over = host.look()
            self.collect(pid, is_over=is_over)
            if self.warm.reply is not None:
                self.watch(pid)
            elif not is_over and (host.is_dead or self.needs_care()):
                self.single_out(pid)
            elif not is_over:
                self.channel.wait(SOON)
                continue
            self.channel.put_back(self.jobs[self.done :])
            return

    def needs_care(self) -> bool:
        """Return True if the call that runs takes long, or something else has to be done meanwhile."""
        supervisor, channel = self.supervisor, self.channel
        if channel.orders or channel.hung_up or supervisor.leaving or supervisor.worker_stops:
            return True
        return time.monotonic() >= max(self.calls.begun().at, self.clock) + SOON

    def collect(self, pid: int, *, is_over: bool) -> None:
        """Report the calls that have ended, but for one that ends the process: its reply is kept in `warm.reply`."""
        ends = []
        replies = self.warm.replies()
        if replies and is_over and has_other_children(pid):
            replies[-1]["replaced"] = "it left processes"
        for reply in replies:
            if "replaced" in reply:
                self.warm.reply = reply
                break
            job = self.jobs[self.done]
            self.done += 1
            self.warm.last_log = job["log"]
            ends.append({**key_of(job), **ending_of(reply, self.wall, self.clock), **self.sizes(job, reply)})
        if ends:
            self.channel.report(*ends)

    def sizes(self, job: JobMessage, reply: dict[str, Any]) -> dict[str, int]:
        """Return what the end says of the log, if that differs from the reply. Shorten a log that is too long."""
        if not reply.get("left") and reply["log_bytes"] <= job["log_max"]:
            return {}
        try:
            return self.supervisor.logs.close(self.warm.take_output(job) if reply.get("left") else log_of(job))
        except OSError:
            return {"log_bytes": 0, "log_dropped": reply["log_bytes"]}

    def single_out(self, pid: int) -> None:
        """Let no call begin behind the one that runs, and watch that."""
        host = self.warm.host
        assert host is not None
        index, is_over = self.done, False
        while True:
            begun = self.calls.stop(index + 1)
            is_over = host.look()
            if begun.index > index:
                index = begun.index
            elif begun.index == index and begun.doing == KEEPING and not is_over and not host.is_dead:
                self.channel.wait(MOMENT)
            else:
                break
        self.collect(pid, is_over=is_over)
        if self.warm.reply is not None or (self.done == index and not is_over):
            self.watch(pid)
            return
        while not host.look() and not host.is_dead:  # it is about to see that there is no more to do
            self.channel.wait(MOMENT)

    def watch(self, pid: int) -> None:
        """Watch the next call to its end, and report it; those behind it wait again meanwhile."""
        job, supervisor = self.jobs[self.done], self.supervisor
        self.channel.put_back(self.jobs[self.done + 1 :])
        self.jobs = self.jobs[: self.done + 1]
        begun = self.calls.begun()
        started = begun.at if begun.index == self.done else self.clock
        wear(job["mark"])
        running = Running(job, pid, self.warm.take_output(job), started)
        began = self.boot + started - self.clock
        record = {"event": "pid", **key_of(job), "pid": pid, "from": began, "to": boot_time()}
        supervisor.ends.save(line_of(record))
        supervisor.watch(running)
        if self.warm.is_over(running) and self.warm.reply is None:
            self.warm.reply = next(iter(self.warm.replies()), None)
            if self.warm.reply is None:  # it has seen the limit before it began
                supervisor.logs.close(running.log)
                return
        self.warm.last_log = job["log"]
        self.jobs.pop()
        supervisor.finish(running, job, self.wall + started - self.clock, began)


def is_alone(job: JobMessage) -> bool:
    """Return True if the call goes with no others: its start is synced, or a reader follows its log."""
    return job["once"] or job["followed"]


def log_of(job: JobMessage) -> Log:
    """Open the log of a call that has ended. Raises OSError."""
    return Log(job["log"], open_plain(job["log"], LOG_FLAGS), job["log_max"])
