"""A terminal for jobq, whose screen tests can read."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping

import pyte

from jobq.worker.signals import TOGETHER
from tests.conftest import Cli, wait_until

UTF_8 = {"LC_ALL": "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8", "PYTHONUTF8": ""}
JOBQ = (sys.executable, "-m", "jobq")


class Terminal:
    """A process in its own terminal, whose screen pyte reads."""

    def __init__(
        self,
        cli: Cli,
        columns: int,
        *words: str,
        program: tuple[str, ...] = JOBQ,
        locale: Mapping[str, str] = UTF_8,
        term: str = "xterm-256color",
    ) -> None:
        self.screen = pyte.Screen(columns, 40)
        self._stream = pyte.ByteStream(self.screen)
        self.titles: list[str] = []
        self.seen = bytearray()  # all that was written to it
        self.screen.set_title = self.titles.append  # type: ignore[method-assign, assignment]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cli.cwd)
            os.execve(
                program[0],
                [word.encode("utf-8", "surrogateescape") for word in (*program, *words)],
                cli.env | {"TERM": term, "PS1": "$ ", **locale},
            )
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._fd, 4096):
                self.seen += data
                self._stream.feed(data)
        except OSError:
            pass

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def shows(self, words: str) -> None:
        try:
            wait_until(lambda: words in self.text())
        except AssertionError:
            raise AssertionError(f"{words!r} is not on the screen:\n{self.text()}") from None

    def type(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def press_stop_again(self) -> None:
        """Press ^C once more, far enough from the last time to count: a burst counts once."""
        shown = time.monotonic()
        wait_until(lambda: time.monotonic() > shown + TOGETHER)
        self.type(b"\x03")

    def resize(self, columns: int, drawn: Callable[[], bool]) -> None:
        """Change the width; return once `drawn` is true. pyte does not rewrap, so its screen is narrowed only then."""
        self.screen.resize(40, max(columns, self.screen.columns))
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        wait_until(drawn)
        self.screen.resize(40, columns)

    def echoes(self) -> bool:
        """Return True if the terminal echoes typed keys."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def end(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        self._thread.join(timeout=5)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)
