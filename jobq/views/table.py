"""Tables of jobs: rich draws the rows on a terminal; elsewhere they are printed as aligned text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from jobq.durations import span
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules.hooks import note_of
from jobq.rules.order import is_paused
from jobq.rules.reasons import Situation, why_waiting
from jobq.views.console import drawing, is_terminal, out
from jobq.views.lines import why_ended
from jobq.views.marks import STYLES
from jobq.views.text import command_line, safe

if TYPE_CHECKING:
    from rich.table import Table


class Row(NamedTuple):
    """One job in a table."""

    id: str
    state: str
    style: str
    time: str
    queue: str
    note: str
    command: str


def row(job: Job, situation: Situation, frame: tuple[str, str] = ("", "")) -> Row:
    """Return the cells of one job, all harmless text; `frame`: what stands before and behind its command."""
    note = reason(job, situation)
    name = f"[{safe(job.spec.name)}] " if job.spec.name else ""
    command = frame[0] + name + command_line(job.command) + frame[1]
    return Row(
        str(job.id), job.state, STYLES.get(job.state, ""), took(job, situation.now), safe(job.spec.queue), note, command
    )


def took(job: Job, now: Moment) -> str:
    """Return the duration of the current or last attempt, in words; "" if there is none to show."""
    if job.state is State.RUNNING:
        return span(now.wall - job.attempts[-1].claimed_at)
    ending = job.ending if job.state.final else None
    if ending is None or ending.started_at is None or ending.ended_at is None:
        return ""
    return span(ending.ended_at - ending.started_at)


def reason(job: Job, situation: Situation) -> str:
    """Return why the job is in its state, in words; what it is for, if it is a hook."""
    return ", ".join(filter(None, (safe(note_of(job)), _reason(job, situation))))


def _reason(job: Job, situation: Situation) -> str:
    if job.state is State.RUNNING:
        owner = job.attempts[-1].owner
        notes = [f"attempt {len(job.attempts)}"] if len(job.attempts) > 1 else []
        notes += ["cancelling"] if job.cancel_asked_at is not None else []
        if owner in situation.copied:
            notes.append("belongs to the original of this copy")
        elif owner in situation.dead:
            notes.append("no worker")
        if is_paused(job.spec.queue, situation.stopped):
            notes.append("stopped by the pause")
        elif (silent := situation.silent.get(job.id, 0.0)) >= QUIET_S:
            notes.append(f"quiet {span(silent)}")
        return ", ".join(notes)
    if not job.state.final:
        return safe(why_waiting(job, situation))
    if job.skipped_for is not None:
        return f"because of job {job.skipped_for}"
    if job.ending is None:
        return ""
    tries = f" ({len(job.attempts)} attempts)" if len(job.attempts) > 1 else ""
    known = ", acknowledged" if job.state is State.FAILED and not job.is_open_failure else ""
    return why_ended(job) + tries + known if job.state is State.FAILED or tries else ""


Frames = Mapping[int, tuple[str, str]]
NO_FRAMES: Frames = MappingProxyType({})
QUIET_S = 60.0  # seconds without output that are worth a note
LEAST_COMMAND = 16  # characters that a long note leaves to the command
LONGEST_COMMAND = 500  # characters, more than any terminal is wide
HEADERS = ("ID", "STATE", "TIME", "QUEUE", "NOTE", "COMMAND")


def cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the texts of the rows, without their styles."""
    return [(r.id, r.state, r.time, r.queue, r.note, r.command) for r in rows]


def print_jobs(jobs: Sequence[Job], situation: Situation, frames: Frames = NO_FRAMES) -> None:
    """Print the table to stdout; `frames`: what stands before and behind the commands, by id."""
    rows = [row(job, situation, frames.get(job.id, ("", ""))) for job in jobs]
    if is_terminal():
        from rich.console import Console  # noqa: PLC0415

        from jobq.views.terminal import size_of  # noqa: PLC0415

        columns, _ = size_of(drawing.fileno())
        Console(file=drawing, width=columns).print(rich_table(rows, columns))  # type: ignore[arg-type]
        return
    lines = [HEADERS, *cells(rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADERS) - 1)]
    text = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    )
    out(*text)


def rich_table(rows: Sequence[Row], columns: int) -> Table:
    """Return the table for a terminal of this width. Without queues other than default, it has no such column."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def width(cells: Iterable[str]) -> int:
        return max(map(len, cells), default=0)

    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    # A long command must not push out the columns that identify a job.
    table.add_column("ID", justify="right", no_wrap=True, min_width=width(r.id for r in rows))
    table.add_column("STATE", no_wrap=True, min_width=width(r.state for r in rows))
    table.add_column("TIME", justify="right", no_wrap=True, min_width=width(r.time for r in rows))
    queues = any(r.queue != "default" for r in rows)
    if queues:
        table.add_column("QUEUE", no_wrap=True, overflow="ellipsis", max_width=16)
    others = (
        width(r.id for r in rows) + width(r.state for r in rows) + width(r.time for r in rows) + (18 if queues else 0)
    )
    room = columns - others - 8 - min(LEAST_COMMAND, width(r.command for r in rows))  # 8: between the columns
    note = max(4, min(60, max(12, 2 * columns // 5), room))
    table.add_column("NOTE", overflow="ellipsis", no_wrap=True, max_width=note)
    table.add_column("COMMAND", overflow="ellipsis", no_wrap=True, ratio=1)
    for r in rows:
        queue = [Text(r.queue)] if queues else []
        table.add_row(
            Text(r.id), Text(r.state, r.style), Text(r.time), *queue, Text(r.note), Text(r.command[:LONGEST_COMMAND])
        )
    return table
