"""The journal on disk: its lines, their checksums, and what may be left after a crash.

    journal.jsonl   header · snapshot lines · snapshot end · transaction lines ...
    journal.hint    how far the journal is synced: see `hint.py`

A line is one ASCII JSON object that ends in `,"crc":"xxxxxxxx"}`, the CRC-32 of everything before that. Transaction
lines carry consecutive `seq`; `part` counts the lines within a transaction, and only its last has `commit`. Everything
up to the hint was acknowledged. Whole transactions behind it are kept (the hint may be late), but they count only after
they were written anew and synced. A torn or uncommitted rest was never acknowledged; the next writer cuts it off.
Everything else that does not fit is damage, and is never repaired silently.

The header holds the version of the format: see `format.py`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import cache

from jobq.command import Record, unknown_keys
from jobq.errors import JournalMoved, NotSaved, Refused, StoreDamaged, StoreTooNew, SyncFailed
from jobq.options.values import COUNT
from jobq.sealed import CRC_BYTES, MAX_LINE, finite_json, is_whole, seal
from jobq.store.folder import Folder, read_all, write_all
from jobq.store.format import BASE, FORMAT, JOURNAL
from jobq.system import sync
from jobq.typed import NamedTuple
from jobq.version import VERSION

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Callable

DIGITS = frozenset("0123456789")


class BadLine(ValueError):
    """Bytes that are not a line of the journal."""


def encode_line(record: Record) -> bytes:
    """Return one line, newline included; `record` must not be empty.

    Raises ValueError for NaN and infinities, Refused if the line would be longer than readers accept.
    """
    body = _encoder()(record)[:-1].encode("ascii")
    if len(body) + CRC_BYTES > MAX_LINE:
        raise Refused(f"a record of {len(body)} bytes is too large for the store; the limit is {MAX_LINE}")
    return seal(body)


def decode_line(line: bytes) -> Record:
    """Return the record in a line without its newline. Raises BadLine."""
    if not is_whole(line):
        raise BadLine("checksum mismatch")
    return parse_object(line)


def parse_object(data: bytes) -> Record:
    """Parse one JSON object from untrusted bytes: no NaN, no infinity, bounded depth and numbers. Raises BadLine."""
    if len(data) > MAX_LINE:
        raise BadLine(f"longer than {MAX_LINE} bytes")
    try:
        value = finite_json(data.decode("utf-8"))
    except (ValueError, RecursionError) as e:
        raise BadLine(f"not JSON: {e}") from None
    if not isinstance(value, dict):
        raise BadLine("not an object")
    return value


@cache
def _encoder() -> Callable[[object], str]:
    import json  # noqa: PLC0415  # readers do without it

    return json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def is_day(name: str) -> bool:
    """Return True if `name` has the form of a day. It becomes a file name, so nothing else is safe."""
    return len(name) == 10 and name[4] == name[7] == "-" and DIGITS.issuperset(name[:4] + name[5:7] + name[8:])


class Header(NamedTuple):
    """The first line: the store, the generation, and the versions of jobq that may read and write it."""

    generation: int
    uuid: str
    host: str
    version: str  # of the jobq that wrote it
    finished: dict[str, int]  # day -> bytes of finished/<day>.jsonl that count
    format: int = BASE
    min_reader: int = BASE
    min_writer: int = BASE
    extra: Record | None = None  # keys of later versions

    def encode(self) -> bytes:
        """Return the line."""
        return encode_line({"jobq": "journal", **dict(zip(HEADER_KEYS, self, strict=False)), **(self.extra or {})})

    def followed_by(self, generation: int, days: dict[str, int], least: int) -> Header:
        """Return the header of a later generation, written by this version; the fields of later versions stay.

        `least`: the least format that holds what is in the store. That of a later version is not lowered.
        """
        later = self if self.format > FORMAT else self._replace(format=least, min_reader=least, min_writer=least)
        return later._replace(
            generation=generation,
            version=VERSION,
            finished=days,
            format=max(later.format, least),
            min_reader=max(later.min_reader, least),
            min_writer=max(later.min_writer, least),
        )

    @classmethod
    def decode(cls, line: bytes, path: str) -> Header:
        """Decode the first line. Raises StoreDamaged, and StoreTooNew right after the checksum is verified."""
        try:
            fields = decode_line(line)
        except BadLine as e:
            raise StoreDamaged(path, 0, f"header: {e}") from None
        match fields:
            case {"min_reader": int() as needs} if needs > FORMAT:
                raise StoreTooNew(path, needs, FORMAT, str(fields.get("version", "?"))[:40])
            case {
                "jobq": "journal",
                "uuid": str(),
                "host": str(),
                "version": str(),
                "finished": dict() as days,
                **rest,
            } if all(is_day(day) for day in days) and all(
                map(COUNT.allows, [*days.values(), *map(rest.get, HEADER_NUMBERS)])
            ):
                try:
                    return cls(**{name: fields[name] for name in HEADER_KEYS}, extra=unknown_keys(fields, NOT_EXTRA))
                except ValueError as e:
                    raise StoreDamaged(path, 0, f"header: {e}") from None
        raise StoreDamaged(path, 0, "the first line is not a header")


HEADER_NUMBERS = ("generation", "format", "min_reader", "min_writer")
HEADER_KEYS = Header._fields[:-1]
NOT_EXTRA = frozenset({*HEADER_KEYS, "jobq", "crc"})


class Parsed(NamedTuple):
    """The contents of a part of the journal: whole transactions, where they end, and what is wrong behind that."""

    lines: list[Record]
    end: int  # offset behind the last committed line
    seq: int  # of the last committed line
    torn: bool = False  # an unfinished transaction follows; it was never acknowledged
    damage: tuple[int, str] | None = None  # offset and reason


def parse_lines(data: bytes, offset: int, seq: int) -> Parsed:
    """Read transactions from `data`, which lies at `offset` of the file and follows the line `seq`."""
    lines: list[Record] = []
    committed, end, last = 0, offset, seq
    at = offset
    for raw in data.split(b"\n"):
        if at + len(raw) == offset + len(data):  # what follows the last newline
            return Parsed(lines[:committed], end, seq, torn=bool(raw) or committed < len(lines))
        try:
            line = decode_line(raw)
        except BadLine as e:
            rest = data[at + len(raw) + 1 - offset :]
            if _newer_transaction(rest, first_torn=last + 1 - (len(lines) - committed)):
                return Parsed(lines[:committed], end, seq, damage=(at, str(e)))
            return Parsed(lines[:committed], end, seq, torn=True)
        if type(line.get("seq")) is not int or line["seq"] != last + 1:
            return Parsed(lines[:committed], end, seq, damage=(at, f"line {last + 1} is missing"))
        lines.append(line)
        last += 1
        at += len(raw) + 1
        if line.get("commit") is True:
            committed, end, seq = len(lines), at, last
    raise AssertionError("split always ends with what follows the last newline")


def _newer_transaction(rest: bytes, first_torn: int) -> bool:
    """Return True if a valid line of a later transaction follows: then the torn line before it was synced once.

    Lines of the torn transaction itself may be valid behind a hole: its pages reach the disk in any order.
    """
    for raw in rest.split(b"\n"):
        try:
            line = decode_line(raw)
        except BadLine:
            continue
        match line:
            case {"seq": int() as seq} if seq - (line["part"] if COUNT.allows(line.get("part")) else 0) == first_torn:
                continue
        return True
    return False


class Journal:
    """One generation of the journal, open."""

    NAME = JOURNAL

    def __init__(self, folder: Folder, fd: int, *, writable: bool) -> None:
        self.folder = folder
        self.fd = fd
        self.writable = writable
        self.path = f"{folder.path}/{JOURNAL}"
        first = os.pread(fd, 1 << 16, 0).partition(b"\n")
        if not first[1]:
            raise StoreDamaged(self.path, 0, "the header is cut off")
        self.header = Header.decode(first[0], self.path)
        self.first_line_end = len(first[0]) + 1

    @classmethod
    def open(cls, folder: Folder, *, writable: bool) -> Journal | None:
        """Open the current journal; None if there is none. Raises NotSaved, Planted, StoreDamaged, StoreTooNew."""
        try:
            fd = folder.file(JOURNAL, os.O_RDWR if writable else os.O_RDONLY)
        except FileNotFoundError:
            return None
        except OSError as e:
            if writable and e.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
                return cls.open(folder, writable=False)  # access(2) does not detect every read-only disk
            raise NotSaved(f"{folder.path}/{JOURNAL}", e) from None
        try:
            journal = cls(folder, fd, writable=writable)
        except BaseException:
            os.close(fd)
            raise
        return journal

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    def is_current(self) -> bool:
        """Return True if this is still the file at its path, not an older generation."""
        return self.folder.holds(JOURNAL, self.fd)

    def size(self) -> int:
        """Return the current size in bytes."""
        return os.fstat(self.fd).st_size

    def read(self, start: int, end: int | None = None) -> bytes:
        """Return the bytes from `start` to `end`, or to the end of the file."""
        if end is None:
            return read_all(self.fd, start)
        data = os.pread(self.fd, end - start, start)
        while len(data) < end - start and (more := os.pread(self.fd, end - start - len(data), start + len(data))):
            data += more
        return data

    def check_intact(self, end: int) -> None:
        """Check the checksums of all lines up to `end`. Raises StoreDamaged."""
        for _ in self._intact(0, end):
            pass

    def _intact(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield offset and bytes of the lines from `start` to `end`, about 1 MiB at a time, checksums verified."""
        at, rest = start, b""
        while block := os.pread(self.fd, min(1 << 20, end - at - len(rest)), at + len(rest)):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            offset = at
            for line in lines.split(b"\n") if newline else []:
                if not is_whole(line):
                    raise StoreDamaged(self.path, offset, "checksum mismatch")
                offset += len(line) + 1
            yield at, lines + newline
            at = offset
        if at != end:
            raise StoreDamaged(self.path, at, f"{end - at} acknowledged bytes are missing")

    def renew(self, start: int, end: int) -> None:
        """Make the lines from `start` to `end` durable, no matter which process wrote them.

        They are written anew. If a sync failed since they were written (by any process, or by the kernel itself), the
        kernel takes their pages for clean: another sync would write nothing, and report success.
        Raises NotSaved, SyncFailed, StoreDamaged, JournalMoved.
        """
        try:
            for at, lines in self._intact(start, end):
                write_all(self.fd, lines, at)
        except OSError as e:
            raise NotSaved(self.path, e) from None
        try:
            sync(self.fd)
        except OSError as e:
            raise SyncFailed(self.path, e) from None
        if not self.is_current():
            raise JournalMoved(self.path)
