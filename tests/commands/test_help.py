"""The topics of `jobq help`: what they say is there, and they are short enough to be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from jobq import exit_codes
from jobq.cli import ELSEWHERE, MODULES
from jobq.commands.topics import TOPICS
from jobq.job import State
from jobq.settings.keys import ROWS
from tests.conftest import Cli

ROOT = Path(__file__).parents[2]
MOST_TOKENS = 700  # of the topic for agents; a word or a sign is about one
FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_is_printed_in_lines_that_fit(cli: Cli, topic: str) -> None:
    lines = cli("help", topic).stdout.splitlines()
    assert len(lines) > 5
    assert max(map(len, lines)) <= 120
    assert "{" not in re.sub(r"add cmd \{\}", "", "\n".join(lines))


@pytest.mark.parametrize("topic", TOPICS)
def test_every_command_and_flag_of_a_topic_exists(topic: str) -> None:
    flags = set(FLAG.findall((ROOT / "completions" / "jobq.bash").read_text()))
    text = TOPICS[topic]()
    for typed in re.findall(r"(?:^|[ (])jobq ((?:--store DIR )?[a-z][\w|]*)", text, re.MULTILINE):
        for name in typed.removeprefix("--store DIR ").split("|"):
            assert name in {*MODULES, *ELSEWHERE} or any(known.startswith(f"{name} ") for known in MODULES), name
    assert set(FLAG.findall(re.sub(r"cmd \{\}.*", "", text))) - flags == set()


def test_the_topic_for_agents_is_short() -> None:
    assert len(re.findall(r"\w+|[^\w\s]", TOPICS["agents"]())) <= MOST_TOKENS
    assert all(str(state) in TOPICS["agents"]() for state in State)


def test_the_commands_for_agents_work(cli: Cli) -> None:
    """Each that needs no more than a store is run as it stands."""
    (cli.cwd / "jobs.txt").write_text("true\n")
    cli("add", "true")
    cli("worker", "--drain")
    for line in TOPICS["agents"]().splitlines():
        command = re.search(r"(?:^|\s)jobq ((?:run|list|events|worker list|log|show)\b.*?)(?:  +|\)|$|;)", line)
        if command is None or "make" in command[1]:
            continue
        words = shlex.split(command[1].replace("$id", "1").replace("CURSOR", "0:0:0:0:").replace("|", " "))
        cli(*words, code=None if "wait" in words else 0)


def test_all_variables_and_codes_are_told() -> None:
    assert all(row.variable in TOPICS["environment"]() for row in ROWS)
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and name != "BY_SIGNAL"}
    told = {int(number) for number in re.findall(r"\b\d+\b", TOPICS["exit-codes"]())}
    assert codes <= told


def test_an_unknown_topic_is_named(cli: Cli) -> None:
    done = cli("help", "nonsense", code=2)
    assert "there is no topic 'nonsense'" in done.stderr
    assert "agents" in done.stderr
    assert "Enqueue a command" in cli("help", "add").stdout
    assert "Cancel jobs" in cli("help", "kill").stdout
