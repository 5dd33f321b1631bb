"""Limits of the system and the store, checked when a job is added; and failures with their reasons."""

from __future__ import annotations

import codecs
import errno
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from jobq.__main__ import outcome, tell
from jobq.api import Queue
from jobq.errors import UsageError
from jobq.exit_codes import BUG, TRY_AGAIN
from jobq.store import environment
from tests.conftest import Cli


def unlimited_stack() -> None:
    """Remove the limit of the stack, as `ulimit -s unlimited` does: execve(2) then takes 6 MiB instead of 2 MiB."""
    resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.mark.skipif(
    sys.platform != "linux" or resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY,
    reason="the system starts no program with so large an environment",
)
@pytest.mark.parametrize(
    "words", [["add", "true"], ["add", "--", "a", "b"], ["run", "true"], ["call", "--no-check", "m:f"]]
)
def test_an_environment_that_could_not_be_read_back_is_refused(cli: Cli, words: list[str]) -> None:
    large = {f"LARGE_{number}": "x" * 100_000 for number in range(45)} | {"LARGEST": "x" * 110_000}
    done = subprocess.run(
        [sys.executable, "-m", "jobq", *words], env={**cli.env, **large}, cwd=cli.cwd,
        capture_output=True, text=True, preexec_fn=unlimited_stack, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "the limit is 4194304" in done.stderr
    assert "LARGEST, takes 110009" in done.stderr
    assert cli.queue.jobs() == []


def test_the_largest_accepted_environment_can_be_read(cli: Cli) -> None:
    variables = {f"V{number}": "x" * 100_000 for number in range(41)}
    spare = (4 << 20) - len(environment.encode(environment.capture(os.environ, variables | {"REST": ""}))[0])
    for rest in (spare, spare + 1):
        try:
            job = cli.queue.add("true", env=variables | {"REST": "x" * rest})
        except UsageError as e:
            assert "4194305 bytes" in str(e)
            assert rest > spare
        else:
            assert rest == spare
            assert len(cli.queue.store.load_environment(job.job.spec.env)["REST"]) == spare


@pytest.mark.skipif(sys.platform != "linux", reason="MAX_ARG_STRLEN is a limit of Linux")
@pytest.mark.parametrize("value", ["x" * 131_069, "é" * 65_535, "\udcff" * 131_069])
def test_a_variable_that_is_too_long_for_a_program_is_refused(
    cli: Cli, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="the variable NAME takes 13"):
        cli.queue.add("true", env={"NAME": value})
    monkeypatch.setitem(os.environb, b"NAME", value.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match="the variable NAME takes 13"):
        Queue(str(cli.store)).add("true")
    assert cli.queue.jobs() == []


def test_a_variable_that_just_fits_reaches_the_job(cli: Cli) -> None:
    job = cli.queue.add("printf %s \"$N\" | wc -c", env={**cli.env, "N": "x" * (131_072 - 3)})  # fmt: skip
    cli("worker", "--drain")
    assert cli("log", str(job.id)).stdout.strip() == "131069"


def script(cli: Cli, name: str, content: bytes) -> str:
    path = cli.cwd / name
    path.write_bytes(content)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("content", "says", "code"),
    [
        (b"#!/no/such/thing -x\n", "its interpreter /no/such/thing is missing", 126),
        (b"#! /no/such\n", "its interpreter /no/such is missing", 126),
        (b"#!/etc/passwd\n", "its interpreter /etc/passwd is not executable", 126),
        (b"#!/bin/sh\r\ntrue\r\n", "its first line ends in CR", 126),
        (b"#!/usr/bin/env sh\r\ntrue\r\n", "its first line ends in CR", 127),
    ],
)
def test_the_error_explains_why_a_script_can_not_be_started(cli: Cli, content: bytes, says: str, code: int) -> None:
    done = cli("run", "--", script(cli, "script", content), "word", code=code)
    assert says in done.stderr


def test_a_missing_program_and_a_non_executable_one_have_different_errors(cli: Cli) -> None:
    path = script(cli, "script", b"#!/no/such\n")
    Path(path).chmod(0o644)
    assert f"{path}: Permission denied" in cli("run", "--", path, "", code=126).stderr
    assert f"{path}x: not found" in cli("run", "--", f"{path}x", "", code=127).stderr


def test_the_status_of_a_shell_is_explained(cli: Cli) -> None:
    assert "does not find; see the log" in cli("run", "no-such-command", code=127).stderr
    assert "can't execute; see the log" in cli("run", "exit 126", code=126).stderr
    assert "a shell's status" in cli("list").stdout
    assert cli("run", "--", "sh", "-c", "exit 127", code=127).stderr.count("shell") == 0


def test_a_byte_order_mark_is_not_part_of_the_first_command(cli: Cli) -> None:
    (cli.cwd / "jobs").write_bytes(codecs.BOM_UTF8 + b"echo one\r\necho two\r\n")
    assert cli("add", "--from", "jobs").stdout == "1-2\n"
    assert cli.queue.job(1).command == "echo one"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_refused_with_a_hint(cli: Cli, encoding: str) -> None:
    (cli.cwd / "jobs").write_bytes("\ufeffecho one\n".encode(encoding))
    done = cli("add", "--from", "jobs", code=2)
    assert "UTF-16" in done.stderr
    assert "iconv" in done.stderr


def test_a_lost_environment_hides_nothing_else_of_a_job(cli: Cli) -> None:
    cli("add", "--env", "A=1", "echo one")
    cli("add", "echo two")
    path = Path(environment.path_of(str(cli.store), cli.queue.job(1).spec.env))
    kept = path.read_bytes()
    path.unlink()
    shown = cli("show", "1-2").stdout
    assert f"environment  none: a captured environment is missing: {path}" in shown
    assert "echo one" in shown
    assert "echo two" in shown
    path.write_bytes(b"{}")
    path.chmod(0o600)
    assert "none: a captured environment was changed" in cli("show", "1").stdout
    assert "echo one" in cli("list").stdout
    path.write_bytes(kept)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 75, "memory"),
        (OSError(12, "Cannot allocate memory"), 75, "memory"),
        (OSError(24, "Too many open files"), 75, "descriptors"),
        (RuntimeError("can't start new thread"), 75, "processes"),
        (BlockingIOError(11, "Resource temporarily unavailable"), 75, "processes"),
        (OSError(5, "Input/output error"), 74, "Input/output error"),
        (ImportError("x.so: failed to map segment from shared object"), 75, "memory"),
        (RuntimeError("something else"), 70, "a bug in jobq"),
        (ImportError("no module named x"), 70, "a bug in jobq"),
    ],
)
def test_a_lack_of_resources_is_not_reported_as_a_bug(
    capfd: pytest.CaptureFixture[str], error: Exception, code: int, says: str
) -> None:
    assert tell(error) == code
    assert says in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_too_little_memory_is_never_reported_as_a_bug(cli: Cli) -> None:
    cli("add", "true")
    codes = set()
    for mib in range(20, 120, 4):
        done = subprocess.run(
            [sys.executable, "-m", "jobq", "list"], env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=False,
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_AS, (mib << 20, mib << 20)),
        )  # fmt: skip
        if "jobq: " in done.stderr:  # otherwise Python itself could not start
            codes.add(done.returncode)
            assert "bug" not in done.stderr, done.stderr
    assert codes <= {0, 74, 75}


def test_a_lack_of_descriptors_is_told_even_if_no_other_module_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(_words: list[str]) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "jobq/looking.py")

    monkeypatch.setattr("jobq.__main__.run", run)
    monkeypatch.setitem(sys.modules, "jobq.environ", None)  # its import fails
    assert outcome(["list"]) == TRY_AGAIN
    assert "the machine is short of descriptors" in capfd.readouterr().err


def test_files_of_jobq_that_can_not_be_read_are_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("jobq.__main__.error", lambda sentence, _hint: told.append(sentence))
    assert tell(ImportError("cannot import name 'presence' from 'jobq.store'", name="jobq.store")) == TRY_AGAIN
    assert tell(ImportError("cannot import name 'x' from 'rich'", name="rich")) == BUG
    assert told[0].startswith("jobq's own files can't be read: ")
    assert "bug in jobq" in told[1]
