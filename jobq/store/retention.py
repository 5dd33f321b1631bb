"""Retention: a day's finished jobs are removed once jobq has counted 7 days, or `keep`, since the last of them ended.

No clock is trusted alone. Between two checks, only as much time counts as the wall clock and the boot clock agree on;
across a reboot, at most the time since the reboot. Time while the machine was off does not count. So a clock that is
wrong for a while makes finished jobs stay longer, and never removes one too early.

    ages.json   the time of the last check; for each day its content, and for how long that had been the same

It is overwritten in place and never synced. If it is missing, or does not fit the content of a day, the time of that
day starts again at 0. It is read and written under the store's lock.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from itertools import dropwhile

from jobq.command import Record
from jobq.errors import StoreError
from jobq.job import Job
from jobq.moment import Moment
from jobq.store.filing import day_of, place
from jobq.store.folder import Folder, write_all
from jobq.store.journal import BadLine, decode_line, encode_line, is_day
from jobq.store.store import Store
from jobq.typed import NamedTuple

NOTE = "ages.json"
NOTE_BYTES = 1 << 20  # enough for thousands of days
DAY = 86_400.0
KEEP = 7 * DAY  # seconds, if the settings say nothing else


class Retention(NamedTuple):
    """The limits of what is kept of finished jobs: for how many seconds, how many of them, how many bytes of output."""

    seconds: float = KEEP
    jobs: int | None = None
    log_bytes: int | None = None

    @property
    def has_limits(self) -> bool:
        """True if there is more to do than to look at the age."""
        return self.jobs is not None or self.log_bytes is not None


class Age(NamedTuple):
    """The content of one day, as a number that changes with it, and for how many seconds it has been the same."""

    content: int
    seconds: float


Days = Mapping[str, Age]


class Ages(NamedTuple):
    """The ages of all days of finished jobs, as of the last check; `seen` is None before the first one."""

    seen: Moment | None
    files: Days  # content: bytes of finished/<day>.jsonl that count
    ends: Days  # content: checksum of the endings that are still in the journal

    @classmethod
    def read(cls, root: Folder) -> Ages:
        """Read the stored ages; return none if the file is missing, torn or of another kind."""
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
        """Store the ages. Errors of the disk are ignored: without the file, days stay longer."""
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
        """Return the ages at `now`: unchanged days have grown older, the others start again at 0."""
        if self.seen is None:
            return Ages(now, _aged({}, files, 0.0), _aged({}, ends, 0.0))
        passed = time_between(self.seen, now)
        # If another process has checked since `now` was read, the time that it counted must not be counted again.
        overtaken = self.seen.boot_id == now.boot_id and self.seen.boot > now.boot and self.seen.wall > now.wall
        seen = self.seen if overtaken else now
        return Ages(seen, _aged(self.files, files, passed), _aged(self.ends, ends, passed))

    def filed(self, sizes: Mapping[str, int], today: str) -> Ages:
        """Return the ages once all are in files of these sizes: a file is as old as the youngest part of it."""
        newest = max(self.files, default="")
        seconds = dict.fromkeys(sizes.keys() - self.files.keys() - self.ends.keys(), 0.0)
        places = [(min(day, today), age) for day, age in self.files.items()]
        places += [(place(day, newest, today), age) for day, age in self.ends.items()]
        for day, age in places:
            seconds[day] = min(seconds.get(day, age.seconds), age.seconds)
        return Ages(self.seen, {day: Age(sizes.get(day, 0), age) for day, age in sorted(seconds.items())}, {})

    def kept(self, keep: float) -> Ages:
        """Return the ages without the oldest files past their retention: a later file may override an earlier one."""
        files = dict(dropwhile(lambda file: file[1].seconds >= keep, sorted(self.files.items())))
        return self._replace(files=files)


def time_between(before: Moment, now: Moment) -> float:
    """Return the seconds that have passed at least, if either clock is right."""
    since = now.boot - before.boot if now.boot_id == before.boot_id else now.boot
    return max(0.0, min(since, now.wall - before.wall))


def ends_in(jobs: Iterable[Job]) -> dict[str, int]:
    """Return, for each day on which some of these jobs ended, a checksum of their endings."""
    ends: dict[str, int] = {}
    for job in jobs:
        if job.state.final:
            day = day_of(job.finished_at or 0.0)
            ends[day] = ends.get(day, 0) + zlib.crc32(b"%d %r" % (job.id, job.finished_at))
    return ends


def look(store: Store, now: Moment, keep: float = KEEP) -> bool:
    """Record the ages of the days of finished jobs; return True if compaction should act on them.

    It should if a day has been kept long enough, or if its endings have stayed in the journal unchanged for a day, as
    happens where few jobs end. Raises as `Store.read_settled`.
    """
    state, header = store.read_settled(), store.header
    if header is None:
        return False
    ends = ends_in(state.jobs.values()) if state.finished else {}
    with store.lock:
        ages = Ages.read(store.root).at(now, header.finished, ends)
        ages.write(store.root)
    filed = ages.filed({}, day_of(now.wall))
    return filed.kept(keep) != filed or any(age.seconds >= DAY for age in ages.ends.values())


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
