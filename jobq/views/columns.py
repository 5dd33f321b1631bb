"""Lines of jobs in fixed columns: those that scroll away above a live view, and those that it redraws."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from jobq.job import Job, State
from jobq.rules.reasons import Situation
from jobq.rules.serving import DEFAULT_QUEUE
from jobq.typed import NamedTuple
from jobq.views.marks import STYLES, glyph
from jobq.views.table import named_command, reason, took
from jobq.views.text import safe

ROOMY = 60  # columns from which on the state stands as a word, too
LONGEST_COMMAND = 2000  # characters, more than any terminal is wide
STATE, TIME, QUEUE = 9, 6, 10  # columns
LEAST_COMMAND = 12


class Layout(NamedTuple):
    """The widths of the columns; a view keeps them from line to line."""

    columns: int
    id: int = 4
    queue: int = 0  # 0: no such column

    def fitted(self, columns: int, job: Job) -> Layout:
        """Return the layout that has room for this job, too."""
        queue = QUEUE if self.queue or job.spec.queue != DEFAULT_QUEUE else 0
        return Layout(columns, max(self.id, len(str(job.id))), queue if columns >= ROOMY else 0)


def job_line(job: Job, around: Situation, layout: Layout, *, time: str | None = None, word: str | None = None) -> Text:
    """Return one job in a line: glyph, id, state, time, queue, command, and why, or its `word` while it runs."""
    why = reason(job, around)
    style = STYLES.get(job.state, "")
    line = Text(no_wrap=True, overflow="ellipsis", end="")
    line.append(f"{glyph(job)} ", style)
    line.append(f"{job.id:>{layout.id}}  ", "bold")
    if layout.columns >= ROOMY:
        line.append(f"{job.state:<{STATE}}  ", style)
    line.append(f"{took(job, around.now) if time is None else time:>{TIME}}  ")
    if layout.queue:
        line.append(f"{fit(safe(job.spec.queue), layout.queue)}  ", "dim")
    room = layout.columns - line.cell_len
    note = ", ".join(filter(None, (why, word or "")))
    command = named_command(job)[:LONGEST_COMMAND]
    wanted = cell_len(command)
    for_note = min(cell_len(note), max(room - wanted - 2, room - max(LEAST_COMMAND, room * 3 // 5) - 2, 0))
    width = max(room - for_note - (2 if for_note else 0), 0)
    line.append(cut_middle(command, width))
    if for_note:
        line.append("  ")
        line.append(cut(note, for_note), style if job.state is State.FAILED else "dim")
    return line


def cut(text: str, width: int) -> str:
    """Return the text in at most so many columns; "…" stands for the end."""
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, width - 1).rstrip()}…" if width > 1 else "…"[:width]


def cut_middle(text: str, width: int) -> str:
    """Return the command in at most so many columns: its program and its last argument stay."""
    if cell_len(text) <= width:
        return text
    if width < 8:
        return cut(text, width)
    last = cell_len(text.rpartition(" ")[2])
    tail = last if 0 < last <= width // 2 else (width - 1) // 3
    end = text[-tail:]
    while cell_len(end) > tail:
        end = end[1:]
    return f"{set_cell_size(text, width - 1 - cell_len(end)).rstrip()}…{end}"


def fit(text: str, width: int) -> str:
    """Return the text in exactly so many columns."""
    return set_cell_size(cut(text, width), width)
