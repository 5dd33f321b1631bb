"""Writing finished/: compaction appends the jobs that leave the journal, and drops the files of old days."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from itertools import chain

from jobq.errors import NotSaved, StoreDamaged, StoreForbidden
from jobq.job import Job
from jobq.store.failures import Place
from jobq.store.finished import FINISHED, Archive
from jobq.store.folder import Folder, write_all
from jobq.store.journal import encode_line, is_day
from jobq.store.records import job_record
from jobq.system import sync

LAST_TIME = 253_402_300_799.0  # end of the year 9999


def day_of(wall: float) -> str:
    """Return the UTC day of a time, as in the file names; the first or last possible day for times out of range."""
    return time.strftime("%Y-%m-%d", time.gmtime(min(max(wall, 0.0), LAST_TIME)))


def place(day: str, newest: str, today: str) -> str:
    """Return the day whose file takes jobs that ended on `day`: not before the newest file, and not after today."""
    return min(max(day, newest), today)


class Filing:
    """Appends to the files that one header lists."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._root = archive.root
        self._sizes = archive.sizes
        self.new_failures: list[Place] = []  # open failures that `append` has written

    def append(self, jobs: Iterable[Job], removed: Iterable[int], wall: float) -> dict[str, int]:
        """Append `jobs`, and marks for `removed` ids, synced; return the sizes that count then. Raises as `update`."""
        newest, today = max(self._sizes, default=""), day_of(wall)
        sizes = {day: size for day, size in self._sizes.items() if day <= today}
        ahead = sorted(self._sizes.keys() - sizes.keys())
        days: dict[str, list[bytes]] = {today: []} if ahead else {}
        for job in jobs:
            day = place(day_of(job.finished_at or 0.0), newest, today)
            lines = days.setdefault(day, [])
            if job.is_open_failure:
                self.new_failures.append(Place(job.id, day, self._sizes.get(day, 0) + sum(map(len, lines))))
            lines.append(encode_line(job_record(job)))
        for job_id in removed:
            days.setdefault(today, []).append(encode_line({"id": job_id, "removed": True}))
        if not days or self._root is None:
            return sizes
        try:
            folder = self._root.sub(FINISHED)
            try:
                for day, lines in days.items():
                    joined = (block for other in ahead if day == today for block in self._archive.blocks(other))
                    sizes[day] = self._append_to(folder, day, chain(joined, [b"".join(lines)]))
                os.fsync(folder.fd)
            finally:
                folder.close()
        except OSError as e:
            self.cut_back(days)
            raise NotSaved(f"{self._root.path}/{FINISHED}", e) from None
        return sizes

    def cut_back(self, days: Iterable[str]) -> None:
        """Cut off the bytes of these days that do not count, to free their room; ignore errors of the disk."""
        folder = self._root.existing(FINISHED) if self._root is not None else None
        if folder is None:
            return
        try:
            for day in days:
                fd = folder.file(f"{day}.jsonl", os.O_RDWR)
                try:
                    os.ftruncate(fd, self._sizes.get(day, 0))
                finally:
                    os.close(fd)
        except (OSError, StoreForbidden):
            pass
        finally:
            folder.close()

    def _append_to(self, folder: Folder, day: str, blocks: Iterable[bytes]) -> int:
        counted = end = self._sizes.get(day, 0)
        fd = folder.file(f"{day}.jsonl", os.O_RDWR | os.O_CREAT)
        try:
            size = os.fstat(fd).st_size
            if size < counted:
                raise StoreDamaged(f"{folder.path}/{day}.jsonl", size, "finished jobs are missing")
            os.ftruncate(fd, counted)
            for block in blocks:
                write_all(fd, block, end)
                end += len(block)
            sync(fd)
        finally:
            os.close(fd)
        return end


def days_on_disk(root: Folder) -> dict[str, int]:
    """Return the size in bytes of each day's file, counted or not."""
    folder = root.existing(FINISHED)
    if folder is None:
        return {}
    try:
        names = [name for name in folder.names() if name.endswith(".jsonl") and is_day(name.removesuffix(".jsonl"))]
        return {name.removesuffix(".jsonl"): os.stat(name, dir_fd=folder.fd).st_size for name in names}
    finally:
        folder.close()


def forget(root: Folder, day: str) -> None:
    """Remove the file of a day, if it exists."""
    folder = root.existing(FINISHED)
    if folder is not None:
        try:
            os.unlink(f"{day}.jsonl", dir_fd=folder.fd)
        except FileNotFoundError:
            pass
        finally:
            folder.close()
