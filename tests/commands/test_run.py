"""`jobq run` with several jobs, and what CI systems get from it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, Skipped
from junitparser.xunit2 import JUnitXml, TestCase

from jobq.errors import UsageError
from jobq.job import State
from jobq.rules.halt import parse_halt
from jobq.views.masking import MASK, Masker, secrets_of
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal

WAIT = "while ! [ -e {} ]; do sleep 0.02; done; "


def outputs(done: subprocess.CompletedProcess[str]) -> list[str]:
    return done.stdout.splitlines()


# -- what is printed of the output -------------------------------------------------------------------------


def test_the_last_lines_of_failures_are_printed_and_a_summary(cli: Cli) -> None:
    done = cli("run", "--from", "-", stdin="true\necho why; exit 3\n", code=1)
    assert done.stdout == ""
    assert "jobq: job 2 failed: exit 3" in done.stderr
    assert "jobq:   why\n" in done.stderr
    assert "jobq: 1 of 2 succeeded · 1 failed in" in done.stderr
    assert "jobq: ✗ 2 exit 3  echo why; exit 3  jobq log 2\n" in done.stderr


def test_groups_are_whole_and_in_order_if_that_is_asked_for(cli: Cli) -> None:
    lines = WAIT.format("go") + "echo late\nprintf early; touch go\n"
    done = cli("run", "-j", "2", "-k", "--output", "group", "--from", "-", stdin=lines)
    assert [line for line in outputs(done) if not line.startswith("===")] == ["late", "early"]
    assert [line.split(":")[0] for line in outputs(done) if line.startswith("===")] == ["=== job 1", "=== job 2"]


def test_groups_are_printed_as_jobs_end(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text(WAIT.format("go") + "echo late\nprintf early\n")
    process = cli.start("run", "-j", "2", "--output", "group", "--from", "jobs", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["=== job 2: printf early\n", "early\n"]
    (cli.cwd / "go").touch()
    assert process.stdout.read().endswith("\nlate\n")


def test_output_in_order_does_not_wait_for_a_job_that_somebody_else_cancelled(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text(f"{WAIT.format('go')}\ntrue\necho third\n{WAIT.format('end')}\n")
    process = cli.start("run", "-k", "--output", "group", "--from", "jobs", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    wait_until(lambda: states(cli).get(1) is State.RUNNING)
    cli("cancel", "2")
    (cli.cwd / "go").touch()
    got = [process.stdout.readline() for _ in range(3)]
    assert got[1:] == ["=== job 3: echo third\n", "third\n"]
    (cli.cwd / "end").touch()
    assert process.wait(30) == 1


def test_lines_of_jobq_cut_no_line_of_a_job(cli: Cli) -> None:
    """Both streams are one pipe, whose reader is slow."""
    process = cli.start(
        "run", "-j", "2", "--output", "group", "--from", "-", stderr=subprocess.STDOUT, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("seq 100000\n" * 2 + "true\n" * 20)
    process.stdin.close()
    process.stdin = None
    lines = process.stdout.read().splitlines()
    assert process.wait(30) == 0
    assert [line for line in lines if "jobq: " in line and not line.startswith("jobq: ")] == []
    assert sum(line.isdecimal() for line in lines) == 200_000


def test_the_stderr_of_jobs_that_keep_it_apart_is_streamed_too(cli: Cli) -> None:
    done = cli("run", "--output", "stream", "--stderr", "apart", "--from", "-", stdin="echo out; echo err >&2\ntrue\n")
    assert done.stdout == "  1 | out\n"
    assert "  1 | err\n" in done.stderr


def test_few_descriptors_do_not_stop_the_output(cli: Cli) -> None:
    lines = "".join(f"echo {n}; sleep 0.05\n" for n in range(60))
    done = subprocess.run(
        ["sh", "-c", f"ulimit -n 48; exec {sys.executable} -m jobq run -j 16 --output stream --from -"],
        input=lines, capture_output=True, encoding="utf-8", env=cli.env, cwd=cli.cwd, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(int(line.split("|")[1]) for line in done.stdout.splitlines()) == list(range(60))


def test_only_the_logs_of_failures_are_printed(cli: Cli) -> None:
    done = cli("run", "--output", "failed", "--from", "-", stdin="echo good\nseq 30; exit 1\n", code=1)
    assert outputs(done) == ["=== job 2: seq 30; exit 1", *map(str, range(1, 31))]


def test_output_comes_line_by_line_with_the_job_in_front(cli: Cli) -> None:
    """Each job waits until a line of the other one was printed."""
    (cli.cwd / "jobs").write_text(f"echo a; {WAIT.format('go')} printf end\n{WAIT.format('two')} echo b\n")
    process = cli.start("run", "-j", "2", "--output", "stream", "--from", "jobs", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    assert process.stdout.readline() == "  1 | a\n"
    (cli.cwd / "two").touch()
    assert process.stdout.readline() == "  2 | b\n"
    (cli.cwd / "go").touch()
    assert process.stdout.read() == "  1 | end\n"
    assert process.wait(30) == 0


def test_the_output_of_many_short_jobs_is_complete(cli: Cli) -> None:
    done = cli("run", "-j", "2", "--output", "stream", "--retries", "1", "--backoff", "const:1ms", "--from", "-",
               stdin="".join(f"echo {n}; [ $JOBQ_JOB_ATTEMPT -gt 1 ]\n" for n in range(50)))  # fmt: skip
    got = sorted(int(line.split("|")[1]) for line in outputs(done))
    assert got == sorted(2 * list(range(50)))


def test_a_reader_that_goes_ends_the_jobs(cli: Cli) -> None:
    reading, writing = os.pipe()
    process = cli.start(
        "run", "--output", "stream", "while echo {}; do sleep 0.1; done", ":::", "1", "2", stdout=writing
    )
    os.close(writing)
    assert b" | " in os.read(reading, 100)
    os.close(reading)
    assert process.wait(30) == 1
    assert {job.state for job in cli.queue.finished()} <= {State.CANCELLED, State.FAILED}


def test_json_is_all_that_stdout_gets(cli: Cli) -> None:
    done = cli("run", "--json", "sh", "-c", "echo noise; exit 4", code=4)
    (job,) = json.loads(done.stdout)["jobs"]
    assert (job["state"], job["exit_code"]) == ("failed", 4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--halt", "soon"], "--halt: 'soon' is not possible"),
        (["--halt", "soon,fail=0"], "--halt: '0' is no number of failures"),
        (["--halt", "now,fail=200%"], "--halt: '200%' is no number of failures"),
        (["--output", "all"], "--output: 'all' is not possible"),
    ],
)
def test_what_is_mistyped_is_named(cli: Cli, words: list[str], told: str) -> None:
    assert told in cli("run", *words, "true", code=2).stderr
    assert cli.queue.jobs() == []


# -- an early end ------------------------------------------------------------------------------------------


def states(cli: Cli) -> dict[int, State]:
    return {job.id: job.state for job in [*cli.queue.jobs(), *cli.queue.finished()]}


def test_no_more_jobs_are_started_after_too_many_failures(cli: Cli) -> None:
    lines = f"{WAIT.format('go')}\nexit 1\n" + "true\n" * 5
    (cli.cwd / "jobs").write_text(lines)
    process = cli.start("run", "-j", "2", "--halt", "soon,fail=1", "--from", "jobs")
    wait_until(lambda: list(states(cli).values()).count(State.CANCELLED) == 5)
    assert states(cli)[1] is State.RUNNING, "what runs may end"
    (cli.cwd / "go").touch()
    assert process.wait(30) == 1
    assert process.stderr is not None
    assert "1 of 7 succeeded · 1 failed · 5 cancelled in" in process.stderr.read()


def test_what_runs_is_ended_too_if_that_is_asked_for(cli: Cli) -> None:
    lines = "echo run > began; exec sleep 300\nwhile ! [ -e began ]; do sleep 0.02; done; exit 1\ntrue\n"
    done = cli("run", "-j", "2", "--halt", "now,fail=1", "--from", "-", stdin=lines, code=1)
    assert states(cli) == {1: State.CANCELLED, 2: State.FAILED, 3: State.CANCELLED}
    assert "0 of 3 succeeded · 1 failed · 2 cancelled" in done.stderr


def test_an_early_end_cancels_retries_too(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text(f"{WAIT.format('go')} exit 5\nexit 1\n")
    process = cli.start(
        "run", "-j", "2", "--halt", "soon,fail=1", "--retries", "9", "--no-retry-on", "1", "--backoff", "const:0s",
        "--from", "jobs",
    )  # fmt: skip
    wait_until(lambda: states(cli).get(2) is State.FAILED)
    (cli.cwd / "go").touch()
    assert process.wait(30) == 1
    job = cli.queue.job(1)
    assert (job.state, len(job.attempts)) == (State.CANCELLED, 1)


def test_the_hooks_of_the_failures_that_end_it_are_run(cli: Cli) -> None:
    done = cli("run", "--halt", "soon,fail=1", "--on-failure", "touch hook", "--from", "-",
               stdin="false\ntrue\ntrue\n", code=1)  # fmt: skip
    assert (cli.cwd / "hook").exists()
    assert "jobq: cancelled: 2, 3\n" in done.stderr.replace("2-3", "2, 3")


def test_a_failed_hook_is_no_failed_job(cli: Cli) -> None:
    done = cli("run", "--on-success", "false", "true", ":::", "a", "b")
    assert "2 of 2 succeeded in" in done.stderr


def test_a_share_of_failures_is_of_all_jobs() -> None:
    halt = parse_halt("soon,fail=10%")
    assert halt is not None
    assert [halt.is_reached(failed, 40) for failed in (0, 3, 4)] == [False, False, True]
    assert not halt.is_reached(0, 3)
    assert parse_halt("never") is None
    with pytest.raises(UsageError):
        parse_halt("now,fail=x")


# -- CI ----------------------------------------------------------------------------------------------------


def test_github_gets_groups_annotations_and_a_summary_without_a_flag(cli: Cli, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    cli.env |= {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    lines = "echo good\nprintf '50%%\\nlast | line'; exit 3 # a|b `c` <d>\n"
    done = cli("run", "--from", "-", stdin=lines, code=1)
    assert outputs(done)[:3] == ["::group::✓ job 1: echo good", "good", "::endgroup::"]
    assert outputs(done)[-2:] == [
        "::endgroup::",
        "::error title=printf '50%25%25\\nlast | line'; exit 3 # a|b `c` <d> failed%3A exit 3::last | line",
    ]
    assert "::group::✗ job 2: printf '50%25%25\\nlast" in done.stdout
    text = summary.read_text()
    assert text.startswith("### jobq: 1 of 2 succeeded\n\n| job | result |")
    row = next(line for line in text.splitlines() if line.startswith("| 2 |"))
    assert row.count("|") == 5, "no text of a job makes another cell"
    assert "&lt;d&gt;" in row


def test_a_single_failure_is_an_annotation_and_its_output_is_untouched(cli: Cli) -> None:
    cli.env["GITHUB_ACTIONS"] = "true"
    done = cli("run", "sh", "-c", "printf 'a\\nb'; exit 3", code=3)
    assert done.stdout == "a\nb"
    assert "::error title=sh -c 'printf '\"'\"'a\\nb'\"'\"'; exit 3' failed%3A exit 3::b\n" in done.stderr


def test_gitlab_gets_sections(cli: Cli) -> None:
    cli.env["GITLAB_CI"] = "true"
    done = cli("run", "--from", "-", stdin="echo good\nexit 3\n", code=1)  # which is read with "\n" for "\r"
    assert ":jobq_1[collapsed=true]\n\x1b[0K✓ job 1: echo good\ngood\n" in done.stdout
    assert ":jobq_2\n\x1b[0K✗ job 2: exit 3\n" in done.stdout
    assert done.stdout.count("section_end:") == 2


def test_it_runs_in_a_bare_environment_without_a_home(tmp_path: Path) -> None:
    done = subprocess.run(
        ["env", "-i", f"TMPDIR={tmp_path}", sys.executable, "-m", "jobq", "run", "--ephemeral", "--junit", "report.xml",
         "-j", "2", "--from", "-"],
        input="echo one\nexit 7\n", capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "=== job 2: exit 7\n"), done.stderr
    assert "jobq log" not in done.stderr, "the log is not there any more"
    assert [path.name for path in tmp_path.iterdir()] == ["report.xml"], "the store was removed"
    assert JUnitXml.fromfile(str(tmp_path / "report.xml")).failures == 1


def test_an_ephemeral_store_is_removed_after_an_interrupt(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "temp").mkdir()
    cli.env["TMPDIR"] = str(tmp_path / "temp")
    process = cli.start("run", "--ephemeral", "touch began; exec sleep 300")
    wait_until((cli.cwd / "began").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == -signal.SIGINT
    assert list((tmp_path / "temp").iterdir()) == []
    assert "both --store and --ephemeral" in cli("--store", "x", "run", "--ephemeral", "true", code=2).stderr


# -- the JUnit report --------------------------------------------------------------------------------------


def cases_of(path: Path) -> dict[str, TestCase]:
    return {case.name: TestCase.fromelem(case) for suite in JUnitXml.fromfile(str(path)) for case in suite}  # type: ignore[no-untyped-call]


def test_a_report_is_read_by_a_library(cli: Cli) -> None:
    lines = [
        "echo 'fine <&> \x01 \ud7ff'",
        "echo bad >&2; exit 3",
        "[ $JOBQ_JOB_ATTEMPT = 2 ] || { echo first try; exit 1; }",
        "sleep 300",
        "/no/such/program",
        "true",
        "true",
        "printf '\\033[31mred\\033[0m'; exit 1",
    ]
    cli("run", "-j", "4", "--retries", "1", "--backoff", "const:0s", "--timeout", "500ms", "--junit", "r.xml",
        "--from", "-", stdin="\n".join(lines), code=1)  # fmt: skip
    report = JUnitXml.fromfile(str(cli.cwd / "r.xml"))
    assert (report.tests, report.failures, report.errors) == (8, 4, 0)
    cases = cases_of(cli.cwd / "r.xml")
    bad = cases["echo bad >&2; exit 3"]
    assert [type(result) for result in bad.result] == [Failure]
    assert len(bad.rerun_failures()) == 1
    assert (bad.result[0].message, bad.result[0].text) == ("exit 3 (attempt 2)", "bad")
    flaky = next(case for name, case in cases.items() if name.startswith("[ $JOBQ"))
    assert flaky.is_flaky
    (first,) = flaky.flaky_failures()
    assert (first.system_out, first.message) == ("first try", "exit 1 (attempt 1)")
    assert cases["sleep 300"].result[0].type == "timeout"
    assert cases["/no/such/program"].result[0].message.startswith("not retried: exit 127")
    assert {"true (job 6)", "true (job 7)"} <= cases.keys()
    red = next(case for name, case in cases.items() if name.startswith("printf"))
    assert red.system_out == "red"


def test_a_report_tells_what_was_not_run(cli: Cli) -> None:
    cli("run", "--halt", "now,fail=1", "--junit", "r.xml", "false", ":::", "1", "2", "3", code=1)
    cases = cases_of(cli.cwd / "r.xml")
    assert [type(case.result[0]) for case in cases.values()] == [Failure, Skipped, Skipped]


def test_what_could_not_start_is_an_error_of_a_report(cli: Cli) -> None:
    cli("run", "--junit", "r.xml", "--cwd", "gone", "true", code=2)
    (cli.cwd / "gone").mkdir()
    done = cli("run", "--junit", "r.xml", "--exec", "./missing", code=127)
    assert "could not start" in done.stderr
    assert [type(case.result[0]) for case in cases_of(cli.cwd / "r.xml").values()] == [Error]


def test_a_report_that_can_not_be_written_is_told_before_anything_runs(cli: Cli) -> None:
    done = cli("run", "--junit", "no/such/folder/r.xml", "touch ran", code=2)
    assert "no/such/folder does not exist" in done.stderr
    assert not (cli.cwd / "ran").exists()


def test_a_report_may_go_to_what_is_no_file(cli: Cli) -> None:
    cli("run", "--junit", "/dev/null", "true")
    assert cli("run", "--junit", "/dev/stdout", "true").stdout.startswith("<?xml")
    assert "can't be written" in cli("run", "--junit", ".", "true", code=2).stderr


def test_no_jobs_are_a_report_too(cli: Cli) -> None:
    cli("run", "--junit", "r.xml", "--from", "/dev/null")
    assert JUnitXml.fromfile(str(cli.cwd / "r.xml")).tests == 0


def test_a_pause_that_holds_up_is_told_with_the_store_in_the_hint(cli: Cli) -> None:
    cli("pause", "--reason", "why")
    for words in (["true"], ["true", ":::", "1", "2"]):
        process = cli.start("--store", str(cli.store), "run", *words)
        assert process.stderr is not None
        assert f"why; 'jobq --store {cli.store} resume' starts" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


# -- secrets -----------------------------------------------------------------------------------------------


def test_secrets_are_masked_in_all_that_is_shown_and_not_in_the_log(cli: Cli) -> None:
    cli.env |= {"API_TOKEN": "abcdef123456", "PLAIN": "visible-value", "SHORT_TOKEN": "true"}
    lines = "echo $API_TOKEN $PLAIN; exit 1 # abcdef123456\n"
    for mode in ("tail", "group", "stream", "failed"):
        done = cli("run", "--output", mode, "--junit", "r.xml", "--from", "-", stdin=lines, code=1)
        shown = done.stdout + done.stderr + (cli.cwd / "r.xml").read_text()
        assert "abcdef123456" not in shown
        assert MASK in shown
        assert "visible-value" in shown
    assert "abcdef123456" in cli("log", "1").stdout


def test_the_output_of_a_single_command_is_masked_only_if_that_is_asked_for(cli: Cli) -> None:
    cli.env["API_TOKEN"] = "abcdef123456"
    words = ["printf", "abcdef"]
    assert cli("run", *words).stdout == "abcdef"
    line = "printf abcdef; sleep 0.1; printf 123456; printf ' abc'"
    assert cli("run", line).stdout == "abcdef123456 abc"
    assert cli("run", "--mask", "API_TOKEN", line).stdout == f"{MASK} abc"
    assert "--mask: NOT_SET is not set" in cli("run", "--mask", "NOT_SET", "true").stderr


@given(st.lists(st.binary(max_size=4), max_size=8), st.lists(st.sampled_from(["ab", "abc", "bb", "a\nb"]), max_size=3))
def test_pieces_are_masked_as_the_whole(pieces: list[bytes], secrets: list[str]) -> None:
    masker = Masker(sorted(secrets, key=len, reverse=True))
    got = b"".join(map(masker.feed, pieces)) + masker.flush()
    for secret in secrets:
        assert secret.encode() not in got
    if not secrets:
        assert got == b"".join(pieces)


def test_secrets_are_masked_that_are_given_to_the_job_and_in_json(cli: Cli) -> None:
    done = cli("run", "--json", "-e", "MY_TOKEN=abcdefgh", "--label", "a=abcdefgh", "--mask", "X", "-e", "X=q'w e",
               "--exec", "--", "sh", "-c", "echo $MY_TOKEN; exit 1", ":::", "q'w e", "y", code=1)  # fmt: skip
    assert "abcdefgh" not in done.stdout + done.stderr
    assert "q'" not in done.stdout + done.stderr
    assert json.loads(done.stdout)["jobs"][0]["labels"] == {"a": MASK}


def test_of_two_secrets_that_begin_alike_the_longer_is_masked() -> None:
    masker = Masker(["hunter2222", "hunter2222-long"])
    got = [masker.feed(b"x hunter2222"), masker.feed(b"-long y hunter2222"), masker.flush()]
    assert got == [b"x ", b"*** y ", b"***"]


def test_each_line_of_a_secret_is_one() -> None:
    assert secrets_of({"PRIVATE_KEY": "-----BEGIN\nabcdefgh\nxy"}) == [
        "-----BEGIN\nabcdefgh\nxy",
        "-----BEGIN",
        "abcdefgh",
    ]
    assert secrets_of({"X": "ab"}, ["X"]) == ["ab"]


# -- a terminal --------------------------------------------------------------------------------------------


def test_several_jobs_are_shown_live_on_a_terminal(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text(f"echo done\necho bad; exit 3\necho half; {WAIT.format('go')}\n")
    terminal = Terminal(cli, 100, "run", "-j", "2", "--from", "jobs")
    terminal.shows("1/2 running · 0 waiting · 1 succeeded · 1 failed")
    terminal.shows("^C ends them")
    terminal.shows("  half")
    (cli.cwd / "go").touch()
    assert terminal.end() == 1
    text = terminal.text()
    assert "2 of 3 succeeded · 1 failed in" in text
    assert text.index("✗    2  failed") < text.index("bad") < text.index("jobq log 2") < text.index("2 of 3 succeeded")
    assert "running ·" not in text


def test_what_is_not_kept_is_not_named(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text("true\necho bad; exit 3\n")
    terminal = Terminal(cli, 100, "run", "--ephemeral", "--output", "tail", "--from", "jobs")
    assert terminal.end() == 1
    assert "bad" in terminal.text()
    assert "jobq log" not in terminal.text()


@pytest.mark.skipif(not os.path.exists("/bin/bash"), reason="bash is not installed")
def test_a_run_in_the_background_of_a_shell_tells_its_end(cli: Cli) -> None:
    (cli.cwd / "jobs").write_text("true\necho bad; exit 3\n")
    terminal = Terminal(cli, 100, "--norc", "-i", program=("/bin/bash",))
    terminal.shows("$")
    terminal.type(f"{sys.executable} -m jobq run --from jobs &\r".encode())
    terminal.shows("1 of 2 succeeded · 1 failed in")
    terminal.type(b"exit\r")
    terminal.end()


def test_the_reports_of_a_single_command_hold_no_secret(cli: Cli) -> None:
    cli.env |= {"DEPLOY_TOKEN": "hunter2secret", "GITHUB_ACTIONS": "true"}
    done = cli("run", "--junit", "one.xml", "--", "sh", "-c", "echo tok $DEPLOY_TOKEN; exit 4", code=4)
    assert done.stdout == "tok hunter2secret\n", "its output is its own"
    assert "hunter2secret" not in done.stderr
    assert "hunter2secret" not in (cli.cwd / "one.xml").read_text()
    assert "tok ***" in (cli.cwd / "one.xml").read_text()


def test_the_code_of_a_single_command_counts_with_json_too(cli: Cli) -> None:
    cli("run", "--json", "exit 4", code=4)
    cli("run", "--json", "exit 4", ":::", "1", "2", code=1)


def test_a_mask_names_one_variable(cli: Cli) -> None:
    assert "'A,B' is not the name of a variable" in cli("run", "--mask", "A,B", "true", code=2).stderr


@pytest.mark.parametrize("line", ["-x", "+x", "-n echo hi", "-o vi"])
def test_a_line_that_begins_like_an_option_is_a_command(cli: Cli, line: str) -> None:
    assert "not found" in cli("run", "--retries", "3", "--", line, code=127).stderr
    assert "not found" in cli("run", "--pty", "--", line, code=127).stdout
