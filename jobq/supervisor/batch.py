"""A batch of calls, handed over to the warm process together: no time is lost between them.

What has ended is collected some hundred times a second at most. A call that takes longer than that, or that an order or
a signal may be for, is singled out: it is watched like any job, and the calls behind it wait again.
"""

from __future__ import annotations

import time

from jobq.supervisor.calls import KEEPING, OVER, ending_of
from jobq.supervisor.endings import UNRECORDED, line_of
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
    from collections.abc import Mapping
    from typing import Any, Protocol

    from jobq.supervisor.calls import Begun, Calls
    from jobq.supervisor.channel import Channel
    from jobq.supervisor.endings import Endings
    from jobq.supervisor.host import Warm
    from jobq.supervisor.messages import JobMessage

    class Supervisor(Protocol):
        """The part of a supervisor that a batch uses."""

        channel: Channel
        ends: Endings
        warm: Warm
        leaving: bool
        worker_stops: bool

        def has_ended(self, pid: int) -> bool:
            """Return True if this child has ended; it is not reaped."""

        def watch(self, job: Running) -> None:
            """Return when the main process has ended, or its call, or when its grace after TERM is over."""

        def finish(self, running: Running, job: JobMessage, begun: float, clock: float) -> None:
            """Report how a job that was watched has ended."""


SOON = 0.01  # seconds that a call may take until it is singled out
MOMENT = 0.001  # seconds between two looks at a process that is between two calls
MOST_MOMENTS = 0.1  # seconds that it may take for that
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
        self.is_saved = False  # that they start
        if not is_alone(job):
            kind = kind_of(job)
            self.jobs += self.channel.take_more(
                lambda other: bool(other.get("call")) and not is_alone(other) and kind_of(other) == kind, ROOM
            )

    def run(self) -> None:
        """Have the calls made, and report how they have ended."""
        try:
            self.calls = self.warm.make_ready()
            is_recorded = self.record_start()
            self.calls.begin(self.warm.number)
        except OSError:
            is_recorded = False
        if not is_recorded:
            self.fail(UNRECORDED, kept=self.is_saved)
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
        self.channel.put_back(self.jobs[self.done :])
        self.warm.idle_since = time.monotonic()

    def record_start(self) -> bool:
        """Record that these calls may begin from now on. Return True if that is done."""
        self.wall, self.clock, self.boot = time.time(), time.monotonic(), boot_time()
        record = {"event": "batch", "batch": self.warm.number, "at": self.wall, "clock": self.clock}
        record["file"] = self.calls.file
        record["calls"] = [[job["id"], job["n"], job["claim"], job["mark"]] for job in self.jobs]
        ends = self.supervisor.ends
        self.is_saved = ends.save(line_of(record))
        return self.is_saved and (not self.jobs[0]["once"] or ends.sync())

    def fail(self, end: Mapping[str, Any], *, kept: bool = True) -> None:
        """Report that none of the calls could start. `kept`: see `Channel.report`."""
        self.channel.report(*({**key_of(job), **end} for job in self.jobs), kept=kept)

    def see_through(self, pid: int) -> None:
        """Report endings until the batch is over, or one of its calls has been watched to its end."""
        while True:
            begun = self.warm.begun()
            self.collect(pid, is_over=begun.doing == OVER)
            if self.warm.reply is not None:
                self.watch(pid, begun)
            elif begun.doing == OVER:
                pass
            elif self.supervisor.has_ended(pid):
                self.bury(pid)
            elif self.needs_care(begun):
                self.single_out(pid)
            else:
                self.channel.wait(SOON)
                continue
            return

    def needs_care(self, begun: Begun) -> bool:
        """Return True if the call that runs takes long, or something else has to be done meanwhile."""
        supervisor, channel = self.supervisor, self.channel
        if b"\n" in channel.orders or channel.hung_up or supervisor.leaving or supervisor.worker_stops:
            return True
        timeout = self.jobs[max(begun.index, 0)].get("timeout")
        return time.monotonic() >= max(begun.at, self.clock) + (SOON if timeout is None else min(timeout, SOON))

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
        if reply.get("left"):
            return self.warm.close_output(self.warm.take_output(job))
        if reply["log_bytes"] <= job["log_max"]:
            return {}
        try:
            return self.warm.close_output(Log(job["log"], open_plain(job["log"], LOG_FLAGS), job["log_max"]))
        except OSError:
            return {}

    def single_out(self, pid: int) -> None:
        """Let no call begin behind the one that runs, and watch that."""
        index, until = self.done, time.monotonic() + MOST_MOMENTS
        while True:
            begun = self.calls.stop(index + 1)
            if begun.index > index:
                index = begun.index
            elif begun.doing == KEEPING and begun.index == index and time.monotonic() < until:
                self.channel.wait(MOMENT)
            else:
                break
        self.collect(pid, is_over=begun.doing == OVER)
        if self.warm.reply is not None or (begun.doing != OVER and self.done <= index < len(self.jobs)):
            self.watch(pid, begun)
            return
        while (begun := self.warm.begun()).doing != OVER and not self.supervisor.has_ended(pid):
            if time.monotonic() >= until:
                self.warm.retire()  # it was stopped (SIGSTOP), perhaps: the next batch gets another process
                return
            self.channel.wait(MOMENT)  # it is about to see that there is no more to do

    def bury(self, pid: int) -> None:
        """Find out which call the process died in, if it was one."""
        begun = self.warm.begun()
        self.collect(pid, is_over=False)
        if self.warm.reply is None and self.is_between(begun):
            self.warm.retire()
        elif self.done < len(self.jobs):
            self.watch(pid, begun)

    def is_between(self, begun: Begun) -> bool:
        """Return True if the process is between two calls: its death then is the fault of none."""
        made = self.done or (self.warm.host is not None and self.warm.host.made)
        return begun.index < self.done and bool(made)

    def watch(self, pid: int, begun: Begun) -> None:
        """Watch the next call to its end, and report it; those behind it wait again meanwhile."""
        job, supervisor = self.jobs[self.done], self.supervisor
        self.channel.put_back(self.jobs[self.done + 1 :])
        self.jobs = self.jobs[: self.done + 1]
        started = begun.at if begun.index == self.done else self.clock
        wear(job["mark"])
        running = Running(job, pid, self.warm.take_output(job, moved=begun.doing == KEEPING), started)
        began = self.boot + started - self.clock
        record = {"event": "pid", **key_of(job), "pid": pid, "from": began, "to": boot_time()}
        supervisor.ends.save(line_of(record))
        supervisor.watch(running)
        if self.warm.reply is None:
            self.warm.reply = next(iter(self.warm.replies()), None)
        if self.warm.reply is None and self.warm.is_over(running):  # it has seen the limit before it began
            self.warm.close_output(running.log)
            return
        if self.warm.reply is None and running.stop is None and self.is_between(self.warm.begun()):
            self.warm.close_output(running.log)
            self.warm.retire()  # it has died before it began
            return
        self.warm.last_log = job["log"]
        self.jobs.pop()
        supervisor.finish(running, job, self.wall + started - self.clock, began)


def is_alone(job: JobMessage) -> bool:
    """Return True if the call goes with no others: its start is synced, or a reader follows its log."""
    return job["once"] or job["followed"]
