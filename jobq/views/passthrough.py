"""The output of one job, passed through while it runs: `jobq run` of a single command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jobq.errors import OutputFailed
from jobq.views.console import stdout_closed
from jobq.views.logs import Printer, Tail

PATIENCE = 5.0  # seconds after the end of the job in which an unreadable log is tried again
OUTPUT_POLL = 0.02  # seconds between two reads of the output of the job
MOST_UNREPORTED = 1 << 20  # bytes that may be written to stdout before `mark_read` is called
HURRY_POLL = 0.1  # seconds between two checks whether to stop waiting for a slow reader
LAST_MOMENT = 5.0  # seconds that the reader gets after that


class PassThrough:
    """Copies a log of a job while it is written, one attempt after the other."""

    def __init__(
        self,
        log_path: Callable[[int, int], str],
        job_id: int,
        nobody_reads: Callable[[], None],
        mark_read: Callable[[int, int, int | None], None],
        to: Printer | None = None,
    ) -> None:
        """`mark_read(job_id, n, end)`: the reader has the log of attempt `n` up to byte `end`; None: it takes no more.

        `to`: what prints it, if that is not stdout.
        """
        self.failure: OutputFailed | None = None  # the reason why the rest did not reach stdout
        self._log_path = log_path
        self._job_id = job_id
        self._n = 1  # the attempt that is being copied
        self._nobody_reads = nobody_reads
        self._has_read = mark_read
        self._printer = to or Printer(raw=True)
        self._over = threading.Event()
        self._over_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def close(self, in_a_hurry: Callable[[], bool]) -> None:
        """Copy the rest and wait for a slow reader; in a hurry, wait LAST_MOMENT seconds at most."""
        self._over_at = time.monotonic()
        self._over.set()
        while self._thread.is_alive() and not in_a_hurry():
            self._thread.join(HURRY_POLL)
        self._thread.join(LAST_MOMENT)

    def _run(self) -> None:
        try:
            self._copy()
        except OutputFailed as e:  # the job continues, as if it wrote to a file
            self.failure = e
            self._has_read(self._job_id, self._n, None)

    def _pump(self, log: Tail, printer: Printer) -> bool:
        """Print new output. Return True if there was any. Try again if the log can't be read at the moment."""
        while True:
            try:
                return log.pump(printer, MOST_UNREPORTED)
            except OSError as e:
                if self._over.is_set() and time.monotonic() >= self._over_at + PATIENCE:
                    raise OutputFailed(f"lacks the rest: {e.filename or 'the log'}: {e.strerror}") from None
            time.sleep(OUTPUT_POLL)

    def _copy(self) -> None:
        printer = self._printer
        log = Tail(self._log_path(self._job_id, self._n))
        while True:
            over = self._over.is_set()
            wrote = self._pump(log, printer)
            if wrote:
                self._has_read(self._job_id, self._n, log.at)
            if stdout_closed():
                self._nobody_reads()
                return
            following = Tail(self._log_path(self._job_id, self._n + 1))
            if not wrote and following.exists():
                log.close()
                self._n, log = self._n + 1, following
                continue
            if over and not wrote:
                log.close()
                printer.end()
                return
            self._over.wait(0 if wrote else OUTPUT_POLL)
