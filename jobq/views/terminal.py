"""The terminal that a live view draws on: lines that are drawn over and over, and its settings, given back as found."""

from __future__ import annotations

import os
import termios
from typing import Any

from jobq.views.console import Stream

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
CLEAR_BELOW = "\x1b[J"
CLEAR_LINE = "\x1b[K"
USUAL_SIZE = 80, 24  # of a terminal that does not say


class Settings:
    """Keeps keys that are typed from being shown. All of it is for the main thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._found: list[Any] | None = None  # as it was; None while nothing is changed

    def quiet(self) -> None:
        """Show no keys, unless we are in the background, where the terminal is another's."""
        if not in_foreground(self._fd):
            return
        try:
            settings = termios.tcgetattr(self._fd)
            if self._found is None:
                self._found = settings.copy()
            settings[3] &= ~(termios.ECHO | termios.ECHONL)
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)
        except termios.error:
            pass  # it has gone

    def restore(self) -> None:
        """As it was found. What was typed unseen is no command for the shell."""
        if self._found is None or not in_foreground(self._fd):
            return
        try:
            termios.tcflush(self._fd, termios.TCIFLUSH)
            termios.tcsetattr(self._fd, termios.TCSANOW, self._found)
        except termios.error:
            pass
        self._found = None


def in_foreground(fd: int) -> bool:
    """Whether the terminal listens to us: to change it from the background would stop us. True if it is not ours."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


def size_of(fd: int) -> tuple[int, int]:
    """Columns and rows as they are now. COLUMNS and LINES, if they are exported, know of no change."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return USUAL_SIZE
    return (columns, rows) if columns and rows else USUAL_SIZE


class Region:
    """Some lines at the end of what is on the screen. Raises OutputFailed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._count = 0  # of lines that are there
        self._columns = 0  # their width

    def draw(self, lines: list[str], columns: int) -> None:
        """Put these lines in the place of those before. They are rendered: as wide as the terminal at most."""
        text = "".join(f"{CLEAR_LINE}{line}\r\n" for line in lines)
        self._stream.write(f"{HIDE}\r{self._to_top(columns)}{text}{CLEAR_BELOW}")
        self._count, self._columns = len(lines), columns

    def leave(self) -> None:
        """Leave the lines where they are, and give the cursor back; what is drawn next goes below."""
        if self._count:
            self._stream.write(SHOW)
        self._count = 0

    def _to_top(self, columns: int) -> str:
        """To the first of our lines. In a terminal that has become narrower, each of them takes several rows."""
        rows = self._count * -(-self._columns // columns)
        return f"\x1b[{rows}A" if rows else ""
