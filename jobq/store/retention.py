"""How long finished jobs are kept: a day of them goes once jobq has seen 7 days pass since the last of them ended.

No clock is believed alone. Between two looks as much time has passed as the wall clock and the boot clock agree on, and
across a reboot no more than the time since it; what nobody can tell (the machine was off) does not count. So a clock
that is wrong for a while makes finished jobs stay longer, and never makes one go.

    ages.json   when the last look was; for each day what there was of it, and how long it had been so

It is a note, overwritten in place and never synced. Without it, or where it does not fit what is there, a day's time
begins anew. It is read and written under the store's lock.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from itertools import dropwhile
from typing import NamedTuple

from jobq.command import Record
from jobq.errors import StoreError
from jobq.job import Job, Moment
from jobq.store.finished import day_of, place
from jobq.store.folder import Folder, write_all
from jobq.store.journal import BadLine, decode_line, encode_line, is_day
from jobq.store.store import Store

NOTE = "ages.json"
NOTE_BYTES = 1 << 20  # more than thousands of days take
DAY = 86_400.0
KEEP_DAYS = 7


class Age(NamedTuple):
    """What there is of one day, as a number that changes with it; for how many seconds it has been seen to be so."""

    content: int
    seconds: float


Days = Mapping[str, Age]


class Ages(NamedTuple):
    """All days of finished jobs as they were at the last look; None before the first one."""

    seen: Moment | None
    files: Days  # their sizes, as far as they count
    ends: Days  # checksums of the ends that are still in the journal

    @classmethod
    def read(cls, root: Folder) -> Ages:
        """As noted; without any days where the note is missing, torn or of another kind."""
        try:
            fd = root.file(NOTE, os.O_RDONLY)
            try:
                line = os.pread(fd, NOTE_BYTES, 0).partition(b"\n")[0]
            finally:
                os.close(fd)
            match decode_line(line):
                case {
                    "wall": int() | float() as wall,
                    "boot": int() | float() as boot,
                    "boot_id": str() as boot_id,
                    "files": dict() as files,
                    "ends": dict() as ends,
                }:
                    return cls(Moment(wall, boot, boot_id), _read_days(files), _read_days(ends))
        except (OSError, StoreError, BadLine):
            pass
        return cls(None, {}, {})

    def write(self, root: Folder) -> None:
        """Note it, as far as the disk allows: without it, days stay longer."""
        if self.seen is None:
            return
        record = {**self.seen._asdict(), "files": self.files, "ends": self.ends}
        try:
            fd = root.file(NOTE, os.O_WRONLY | (os.O_CREAT if self.files or self.ends else 0))
            try:
                write_all(fd, encode_line(record), 0)
            finally:
                os.close(fd)
        except (OSError, StoreError):
            pass

    def at(self, now: Moment, files: Mapping[str, int], ends: Mapping[str, int]) -> Ages:
        """As they are now: the days that are as they were have aged, the others begin anew."""
        if self.seen is None:
            return Ages(now, _aged({}, files, 0.0), _aged({}, ends, 0.0))
        passed = time_between(self.seen, now)
        # If somebody has looked since `now` was read, what he has counted must not be counted again.
        overtaken = self.seen.boot_id == now.boot_id and self.seen.boot > now.boot and self.seen.wall > now.wall
        seen = self.seen if overtaken else now
        return Ages(seen, _aged(self.files, files, passed), _aged(self.ends, ends, passed))

    def filed(self, sizes: Mapping[str, int], today: str) -> Ages:
        """Once all are in files, of these sizes: a file is as old as the youngest that went into it."""
        newest = max(self.files, default="")
        seconds = dict.fromkeys(sizes.keys() - self.files.keys() - self.ends.keys(), 0.0)
        places = [(min(day, today), age) for day, age in self.files.items()]
        places += [(place(day, newest, today), age) for day, age in self.ends.items()]
        for day, age in places:
            seconds[day] = min(seconds.get(day, age.seconds), age.seconds)
        return Ages(self.seen, {day: Age(sizes.get(day, 0), age) for day, age in sorted(seconds.items())}, {})

    def kept(self, keep_days: int) -> Ages:
        """Without the files whose retention is over: only the first ones, as later ones tell what became of a job."""
        files = dict(dropwhile(lambda file: file[1].seconds >= keep_days * DAY, sorted(self.files.items())))
        return self._replace(files=files)


def time_between(before: Moment, now: Moment) -> float:
    """Seconds that have passed at least, as far as either clock is right."""
    since = now.boot - before.boot if now.boot_id == before.boot_id else now.boot
    return max(0.0, min(since, now.wall - before.wall))


def ends_in(jobs: Iterable[Job]) -> dict[str, int]:
    """For each day on which some of these jobs came to their end, a checksum of that."""
    ends: dict[str, int] = {}
    for job in jobs:
        if job.state.final:
            day = day_of(job.finished_at or 0.0)
            ends[day] = ends.get(day, 0) + zlib.crc32(b"%d %r" % (job.id, job.finished_at))
    return ends


def look(store: Store, now: Moment, keep_days: int = KEEP_DAYS) -> bool:
    """Note how old the days of finished jobs are; whether compaction has something to do about that.

    It has if one has been kept long enough, or has been over for a day and not left the journal: few jobs come to their
    end there. Raises as `Store.read_settled`.
    """
    jobs, header = store.read_settled(), store.header
    if header is None:
        return False
    ends = ends_in(jobs.by_id.values()) if jobs.finished else {}
    with store.lock:
        ages = Ages.read(store.root).at(now, header.finished, ends)
        ages.write(store.root)
    filed = ages.filed({}, day_of(now.wall))
    return filed.kept(keep_days) != filed or any(age.seconds >= DAY for age in ages.ends.values())


def _aged(known: Days, contents: Mapping[str, int], passed: float) -> Days:
    before = {day: age.seconds + passed for day, age in known.items() if age.content == contents.get(day)}
    return {day: Age(content, before.get(day, 0.0)) for day, content in contents.items()}


def _read_days(record: Record) -> Days:
    days = {}
    for day, age in record.items():
        match age:
            case [int() as content, int() | float() as seconds] if is_day(day):
                days[day] = Age(content, seconds)
    return days
