"""One process's view of the journal: read once, then followed without a lock, across compactions.

The hint records how much of the file counts. It lags behind the file while a writer is writing, after a writer has
died, and after a power cut. Bytes behind the hint may not be on the disk, and may still be withdrawn or lost: a view
does not read them, and reports that there are more. A process that can write makes them durable first (reading.py).
"""

from __future__ import annotations

import gc
import os

from jobq.command import Record
from jobq.errors import StoreDamaged
from jobq.store.failures import Failures
from jobq.store.folder import Folder
from jobq.store.hint import Hint, read_hint
from jobq.store.journal import Journal, decode_line, parse_lines
from jobq.store.records import MISFITS, why
from jobq.store.replay import apply_line, touched
from jobq.store.snapshot import apply_snapshot_line
from jobq.store.state import StoreState

LONGEST_END = 1 << 12  # bytes that the last line of a snapshot takes at most
STEP = 1 << 20  # bytes of the journal that are read at once


class View:
    """The jobs up to some point of the journal."""

    def __init__(self) -> None:
        self.state = StoreState()
        self.journal: Journal | None = None
        self.offset = 0  # how far the journal is applied; 0: not read yet
        self.snapshot_end = 0
        self.loads = 0  # how often the journal was read from its start

    def forget(self) -> None:
        """Make the next read start anew; until then the jobs stay as last read."""
        if self.journal is not None:
            self.journal.close()
        self.journal, self.offset = None, 0

    def open(self, folder: Folder) -> Journal | None:
        """Return the current journal, opened but perhaps not read, for a writer that needs no jobs."""
        if self.journal is None or (not self.offset and not self.journal.is_current()):
            self.forget()
            self.journal = Journal.open(folder, writable=os.access(folder.path, os.W_OK))
        return self.journal

    def catch_up(self, folder: Folder, *, locked: bool = False, hint: Hint | None = None) -> bool:
        """Apply what was acknowledged since the last read; return True if that is the whole file, known to be durable.

        `locked`: we hold the write lock, so no other process is writing. `hint`: if it was read just now.
        Raises StoreDamaged, StoreTooNew.
        """
        hint = hint or read_hint(folder)
        if self.journal is None or not self.offset:
            self._load(folder, hint, locked)
        elif self.journal.is_current():
            self._follow_to(hint, self._end(hint, locked))
        else:
            self.follow(None)  # the old generation, to its very end
            self._change_generation(folder, hint, locked)
        journal = self.journal
        if journal is None:
            return True
        return hint is not None and hint.generation == journal.header.generation and journal.size() == self.offset

    def _end(self, hint: Hint | None, locked: bool) -> int | None:
        """Return the offset to read up to, or None: up to the last whole transaction.

        Without a hint, no process knows what is durable. What we have read is durable, even if the hint is late.
        """
        assert self.journal is not None
        if hint is None or hint.generation != self.journal.header.generation:
            return None
        known = max(hint.size, self.offset)
        return None if locked and self.journal.size() > known else known

    def _load(self, folder: Folder, hint: Hint | None, locked: bool) -> None:
        self.forget()
        journal = Journal.open(folder, writable=os.access(folder.path, os.W_OK))
        if journal is None:
            if hint is not None:
                raise StoreDamaged(f"{folder.path}/{Journal.NAME}", 0, "the journal is missing")
            return
        with NoGarbageCollection():
            try:
                if hint is not None and hint.generation > journal.header.generation and journal.is_current():
                    raise StoreDamaged(journal.path, 0, f"generation {hint.generation} was acknowledged and is missing")
                state, at = load_snapshot(journal)
            except BaseException:
                journal.close()
                raise
            self.journal, self.state, self.snapshot_end = journal, state, at
            self.loads += 1
            self.offset = at
            try:
                end = self._end(hint, locked)
                if hint is not None and hint.generation == journal.header.generation and hint.size > journal.size():
                    end = hint.size  # the file lacks acknowledged bytes: `follow` raises
                self._follow_to(hint, end)
            except BaseException:
                self.forget()
                raise

    def _follow_to(self, hint: Hint | None, end: int | None) -> None:
        self.follow(end)
        assert self.journal is not None
        if hint is not None and hint.generation == self.journal.header.generation and self.offset < hint.size:
            raise StoreDamaged(self.journal.path, self.offset, "an acknowledged line is not readable")

    def follow(self, end: int | None) -> None:
        """Apply the acknowledged journal up to `end`; None: up to the last whole transaction. Raises StoreDamaged."""
        journal = self.journal
        assert journal is not None
        if end is not None and end < self.offset:
            raise StoreDamaged(journal.path, end, "acknowledged bytes are missing")
        size = journal.size()
        if end is not None and size < end:
            raise StoreDamaged(journal.path, size, f"{end - size} acknowledged bytes are missing")
        self._apply_up_to(size if end is None else end)
        if end is not None and self.offset != end:
            raise StoreDamaged(journal.path, self.offset, "an acknowledged line is not readable")

    def _apply_up_to(self, end: int) -> None:
        """Apply the whole transactions up to `end` in steps, so that a long journal takes no more memory."""
        journal = self.journal
        assert journal is not None
        step = STEP
        while self.offset < end:
            upto = min(end, self.offset + step)
            parsed = parse_lines(journal.read(self.offset, upto), self.offset, self.state.seq)
            if parsed.end == self.offset and upto < end:
                step *= 2  # a longer transaction or damage: more bytes will tell
                continue
            if parsed.damage is not None:
                raise StoreDamaged(journal.path, *parsed.damage)
            for line in parsed.lines:
                self._apply(line)
            self.offset, step = parsed.end, STEP
            if upto == end:
                return

    def _apply(self, line: Record) -> None:
        assert self.journal is not None
        try:
            apply_line(self.state, line)
        except MISFITS as e:
            raise StoreDamaged(self.journal.path, self.offset, f"line {line.get('seq')}: {why(e)}") from None

    def _change_generation(self, folder: Folder, hint: Hint | None, locked: bool) -> None:
        """Continue in the journal that compaction has put in the place of ours, without reading its snapshot."""
        old = self.journal
        assert old is not None
        new = Journal.open(folder, writable=os.access(folder.path, os.W_OK))
        if new is None:
            raise StoreDamaged(old.path, 0, "the journal is missing")
        generation = old.header.generation + 1
        copied = None
        same = new.header.generation == generation and hint is not None and hint.generation == generation
        if same and hint is not None and hint.size <= new.size():
            data = new.read(hint.snapshot_end, hint.size)
            copied = parse_lines(data, hint.snapshot_end, first_seq(data, hint.seq + 1) - 1)
        if copied is None or hint is None or copied.damage or copied.end != hint.size:
            new.close()
            self._load(folder, hint, locked)
            return
        applied = self.state.seq
        both = [line for line in copied.lines if line["seq"] <= applied]
        try:
            self.state.failures.rebase(*snapshot_end(new, hint.snapshot_end))
            self.state.leave_finished({job_id for line in both for job_id in touched(line)})
        except MISFITS as e:
            new.close()
            raise StoreDamaged(old.path, hint.snapshot_end, why(e)) from None
        old.close()
        self.journal, self.offset, self.snapshot_end = new, hint.size, hint.snapshot_end
        for line in copied.lines[len(both) :]:
            self._apply(line)


class NoGarbageCollection:
    """Turns off garbage collection while only lasting objects are made: scanning them would take half of the time."""

    def __enter__(self) -> None:
        self.was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *raised: object) -> None:
        if self.was_enabled:
            gc.enable()


def snapshot_end(journal: Journal, end: int) -> tuple[Failures | None, int]:
    """Return failures and seq from the last line of the snapshot that ends at `end`; None and 0 if unreadable."""
    data = journal.read(max(0, end - LONGEST_END), end)
    try:
        line = decode_line(data[data.rfind(b"\n", 0, -1) + 1 : -1])
        return Failures.of_record(line.get("failures")), int(line["seq"])
    except MISFITS:
        return None, 0


def load_snapshot(journal: Journal) -> tuple[StoreState, int]:
    """Return the jobs of the snapshot, and the offset behind it. Raises StoreDamaged."""
    state = StoreState()
    at = start = journal.first_line_end
    pending = b""
    while block := os.pread(journal.fd, 1 << 20, at):
        at += len(block)
        lines = (pending + block).split(b"\n")
        pending = lines.pop()
        for line in lines:
            try:
                last = apply_snapshot_line(state, decode_line(line))
            except MISFITS as e:
                raise StoreDamaged(journal.path, start, why(e)) from None
            start += len(line) + 1
            if last:
                return state, start
    raise StoreDamaged(journal.path, start, "the snapshot has no end")


def first_seq(data: bytes, if_empty: int) -> int:
    """Return the seq of the first line of `data`, or `if_empty`."""
    try:
        return int(decode_line(data.partition(b"\n")[0])["seq"]) if data else if_empty
    except MISFITS:
        return if_empty
