"""The full screen of `jobq top`: what it shows, and what its keys do."""

from __future__ import annotations

import asyncio
import builtins
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from jobq.commands import top as command
from jobq.errors import Refused
from jobq.job import State
from jobq.views.top import Steering, Top
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

HOSTILE = "\x1b]0;PWNED\x07[bold]x[/bold] \u202e"


class Context:
    """What typer gives to a command: the directory of the store."""

    def __init__(self, cli: Cli) -> None:
        self.obj = str(cli.store)

    def find_root(self) -> Context:
        """Return the context of the whole command line."""
        return self


def steering(cli: Cli) -> Steering:
    """Return what the command gives to the screen."""
    given: list[Steering] = []

    class Caught(Top):
        def run(self, *_args: Any, **_options: Any) -> None:
            given.append(self._steering)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jobq.views.top.Top", Caught)
        patch.setattr(command, "is_terminal", lambda: True)
        patch.setattr(command, "status", lambda _queue: None)
        command.top(Context(cli))  # type: ignore[arg-type]
    return given[0]


def drive(cli: Cli, play: Callable[[Top, Pilot[None]], Awaitable[None]]) -> None:
    """Run the screen without a terminal, and play on its keys."""

    async def whole() -> None:
        app = Top(steering(cli))
        async with app.run_test(size=(120, 30)) as pilot:
            await play(app, pilot)

    asyncio.run(whole())


def rows(app: Top) -> list[list[str]]:
    return [[str(cell) for cell in app.table.get_row_at(n)] for n in range(app.table.row_count)]


def status_of(app: Top) -> str:
    return str(app.query_one("#status", Static).render())


@pytest.fixture
def jobs(cli: Cli) -> Cli:
    cli("add", "--retries", "0", "--", "sh", "-c", "echo why; exit 3", HOSTILE)
    cli("worker", "--drain", code=1)
    cli("add", "--name", "build", "make", "all")
    cli("add", "-q", "gpu", "train 1", ":::", "a", "b")
    return cli


def test_all_jobs_are_shown_with_their_states(jobs: Cli) -> None:
    async def play(app: Top, _pilot: Pilot[None]) -> None:
        found = {row[0]: row for row in rows(app)}
        assert found["1"][1] == "✗ failed 3"
        assert found["2"][1] == "○ queued"
        assert found["2"][6] == "[build] make all"
        assert "0 running · 3 waiting · 1 failed · no worker is running" in status_of(app)
        assert "\x1b" not in found["1"][6]
        assert "\u202e" not in found["1"][6]
        assert "[bold]x[/bold]" in found["1"][6], "text is no markup"

    drive(jobs, play)


def test_the_filter_is_the_selection(jobs: Cli) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"gpu", "enter")
        assert [row[0] for row in rows(app)] == ["3", "4"]
        assert "filter: gpu (2)" in status_of(app)
        await pilot.press("K")
        assert jobs.queue.job(3).state is State.QUEUED, "more than one: it wants the key again"
        await pilot.press("K")
        assert rows(app) == [] or {row[1] for row in rows(app)} == {"⊘ cancelled"}
        await pilot.press("escape")
        assert len(rows(app)) == 4

    drive(jobs, play)
    assert [jobs.queue.job(n).state for n in (2, 3, 4)] == [State.QUEUED, State.CANCELLED, State.CANCELLED]


def test_upper_case_keys_act_on_the_job_under_the_cursor(jobs: Cli) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("k", "r", "h", "p")  # harmless
        assert jobs.queue.job(1).state is State.FAILED
        await pilot.press("home", "R")
        assert jobs.queue.job(1).state is State.QUEUED
        at = [row[0] for row in rows(app)].index("2")
        app.table.move_cursor(row=at)
        await pilot.press("H")
        assert jobs.queue.job(2).state is State.HELD
        await pilot.press("H")
        assert jobs.queue.job(2).state is State.QUEUED
        await pilot.press("P")
        assert jobs.queue.queues.pauses().keys() == {"default"}
        await pilot.press("P")
        assert jobs.queue.queues.pauses() == {}

    drive(jobs, play)


def test_jobs_are_sorted_by_the_next_key(jobs: Cli) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        assert "by order" in status_of(app)
        await pilot.press("s")
        assert "by id" in status_of(app)
        assert [row[0] for row in rows(app)] == ["1", "2", "3", "4"]
        for _ in range(4):
            await pilot.press("s")
        assert rows(app)[0][0] == "2", "by command: [build]"

    drive(jobs, play)


def test_the_page_of_a_job_has_its_history_and_its_log(jobs: Cli) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("home", "enter")
        assert len(app.screen_stack) == 2
        text = str(app.screen.query_one("#details", Static).render())
        assert "exit 3" in text
        assert "claim" in text
        assert str(app.screen.query_one("#log", Static).render()) == "why"
        await pilot.press("K")
        await pilot.press("f", "escape")
        assert len(app.screen_stack) == 1

    drive(jobs, play)
    assert jobs.queue.job(1).state is State.FAILED


def test_a_frozen_screen_shows_nothing_new(jobs: Cli) -> None:
    async def play(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        jobs.queue.add("true")
        app.look()
        assert len(rows(app)) == 4
        assert "frozen" in status_of(app)
        await pilot.press("space")
        assert len(rows(app)) == 5

    drive(jobs, play)


def test_it_leaves_a_summary_in_a_real_terminal(jobs: Cli) -> None:
    terminal = Terminal(jobs, 110, "top")
    terminal.shows("3 waiting")
    terminal.shows("[build] make")  # more or less of it, by the width of the ages
    terminal.type(b"q")
    assert terminal.end() == 0
    wait_until(lambda: "0 running, 3 waiting, 1 failed" in terminal.text())
    assert not any("PWNED" in title for title in terminal.titles)


def test_it_needs_a_terminal_and_textual(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "top needs a terminal" in cli("top", code=2).stderr
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("textual"):
            raise ImportError("No module named 'textual'")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "jobq.views.top")
    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(command, "is_terminal", lambda: True)
    with pytest.raises(Refused, match="top needs textual") as refused:
        command.top(Context(cli))  # type: ignore[arg-type]
    assert "jobq[top]" in refused.value.hint
