"""Aligned columns of text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def fitted(
    rows: Iterable[Sequence[str]], right: Collection[int], columns: int | None, spare: Iterable[int]
) -> list[str]:
    """Do the same, and leave out columns until the lines are as short as `columns`; None: any length will do.

    `spare`: the columns that may go, the first one first.
    """
    kept = list(rows)
    names = list(range(len(kept[0])))
    for column in spare:
        lines = aligned(kept, [at for at, name in enumerate(names) if name in right])
        if columns is None or max(map(len, lines)) <= columns:
            return lines
        at = names.index(column)
        names.remove(column)
        kept = [[*row[:at], *row[at + 1 :]] for row in kept]
    return aligned(kept, [at for at, name in enumerate(names) if name in right])


def aligned(rows: Iterable[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return a line for each row, its cells in columns; those with the numbers of `right` end in line.

    The last cell is not filled up: a command may be very long.
    """
    rows = list(rows)
    last = len(rows[0]) - 1 if rows else 0
    widths = [
        max(map(len, column)) if at < last or at in right else 0 for at, column in enumerate(zip(*rows, strict=True))
    ]
    form = "  ".join(f"{{:{'>' if at in right else '<'}{width or ''}}}" for at, width in enumerate(widths))
    return [form.format(*row).rstrip(" ") for row in rows]
