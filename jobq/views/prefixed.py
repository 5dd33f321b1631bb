"""The output of several jobs at once, line by line, each with the name of its job in front."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence

from jobq.job import Job
from jobq.views.console import coloured, encoded, info, out_bytes, stdout
from jobq.views.logs import Printer, Tail
from jobq.views.text import safe

COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)  # SGR codes of the prefixes, in turn
SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
LONGEST_LINE = 1 << 16  # bytes of a line that is printed before its end


class LinePrinter(Printer):
    """Prints whole lines with a prefix; on a terminal they are harmless. Raises OutputFailed."""

    def __init__(
        self,
        prefix: bytes = b"",
        *,
        raw: bool = False,
        only: str | None = None,
        to: Callable[[bytes], None] = out_bytes,
    ) -> None:
        """`only`: lines that hold this text; `to`: what takes the lines."""
        super().__init__(raw)
        self._to = to
        self._prefix = prefix
        self._only = (only or "").encode("utf-8", "surrogateescape")
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Print more bytes of the log: `any` is for the lines that are printed."""
        self.put(data if self._masker is None else self._masker.feed(data))

    def put(self, data: bytes) -> None:
        """Print the lines that these bytes complete."""
        if self._text is not None:
            data = encoded(self._text.feed(data))
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            lines, self._rest = [*lines, self._rest], b""
        self._print(lines)

    def pause(self) -> None:
        """Do nothing: a line is printed once it is whole."""

    def end(self) -> None:
        """Print a last line that has no newline."""
        if self._masker is not None:
            self.put(self._masker.flush())
        rest = self._rest + (encoded(self._text.open_line()) if self._text is not None else b"")
        self._rest = b""
        self._print([rest] if rest else [])

    def _print(self, lines: Sequence[bytes]) -> None:
        text = b"".join(self._prefix + line + b"\n" for line in lines if self._only in line)
        if text:
            self.any = True
            self._to(text)


class PrefixedLogs:
    """Follows the logs of all jobs that it is told of, from attempt to attempt. Not for several threads."""

    def __init__(
        self,
        log_path: Callable[[int, int], str],
        *,
        raw: bool = False,
        tail: int | None = None,
        only: str | None = None,
        to: Callable[[bytes], None] = out_bytes,
    ) -> None:
        """`tail`: only so many last lines of what jobs had printed when they are met first; `only`: with this text."""
        self._log_path = log_path
        self._raw = raw
        self._tail = tail
        self._only = only
        self._to = to
        self._open: dict[tuple[int, int], tuple[Tail, LinePrinter]] = {}
        self._known: dict[int, int] = {}  # job -> the colour of its prefix
        self._width = 3

    def pump(self, attempts: Iterable[tuple[Job, int]]) -> bool:
        """Print what is new of these attempts, and the rest of those that are gone. Return True if there was any."""
        wrote = False
        live = set()
        for job, n in attempts:
            key = job.id, n
            live.add(key)
            if key not in self._open:
                log = Tail(self._log_path(*key), self._tail)
                self._open[key] = log, LinePrinter(self._prefix(job), raw=self._raw, only=self._only, to=self._to)
        self._tail = None  # of what begins later, every line is printed
        for key, (log, printer) in list(self._open.items()):
            try:
                wrote |= log.pump(printer)
                log.park()
            except OSError as e:
                if e.errno not in SHORT or key not in live:
                    info(f"the output of job {key[0]} can't be read: {e.strerror}")
                continue  # too few descriptors for now: other jobs end
            if key not in live:
                printer.end()
                log.close()
                del self._open[key]
        return wrote

    def _prefix(self, job: Job) -> bytes:
        colour = self._known.setdefault(job.id, COLOURS[len(self._known) % len(COLOURS)])
        name = f"{job.id} {safe(job.spec.name)}" if job.spec.name else str(job.id)
        self._width = min(max(self._width, len(name)), 24)
        text = f"{name:>{self._width}} | "
        return encoded(f"\x1b[{colour}m{text}\x1b[0m" if coloured(stdout) else text)
