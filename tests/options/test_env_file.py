"""`--env-file`: variables from a file of NAME=VALUE lines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.errors import UsageError
from jobq.options.env_file import read
from tests.conftest import Cli

SAMPLE = """\ufeff# of the service
A=1
export B = two words   # a comment
C='$A # kept'
D="line\\none \\"quoted\\" $HOME"
E=
F="over
two lines"
HOME
G=a#b
H='it'
"""


def test_values_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text(SAMPLE)
    assert read(str(path), {"HOME": "/home/me"}) == {
        "A": "1", "B": "two words", "C": "$A # kept", "D": 'line\none "quoted" $HOME', "E": "", "F": "over\ntwo lines",
        "HOME": "/home/me", "G": "a#b", "H": "it",
    }  # fmt: skip
    path.write_bytes(SAMPLE.replace("\n", "\r\n").encode())
    assert read(str(path), {"HOME": "/home/me"})["B"] == "two words"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A=1\nnot a line\n", "line 2: 'not a line' is not NAME=VALUE"),
        ('A="open\nB=1\n', "line 1: 'A=\"open' is not NAME=VALUE"),
        ("A='x'y\n", "line 1: .* is not NAME=VALUE"),
        ("\nGONE\n", "line 2: GONE is not set here"),
        ("1A=2\n", "line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "x.env").write_text(text)
    with pytest.raises(UsageError, match=why):
        read(str(tmp_path / "x.env"), {})


def test_jobs_get_them_below_what_env_says(cli: Cli) -> None:
    (cli.cwd / "a.env").write_text("A=file\nB=file\nC=a\n")
    (cli.cwd / "b.env").write_text("C=b\n")
    cli("add", "--env-file", "a.env", "--env-file", "b.env", "-e", "B=flag", 'echo "$A $B $C"')
    cli("add", "--jsonl", "-", stdin='{"command": "echo $C", "env_file": "a.env"}\n')
    cli("worker", "--drain")
    assert (cli("log", "1").stdout, cli("log", "2").stdout) == ("file flag b\n", "a\n")
    cli("again", "2", "--env-file", "b.env")
    cli("worker", "--drain")
    assert cli("log", "3").stdout == "b\n"


def test_a_missing_file_is_named_and_nothing_is_added(cli: Cli) -> None:
    told = cli("add", "--env-file", "gone.env", "true", code=2).stderr
    assert "gone.env: No such file" in told
    assert "with --env-file" in told
    assert cli.queue.jobs() == []


def test_a_file_without_an_end_takes_no_time(tmp_path: Path) -> None:
    path = tmp_path / "x.env"
    path.write_text('A="x\n' + "B=yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\n" * 15_000)
    with pytest.raises(UsageError, match="line 1"):
        read(str(path), {})


def test_a_pipe_is_read_if_somebody_writes(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UsageError, match="nobody writes to this pipe"):
        read(str(tmp_path / "fifo"), {})
    (tmp_path / "nul").write_text("A=x\0y\n")
    assert "can't be" in cli("add", "--env-file", str(tmp_path / "nul"), "true", code=2).stderr
    words = f"{sys.executable} -m jobq add --env-file <(echo Z=1) 'echo $Z'"
    subprocess.run(["bash", "-c", words], env=cli.env, cwd=cli.cwd, check=True)
    cli("worker", "--drain")
    assert cli("log", "1").stdout == "1\n"


def test_blanks_and_comments_are_told_from_values(tmp_path: Path) -> None:
    (tmp_path / "x.env").write_text('A= # comment\nB="foo   \n bar"\nC=#x\nD = a\\b\n  # last')
    assert read(str(tmp_path / "x.env"), {}) == {"A": "", "B": "foo   \n bar", "C": "#x", "D": "a\\b"}
