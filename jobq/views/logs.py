"""The logs of jobs: print them, find their last lines, read on where they grow."""

from __future__ import annotations

import os
from collections.abc import Callable

from jobq.errors import Planted
from jobq.store.folder import open_checked
from jobq.system import BLOCK, is_file_at, next_block
from jobq.views.console import encoded, error, info, is_terminal, job_bytes_to_stderr, out_bytes, stdout, stdout_closed
from jobq.views.masking import masked, new_masker
from jobq.views.output import COLOUR, ShownOutput, shown
from jobq.views.text import size

LogPath = Callable[[int, int], str]  # of a job and an attempt
MOST_TAIL = 1 << 20  # bytes that --tail shows at most on a terminal: a line may have gigabytes
START_OVER = "\r\x1b[K"  # to the start of the line, and clear it
TIDY = b"\x1b[0m\x1b(B\x0f\x1b[?25h"  # reset colours and character sets, show the cursor


class Printer:
    """Writes log bytes to stdout: unchanged, or as harmless lines if it is a terminal. Raises OutputFailed."""

    def __init__(self, raw: bool = False, *, ends_lines: bool = False) -> None:
        """`ends_lines`: a last line without a newline gets one, as other output follows."""
        self._text = None if raw or not stdout.isatty() else ShownOutput(coloured=is_terminal())
        self._ends_lines = ends_lines
        self._last = b""
        self._shown = ""  # the part of the open line that is on the screen
        self._may_obey = raw and is_terminal()
        self._untidy = False
        self._masker = new_masker()
        self.any = False

    def write(self, data: bytes) -> None:
        """Print more bytes of the log."""
        self.any = True
        self.put(data if self._masker is None else self._masker.feed(data))

    def put(self, data: bytes) -> None:
        """Print bytes that hold no secret."""
        if self._text is None:
            self._last = data[-1:] or self._last
            self._untidy = self._untidy or (self._may_obey and (b"\x1b" in data or b"\x0e" in data))
            out_bytes(data)
        elif text := self._text.feed(data):
            self._put(text)

    def tail(self, fd: int, lines: int | None) -> int:
        """Return the offset where the last `lines` lines begin (None: all); on a terminal, MOST_TAIL bytes at most."""
        at = start_of_tail(fd, lines, MOST_TAIL if self._text else None)
        if self._text and lines and at == os.fstat(fd).st_size - MOST_TAIL:
            info(f"showing the last {size(MOST_TAIL)} of longer lines; --raw shows them whole")
        return at

    def gap(self, count: int) -> None:
        """Print that the job's --log-max dropped this many bytes here."""
        self.end()
        info(f"{size(count)} of output were dropped here")

    def pause(self) -> None:
        """Show the unfinished line, which may be a progress bar: no more output comes for now.

        Not on a terminal that can't clear it again (TERM=dumb).
        """
        line = self._text.open_line() if self._text and is_terminal() else ""
        if line != self._shown:
            self._put(line)
            self._shown = line

    def end(self) -> None:
        """End the output: print an unfinished last line, and reset the terminal after raw control sequences."""
        if self._masker is not None:
            self.put(self._masker.flush())
        if self._text is not None and (line := self._text.open_line()):
            self._put(f"{line}\n")
            self._text = ShownOutput(coloured=is_terminal())
        elif self._untidy:
            out_bytes(TIDY)
            self._untidy = False
        if self._text is None and self._ends_lines and self._last not in {b"", b"\n"}:
            out_bytes(b"\n")
            self._last = b""

    def _put(self, text: str) -> None:
        over = START_OVER if self._shown else ""
        self._shown = ""
        out_bytes(encoded(over + text))


class ErrorPrinter(Printer):
    """Writes log bytes to stderr, unchanged."""

    def __init__(self) -> None:
        super().__init__(raw=True)

    def put(self, data: bytes) -> None:
        """Print bytes that hold no secret."""
        job_bytes_to_stderr(data)


def print_log(path: str, printer: Printer, tail: int | None) -> None:
    """Print the log as it is now; `tail`: only its last lines."""
    try:
        fd = open_checked(path, os.O_RDONLY)
    except FileNotFoundError:
        return  # the attempt could not be started
    try:
        print_from(fd, path, printer.tail(fd, tail), printer)
    finally:
        os.close(fd)
    printer.end()


def print_from(fd: int, path: str, at: int, printer: Printer, most: int | None = None) -> int:
    """Print the log at `path` from the offset `at` to its end, or about `most` bytes. Return the offset after them.

    An empty log may be reused for another job: bytes are printed only if the open file is still at `path`.
    """
    ours = False  # stays true: a log that is not empty is never reused
    end = None if most is None else at + most
    while not stdout_closed() and (end is None or at < end):
        start, block = next_block(fd, at)
        if not block or not (ours or is_file_at(fd, path)):
            break
        ours = True
        if start > at:
            printer.gap(start - at)
        printer.write(block)
        at = start + len(block)
    return at


def hole_below(fd: int, low: int, high: int) -> int:
    """Return the offset where the data before `high` begins, but at least `low`."""
    try:
        hole = os.lseek(fd, low, os.SEEK_HOLE)
        return low if hole >= high else os.lseek(fd, hole, os.SEEK_DATA)
    except OSError:
        return low


def last_lines(path: str, count: int) -> list[str]:
    """Return the last lines of a log as a terminal would show them, harmless; none if there is no log."""
    try:
        fd = open_checked(path, os.O_RDONLY)
    except FileNotFoundError:
        return []
    except Planted as e:
        return [str(e)]
    try:
        at = max(start_of_tail(fd, count), os.fstat(fd).st_size - BLOCK)
        data = os.pread(fd, BLOCK, at)
        return masked(shown(data)).rstrip("\n").split("\n") if data and is_file_at(fd, path) else []
    finally:
        os.close(fd)


def plain_lines(path: str, count: int) -> list[str]:
    """Return the last lines of a log without colours, for what is no terminal."""
    return [COLOUR.sub("", line) for line in last_lines(path, count)]


def last_line(path: str) -> str:
    """Return the last line of a log that is not empty, without colours; "" if there is none."""
    return next((line for line in reversed(plain_lines(path, 3)) if line.strip()), "")


def start_of_tail(fd: int, lines: int | None, most: int | None = None) -> int:
    """Return the offset where the last `lines` lines begin, or their last `most` bytes. Read no more than those."""
    if lines is None:
        return 0
    at = end = os.fstat(fd).st_size
    if end and os.pread(fd, 1, end - 1) == b"\n":
        at = end - 1  # the newline at the very end closes the last line
    if lines == 0:
        return end
    low = 0 if most is None else max(0, end - most)
    while at > low:
        step = at - min(at, hole_below(fd, max(0, at - BLOCK), at))
        block = os.pread(fd, step, at - step)
        found = len(block)
        while (found := block.rfind(b"\n", 0, found)) >= 0:
            lines -= 1
            if lines == 0:
                return at - step + found + 1
        at -= step
        if step < BLOCK:
            break
    return max(at, low)


class Tail:
    """A log that is being written."""

    def __init__(self, path: str, tail: int | None = None) -> None:
        self._path = path
        self._tail = tail
        self._fd = -1
        self.at = 0  # everything before this offset has been printed
        self._complained = False
        self._parked = False

    def exists(self) -> bool:
        """Return True if the log exists."""
        return os.path.exists(self._path)

    def was_replaced(self) -> bool:
        """Return True if another file is at the path by now."""
        try:
            return self._fd >= 0 and not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def pump(self, printer: Printer, most: int | None = None) -> bool:
        """Print new output, or about `most` bytes of it. Return True if there was any."""
        if self._fd < 0:
            try:
                self._fd = open_checked(self._path, os.O_RDONLY)
            except FileNotFoundError:
                return False
            except Planted as e:
                self._complain_once(e)
                return False
            if not self._parked:
                self.at = printer.tail(self._fd, self._tail)
        if os.fstat(self._fd).st_size < self.at:
            self.at = 0
            info("the job emptied its own output, as '> /dev/stderr' does; its new output follows")
        before = self.at
        self.at = print_from(self._fd, self._path, self.at, printer, most)
        return self.at > before

    def _complain_once(self, e: Planted) -> None:
        if not self._complained:
            self._complained = True
            error(str(e), e.hint)  # the job continues, and so does the follower

    def park(self) -> None:
        """Release the descriptor until there is more to print: many logs must not take all that there are."""
        self._parked = self._fd >= 0 or self._parked
        self.close()

    def close(self) -> None:
        """Release the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
