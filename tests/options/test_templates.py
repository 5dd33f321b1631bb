"""Many commands from one: items in templates, and lines of JSON."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.errors import UsageError
from jobq.job import State
from jobq.options.templates import expand, split
from tests.conftest import Cli


def made(*words: str, files: dict[str, list[str]] | None = None) -> list[object]:
    template, lists = split(words, lambda name: (files or {})[name])
    return list(expand(template, lists, is_line=len(template) == 1))


def test_an_item_takes_the_place_of_the_braces_or_comes_last() -> None:
    assert made("gzip", "-k", "{}", ":::", "a", "b") == [("gzip", "-k", "a"), ("gzip", "-k", "b")]
    assert made("gzip", "-k", ":::", "a") == [("gzip", "-k", "a")]
    assert made("gzip -k {} && rm {}", ":::", "a b") == ["gzip -k 'a b' && rm 'a b'"]
    assert made("gzip -k", ":::", "it's") == ["gzip -k 'it'\"'\"'s'"]
    assert made("x", "--in={}", ":::", "-a", "") == [("x", "--in=-a"), ("x", "--in=")]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("dir/sub/name.tar.gz", ("dir/sub/name.tar.gz", "dir/sub/name.tar", "name.tar.gz", "dir/sub", "name.tar")),
        ("name", ("name", "name", "name", ".", "name")),
        (".hidden", (".hidden", ".hidden", ".hidden", ".", ".hidden")),
        ("a.b/c", ("a.b/c", "a.b/c", "c", "a.b", "c")),
        ("/x", ("/x", "/x", "x", "/", "x")),
    ],
)
def test_parts_of_a_path(item: str, expected: tuple[str, ...]) -> None:
    assert made("echo", "{}", "{.}", "{/}", "{//}", "{/.}", ":::", item) == [("echo", *expected)]


def test_lists_are_combined_the_last_one_varies_fastest() -> None:
    assert made("t", "{1}-{2}", "{#}", ":::", "a", "b", ":::", "1", "2") == [
        ("t", "a-1", "1"), ("t", "a-2", "2"), ("t", "b-1", "3"), ("t", "b-2", "4"),
    ]  # fmt: skip
    assert made("t", "-x", ":::", "a", ":::", "1") == [("t", "-x", "a", "1")]
    assert made("t {}", ":::", "a b", ":::", "1") == ["t 'a b' 1"]
    assert made("t", "{1/.}", ":::", "d/a.txt") == [("t", "a")]
    assert made("t", ":::", "a", "::::", "f", files={"f": ["1", "", "2"]}) == ["t a 1", "t a 2"]
    assert made("t", ":::") == []


@pytest.mark.parametrize("words", [("x", "{3}", ":::", "a"), ("x", "{0}", ":::", "a"), ("x", "::::")])
def test_what_no_list_gives_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        made(*words)


def test_too_many_commands_are_refused_before_they_are_made() -> None:
    many = [str(n) for n in range(1000)]
    with pytest.raises(UsageError, match="1000000000 commands"):
        made("x", ":::", *many, ":::", *many, ":::", *many)


@given(st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=3))
def test_any_item_reaches_the_program_unchanged(items: list[str]) -> None:
    items = [item for item in items if item not in {":::", "::::"}]
    assert made("x", "{}", ":::", *items) == [("x", item) for item in items]
    lines = made("x {}", ":::", *items)
    assert [shlex.split(str(line)) for line in lines] == [["x", item] for item in items]


def test_names_of_files_arrive_as_they_are(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    names = [b"a b", b"it's", b'"q"', b"new\nline", b"-x", b"\xff\xfe", "é".encode(), b"$(touch no)", b"{}"]
    for name in names:
        (folder / os.fsdecode(name)).touch()
    ways = (["sh", "-c", 'printf %s "$1" > "$2"', "_", "{}", "{#}.argv"], ["printf %s {} > {#}.line"])
    for number, words in enumerate(ways):
        items = sorted(os.listdir(os.fsencode(folder)))
        given = ["add", "-C", str(folder), *words, ":::", *(item.decode("utf-8", "surrogateescape") for item in items)]
        assert cli(*given).stdout == ("1-9\n", "10-18\n")[number]
        cli("worker", "--drain")
        kind = ("argv", "line")[number]
        for n, name in enumerate(items, 1):
            assert (folder / f"{n}.{kind}").read_bytes() == name
            (folder / f"{n}.{kind}").unlink()


def test_a_dry_run_prints_and_adds_nothing(cli: Cli) -> None:
    shown = cli("add", "--dry-run", "echo", "{}", ":::", "a b", "c")
    assert shown.stdout == "echo 'a b'\necho c\n"
    assert not cli.queue.exists()


def test_run_takes_items_too(cli: Cli) -> None:
    done = cli("run", "test {} != b", ":::", "a", "b", code=1)
    assert "1 of 2 succeeded" in done.stderr
    assert cli("run", "echo", ":::", "one").stdout == "one\n"


def test_the_form_of_the_command_can_be_said(cli: Cli, tmp_path: Path) -> None:
    program = tmp_path / "a program"
    program.write_text('#!/bin/sh\necho "$# $1"\n')
    program.chmod(0o700)
    assert cli("run", "--exec", str(program)).stdout == "0 \n"
    assert cli("run", "--exec", str(program), ":::", "x y").stdout == "1 x y\n"
    assert cli("run", "--shell", "echo", "a", "|", "tr", "a", "b").stdout == "b\n"
    assert cli("add", "--dry-run", "--shell", "echo", "{}", "> out", ":::", "x y").stdout == "echo 'x y' > out\n"
    assert "both --exec and --shell" in cli("add", "--exec", "--shell", "true", code=2).stderr
    assert "for exact words: --jsonl" in cli("add", "--exec", "--from", "-", stdin="a\n", code=2).stderr


def test_comments_of_a_file_are_left_out_and_the_bad_line_is_named(cli: Cli) -> None:
    done = cli("add", "--from", "-", stdin="# jobs of today\n\ntrue\n  # more\nfalse\n")
    assert done.stdout == "1-2\n"
    assert "2 lines left out: comments" in done.stderr
    assert (
        "error: line 3: word 1 of the command has a NUL" in cli("add", "--from", "-", stdin="a\n\nb\0\n", code=2).stderr
    )


def lines(*jobs: dict[str, Any] | str) -> str:
    return "".join((job if isinstance(job, str) else json.dumps(job)) + "\n" for job in jobs)


def test_each_line_of_json_is_a_job_with_options_of_its_own(cli: Cli) -> None:
    jobs = lines(
        {"command": "echo build", "name": "build", "priority": "high"},
        "",
        {"command": ["echo", "a b"], "after": ["build"], "timeout": "10m", "queue": "night"},
        {"call": "os.path:join", "args": ["a"], "kwargs": {}, "after_any": "build", "once": True},
        {"command": "true", "hold": True, "at": "2096-01-01T00:00Z", "env": {"X": "1"}},
    )
    assert cli("add", "--jsonl", "-", stdin=jobs).stdout == "1-4\n"
    one, two, three, four = cli.queue.jobs_of([1, 2, 3, 4])
    assert (one.spec.name, one.spec.priority) == ("build", 10)
    assert (two.command, two.spec.after, two.spec.timeout, two.spec.queue) == (("echo", "a b"), (1,), 600.0, "night")
    assert (three.call and three.call.args, three.spec.after_any) == (("a",), (1,))
    assert four.state is State.HELD
    assert cli.queue.environment_of(four)["X"] == "1"
    again = cli("add", "--jsonl", "-", stdin=lines({"call": "os.path:join", "args": ["a"], "once": True}))
    assert again.stdout == "3\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nope", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("7", "line 2: 7 is not a job"),
        ('{"comand": "x"}', "line 2: comand is not an option"),
        ("{}", "line 2: a job has a command, or a call"),
        ('{"command": "x", "priorty": 1}', "did you mean priority?"),
        ('{"command": "x", "priority": [1]}', "line 2: priority can't be"),
        ('{"command": "x", "timeout": "soon"}', "line 2: timeout: 'soon' is not a duration"),
        ('{"command": 7}', "line 2: 7 is not a command"),
        ('{"command": ""}', "line 2: the command is empty"),
        ('{"command": "x", "cwd": "/nowhere"}', "line 2: the working directory /nowhere does not exist"),
        ('{"command": "x", "after": ["nobody"]}', "no job named nobody"),
        ('{"command": "x", "command": "y"}', "line 2: command is given twice"),
        ('{"command": "x", "in": "1m", "delay": "2m"}', "line 2: delay is given twice"),
        ('{"command": "x", "env": {"A": "1", "A": "2"}}', "line 2: A is given twice"),
        ('{"command": "x", "cwd": ""}', "line 2: cwd: '' can't be a path"),
        ('{"command": "x", "env_file": ""}', "line 2: env_file: '' can't be a path"),
        ('{"command": "x", "env_file": [5]}', "line 2: env_file can't be 5"),
        ('{"command": "x", "stderr": "a\\u0000"}', "line 2: stderr: 'a\\x00' can't be a path"),
        ('{"call": "no colon"}', "line 2: 'no colon' does not name a function"),
        ('{"command": "x", "name": "twin"}\n{"command": "y", "name": "twin"}', "twin"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_added(cli: Cli, line: str, says: str) -> None:
    done = cli("add", "--jsonl", "-", stdin=f'{{"command": "true"}}\n{line}\n', code=None)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert cli.queue.jobs() == []


def test_lines_with_the_same_options_are_stored_as_one(cli: Cli) -> None:
    cli("add", "--jsonl", "-", stdin=lines(*[{"command": "true", "priority": 3}] * 1000))
    last = (cli.store / "journal.jsonl").read_bytes().splitlines()[-1]
    assert len(json.loads(last)["ops"][0]["commands"]) == 1000


def test_jsonl_stands_alone(cli: Cli) -> None:
    assert "each line has its own" in cli("add", "--jsonl", "-", "-p5", stdin="", code=2).stderr
    assert "no lines and no items" in cli("add", "--jsonl", "-", stdin="\n").stderr
