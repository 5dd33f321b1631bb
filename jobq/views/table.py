"""Tables of jobs: rich draws the rows on a terminal; elsewhere they are printed as aligned text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from jobq.durations import span
from jobq.errors import UsageError
from jobq.job import Job, Outcome, State
from jobq.moment import Moment
from jobq.rules.hooks import note_of
from jobq.rules.order import is_paused
from jobq.rules.progress import words
from jobq.rules.reasons import Situation, why_waiting
from jobq.rules.serving import DEFAULT_QUEUE
from jobq.typed import NamedTuple
from jobq.views.aligned import aligned
from jobq.views.console import coloured, drawing, is_terminal, out, stdout
from jobq.views.lines import why_ended
from jobq.views.marks import STYLES
from jobq.views.text import clock_time, command_line, safe, size

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Literal

    from rich.table import Table


class Frame(NamedTuple):
    """The text before and behind the command of a job: its place in a tree."""

    before: str = ""
    behind: str = ""


class Column(NamedTuple):
    """One column: its head, and the text of a job's cell, which is harmless."""

    head: str
    cell: Callable[[Job, Situation], str]
    right: bool = False


def took(job: Job, now: Moment) -> str:
    """Return the duration of the current or last attempt, in words; "" if there is none to show."""
    if job.state is State.RUNNING:
        return span(now.wall - job.attempts[-1].claimed_at)
    seconds = job.seconds if job.state.final else None
    return "" if seconds is None else span(seconds)


def age(job: Job, now: Moment) -> str:
    """Return how long ago the job came into its state: it was added, started, or ended."""
    running = job.running
    at = job.finished_at if job.state.final else running.claimed_at if running is not None else job.added_at
    return ago(now.wall - (job.added_at if at is None else at))


def ago(seconds: float) -> str:
    """Return a time that is over, in words: "now", "40 s ago", "3 m ago", "2 h ago", "5 d ago"."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "now"


def state_cell(job: Job) -> str:
    """Return the state, and the exit code of a failure."""
    return f"{job.state} {job.exit_code}" if _has_code(job) else str(job.state)


def _has_code(job: Job) -> bool:
    ending = job.ending
    return job.state is State.FAILED and ending is not None and ending.outcome in {Outcome.EXIT, Outcome.SIGNAL}


def note(job: Job, situation: Situation) -> str:
    """Return why the job is in its state, in words; not the exit code, which stands in the cell of the state."""
    return reason(job, situation, with_code=False)


def named_command(job: Job) -> str:
    """Return the command, with the name of the job in front."""
    return (f"[{safe(job.spec.name)}] " if job.spec.name else "") + command_line(job.command)


def _cpu(job: Job, _situation: Situation) -> str:
    return span(job.ending.user_s + job.ending.system_s) if job.ending is not None else ""


def _memory(job: Job, _situation: Situation) -> str:
    return size(1024 * job.ending.max_rss_kib) if job.ending is not None and job.ending.max_rss_kib else ""


def _labels(job: Job, _situation: Situation) -> str:
    return safe(" ".join(f"{name}={value}" for name, value in job.spec.labels))


COLUMNS: Mapping[str, Column] = {
    "id": Column("ID", lambda job, _: str(job.id), right=True),
    "state": Column("STATE", lambda job, _: state_cell(job)),
    "age": Column("AGE", lambda job, around: age(job, around.now), right=True),
    "time": Column("TIME", lambda job, around: took(job, around.now), right=True),
    "queue": Column("QUEUE", lambda job, _: safe(job.spec.queue)),
    "note": Column("NOTE", note),
    "command": Column("COMMAND", lambda job, _: named_command(job)),
    "name": Column("NAME", lambda job, _: safe(job.spec.name or "")),
    "priority": Column("PRIO", lambda job, _: str(job.spec.priority), right=True),
    "labels": Column("LABELS", _labels),
    "exit": Column("EXIT", lambda job, _: str(job.exit_code) if job.state.final else "", right=True),
    "attempts": Column("ATTEMPTS", lambda job, _: str(len(job.attempts)), right=True),
    "cpu": Column("CPU", _cpu, right=True),
    "memory": Column("MEMORY", _memory, right=True),
    "added": Column("ADDED", lambda job, _: clock_time(job.added_at)),
    "finished": Column("FINISHED", lambda job, _: clock_time(job.finished_at)),
    "cwd": Column("CWD", lambda job, _: safe(job.spec.cwd)),
}
USUAL = ("id", "state", "age", "time", "queue", "note", "command")


def columns_of(text: str) -> tuple[str, ...]:
    """Return the columns that a text names, with commas between. Raises UsageError."""
    names = tuple(name.strip().lower() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError("--columns names no column", f"there are: {', '.join(COLUMNS)}")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise UsageError(
            f"--columns: there is no column {', '.join(unknown)!r:.60}", f"there are: {', '.join(COLUMNS)}"
        )
    return names


def reason(job: Job, situation: Situation, *, with_code: bool = True) -> str:
    """Return why the job is in its state, in words; what it is for, if it is a hook.

    `with_code`: name a plain exit code of a failure, too.
    """
    why = _why_over(job, with_code=with_code) if job.state.final else _why_not_over(job, situation)
    hook = safe(note_of(job))
    return f"{hook}, {why}" if hook and why else hook or why


def _why_not_over(job: Job, situation: Situation) -> str:
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
        elif (told := situation.progress.get(job.id)) is not None:
            notes.append(safe(words(told, job.attempts[-1].began_at, situation.now.wall)))
        elif (silent := situation.silent.get(job.id, 0.0)) >= QUIET_S:
            notes.append(f"quiet {span(silent)}")
        return ", ".join(notes)
    return safe(why_waiting(job, situation))


def _why_over(job: Job, *, with_code: bool) -> str:
    if job.skipped_for is not None:
        return f"because of job {job.skipped_for}"
    tries = f"{len(job.attempts)} attempts" if len(job.attempts) > 1 else ""
    if job.ending is None or not (job.state is State.FAILED or tries):
        return ""
    why = why_ended(job)
    if not with_code and job.state is State.FAILED and why == f"exit {job.ending.status}":
        why = ""
    text = f"{why} ({tries})" if why and tries else why or tries
    known = job.state is State.FAILED and not job.is_open_failure
    return ", ".join(filter(None, (text, "acknowledged" if known else "")))


NO_FRAMES: Mapping[int, Frame] = MappingProxyType({})
QUIET_S = 60.0  # seconds without output that are worth a note
LEAST_COMMAND = 16  # characters that a long note leaves to the command
LONGEST_CELL = 500  # characters, more than any terminal is wide
NARROW = {"age": 70, "queue": 60, "time": 50}  # columns of a terminal that is too narrow for them
WIDE = 200  # columns of a table with colours that goes to no terminal


def print_jobs(
    jobs: Sequence[Job],
    situation: Situation,
    frames: Mapping[int, Frame] = NO_FRAMES,
    names: Sequence[str] = USUAL,
) -> None:
    """Print the table to stdout; `frames`: what stands before and behind the commands, by id; `names`: of columns."""
    cells = [COLUMNS[name].cell for name in names]
    rows = [[cell(job, situation) for cell in cells] for job in jobs]
    if frames and "command" in names:
        at = names.index("command")
        for job, row in zip(jobs, rows, strict=True):
            if job.id in frames:
                row[at] = row[at].join(frames[job.id])
    if is_terminal() or coloured(stdout):
        from rich.console import Console  # noqa: PLC0415

        from jobq.views.terminal import size_of  # noqa: PLC0415

        columns, _ = size_of(drawing.fileno()) if is_terminal() else (WIDE, 0)
        styles = [STYLES.get(job.state, "") for job in jobs]
        has_colours = coloured(stdout)
        console = Console(file=drawing, width=columns, no_color=not has_colours, force_terminal=has_colours)  # type: ignore[arg-type]
        console.print(rich_table(rows, styles, columns, names))
        return
    out(*aligned([[COLUMNS[name].head for name in names], *rows]))


def rich_table(rows: Sequence[Sequence[str]], styles: Sequence[str], columns: int, names: Sequence[str]) -> Table:
    """Return the table for a terminal of this width; without queues other than default, it has no such column.

    `styles`: that of each state.
    """
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def width(cells: Iterable[str]) -> int:
        return max(map(len, cells), default=0)

    shown = [
        (at, name)
        for at, name in enumerate(names)
        if not (names is USUAL and name == "queue" and all(row[at] == DEFAULT_QUEUE for row in rows))
        and not (names is USUAL and columns < NARROW.get(name, 0))
    ]
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    cells = {name: [row[at][:LONGEST_CELL] for row in rows] for at, name in shown}
    flexible = {"note", "command", "labels", "cwd"}
    fixed = sum(
        min(width([*cells[name], COLUMNS[name].head]), 16 if name == "queue" else 30)
        for _, name in shown
        if name not in flexible
    )
    room = columns - fixed - 2 * len(shown) - min(LEAST_COMMAND, width(cells.get("command", ())))
    for _, name in shown:
        column = COLUMNS[name]
        justify: Literal["right", "left"] = "right" if column.right else "left"
        if name == "note":
            widest = max(4, min(60, max(12, 2 * columns // 5), room))
            table.add_column(column.head, overflow="ellipsis", no_wrap=True, max_width=widest)
        elif name in flexible:
            table.add_column(column.head, overflow="ellipsis", no_wrap=True, ratio=1)
        elif name == "queue":
            table.add_column(column.head, no_wrap=True, overflow="ellipsis", max_width=16)
        else:  # a long command must not push out the columns that identify a job
            table.add_column(column.head, justify=justify, no_wrap=True, min_width=width(cells[name]))
    for at, style in enumerate(styles):
        table.add_row(*(Text(cells[name][at], style if name == "state" else "") for _, name in shown))
    return table
