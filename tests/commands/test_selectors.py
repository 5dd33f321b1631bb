"""Options that select jobs, the same on every command that takes jobs."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from jobq.durations import duration
from jobq.errors import UsageError
from jobq.job import State
from jobq.options.instants import past_instant
from tests.conftest import Cli


def ids(cli: Cli, *words: str) -> list[int]:
    """The ids that `list` prints."""
    return [int(line.split()[0]) for line in cli("list", *words).stdout.splitlines()[1:]]


@pytest.fixture
def three(cli: Cli) -> Cli:
    cli("add", "--label", "model=a", "--label", "size=big", "--name", "alpha", "echo one")
    cli("add", "--label", "model=b", "-q", "night", "echo two")
    cli("add", "true")
    return cli


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--label", "model"], [1, 2]),
        (["--label", "model=a"], [1]),
        (["--label", "model", "--label", "size=big"], [1]),
        (["--label", "model=c"], []),
        (["--grep", "echo"], [1, 2]),
        (["--grep", "alph"], [1]),
        (["-q", "night", "-s", "queued"], [2]),
        (["2-3", "--grep", "t"], [2, 3]),
        (["alpha", "-q", "night"], []),
        (["--since", "1h"], [1, 2, 3]),
        (["--until", "1h"], []),
        (["--since", "today", "--until", "0s", "-s", "failed"], []),
    ],
)
def test_options_narrow_each_other(three: Cli, words: list[str], found: list[int]) -> None:
    assert ids(three, *words) == found


def test_every_verb_takes_them(three: Cli) -> None:
    assert "2 held" in three("hold", "--label", "model").stderr
    assert "job 1 released" in three("release", "--label", "model=a").stderr
    assert "job 2 cancelled" in three("cancel", "--state", "held", "--queue", "night").stderr
    assert "job 2 queued" in three("requeue", "--grep", "two").stderr
    assert "job  2" in three("show", "-q", "night").stdout
    three("worker", "--drain")
    three("wait", "--label", "model")
    assert "2 removed" in three("rm", "--since", "1h", "--label", "model").stderr
    assert ids(three) == [3]


def test_what_a_filter_leaves_out_is_no_error_and_nothing_at_all_is(three: Cli) -> None:
    assert "no such jobs" in three("cancel", "1", "--state", "failed").stderr
    assert three.queue.job(1).state is State.QUEUED
    three("cancel", "99", "--state", "queued", code=1)
    assert "no job is given" in three("rm", code=2).stderr
    assert "--since: 'soon' is not a time" in three("list", "--since", "soon", code=2).stderr
    assert "is not a state" in three("hold", "-s", "done", code=2).stderr


def test_a_time_in_the_past_is_the_last_one() -> None:
    now = datetime.now().astimezone()
    hour = (now - timedelta(hours=1)).strftime("%H:%M")
    assert past_instant("2h", duration) == pytest.approx(now.timestamp() - 7200, abs=60)
    assert 0 <= now.timestamp() - past_instant(hour, duration) <= 2 * 3600
    later = (now + timedelta(hours=1)).strftime("%H:%M")
    assert 20 * 3600 < now.timestamp() - past_instant(later, duration) < 26 * 3600
    assert past_instant("yesterday", duration) < past_instant("today", duration) <= now.timestamp()
    assert past_instant("mon 0:00", duration) <= now.timestamp()
    with pytest.raises(UsageError):
        past_instant("once", duration)


def test_queues_and_labels_are_words_too(three: Cli) -> None:
    three("add", "-q", "elsewhere", "--label", "sweep=7", "true", ":::", "a", "b")
    first = three.queue.jobs()[-2].id
    assert three("list", "@queue=elsewhere", "--json").stdout.count('"id"') == 2
    after = three.id("--after", "@label=sweep=7", "--after-any", "@queue=elsewhere", "true")
    spec = three.queue.job(after).spec
    assert (spec.after, spec.after_any) == ((first, first + 1), (first, first + 1))
    assert three("list", "@label=sweep", "--json").stdout.count('"id"') == 2
    assert "names no job" in three("add", "--after", "@queue=empty", "true").stderr
    assert "does not name jobs" in three("list", "@colour=red", code=2).stderr
    three("move", "--label", "sweep=7", "--before", "1")
    assert three.queue.job(first).history[-1].event == "move"


def test_all_that_waits_can_be_named(cli: Cli) -> None:
    cli("add", "--label", "exp=a", "true", ":::", "1", "2")
    cli("add", "--label", "exp=a", "--hold", "true")
    assert cli("list", "-s", "waiting", "--json").stdout.count('"id"') == 3
    assert "3 cancelled" in cli("cancel", "@waiting", "--label", "exp=a").stderr
    assert "or waiting" in cli("cancel", "-s", "wating", code=2).stderr
