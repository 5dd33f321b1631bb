"""All jobs on a full screen, kept up to date, with keys to steer them. Drawn by textual (the extra `jobq[top]`).

Lower-case keys are harmless; upper-case ones act: on the job under the cursor, or on all that are shown if a filter is
set, since the filter is the selection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import AppBlur, AppFocus
from textual.widgets import DataTable, Footer, Input, Static

from jobq.errors import JobqError
from jobq.job import Job, State
from jobq.rules.ranks import at_work
from jobq.rules.reasons import Situation
from jobq.typed import NamedTuple
from jobq.views.job_page import EVERY, JobPage
from jobq.views.marks import STYLES, glyph
from jobq.views.table import COLUMNS, USUAL, named_command
from jobq.views.text import safe, shortened

LOG_LINES = 200
SORTS = ("order", "id", "state", "time", "queue", "command")
LONGEST_CELL = 300  # characters
LONGEST_NOTE = 28


class Steering(NamedTuple):
    """The use cases that the screen needs."""

    jobs: Callable[[], list[Job]]
    situation: Callable[[Sequence[Job]], Situation]
    details: Callable[[Job, Situation], str]
    log: Callable[[Job, int], Sequence[str]]  # the last lines of output, harmless
    act: Callable[[str, list[Job]], str]  # a verb and its jobs; returns what was done, in words. Raises JobqError


class Top(App[None]):
    """The screen of all jobs."""

    TITLE = "jobq"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #status { height: 1; padding: 0 1; background: $panel; }
    #filter { display: none; height: 3; }
    #filter.on { display: block; }
    DataTable { height: 1fr; }
    #log { padding: 1 0 0 2; border-top: solid $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "Help"),
        Binding("enter", "open", "Open", priority=False),
        Binding("slash", "filter", "Filter"),
        Binding("s", "sort", "Sort"),
        Binding("space", "freeze", "Freeze"),
        Binding("K", "act('cancel')", "Cancel"),
        Binding("R", "act('requeue')", "Requeue"),
        Binding("H", "act('hold')", "Hold"),
        Binding("P", "act('pause')", "Pause"),
        Binding("q,ctrl+c", "quit", "Quit"),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("escape", "leave_filter", "No filter", show=False),
    ]

    def __init__(self, steering: Steering) -> None:
        super().__init__()
        self._steering = steering
        self._words: list[str] = []
        self._sort = 0
        self._frozen = False
        self._beat = False
        self._shown: list[Job] = []
        self._help_on = False
        self._asked: tuple[str, tuple[int, ...]] | None = None  # what the same key would do to several jobs

    def compose(self) -> ComposeResult:
        """Return the widgets."""
        yield Static(id="status")
        yield Input(placeholder="words that the job has: state, queue, name, command", id="filter")
        yield DataTable[Text](cursor_type="row", zebra_stripes=False)
        yield Footer()

    def on_mount(self) -> None:
        """Show the jobs, and again every second."""
        table = self.table
        for name in USUAL:
            table.add_column(COLUMNS[name].head, key=name)
        table.focus()
        self.look()
        self.set_interval(EVERY, self.look)

    @property
    def table(self) -> DataTable[Text]:
        """The table of jobs."""
        return self.query_one(DataTable)

    @on(AppBlur)
    def _rest(self) -> None:
        self._frozen = True  # nobody looks

    @on(AppFocus)
    def _go_on(self) -> None:
        self._frozen = False
        self.look()

    # -- showing -----------------------------------------------------------------------------------

    def look(self, *, anyway: bool = False) -> None:
        """Show the jobs as they are now, unless the screen is frozen."""
        if self._frozen and not anyway:
            return
        try:
            jobs = self._steering.jobs()
            around = self._steering.situation(jobs)
        except JobqError as e:
            self.query_one("#status", Static).update(Text(safe(str(e)), "red"))
            return
        self._beat = not self._beat
        self._shown = self._ordered([job for job in jobs if self._matches(job)])
        self.query_one("#status", Static).update(self._status(jobs, around))
        table = self.table
        at, top = self._chosen(), table.scroll_y
        table.clear()
        for job in self._shown:
            table.add_row(*self._cells(job, around), key=str(job.id))
        row = next((n for n, job in enumerate(self._shown) if at is not None and job.id == at.id), table.cursor_row)
        table.move_cursor(row=min(row, max(0, len(self._shown) - 1)), animate=False)
        table.scroll_to(y=top, animate=False)

    def _cells(self, job: Job, around: Situation) -> list[Text]:
        cells = []
        for name in USUAL:
            text = shortened(COLUMNS[name].cell(job, around), LONGEST_NOTE if name == "note" else LONGEST_CELL)
            if name == "state":
                cells.append(Text(f"{glyph(job)} {text}", STYLES.get(job.state, "")))
            else:
                cells.append(Text(text, justify="right" if COLUMNS[name].right else "left"))
        return cells

    def _status(self, jobs: Sequence[Job], around: Situation) -> Text:
        counts = {state: sum(job.state is state for job in jobs) for state in State}
        running = len(at_work(job for job in jobs if job.state is State.RUNNING))
        failed = sum(job.is_open_failure for job in jobs)
        slots = sum(worker.slots for worker in around.workers)
        parts = [
            f"{running} running",
            f"{counts[State.QUEUED] + counts[State.HELD]} waiting",
            f"{failed} failed",
            f"{len(around.workers)} worker{'s' * (len(around.workers) > 1)}, {slots} slot{'s' * (slots != 1)}"
            if around.workers
            else "no worker is running",
            f"by {SORTS[self._sort]}",
            *([f"filter: {' '.join(self._words)} ({len(self._shown)})"] if self._words else []),
            *(["frozen"] if self._frozen else []),
        ]
        return Text.assemble(("● " if self._beat else "○ ", "green"), safe(" · ".join(parts)))

    def _matches(self, job: Job) -> bool:
        if not self._words:
            return True
        own = [str(job.state), job.spec.queue, job.spec.name or "", named_command(job)]
        text = " ".join(own).lower()
        return all(word in text or word == str(job.id) for word in self._words)

    def _ordered(self, jobs: list[Job]) -> list[Job]:
        keys: dict[str, Callable[[Job], Any]] = {
            "id": lambda job: job.id,
            "state": lambda job: (list(State).index(job.state), job.id),
            "time": lambda job: -(job.seconds or 0.0),
            "queue": lambda job: (job.spec.queue, job.id),
            "command": lambda job: (named_command(job), job.id),
        }
        name = SORTS[self._sort]
        return sorted(jobs, key=keys[name]) if name in keys else jobs

    def _chosen(self) -> Job | None:
        row = self.table.cursor_row
        return self._shown[row] if 0 <= row < len(self._shown) and self.table.row_count else None

    # -- keys --------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Let the person type a filter."""
        field = self.query_one("#filter", Input)
        field.add_class("on")
        field.focus()

    def action_leave_filter(self) -> None:
        """Show all jobs again."""
        if self._help_on:
            self.action_help()
            return
        field = self.query_one("#filter", Input)
        field.value = ""
        field.remove_class("on")
        self._words = []
        self.table.focus()
        self.look(anyway=True)

    @on(Input.Changed, "#filter")
    def _filter_changed(self, event: Input.Changed) -> None:
        self._words = event.value.lower().split()
        self.look(anyway=True)

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.table.focus()

    def action_sort(self) -> None:
        """Order by the next key."""
        self._sort = (self._sort + 1) % len(SORTS)
        self.look(anyway=True)

    def action_freeze(self) -> None:
        """Stop looking, or look again."""
        self._frozen = not self._frozen
        self.look(anyway=True)

    def action_help(self) -> None:
        """Show or hide what the keys do."""
        self._help_on = not self._help_on
        (self.action_show_help_panel if self._help_on else self.action_hide_help_panel)()

    @on(DataTable.RowSelected)
    def action_open(self) -> None:
        """Open the page of the job."""
        job = self._chosen()
        if job is not None:
            self.push_screen(JobPage(job.id, self._load))

    def _load(self, job_id: int) -> tuple[str, Sequence[str]] | None:
        job = next((job for job in self._steering.jobs() if job.id == job_id), None)
        if job is None:
            return None
        return self._steering.details(job, self._steering.situation([job])), self._steering.log(job, LOG_LINES)

    def action_act(self, verb: str) -> None:
        """Do something with the job under the cursor, or with all that the filter shows."""
        job = self._chosen()
        jobs = self._shown if self._words else [job] if job is not None else []
        if not jobs or len(self.screen_stack) > 1:
            return
        wanted = verb, tuple(job.id for job in jobs)
        if len(jobs) > 1 and verb != "pause" and self._asked != wanted:
            self._asked = wanted
            self.notify(f"{verb} {len(jobs)} jobs: press the key again", severity="warning")
            return
        self._asked = None
        try:
            self.notify(safe(self._steering.act(verb, jobs)))
        except JobqError as e:
            self.notify(safe(str(e)), severity="error")
        self.look(anyway=True)
