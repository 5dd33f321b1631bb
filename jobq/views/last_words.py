"""The last line of output of running jobs, and what they tell of their progress, for the live view."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from jobq.job import Job
from jobq.rules.progress import Progress
from jobq.views.logs import last_line


class LastWords:
    """Reads a log again only if it has grown."""

    def __init__(
        self, log_path: Callable[[int, int], str], progress_of: Callable[[Job], Progress | None] = lambda _: None
    ) -> None:
        self._log_path = log_path
        self._progress_of = progress_of
        self._known: dict[str, tuple[int, str]] = {}  # log -> its size, and its last line

    def told(self, jobs: Iterable[Job]) -> dict[int, Progress]:
        """Return the latest reports of these jobs."""
        return {job.id: told for job in jobs if (told := self._progress_of(job)) is not None}

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
