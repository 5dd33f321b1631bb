"""The terminal of a live view: a region of lines that is redrawn, and terminal settings that are restored."""

from __future__ import annotations

import os
import termios
from typing import Any

from jobq.environ import variable
from jobq.views.console import Stream
from jobq.views.output import COLOUR

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor
CLEAR_BELOW = "\x1b[J"
CLEAR_LINE = "\x1b[K"
USUAL_SIZE = 80, 24  # if the terminal does not report its size


def is_live(stream: Stream) -> bool:
    """Return True if a live view can be drawn on this stream."""
    return stream.isatty() and variable("TERM") != "dumb"


class Settings:
    """Hides typed keys. To be used only in the main thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._found: list[Any] | None = None  # the settings to restore; None while nothing is changed

    def quiet(self) -> None:
        """Hide typed keys. Do nothing in the background, where another process uses the terminal."""
        if not in_foreground(self._fd):
            return
        try:
            settings = termios.tcgetattr(self._fd)
            if self._found is None:
                self._found = settings.copy()
            settings[3] &= ~(termios.ECHO | termios.ECHONL)
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)
        except termios.error:
            pass  # the terminal has gone

    def restore(self) -> None:
        """Restore the settings and drop the typed keys: the shell must not run them as commands."""
        if self._found is None or not in_foreground(self._fd):
            return
        try:
            termios.tcflush(self._fd, termios.TCIFLUSH)
            termios.tcsetattr(self._fd, termios.TCSANOW, self._found)
        except termios.error:
            pass
        self._found = None


def in_foreground(fd: int) -> bool:
    """Return True unless we are in the background of this terminal, where changing it would stop the process."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True


def size_of(fd: int) -> tuple[int, int]:
    """Return the current columns and rows. COLUMNS and LINES are not used: they do not change with the size."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        return USUAL_SIZE
    return (columns, rows) if columns and rows else USUAL_SIZE


def width_of(line: str) -> int:
    """Return the columns of a rendered line."""
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(COLOUR.sub("", line))


class Region:
    """The lines at the bottom of the output that are redrawn. Raises OutputFailed."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._lines: list[str] = []  # on the screen
        self._columns = 0  # their width

    def draw(self, lines: list[str], columns: int, *, above: list[str], whole: bool = False) -> None:
        """Replace the lines on the screen by those `above`, which stay, and by these, which the next drawing replaces.

        All are rendered, and not wider than the terminal. `whole`: write unchanged lines, too.
        """
        same = not above and not whole and columns == self._columns
        before = self._lines if same else []
        text = "".join(f"{CLEAR_LINE}{line}\r\n" for line in above)
        for at, line in enumerate(lines):
            text += "\r\n" if before[at : at + 1] == [line] else f"{CLEAR_LINE}{line}\r\n"
        cleared = CLEAR_BELOW if not same or len(lines) < len(before) else ""
        self._stream.write(f"{HIDE}\r{self._to_top(columns)}{text}{cleared}{'' if lines else SHOW}")
        self._lines, self._columns = lines, columns

    def leave(self, *, surely: bool = False) -> None:
        """Leave the lines on the screen and show the cursor; the next drawing starts below.

        `surely`: show the cursor even if there are no lines, as the process is about to stop or to end.
        """
        if self._lines or surely:
            self._stream.write(SHOW)
        self._lines = []

    def _to_top(self, columns: int) -> str:
        """Return the code that moves to the first line. In a narrower terminal, a line may take several rows."""
        rows = sum(max(1, -(-width // max(columns, 1))) for width in map(width_of, self._lines))
        return f"\x1b[{rows}A" if rows else ""
