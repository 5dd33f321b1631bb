"""The writer of the journal: it appends every transaction, all or nothing, those of `jobq add` included."""

from __future__ import annotations

import os

from jobq.errors import JournalMoved, NotSaved, SyncFailed
from jobq.store.folder import Folder, write_all
from jobq.store.format import JOURNAL
from jobq.store.hint import Hint, write_hint
from jobq.system import sync

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Record = dict[str, Any]

LINE_BYTES = 1 << 18  # of operations on one line; readers accept 4 MiB (sealed.MAX_LINE)


def append(folder: Folder, name: str, fd: int, data: bytes, at: int) -> None:
    """Write and sync `data` at `at`, the end of the open file `name`; on any error, cut the file back to `at`.

    Raises NotSaved, or SyncFailed: then the kernel may have dropped the bytes, and they must not be trusted. Raises
    JournalMoved if another file has the name by now: no process would ever read what was written. The name is checked
    after the sync, so nothing that was acknowledged has gone to a file that had lost its name before.
    """
    path = f"{folder.path}/{name}"
    try:
        write_all(fd, data, at)
    except OSError as e:
        raise NotSaved(path, e, undone=cut(fd, at)) from None
    try:
        sync(fd)
    except OSError as e:
        raise SyncFailed(path, e, undone=cut(fd, at)) from None
    if not folder.holds(name, fd):
        cut(fd, at)  # the file may come back under its old name
        raise JournalMoved(path)


def cut(fd: int, at: int) -> bool:
    """Drop everything from `at` on; return True if that is durable, so that nothing of it can come back.

    If the file can't be made shorter, the line there is spoiled: a line that begins with NUL is torn, and the next
    writer tries to cut it off again. It must not be taken for the whole line of a writer that died after writing it.
    """
    try:
        try:
            os.ftruncate(fd, at)
        except OSError:
            write_all(fd, b"\0", at)
        sync(fd)
    except OSError:
        return False
    return True


def transaction_lines(
    ops: Sequence[tuple[Record, int]], seq: int, at: float, encode: Callable[[Record], bytes]
) -> list[bytes]:
    """Return the lines of one transaction behind the line `seq`.

    `ops` are records with their weights in bytes: those of LINE_BYTES or more get a line each, others share one.
    `at`: wall clock; `encode` makes a sealed line of a record.
    """
    groups: list[list[Record]] = []
    room = 0
    for op, weight in ops:
        if weight > room:
            groups.append([])
            room = LINE_BYTES
        groups[-1].append(op)
        room -= weight
    lines = []
    for part, group in enumerate(groups):
        line: Record = {"seq": seq + 1 + part, "at": at, "ops": group}
        if part:
            line["part"] = part
        if part == len(groups) - 1:
            line["commit"] = True
        lines.append(encode(line))
    return lines


def commit(root: Folder, journal: int, hint: Hint, lines: Sequence[bytes], next_id: int) -> Hint:
    """Append the lines of a transaction where the journal ends by the hint; return the new hint once they are durable.

    The caller holds the store's lock. Raises as `append`.
    """
    data = b"".join(lines)
    append(root, JOURNAL, journal, data, hint.size)
    after = hint.after(hint.size + len(data), hint.seq + len(lines), next_id)
    write_hint(root, after)
    return after
