"""Finished jobs that have left the journal: one file a day, appended to by compaction, dropped whole when old.

    finished/2026-11-21.jsonl   the record of a job a line; or {"id":7,"removed":true}, which hides earlier lines

How many bytes of each file count is written in the journal's header, so what a compaction that was cut short has
appended does not exist for readers, and is cut off by the next one. The newest line of an id is the one that holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping

from jobq.errors import NotSaved, StoreDamaged
from jobq.job import BadRecord, Job, Record, job_record, read_job
from jobq.store.folder import Folder, write_all
from jobq.store.journal import BadLine, decode_line, encode_line
from jobq.system import sync

FINISHED = "finished"
_BLOCK = 1 << 16


def day_of(wall: float) -> str:
    """The UTC day of a time, as in the files' names."""
    return time.strftime("%Y-%m-%d", time.gmtime(wall))


def append(
    root: Folder, sizes: Mapping[str, int], jobs: Iterable[Job], removed: Iterable[int], today: str
) -> dict[str, int]:
    """Write them, synced, behind what counts so far; returns the sizes that count with them. Raises NotSaved."""
    days: dict[str, list[bytes]] = {}
    for job in jobs:
        days.setdefault(day_of(job.finished_at or 0.0), []).append(encode_line(job_record(job)))
    for job_id in removed:
        days.setdefault(today, []).append(encode_line({"id": job_id, "removed": True}))
    new_sizes = dict(sizes)
    if not days:
        return new_sizes
    folder = root.sub(FINISHED)
    try:
        for day, lines in days.items():
            fd = folder.file(f"{day}.jsonl", os.O_RDWR | os.O_CREAT)
            try:
                os.ftruncate(fd, sizes.get(day, 0))
                os.lseek(fd, 0, os.SEEK_END)
                write_all(fd, b"".join(lines))
                sync(fd)
                new_sizes[day] = os.fstat(fd).st_size
            finally:
                os.close(fd)
        os.fsync(folder.fd)
    except OSError as e:
        raise NotSaved(folder.path, e) from None
    finally:
        folder.close()
    return new_sizes


def newest_first(root: Folder, sizes: Mapping[str, int]) -> Iterator[Job]:
    """Every finished job once, the last written first; reads no more of the files than is asked for."""
    seen: set[int] = set()
    for day in sorted(sizes, reverse=True):
        for offset, line in _lines_backwards(root, day, sizes[day]):
            record = _decode(root, day, offset, line)
            job_id = record.get("id")
            if job_id in seen:
                continue
            seen.add(job_id)  # type: ignore[arg-type]  # whatever it is, it hides the same
            if not record.get("removed"):
                yield _job(root, day, offset, record)


def find(root: Folder, sizes: Mapping[str, int], job_id: int) -> Job | None:
    """The finished job of that id, or None. Looks for its bytes; parses one line."""
    start = b'{"id":%d,' % job_id
    for day in sorted(sizes, reverse=True):
        data = _read(root, day, sizes[day])
        at = len(data)
        while (at := data.rfind(start, 0, at)) >= 0:
            if at == 0 or data[at - 1] == 0x0A:
                record = _decode(root, day, at, data[at : data.index(b"\n", at)])
                return None if record.get("removed") else _job(root, day, at, record)
    return None


def ids(root: Folder, day: str, size: int) -> set[int]:
    """The jobs that the file of one day holds."""
    found = set()
    for offset, line in _lines_backwards(root, day, size):
        found.add(int(_decode(root, day, offset, line)["id"]))
    return found


def environments(root: Folder, sizes: Mapping[str, int]) -> set[str]:
    """The digests of the environments that finished jobs name."""
    marker = b'"env":"'
    found = set()
    for day, size in sizes.items():
        data = _read(root, day, size)
        at = -1
        while (at := data.find(marker, at + 1)) >= 0:
            found.add(data[at + len(marker) : at + len(marker) + 64].decode("ascii", "replace"))
    return found


def forget(root: Folder, day: str) -> None:
    """Remove the file of a day, if it is there."""
    folder = root.existing(FINISHED)
    if folder is not None:
        try:
            os.unlink(f"{day}.jsonl", dir_fd=folder.fd)
        except FileNotFoundError:
            pass
        finally:
            folder.close()


def _open(root: Folder, day: str) -> int | None:
    folder = root.existing(FINISHED)
    if folder is None:
        return None
    try:
        return folder.file(f"{day}.jsonl", os.O_RDONLY)
    except FileNotFoundError:
        return None  # its retention is over
    finally:
        folder.close()


def _read(root: Folder, day: str, size: int) -> bytes:
    fd = _open(root, day)
    if fd is None:
        return b""
    try:
        return os.pread(fd, size, 0)
    finally:
        os.close(fd)


def _lines_backwards(root: Folder, day: str, size: int) -> Iterator[tuple[int, bytes]]:
    fd = _open(root, day)
    if fd is None:
        return
    try:
        if os.fstat(fd).st_size < size:
            raise StoreDamaged(f"{root.path}/{FINISHED}/{day}.jsonl", os.fstat(fd).st_size, "finished jobs are missing")
        tail = b""
        at = size
        while at > 0:
            step = min(_BLOCK, at)
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


def _decode(root: Folder, day: str, offset: int, line: bytes) -> Record:
    try:
        return decode_line(line)
    except BadLine as e:
        raise StoreDamaged(f"{root.path}/{FINISHED}/{day}.jsonl", offset, str(e)) from None


def _job(root: Folder, day: str, offset: int, record: Record) -> Job:
    try:
        return read_job(record)
    except BadRecord as e:
        raise StoreDamaged(f"{root.path}/{FINISHED}/{day}.jsonl", offset, str(e)) from None
