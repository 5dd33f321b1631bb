"""Finished jobs that have left the journal: one file a day, appended to by compaction, dropped whole when old.

    finished/2026-11-21.jsonl   one job record a line; or {"id":7,"removed":true}, which hides earlier lines

The journal's header records how many bytes of each file count. So readers do not see what an interrupted compaction has
appended, and the next compaction cuts it off. The newest line of an id is the valid one: compaction writes into no file
that is older than the newest one, whatever the clock says. Files of future days, made while the clock was ahead, are
joined to today's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache

from jobq.command import Record
from jobq.errors import StoreDamaged
from jobq.job import Job
from jobq.rules.serving import HOOKS
from jobq.sealed import is_whole
from jobq.store.failures import LAST, Failures, Place
from jobq.store.folder import Folder
from jobq.store.journal import BadLine, decode_line
from jobq.store.records import MISFITS, read_job, why

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    import re

FINISHED = "finished"
BLOCK = 1 << 20
ID = rb'^\{"id":(\d{1,19}),'
REMOVED = rb'^\{"id":(\d{1,19}),"removed":true'
HOOK = b'"queue":"%b"' % HOOKS.encode()
FAILED = b'"state":"failed"'
ENVIRONMENT = rb'"env":"([0-9a-f]{64})"'


@cache
def _form(pattern: bytes) -> re.Pattern[bytes]:
    import re  # noqa: PLC0415  # a list of the last jobs does without it

    return re.compile(pattern, re.MULTILINE)


class Archive:
    """The files that one header lists. `is_kept` tells whether a missing file should exist."""

    def __init__(self, root: Folder | None, sizes: Mapping[str, int], is_kept: Callable[[str], bool]) -> None:
        self.root = root
        self.sizes = sizes
        self._is_kept = is_kept

    def newest_first(self) -> Iterator[Job]:
        """Yield every job once, the last written first; read the files only as far as needed. Raises StoreDamaged."""
        seen: set[int] = set()
        for day in sorted(self.sizes, reverse=True):
            for offset, line in self.lines(day):
                record = self._decode(day, offset, line)
                job_id = record.get("id")
                if type(job_id) is not int:
                    raise self._damage(day, offset, BadLine("a line without the id of a job"))
                if job_id not in seen:
                    seen.add(job_id)
                    if not record.get("removed"):
                        yield self._job(day, offset, record)

    def find(self, job_ids: set[int]) -> dict[int, Job]:
        """Return the jobs in `job_ids` that are here, in one pass from the newest line back. Raises StoreDamaged."""
        wanted = {b'{"id":%d,' % job_id: job_id for job_id in job_ids}
        found: dict[int, Job] = {}
        suspect: tuple[str, int, bytes] | None = None
        for day in sorted(self.sizes, reverse=True):
            for offset, line in self.lines(day):
                job_id = wanted.pop(line[: line.find(b",") + 1], None)
                if job_id is not None:
                    if suspect is not None:
                        self._decode(*suspect)  # the damaged line is newer, and may be about the same job
                    record = self._decode(day, offset, line)
                    if not record.get("removed"):
                        found[job_id] = self._job(day, offset, record)
                    if not wanted:
                        return found
                elif suspect is None and not is_whole(line):
                    suspect = (day, offset, line)
        if wanted and suspect is not None:
            self._decode(*suspect)  # the damaged line may be the missing job
        return found

    def ids(self, day: str) -> set[int]:
        """Return the ids in the file of one day."""
        return {int(number) for block in self.blocks(day) for number in _form(ID).findall(block)}

    def beyond(self, most: int, seen: set[int]) -> list[int]:
        """Return the jobs that are behind the `most` last ones, which hooks are none of; open failures are left out.

        `seen`: jobs that are in the journal, or were removed.
        """
        found: list[int] = []
        for job_id, place, line in self._latest(seen):
            if not _form(REMOVED).match(line):
                if most <= 0 and not self._is_open_failure(place, line):
                    found.append(job_id)
                most -= HOOK not in line
        return found

    def _latest(self, seen: set[int]) -> Iterator[tuple[int, Place, bytes]]:
        """Yield the last line of each job, the newest first, and its place. It passes over `seen`, and adds to it."""
        form = _form(ID)
        for day in sorted(self.sizes, reverse=True):
            for offset, line in self.lines(day):
                number = form.match(line)
                if number is not None and int(number[1]) not in seen:
                    seen.add(int(number[1]))
                    yield int(number[1]), Place(int(number[1]), day, offset), line

    def _is_open_failure(self, place: Place, line: bytes) -> bool:
        """Return True if the line is one of an open failure. Raises StoreDamaged."""
        if FAILED not in line:
            return False
        return self._job(place.day, place.offset, self._decode(place.day, place.offset, line)).is_open_failure

    def environments(self, removed: Collection[int] = ()) -> set[str]:
        """Return the digests of the environments that finished jobs name, except removed jobs."""
        gone = {
            int(number) for day in self.sizes for block in self.blocks(day) for number in _form(REMOVED).findall(block)
        }
        gone.update(removed)
        found: set[bytes] = set()
        for day in self.sizes:
            for block in self.blocks(day):
                if not gone:
                    found.update(_form(ENVIRONMENT).findall(block))
                    continue
                for line in block.split(b"\n"):
                    number = _form(ID).match(line)
                    if number is None or int(number[1]) not in gone:
                        found.update(_form(ENVIRONMENT).findall(line))
        return {digest.decode("ascii") for digest in found}

    def naming(self, digests: Collection[str], removed: Collection[int] = ()) -> set[str]:
        """Return the `digests` that a finished job names, except removed jobs; stop reading when all are found."""
        wanted = {digest.encode("ascii", "replace") for digest in digests}
        found: set[bytes] = set()
        gone = set(removed)
        for day in sorted(self.sizes, reverse=True):
            for offset_line in self.lines(day) if wanted - found else ():
                line = offset_line[1]
                number = _form(ID).match(line)
                if number is None:
                    continue
                if _form(REMOVED).match(line):
                    gone.add(int(number[1]))
                elif int(number[1]) not in gone:
                    found.update(wanted.intersection(_form(ENVIRONMENT).findall(line)))
                    if found == wanted:
                        break
        return {digest.decode("ascii") for digest in found}

    def open_failures(self, besides: Collection[int]) -> Failures:
        """Return the open failures here, except the jobs in `besides`; this reads every file once."""
        places = [place for _, place, line in self._latest(set(besides)) if self._is_open_failure(place, line)]
        return Failures(len(places), tuple(reversed(places[:LAST])))

    def at(self, place: Place) -> Job | None:
        """Return the job whose record is at `place`; None if it is not there. Raises StoreDamaged."""
        fd = self._open(place.day) if place.day in self.sizes else None
        if fd is None:
            return None
        try:
            data = b""
            while b"\n" not in data and (more := os.pread(fd, BLOCK // 16, place.offset + len(data))):
                data += more
        finally:
            os.close(fd)
        line = data.partition(b"\n")[0]
        if not is_whole(line):
            return None
        job = self._job(place.day, place.offset, self._decode(place.day, place.offset, line))
        return job if job.id == place.id else None

    def _open(self, day: str) -> int | None:
        """Open the file of a day and check its size; None if its retention is over. Raises StoreDamaged."""
        fd = None
        folder = self.root.existing(FINISHED) if self.root is not None else None
        if folder is not None:
            try:
                fd = folder.file(f"{day}.jsonl", os.O_RDONLY)
            except FileNotFoundError:
                fd = None
            finally:
                folder.close()
        size = os.fstat(fd).st_size if fd is not None else 0
        if size >= self.sizes[day]:
            return fd
        if fd is not None:
            os.close(fd)
        if not self._is_kept(day):
            return None
        path = self.root.path if self.root is not None else ""
        raise StoreDamaged(f"{path}/{FINISHED}/{day}.jsonl", size, "finished jobs are missing")

    def blocks(self, day: str) -> Iterator[bytes]:
        """Yield the lines of a day in blocks of whole lines, about 1 MiB each."""
        fd = self._open(day)
        if fd is None:
            return
        try:
            at, rest, size = 0, b"", self.sizes[day]
            while block := os.pread(fd, min(BLOCK, size - at), at):
                at += len(block)
                lines, newline, rest = (rest + block).rpartition(b"\n")
                yield lines + newline
            yield rest
        finally:
            os.close(fd)

    def lines(self, day: str) -> Iterator[tuple[int, bytes]]:
        """Yield offset and bytes of every line of a day, the last line first."""
        fd = self._open(day)
        if fd is None:
            return
        try:
            tail = b""
            at = self.sizes[day]
            while at > 0:
                step = min(BLOCK // 16, at)
                at -= step
                block = os.pread(fd, step, at) + tail
                lines = block.split(b"\n")
                tail = lines[0]
                offset = at + len(block)
                for line in reversed(lines[1:]):
                    offset -= len(line)
                    if line:
                        yield offset, line
                    offset -= 1
            if tail:
                yield 0, tail
        finally:
            os.close(fd)

    def _decode(self, day: str, offset: int, line: bytes) -> Record:
        try:
            record = decode_line(line)
            del record["crc"]
        except MISFITS as e:
            raise self._damage(day, offset, e) from None
        return record

    def _job(self, day: str, offset: int, record: Record) -> Job:
        try:
            return read_job(record)
        except MISFITS as e:
            raise self._damage(day, offset, e) from None

    def _damage(self, day: str, offset: int, e: Exception) -> StoreDamaged:
        path = self.root.path if self.root is not None else ""
        return StoreDamaged(f"{path}/{FINISHED}/{day}.jsonl", offset, why(e))
