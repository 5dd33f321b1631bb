"""The README stays true: every block runs, and every command and exit code is listed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobq import errors
from jobq.cli import app_for
from jobq.options.request import JobOptions
from jobq.options.table import OPTIONS
from tests.conftest import Cli
from tests.faults.catalogue import CASES, COVERED

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which `jobq` is the one under test."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "jobq").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobq "$@"\n')
    (bin_ / "jobq").chmod(0o755)
    return f"{bin_}:{os.environ['PATH']}"


@pytest.mark.parametrize("block", blocks("sh"))
def test_every_shell_block_runs(cli: Cli, path: str, block: str) -> None:
    (cli.cwd / "home").mkdir()
    if "jobq show @" in block:
        cli("add", "true")
    done = subprocess.run(
        ["sh", "-e"],
        input=block,
        env=cli.env | {"PATH": path},
        cwd=cli.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (block, done.stdout, done.stderr)


def test_the_argument_example_prints_its_arguments_unchanged(cli: Cli, path: str) -> None:
    block = next(block for block in blocks("sh") if "'$HOME'" in block)
    done = subprocess.run(
        ["sh", "-e"],
        input=block,
        env=cli.env | {"PATH": path},
        cwd=cli.cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("a b\n$HOME\n*\n")


@pytest.mark.parametrize("block", blocks("python"))
def test_every_python_block_runs(cli: Cli, block: str) -> None:
    done = subprocess.run([sys.executable, "-c", block], env=cli.env, capture_output=True, text=True, check=True)
    assert done.stdout == "queued json:dumps\n"


def test_python_has_every_option_of_the_command_line() -> None:
    assert JobOptions.__annotations__.keys() == {ask.name for ask in OPTIONS}


def test_the_readme_lists_every_command_and_exit_code() -> None:
    names = {command.name for command in app_for([]).registered_commands}
    assert set(re.findall(r"^\| `jobq (\w+)`", README, re.MULTILINE)) == names
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.JobqError)
    }
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert codes <= told


def test_every_promise_names_cases_that_exist() -> None:
    rows = re.findall(r"^\| .+ \| ([\dbcdS, ]+) \|$", README.partition("## What jobq promises")[2], re.MULTILINE)
    assert len(rows) > 10
    known = {case.number for case in CASES} | {case.number for case in COVERED}
    assert {number for row in rows for number in row.split(", ")} - known == set()


def test_the_top_folder_holds_only_the_agreed_files() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\n"
    )
    visible = {name.split("/")[0] for name in tracked if name and not name.startswith(".")}
    assert visible <= {"pyproject.toml", "jobq", "tests", "completions", "README.md"}
