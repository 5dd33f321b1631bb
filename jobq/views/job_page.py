"""The page of one job in `jobq top`: its history and settings, and the end of its log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

EVERY = 1.0  # seconds between two looks at the job


class JobPage(Screen[None]):
    """The page."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace", "app.pop_screen", "Back"),
        Binding("f", "follow", "Follow the log"),
    ]

    def __init__(self, job_id: int, load: Callable[[int], tuple[str, Sequence[str]] | None]) -> None:
        super().__init__()
        self._job_id = job_id
        self._load = load
        self._follows = True

    def compose(self) -> ComposeResult:
        """Return the widgets."""
        with VerticalScroll(id="page"):
            yield Static(id="details")
            yield Static(id="log")
        yield Footer()

    def on_mount(self) -> None:
        """Show the job, and again every second."""
        self.look()
        self.set_interval(EVERY, self.look)

    def action_follow(self) -> None:
        """Let the page stay at the end of the log, or not."""
        self._follows = not self._follows
        self.look()

    def look(self) -> None:
        """Show what is known of the job now."""
        loaded = self._load(self._job_id)
        if loaded is None:
            self.query_one("#details", Static).update(Text(f"There is no job {self._job_id} any more."))
            return
        details, lines = loaded
        self.query_one("#details", Static).update(Text.from_ansi(details + "\n"))
        log = Text("\n").join(Text.from_ansi(line) for line in lines) if lines else Text("no output", "dim")
        self.query_one("#log", Static).update(log)
        if self._follows:
            self.query_one("#page", VerticalScroll).scroll_end(animate=False)
