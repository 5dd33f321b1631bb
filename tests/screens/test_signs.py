"""Signs around the screen: the title and the progress of a tab, links to logs; and the one setting that ends them."""

from __future__ import annotations

import pytest

from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

WAIT = "while ! [ -e go ]; do sleep 0.02; done"
SAVED, RESTORED = b"\x1b[22;2t", b"\x1b[23;2t"


def seen(cli: Cli, **variables: str) -> tuple[Terminal, bytes]:
    """Run a worker with a failure and a success in such a terminal, to its end; return all that it has got."""
    cli.env |= variables
    cli("add", "--retries", "0", "false")
    cli("add", WAIT)
    terminal = Terminal(cli, 100, "worker", "--drain", "-j", "1")
    terminal.shows("1/1 running · 0 waiting · 0 succeeded · 1 failed")
    wait_until(lambda: b"1/2" in bytes(terminal.seen) or variables.get("JOBQ_TERMINAL_SIGNS") == "no")
    (cli.cwd / "go").touch()
    assert terminal.end() == 1
    return terminal, bytes(terminal.seen)


def test_the_title_says_how_many_jobs_are_done(cli: Cli) -> None:
    terminal, got = seen(cli)
    assert "jobq 1/2" in terminal.titles
    assert got.index(SAVED) < got.index(b"jobq 1/2") < got.index(RESTORED)
    assert b"\x1b]9;4" not in got, "an xterm shows no progress"
    assert b"\x1b]8;" not in got


@pytest.mark.parametrize("variables", [{"TERM_PROGRAM": "WezTerm"}, {"WT_SESSION": "x"}])
def test_the_tab_shows_progress_and_failures(cli: Cli, variables: dict[str, str]) -> None:
    _, got = seen(cli, **variables)
    assert b"\x1b]9;4;2;50\x07" in got, "2: a job has failed"
    assert got.rindex(b"\x1b]9;4;0;0\x07") > got.rindex(b"\x1b]9;4;2;")


def test_the_id_of_a_finished_job_links_to_its_log(cli: Cli) -> None:
    _, got = seen(cli, TERM_PROGRAM="iTerm.app")
    assert b"\x1b]8;" in got
    assert f"{cli.store}/runs/0/1.1.log".encode() in got


def test_one_setting_turns_them_off(cli: Cli) -> None:
    terminal, got = seen(cli, TERM_PROGRAM="WezTerm", JOBQ_TERMINAL_SIGNS="no")
    assert terminal.titles == []
    assert b"\x1b]" not in got
