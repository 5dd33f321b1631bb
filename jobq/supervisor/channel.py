"""The messages of a supervisor: jobs on standard input, orders in K.ctl, endings on standard output."""

from __future__ import annotations

import json
import os
import select
import signal
import time

from jobq.supervisor.endings import Endings, line_of
from jobq.supervisor.messages import Order, parse_order
from jobq.system import is_file_at

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from jobq.supervisor.messages import JobMessage

LONGEST_POLL = 3600.0  # seconds; poll(2) takes no more than 24 days
SEND_EVERY = 0.02  # seconds that an ending may wait, to be sent together with the next ones
DECODER = json.JSONDecoder()


def decode_job(line: bytes) -> JobMessage:
    """Return the job of a line."""
    job: JobMessage = DECODER.decode(line.decode("ascii"))
    job["line"] = line + b"\n"
    return job


class Channel:
    """The connection to the worker, in both directions."""

    def __init__(self, control: str, ends: Endings) -> None:
        """Make the FIFO at the path `control`. Raises OSError."""
        self.ends = ends
        self.hung_up = False
        self.waiting = b""  # input: jobs that have not started
        self.orders = b""
        self.unsent = b""  # messages that were not sent to the worker yet
        self.sent_at = float("-inf")
        self.control = control
        self.ctl = -1
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.hang_up = select.poll()
        self.hang_up.register(0, 0)
        self.poll = select.poll()
        for fd in (0, self.woken):
            self.poll.register(fd, select.POLLIN)
        self.make_control()

    def make_control(self) -> None:
        """Make K.ctl, and poll it. Raises OSError."""
        os.mkfifo(self.control, 0o600)
        ctl = os.open(self.control, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        if self.ctl >= 0:
            self.poll.unregister(self.ctl)
            os.close(self.ctl)
        self.ctl = ctl
        self.poll.register(ctl, select.POLLIN)

    def mend(self) -> None:
        """Make K.ctl again if it was removed or replaced. Raises OSError."""
        if not is_file_at(self.ctl, self.control):
            if os.path.lexists(self.control):
                os.unlink(self.control)  # perhaps restored from a backup
            self.make_control()

    # -- in ----------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> None:
        """Sleep until there is input, an order or a signal, at most `timeout` seconds. Read what has arrived."""
        for fd, events in self.poll.poll(None if timeout is None else min(max(timeout, 0.0), LONGEST_POLL) * 1000):
            if fd == 0:
                data = os.read(0, 1 << 16) if events & select.POLLIN else b""
                self.waiting += data
                if not data:
                    self.hung_up = True
                    self.poll.unregister(0)
                    self.give_back(lambda _job: True)
            elif fd == self.ctl:
                self.orders = (self.orders + os.read(self.ctl, 4096))[-8192:]
            elif fd == self.woken:
                os.read(self.woken, 4096)

    def take_job(self) -> JobMessage | None:
        """Return the next job that has arrived, or None."""
        if b"\n" not in self.waiting:
            return None
        line, _, self.waiting = self.waiting.partition(b"\n")
        return decode_job(line)

    def take_more(self, goes_with: Callable[[JobMessage], bool], room: int) -> list[JobMessage]:
        """Return the next jobs that have arrived, up to the first that does not go with them, or to `room` bytes."""
        taken: list[JobMessage] = []
        start = 0
        while (end := self.waiting.find(b"\n", start)) >= 0 and end < room:
            job = decode_job(self.waiting[start:end])
            if not goes_with(job):
                break
            taken.append(job)
            start = end + 1
        self.waiting = self.waiting[start:]
        return taken

    def put_back(self, jobs: Sequence[JobMessage]) -> None:
        """Let jobs wait again, before all others: they have not started."""
        self.waiting = b"".join(job["line"] for job in jobs) + self.waiting
        if self.hung_up and jobs:
            self.give_back(lambda _job: True)

    def take_order(self) -> Order | None:
        """Return the next order that has come in, if there is one; lines that are none are passed over."""
        while b"\n" in self.orders:
            line, _, self.orders = self.orders.partition(b"\n")
            order = parse_order(line.decode("ascii", "replace"))
            if order is not None:
                return order
        return None

    def worker_is_gone(self) -> bool:
        """Return True if input has hung up: a job that was still in the pipe must not start then."""
        if not self.hung_up:
            self.hung_up = any(events & (select.POLLHUP | select.POLLERR) for _, events in self.hang_up.poll(0))
        return self.hung_up

    # -- out ---------------------------------------------------------------------------------------

    def give_back(self, chosen: Callable[[JobMessage], bool]) -> None:
        """Record and report as not started the waiting jobs for which `chosen` returns True."""
        *lines, rest = self.waiting.split(b"\n")
        kept = b""
        for line in lines:
            job = json.loads(line)
            if chosen(job):
                self.not_started(job)
            else:
                kept += line + b"\n"
        self.waiting = kept + rest
        self.send_endings()

    def not_started(self, job: JobMessage) -> None:
        """Record that this claim of the attempt was not started, and never will be."""
        line = line_of({"event": "not_started", "id": job["id"], "n": job["n"], "claim": job["claim"]})
        self.ends.save(line)
        self.unsent += line

    def report(self, *ends: dict[str, Any], kept: bool = True) -> None:
        """Record the endings of jobs, and send them to the worker soon. `kept`: until they can be recorded.

        An end without a recorded start need not be: without one, it is known that the job never began.
        """
        lines = b"".join(line_of({"event": "end", **end}) for end in ends)
        if kept:
            self.ends.save_end(lines)
        else:
            self.ends.save(lines)  # now or never; a part of the start may be there
        self.unsent += lines
        if time.monotonic() >= self.send_at:
            self.send_endings()

    @property
    def send_at(self) -> float:
        """Time at which to send what is unsent (monotonic seconds); infinity if that is nothing."""
        return self.sent_at + SEND_EVERY if self.unsent else float("inf")

    def send_endings(self) -> None:
        """Send the worker all that is unsent."""
        self.sent_at = time.monotonic()
        if self.unsent:
            self.tell(self.unsent)
            self.unsent = b""

    def tell(self, line: bytes) -> None:
        """Send the worker a message. If it is dead, its rescuer reads K.ends instead."""
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            self.hung_up = True  # a worker that can't be reached counts as dead
