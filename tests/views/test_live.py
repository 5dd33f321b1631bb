"""The live view as pure functions: golden frames of four widths, in ASCII too; the forecast, the tally, the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from jobq.job import Attempt, Ending, Job, Outcome, Spec, State, Step
from jobq.moment import Due, Moment
from jobq.rules.forecast import ENOUGH, Forecast
from jobq.rules.progress import Progress
from jobq.rules.reasons import Situation
from jobq.rules.serving import LiveWorker
from jobq.store.state import StoreState
from jobq.views.closing import closing
from jobq.views.columns import Layout, cut_middle
from jobq.views.console import PLAIN, Stream
from jobq.views.live import Overview, finished, frame
from jobq.views.tally import Tally
from jobq.views.terminal import Region

FRAMES = Path(__file__).parent.parent / "data" / "frames"
NOW = Moment(10_000.0, 500.0, "boot")
HOSTILE = "\x1b]0;PWNED\x07\x1b[31m\u202egnp.exe [/] [link=x]y[/link] 日本語"


def job(number: int, command: str = "true", **changes: object) -> Job:
    """Return a job that was added a while ago."""
    spec = Spec("/w", "env", **changes.pop("spec", {}))  # type: ignore[arg-type]
    return Job(number, spec, command, 9_000.0, **changes)  # type: ignore[arg-type]


def running(number: int, seconds: float, command: str = "true", owner: str = "w1", **changes: object) -> Job:
    """Return a job that has run for so long."""
    attempt = Attempt(1, owner, f"{owner}/{number}", NOW.wall - seconds)
    return job(number, command, state=State.RUNNING, attempts=(attempt,), **changes)


def ended(number: int, seconds: float, command: str = "true", status: int = 0, **changes: object) -> Job:
    """Return a job that has ended just now."""
    ending = Ending(
        Outcome.EXIT, status, started_at=NOW.wall - seconds, ended_at=NOW.wall, user_s=seconds / 2, system_s=0.0
    )
    attempt = Attempt(1, "w1", "w1/0", NOW.wall - seconds, ending=ending)
    state = State.FAILED if status else State.SUCCEEDED
    return job(number, command, state=state, attempts=(attempt,), finished_at=NOW.wall, **changes)


def overview(**changes: object) -> Overview:
    jobs = {
        "running": [
            running(31, 12.4, "python train.py --lr 0.1 --epochs 300 --out /data/runs/2026-11-30/model.pt"),
            running(32, 3_725, "make all", spec={"name": "build", "queue": "gpu"}),
            running(33, 0.2, HOSTILE, owner="w2"),
        ],
        "waiting": [
            job(34, "echo 'a b'"),
            job(35, "rsync -a src/ host:/dst/", retries_used=1, due=Due.after(NOW, 30)),
            job(36, "x" * 400, spec={"queue": "nobody"}),
        ],
    }
    usual = Overview(
        "w1", jobs["running"], jobs["waiting"], 12, 28, 1, 1, 4, 9_880.0,
        Situation(NOW, (LiveWorker("w1", queues=["default", "gpu"]),), silent={32: 200.0}),
        rests={31: 48.0}, left=200.0,
    )  # fmt: skip
    return usual._replace(**changes)  # type: ignore[arg-type]


def lines_of(lines: list[Text], columns: int) -> list[str]:
    """Return the lines as a terminal without colours gets them."""
    console = Console(width=columns, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="ellipsis", crop=True, highlight=False)
    return capture.get().split("\n")[:-1]


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_the_frames_are_as_they_were(columns: int) -> None:
    layout = Layout(columns).fitted(columns, overview().running[1])
    words = {31: "epoch 3/10  loss 0.31", 32: "cc -c main.c"}
    around = overview().around
    above = [
        *finished(ended(7, 0.123, "gzip -k 'a b.txt'"), around, layout, []),
        *finished(ended(8, 75, "pytest -q", 3), around, layout, ["E   assert 1 == 2", "\x1b[31m1 failed\x1b[0m"]),
    ]
    lines = lines_of([*above, *frame(overview(), NOW, layout, words=words)], columns)
    assert max(map(cell_len, lines)) <= columns
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    path = FRAMES / f"live-{columns}.txt"
    if os.environ.get("JOBQ_WRITE_FRAMES"):  # after a change that was meant: look at the difference
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
    assert text.translate(PLAIN).replace("日本語", "").isascii()


@pytest.mark.parametrize("columns", [40, 60, 100, 250])
@pytest.mark.parametrize("height", [1, 2, 5, 8, 60])
def test_a_frame_fits_into_the_terminal_and_the_totals_come_first(columns: int, height: int) -> None:
    lines = lines_of(frame(overview(), NOW, Layout(columns), height), columns)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= columns
    if height >= 2:
        assert "2/4 running" in " ".join(lines)
    if height == 8:
        assert sum(line.startswith("●") for line in lines) == 3, "what runs comes before what waits"


@given(st.text(), st.integers(1, 60))
def test_a_cut_command_has_the_width_that_it_may_have(text: str, width: int) -> None:
    text = "".join(char for char in text if char.isprintable())
    assert cell_len(cut_middle(text, width)) <= width


def test_a_command_is_cut_in_the_middle() -> None:
    assert cut_middle("python train.py --lr 0.1 --out model.pt", 24) == "python train.py…model.pt"
    assert cut_middle("cat " + "x" * 40, 16) == "cat xxxxxx…xxxxx"


# -- how long it takes -------------------------------------------------------------------------------------


def test_the_time_of_a_command_is_learned_from_its_last_successes() -> None:
    forecast = Forecast()
    assert forecast.expected(job(1, "make all")) is None
    for seconds in (100, 1, 2, 3, 4, 5):
        forecast.learn(ended(1, seconds, "make all -j4"))
    forecast.learn(ended(2, 1_000, "make all", status=1))
    assert forecast.expected(job(3, "make all --verbose")) == 3
    assert forecast.expected(job(3, "make clean")) is None
    assert forecast.rest(running(4, 1, "make all"), NOW) == 2
    assert forecast.rest(running(4, 10, "make all"), NOW) is None


def test_the_time_of_a_named_job_is_that_of_its_name() -> None:
    forecast = Forecast()
    forecast.learn(ended(1, 7, "true", spec={"name": "nightly"}))
    assert forecast.expected(job(2, "other words", spec={"name": "nightly"})) == 7


def test_the_time_left_is_unknown_until_most_commands_are_known() -> None:
    forecast = Forecast()
    waiting = [job(n, f"tool{n} x") for n in range(4)]
    assert forecast.left([], waiting, 0, 2, NOW) is None
    for _ in range(ENOUGH):
        forecast.learn(ended(1, 10, "tool0 x"))
    assert forecast.left([], waiting, 96, 2, NOW) == pytest.approx(500)
    assert forecast.left([running(9, 4, "tool0 x")], [], 0, 2, NOW) == pytest.approx(6)
    assert forecast.left([running(9, 21, "tool0 x")], waiting, 0, 2, NOW) is None, "it takes longer than it ever did"


# -- the end -----------------------------------------------------------------------------------------------


def test_the_closing_block_says_what_became_of_the_jobs_in_twelve_lines() -> None:
    tally = Tally()
    for number in range(1, 39):
        assert tally.report(ended(number, number, f"work {number}"))
    failures = [ended(number, 2, f"bad {number}", 3) for number in range(40, 50)]
    for failure in failures:
        tally.report(failure)
    state = StoreState()
    for failure in failures:
        state.jobs[failure.id] = failure
    for number in range(1, 39):
        state.removed.add(number)
    lines = [line.text for line in closing(tally, state, 200.0, 4, start="done: ")]
    assert lines[0] == "done: 38 succeeded · 10 failed in 3m20s"
    assert lines[1] == "12m41s of work in 3m20s on 4 slots, 3.8x; CPU 6m20s"
    assert lines[2] == "slowest: 38 work 38 38 s · 37 work 37 37 s · 36 work 36 36 s"
    assert lines[-2] == "✗ 49 exit 3  bad 49  jobq log 49"
    assert lines[-1] == "... and 5 more failed: jobq list -s failed"
    assert len(lines) <= 12


def test_a_job_that_is_requeued_and_succeeds_is_no_failure() -> None:
    tally = Tally()
    tally.report(ended(1, 1, status=1))
    assert (len(tally.failed), tally.succeeded) == (1, 0)
    again = running(1, 0)
    assert not tally.report(again._replace(history=(Step("claim", 0.0),)))
    tally.report(ended(1, 1))
    assert (len(tally.failed), tally.succeeded, tally.work) == (0, 1, 2)


def test_a_job_is_once_among_the_slowest() -> None:
    tally = Tally()
    for seconds in (9, 9, 8):
        tally.report(ended(1, seconds, status=1))
    for number in range(2, 6):
        tally.report(ended(number, number))
    assert [job.id for job in tally.slowest()] == [1, 5, 4]


# -- the region --------------------------------------------------------------------------------------------


class Written(Stream):
    """A stream that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(1, raw=True)
        self.text = ""

    def write(self, text: str) -> int:
        """Keep the text."""
        self.text += text
        return len(text)


def test_only_lines_that_wrap_take_more_rows_in_a_narrower_terminal() -> None:
    """Else a drawing would begin too far up, and erase finished jobs."""
    stream = Written()
    region = Region(stream)
    region.draw(["short", "\x1b[31m" + "x" * 60 + "\x1b[0m", ""], 80, above=[])
    stream.text = ""
    region.draw(["now"], 40, above=["done"])
    assert stream.text.startswith("\x1b[?25l\r\x1b[4A")


def test_a_frame_that_is_the_same_is_not_written_again() -> None:
    stream = Written()
    region = Region(stream)
    region.draw(["one", "two"], 80, above=[])
    stream.text = ""
    region.draw(["one", "2"], 80, above=[])
    assert "one" not in stream.text
    assert "2" in stream.text
    stream.text = ""
    region.draw(["one", "2"], 80, above=[], whole=True)
    assert "one" in stream.text


def test_the_cursor_is_shown_before_a_stop_even_if_nothing_was_drawn() -> None:
    stream = Written()
    region = Region(stream)
    region.leave()
    assert stream.text == ""
    region.leave(surely=True)
    assert stream.text == "\x1b[?25h"


def test_what_a_job_tells_stands_in_the_place_of_its_last_output() -> None:
    told = {31: Progress(0.4, "epoch 4/10", NOW.wall)}

    def line(columns: int) -> str:
        lines = map(str, frame(overview(), NOW, Layout(columns), words={31: "loss 0.3"}, told=told))
        return next(line for line in lines if " 31 " in line)

    assert "40% ███░░░░░ epoch 4/10" in line(120)
    assert "loss" not in line(120)
    assert "40%" in line(50), "the figure stays longest"
