"""The signals that ask a long-running command to stop: a handler counts and wakes the loop, nothing else."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """While entered: `count` is how often the process was asked to stop; `fd` becomes readable with each time."""

    def __init__(self) -> None:
        self.count = 0
        self.fd, self._wake = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._wake, False)

    def __enter__(self) -> StopSignals:
        self._old_wakeup = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]  # as nohup(1) set it
        self._old = {number: signal.signal(number, self._note) for number in heard}
        return self

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
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
