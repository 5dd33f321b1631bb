"""The signals that ask a long-running command to stop: a handler counts and wakes the loop, nothing else."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Once entered: `count` is how often the process was asked to stop; `fd` becomes readable with each time.

    Afterwards the process is expected to exit, and hears them no more.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake, False)

    def __enter__(self) -> StopSignals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)  # whoever started us may have blocked them
        self._old_wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        # What is ignored stays so: nohup(1) has set it.
        self._heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._heard:
            signal.signal(number, self._note)
        return self

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for number in self._heard:
            signal.signal(number, signal.SIG_IGN)  # it is leaving already: another one must not spoil the exit code
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self.fd)
        os.close(self._wake)

    def ask(self) -> None:
        """Ask the process to stop, from within; any thread may."""
        self.count += 1
        os.write(self._wake, b"!")

    def drain(self) -> None:
        """Make `fd` quiet again."""
        try:
            while len(os.read(self.fd, 512)) == 512:
                pass
        except BlockingIOError:
            pass
