"""The room that a store takes on the disk, by what it is for."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from jobq.store.environment import ENV
from jobq.store.finished import FINISHED
from jobq.store.logs import BLOCK, Logs
from jobq.store.presence import WORKERS
from jobq.typed import NamedTuple

PARTS = {FINISHED: "finished jobs", ENV: "environments", Logs.NAME: "output and results", WORKERS: "workers"}
REST = "journal and the rest"


class Usage(NamedTuple):
    """Files and bytes of each part, as they take room on the disk, and the jobs with the most output."""

    parts: dict[str, tuple[int, int]]
    largest: list[tuple[int, int]]  # job and bytes

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(size for _, size in self.parts.values())


def usage_of(path: str, most: int = 5) -> Usage:
    """Measure the store at `path`; what vanishes meanwhile does not count."""
    files, sizes, by_job = Counter[str](), Counter[str](), Counter[int]()
    for part, name, size in _files(path):
        files[part] += 1
        sizes[part] += size
        owner = Logs.owner(name) if part == PARTS[Logs.NAME] else None
        if owner is not None:
            by_job[owner] += size
    parts = {part: (files[part], sizes[part]) for part in (*PARTS.values(), REST)}
    return Usage(parts, by_job.most_common(most))


def _files(path: str) -> Iterator[tuple[str, str, int]]:
    for folder, _, names in os.walk(path):
        top = os.path.relpath(folder, path).split(os.sep)[0]
        for name in names:
            try:
                status = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            yield PARTS.get(top, REST), name, status.st_blocks * BLOCK


def room(path: str) -> int:
    """Return the bytes that this user may still write on the disk of `path`. Raises OSError."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
