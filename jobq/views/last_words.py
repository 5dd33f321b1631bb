"""The last line of output of running jobs, for the live view."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from jobq.job import Job
from jobq.views.logs import last_line


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
                if self._known.get(path, (-1, ""))[0] != size:
                    self._known[path] = size, last_line(path).strip().replace("\t", " ")
            except OSError:
                continue
            known[path] = self._known[path]
            words[job.id] = known[path][1]
        self._known = known
        return words
