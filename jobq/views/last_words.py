"""The last line of output of running jobs, for the live view."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from rich.text import Text

from jobq.job import Job
from jobq.views.logs import last_lines


class LastWords:
    """Reads a log again only if it has grown."""

    def __init__(self, log_path: Callable[[int, int], str]) -> None:
        self._log_path = log_path
        self._known: dict[str, tuple[int, str]] = {}  # log -> its size, and its last line

    def of(self, jobs: Iterable[Job]) -> dict[int, str]:
        """Return the last line of each job, plain and harmless."""
        known, words = {}, {}
        for job in jobs:
            path = self._log_path(job.id, len(job.attempts))
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if self._known.get(path, (-1, ""))[0] != size:
                self._known[path] = size, last_line(path)
            known[path] = self._known[path]
            words[job.id] = known[path][1]
        self._known = known
        return words


def last_line(path: str) -> str:
    """Return the last line of a log that is not empty, without colours."""
    try:
        lines = [Text.from_ansi(line).plain.strip() for line in last_lines(path, 2)]
    except OSError:
        return ""
    return next((line.replace("\t", " ") for line in reversed(lines) if line), "")
