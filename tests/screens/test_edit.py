"""`jobq edit` in the person's editor."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from jobq.options.job_file import read_toml, to_toml, with_problem
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal


def editor(cli: Cli, script: str) -> None:
    """Let the editor be a script for sh, which has the file as $1."""
    path = cli.cwd / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    cli.env["EDITOR"] = str(path)
    cli.env.pop("VISUAL", None)


def edit(cli: Cli, *words: str) -> tuple[int, str]:
    terminal = Terminal(cli, 120, "edit", *words)
    code = terminal.end()
    return code, terminal.text()


def test_options_and_the_command_are_changed(cli: Cli, tmp_path: Path) -> None:
    cli("add", "--label", "a=b", "--lock", "db", "-t", "90", "make test")
    editor(cli, r"""sed -i -e 's/^command = .*/command = ["make", "all"]/' -e 's/^priority = .*/priority = "high"/' \
-e 's/^# timeout =$//' -e 's/^timeout = .*/timeout = "2h"/' -e '/^locks/d' "$1" """)  # fmt: skip
    code, text = edit(cli, "1")
    assert (code, text) == (0, "jobq: job 1 edited\njobq: no worker is running; 'jobq worker' starts one")
    job = cli.queue.job(1)
    spec = job.spec
    assert (job.command, spec.priority, spec.timeout) == (("make", "all"), 10, 7200.0)
    assert (spec.locks, spec.labels) == ((), (("a", "b"),))
    assert job.history[-1].event == "edit"


def test_a_mistake_is_shown_in_the_file_and_can_be_mended(cli: Cli) -> None:
    cli("add", "true")
    editor(
        cli,
        """if [ -e tried ]; then cp "$1" second; sed -i 's/^retries = .*/retries = 7/' "$1"
else touch tried; sed -i 's/^retries = .*/retries = -1/' "$1"; fi""",
    )
    code, text = edit(cli, "1")
    assert code == 0
    assert "error: retries can't be -1" in text
    assert (cli.cwd / "second").read_text().startswith("# error: retries can't be -1\n# error: ")
    assert cli.queue.job(1).spec.retries == 7


def test_nothing_is_changed_by_a_file_that_is_left_alone_and_by_an_editor_that_fails(cli: Cli) -> None:
    cli("add", "true")
    before = cli.queue.job(1)
    editor(cli, ":")
    assert edit(cli, "1") == (0, "jobq: job 1 left as it is")
    editor(cli, ": > $1")
    assert edit(cli, "1") == (0, "jobq: job 1 left as it is")
    editor(cli, "exit 3")
    code, text = edit(cli, "1")
    assert code == 1
    assert "exited with 3" in text
    editor(cli, "rm $1")
    assert edit(cli, "1")[0] == 0
    assert cli.queue.job(1) == before


def test_a_job_that_runs_or_is_done_is_refused_with_a_sentence(cli: Cli) -> None:
    cli("add", "true")
    cli("cancel", "1")
    editor(cli, "touch opened")
    code, text = edit(cli, "1")
    assert code == 1
    assert "error: job 1 is cancelled: it can't be edited\nhint: 'jobq again 1' runs it with other options" in text
    assert not (cli.cwd / "opened").exists()
    assert "no option is given" in cli("edit", "1", code=2).stderr  # not a terminal


def test_a_job_that_is_not_changed_reads_as_nothing(cli: Cli) -> None:
    cli("resource", "set", "gpu", "4")
    cli("add", "true")
    cli("add", "--after", "1", "--need", "gpu=2", "--at", "2096-12-24T18:00", "--meta", '{"a": "\\u007f"}', "--key", "é", "echo", "\x7f", "\n")  # fmt: skip
    job = cli.queue.job(2)
    text = to_toml(job)
    assert read_toml(text, job) == ({}, None)
    assert read_toml(with_problem(with_problem(text, "a\nb"), "c"), job) == ({}, None)
    assert with_problem(with_problem(text, "a"), "b") == with_problem(text, "b")


def test_a_refusal_by_the_store_opens_the_file_again_and_its_lines_keep_their_numbers(cli: Cli) -> None:
    cli("add", "--name", "taken", "true")
    cli("add", "true")
    editor(
        cli,
        """if [ -e tried ]; then cp "$1" second; sed -i 's/^name = .*/name = "free"/' "$1"
else touch tried; cp "$1" first; sed -i 's/^# name =.*/name = "taken"/' "$1"; fi""",
    )
    code, text = edit(cli, "2")
    assert code == 0
    assert "error: job 1 is named taken too and is queued" in text
    assert cli.queue.job(2).spec.name == "free"
    first, second = ((cli.cwd / name).read_text().splitlines() for name in ("first", "second"))
    assert len(first) == len(second)
    assert second[0].startswith("# error: job 1 is named taken")


def test_what_was_written_is_kept_if_the_job_is_gone_meanwhile(cli: Cli) -> None:
    cli("add", "true")
    cli.env["STORE"] = str(cli.store)
    editor(cli, f'sed -i "s/^priority = .*/priority = 9/" "$1"; {sys.executable} -m jobq cancel 1 2> /dev/null')
    code, text = edit(cli, "1")
    assert code == 1
    kept = re.search(r"what you wrote is in (\S+\.toml)", text.replace("\n", ""))
    assert kept is not None
    assert "priority = 9" in Path(kept[1]).read_text()
    Path(kept[1]).unlink()


def test_an_edit_that_is_given_up_after_an_error_fails(cli: Cli) -> None:
    cli("add", "true")
    editor(cli, "[ -e tried ] || { touch tried; sed -i 's/^retries = .*/retries = -1/' \"$1\"; }")
    code, text = edit(cli, "1")
    assert code == 2
    assert text.count("error: retries can't be -1") == 2


def test_the_command_can_be_changed_by_a_script(cli: Cli) -> None:
    cli("add", "true")
    cli("edit", "1", "--command", "echo 'a b'")
    assert cli.queue.job(1).command == "echo 'a b'"
    assert "the command is empty" in cli("edit", "1", "--command", " ", code=2).stderr


def test_a_change_by_somebody_else_is_not_undone(cli: Cli) -> None:
    cli("add", "true")
    other = f"{sys.executable} -m jobq edit 1 --priority 7 --retries 9 2> /dev/null"
    editor(cli, f'sed -i "s/^priority = .*/priority = 5/" "$1"; {other}')
    code, text = edit(cli, "1")
    assert code == 1
    assert "it can't be edited: it has changed meanwhile" in text
    assert "what you wrote is in " in text
    assert (cli.queue.job(1).spec.priority, cli.queue.job(1).spec.retries) == (7, 9)


def test_an_interrupt_is_for_the_editor(cli: Cli) -> None:
    cli("add", "true")
    editor(
        cli,
        "trap : INT; touch open; while ! [ -e go ]; do sleep 0.02; done; sed -i 's/^priority = .*/priority = 5/' \"$1\"",
    )
    terminal = Terminal(cli, 120, "edit", "1")
    wait_until((cli.cwd / "open").exists)
    terminal.type(b"\x03")
    terminal.shows("^C")
    (cli.cwd / "go").touch()
    assert terminal.end() == 0, terminal.text()
    assert cli.queue.job(1).spec.priority == 5


def test_a_call_has_no_command_and_a_file_that_is_gone_means_nothing(cli: Cli) -> None:
    cli("call", "os:getpid")
    editor(cli, '[ -e tried ] || { touch tried; echo "command = \\"true\\"" >> "$1"; }')
    code, text = edit(cli, "1")
    assert code == 2
    assert "a call of a Python function has no command to change" in text
    editor(cli, 'rm "$1"')
    assert edit(cli, "1") == (0, "jobq: job 1 left as it is")
