"""The completion scripts fit the commands of today, and complete in real shells."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.views.completion import SHELLS
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

FOLDER = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", list(SHELLS))
def test_the_scripts_are_up_to_date(cli: Cli, shell: str) -> None:
    name, _ = SHELLS[shell]
    assert (FOLDER / name).read_text(encoding="utf-8") == cli("completion", shell).stdout


def test_an_unknown_shell_is_refused(cli: Cli) -> None:
    assert "bash, zsh, fish" in cli("completion", "tcsh", code=2).stderr


CASES = [
    (["jobq", "can"], {"cancel"}),
    (["jobq", "--sto"], {"--store"}),
    (["jobq", "list", "--state", "fa"], {"failed"}),
    (["jobq", "add", "--priority", "h"], {"high"}),
    (["jobq", "cancel", "@ru"], {"@running"}),
    (["jobq", "wait", "--ti"], {"--timeout"}),
    (["jobq", "completion", "fi"], {"fish"}),
]


KNOWN = [  # to the queue
    (["jobq", "cancel", "tr"], {"train"}),
    (["jobq", "list", "--queue", "ni"], {"night"}),
    (["jobq", "add", "-q", "ni"], {"night"}),
    (["jobq", "list", "--label", "lr"], {"lr=0.1"}),
    (["jobq", "add", "--after", "tr"], {"train"}),
    (["jobq", "pause", "ni"], {"night"}),
]


@pytest.fixture
def known(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A queue with jobs, and a `jobq` on the PATH that has it."""
    cli("add", "--queue", "night", "--label", "lr=0.1", "--name", "train", "true")
    cli("add", "--name", "a name that shells take apart", "true")
    folder = cli.cwd / "bin"
    folder.mkdir()
    (folder / "jobq").write_text(f'#!/bin/sh\nexec {sys.executable} -m jobq "$@"\n')
    (folder / "jobq").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("JOBQ_STORE", str(cli.store))
    return cli


def test_what_is_offered_is_quick_to_find_and_never_an_error(cli: Cli) -> None:
    assert cli("completion", "--jobs").stdout == ""
    cli("add", "--name", "b", "-q", "night", "true")
    cli("add", "--on-finish", "true", "--name", "c", "true")
    cli("add", "--name", "a b", "true")
    cli("queue", "set", "gpu", "--limit", "1")
    cli("schedule", "add", "nightly", "@daily", "true")
    cli("worker", "--drain", "-q", "default")
    assert cli("completion", "--jobs").stdout.split() == ["b", "1", "3", "c", "2"]
    assert cli("completion", "--queues").stdout.split() == ["gpu", "night"]
    assert cli("completion", "--schedules").stdout.split() == ["nightly"]
    damaged = cli.cwd / "damaged"
    damaged.mkdir()
    (damaged / "journal.jsonl").write_bytes(b"damaged")
    cli.env["JOBQ_STORE"] = str(damaged)
    assert cli("completion", "--jobs").stdout == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("words", "expected"), KNOWN)
def test_bash_completes_what_the_queue_knows(known: Cli, words: list[str], expected: set[str]) -> None:
    test_bash_completes(words, expected)


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("words", "expected"), KNOWN)
def test_fish_completes_what_the_queue_knows(known: Cli, words: list[str], expected: set[str]) -> None:
    test_fish_completes(words, expected)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(("words", "expected"), KNOWN)
def test_zsh_completes_what_the_queue_knows(known: Cli, tmp_path: Path, words: list[str], expected: set[str]) -> None:
    test_zsh_completes(tmp_path, words, expected)


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_bash_completes(words: list[str], expected: set[str]) -> None:
    script = f'source "{FOLDER}/jobq.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _jobq; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(("words", "expected"), [CASES[0], CASES[4], (["jobq", "list", "--state", "wai"], {"waiting"})])
def test_bash_completes_in_a_terminal(cli: Cli, words: list[str], expected: set[str]) -> None:
    """What bash makes of the answer shows only there: @ is a word of its own to it."""
    terminal = Terminal(cli, 100, "--norc", "-i", program=(shutil.which("bash") or "",))
    terminal.type(f"source {FOLDER}/jobq.bash; echo rea''dy\r".encode())
    terminal.shows("\nready")
    terminal.type(" ".join(words).encode() + b"\t")
    terminal.shows(f"$ {' '.join([*words[:-1], *expected])}")
    terminal.type(b"\x15exit\r")
    terminal.end()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_fish_completes(words: list[str], expected: set[str]) -> None:
    script = f"source {FOLDER}/jobq.fish; complete -C '{' '.join(words)}'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == expected


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize(("words", "expected"), CASES)
def test_zsh_completes(tmp_path: Path, words: list[str], expected: set[str]) -> None:
    """zsh completes in a terminal only: check the line after a TAB."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(ZDOTDIR=str(tmp_path), TERM="dumb", PS1="> ")
        os.execlp("zsh", "zsh", "-f", "-i")
    seen = b""

    def read_until(text: bytes) -> None:
        nonlocal seen

        def more() -> bool:
            nonlocal seen
            seen += os.read(fd, 4096)
            return text in seen

        wait_until(more)
        seen = seen.partition(text)[2]

    os.write(
        fd, f"fpath=({FOLDER} $fpath); autoload -U compinit; compinit -u -d {tmp_path}/dump; echo rea''dy\n".encode()
    )
    read_until(b"ready\r\n")
    (whole,) = expected
    os.write(fd, " ".join(words).encode() + b"\t")
    read_until(whole.removeprefix(words[-1]).encode())
    os.write(fd, b"\x03exit\n")
    os.close(fd)
    os.waitpid(pid, 0)
