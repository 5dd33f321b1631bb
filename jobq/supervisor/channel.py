"""What a supervisor hears and tells: jobs on standard input, orders by K.ctl, ends on standard output."""

from __future__ import annotations

import json
import os
import select
import signal
import time

from jobq.supervisor.endings import Endings, line_of
from jobq.system import is_file_at

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LONGEST_POLL = 3600.0  # seconds; poll(2) takes no more than 24 days
SEND_EVERY = 0.02  # seconds that the end of a job may wait for those of the jobs behind it
DECODER = json.JSONDecoder()


class Channel:
    """Both ends of the talk with the worker."""

    def __init__(self, control: str, ends: Endings) -> None:
        """`control` is the path of the FIFO to make. Raises OSError."""
        self.ends = ends
        self.hung_up = False
        self.waiting = b""  # input: jobs that have not begun
        self.orders = b""
        self.unsent = b""  # ends that the worker does not know of yet
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
        """Make K.ctl, and listen to it. Raises OSError."""
        os.mkfifo(self.control, 0o600)
        ctl = os.open(self.control, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        if self.ctl >= 0:
            self.poll.unregister(self.ctl)
            os.close(self.ctl)
        self.ctl = ctl
        self.poll.register(ctl, select.POLLIN)

    def mend(self) -> None:
        """Make K.ctl anew if it is not there any more. Raises OSError."""
        if not is_file_at(self.ctl, self.control):
            if os.path.lexists(self.control):
                os.unlink(self.control)  # from a backup, perhaps
            self.make_control()

    # -- in ----------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> None:
        """Sleep until there is input, an order, a signal or the time is over (seconds); take it in."""
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
            else:
                os.read(self.woken, 4096)

    def take_job(self) -> dict[str, Any] | None:
        """The next job that has come in, if one has."""
        if b"\n" not in self.waiting:
            return None
        line, _, self.waiting = self.waiting.partition(b"\n")
        job: dict[str, Any] = DECODER.decode(line.decode("ascii"))
        return job

    def take_order(self) -> list[str] | None:
        """The words of the next order that has come in, if one has."""
        if b"\n" not in self.orders:
            return None
        order, _, self.orders = self.orders.partition(b"\n")
        return order.decode("ascii", "replace").split()

    def worker_is_gone(self) -> bool:
        """Whether input has hung up: a job that was still in the pipe must not start then."""
        if not self.hung_up:
            self.hung_up = any(events & (select.POLLHUP | select.POLLERR) for _, events in self.hang_up.poll(0))
        return self.hung_up

    # -- out ---------------------------------------------------------------------------------------

    def give_back(self, chosen: Callable[[dict[str, Any]], bool]) -> None:
        """Those of the waiting jobs will not be started here: note it, tell it."""
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

    def not_started(self, job: dict[str, Any]) -> None:
        """Note that nothing was done for this claim of the attempt, and never will be."""
        line = line_of({"event": "not_started", "id": job["id"], "n": job["n"], "claim": job["claim"]})
        self.ends.save(line)
        self.unsent += line

    def report(self, end: dict[str, Any]) -> None:
        """Write the end of a job down; the worker is told soon."""
        line = line_of({"event": "end", **end})
        self.ends.save_end(line)
        self.unsent += line
        if time.monotonic() >= self.send_at:
            self.send_endings()

    @property
    def send_at(self) -> float:
        """When the worker is to be told what it does not know yet; infinity if that is nothing."""
        return self.sent_at + SEND_EVERY if self.unsent else float("inf")

    def send_endings(self) -> None:
        """Let the worker know what it does not know yet."""
        self.sent_at = time.monotonic()
        if self.unsent:
            self.tell(self.unsent)
            self.unsent = b""

    def tell(self, line: bytes) -> None:
        """Send the worker a message; a dead one reads K.ends instead."""
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            self.hung_up = True  # for us, a worker that can't be told is one that is dead
