"""The signals that ask a long-running command to stop: a handler counts and wakes the loop, nothing else."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType, TracebackType
from typing import NoReturn

from jobq.errors import Interrupted

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TOGETHER = 0.05  # seconds within which the same signal twice counts once: timeout(1) and others repeat what we also got


def end_by(number: int) -> NoReturn:
    """End this process by the signal (0: SIGINT), as if it had never been caught.

    Only this tells a shell which runs us in a loop that the user wants to end the loop, and not just this turn.
    """
    number = number or signal.SIGINT
    signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    signal.raise_signal(number)
    raise SystemExit(128 + number)  # not reached, unless the system delivers signals late


def raise_interrupted(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle SIGINT where no clean-up is needed: raise Interrupted, as the option parser exits on KeyboardInterrupt."""
    raise Interrupted(number)


class StopSignals:
    """The stop signals of the process, once entered. `count`: how often it was asked; `fd` is readable after each.

    HUP never asks a second time: when a terminal is closed, its shell and the system both send one. On leaving, the
    signals are ignored, as the process is expected to exit.
    """

    def __init__(self) -> None:
        self._asked = 0
        self._hung_up = False
        self._last: tuple[int, float] = (0, float("-inf"))
        self.heard_term = False
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake, False)

    @property
    def count(self) -> int:
        """The number of times that the process was asked to stop."""
        return max(self._asked, self._hung_up)

    @property
    def last(self) -> int:
        """The number of the last signal; 0 if only `ask` was called."""
        return self._last[0]

    def __enter__(self) -> StopSignals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # the process that started us may have blocked them
        self._old_wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        # An ignored signal stays ignored: nohup(1) has set it.
        self._heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._heard:
            signal.signal(number, self._note)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # only to wake us
        return self

    def _note(self, number: int, _frame: FrameType | None) -> None:
        last, at = self._last
        self._last = number, time.monotonic()
        if number == signal.SIGHUP:
            self._hung_up = True
        elif number != last or self._last[1] > at + TOGETHER:
            self._asked += 1
            self.heard_term |= number == signal.SIGTERM

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for number in self._heard:
            signal.signal(number, signal.SIG_IGN)  # it exits already: another signal must not change the exit code
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.set_wakeup_fd(self._old_wakeup)
        self.close()

    def close(self) -> None:
        """Give up the descriptors."""
        os.close(self.fd)
        os.close(self._wake)

    def ask(self, *, hand_back: bool = False) -> None:
        """Ask the process to stop, from within, as ^C does, or as TERM with `hand_back`; any thread may."""
        self._asked += 1
        self.heard_term |= hand_back
        os.write(self._wake, b"!")

    def drain(self) -> None:
        """Empty `fd`, so that it is not readable any more."""
        try:
            while len(os.read(self.fd, 512)) == 512:
                pass
        except BlockingIOError:
            pass
