"""Hooks: run once each, with what they are told, beside the queue; notifications and pings."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from jobq.job import Job, State
from jobq.rules.hooks import AT_ONCE, is_hook
from tests.conftest import Cli, wait_until
from tests.helpers.terminal import Terminal


def hooks(cli: Cli) -> list[Job]:
    return sorted((job for job in cli.queue.finished() if is_hook(job)), key=lambda job: job.id)


JOBQ = f"{sys.executable} -m jobq"


def drain(cli: Cli, *words: str, code: int | None = 0) -> None:
    cli("worker", "--drain", *words, code=code)


def lines(cli: Cli, name: str = "log") -> list[str]:
    path = cli.cwd / name
    return path.read_text().splitlines() if path.exists() else []


ALL = [
    "--on-success",
    "echo success >> log",
    "--on-failure",
    "echo failure >> log",
    "--on-finish",
    "echo finish >> log",
]


def test_each_end_has_its_hooks(cli: Cli) -> None:
    cli("add", *ALL, "true")
    drain(cli, "-j", "1")
    assert sorted(lines(cli)) == ["finish", "success"]
    cli("add", *ALL, "--retries", "1", "--backoff", "const:0s", "false")
    drain(cli, "-j", "1", code=1)
    assert sorted(lines(cli)) == ["failure", "finish", "finish", "success"]
    job_id = cli.id(*ALL, "--hold", "true")
    cli("cancel", str(job_id))
    drain(cli)
    assert lines(cli).count("finish") == 3
    cli("requeue", "@failed", "-q", "default")
    drain(cli, "-j", "1", code=1)
    assert lines(cli).count("failure") == 2
    assert all(job.state is State.SUCCEEDED and len(job.attempts) == 1 for job in hooks(cli))


def test_a_hook_is_told_of_its_job(cli: Cli) -> None:
    cli(
        "add",
        "--name",
        "build",
        "--retries",
        "0",
        "--on-failure",
        "env > told; cat $JOBQ_JOB_LOG >> output",
        "echo words; exit 3",
    )
    drain(cli, code=1)
    told = dict(line.split("=", 1) for line in lines(cli, "told") if line.startswith("JOBQ_"))
    assert told["JOBQ_HOOK"] == "failure"
    assert {name: told[f"JOBQ_JOB_{name}"] for name in ("ID", "NAME", "STATE", "EXIT_CODE", "OUTCOME", "ATTEMPT", "QUEUE", "COMMAND")} == {
        "ID": "1", "NAME": "build", "STATE": "failed", "EXIT_CODE": "3", "OUTCOME": "exit 3", "ATTEMPT": "1", "QUEUE": "default",
        "COMMAND": "echo words; exit 3",
    }  # fmt: skip
    assert float(told["JOBQ_JOB_SECONDS"]) >= 0
    assert lines(cli, "output") == ["words"]
    assert "hook on failure of 1" in cli("list", "-a").stdout
    assert "on-failure  env > told" in cli("show", "1").stdout


def test_hooks_are_out_of_the_way(cli: Cli) -> None:
    """They take no slot, do not count as failures of jobs, and are no `@`."""
    cli("add", "--on-finish", "exit 1", "true")
    drain(cli)  # exit code 0
    (hook,) = hooks(cli)
    assert hook.state is State.FAILED
    assert cli("show", "--json", "@").stdout.startswith('{"jobq": 1, "jobs": [{"id": 1,')
    cli("requeue", str(hook.id))
    cli("add", "--on-finish", "true", "true")
    drain(cli, "-q", "other")  # every worker serves them, even so
    assert [job.id for job in hooks(cli)] == [hook.id]
    drain(cli)
    listed = cli("list").stdout
    assert listed.count("hook on") == 1
    assert cli("list", "-a").stdout.count("hook on") == 2


def test_a_hook_that_hangs_delays_nothing(cli: Cli) -> None:
    worker = cli.worker("-j", "1")
    cli("add", "--on-finish", "exec sleep 50", "true", ":::", *map(str, range(AT_ONCE + 2)))
    wait_until(lambda: len([job for job in cli.queue.finished() if not is_hook(job)]) == AT_ONCE + 2)
    cli("add", "echo last >> log")
    wait_until(lambda: all(is_hook(job) for job in cli.queue.jobs()))
    assert lines(cli) == ["last"]
    running = [job for job in cli.queue.jobs() if job.state is State.RUNNING and is_hook(job)]
    assert len(running) <= AT_ONCE
    assert all(job.spec.timeout == 60 for job in running)
    cli("cancel", *(str(job.id) for job in cli.queue.jobs()))
    wait_until(lambda: not cli.queue.jobs())
    assert worker.poll() is None


def test_hooks_go_on_while_all_is_paused(cli: Cli) -> None:
    cli("add", "--on-finish", "echo ended >> log", "true")
    worker = cli.worker("-j", "1")
    wait_until(lambda: lines(cli) == ["ended"])
    job_id = cli.id("--on-finish", "echo again >> log", "until [ -e go ]; do sleep 0.01; done")
    wait_until(lambda: cli.queue.job(job_id).state is State.RUNNING)
    cli("pause")
    (cli.cwd / "go").touch()
    wait_until(lambda: lines(cli) == ["ended", "again"])
    assert worker.poll() is None


def test_a_hook_is_run_once_though_its_worker_is_killed(cli: Cli) -> None:
    cli("add", "--on-finish", "echo $JOBQ_JOB_ID >> log", "sleep 0.1", ":::", *[""] * 8)
    while (before := len(lines(cli))) < 8:  # hooks of the worker that was killed may go on until the next one is there
        worker = cli.worker("-j", "2")
        wait_until(lambda n=before: len(lines(cli)) > n)
        worker.kill()
        worker.wait()
    drain(cli)
    assert sorted(map(int, lines(cli))) == list(range(1, 9))


def test_the_hook_of_a_run_is_run_by_it(cli: Cli) -> None:
    cli("run", "--on-failure", "echo failure >> log", "exit 4", code=4)
    assert lines(cli) == ["failure"]


def test_the_settings_name_hooks(cli: Cli) -> None:
    cli("config", "set", "on_failure", "echo $JOBQ_JOB_ID >> log")
    cli("config", "set", "queue_idle", f"echo idle >> {cli.cwd}/log")
    (cli.cwd / "home").mkdir(exist_ok=True)
    cli("add", "--retries", "0", "false", ":::", "a", "b")
    cli("add", "--on-failure", "none", "--retries", "0", "false")
    cli("add", "--in", "1d", "true")
    drain(cli, "-j", "2", code=1)
    assert sorted(lines(cli)) == ["1", "2", "idle"]
    drain(cli)
    assert sorted(lines(cli)) == ["1", "2", "idle"]


def test_the_idle_hook_is_run_once_by_two_workers(cli: Cli) -> None:
    cli.cwd.joinpath("home").mkdir(exist_ok=True)
    cli("config", "set", "queue_idle", f"echo idle >> {cli.cwd}/log")
    for _ in range(2):
        cli.worker("-j", "2")
    for turn in range(1, 4):
        cli("add", "true", ":::", *"abcdefgh")
        wait_until(lambda: not [job for job in cli.queue.jobs() if not is_hook(job)])
        wait_until(lambda n=turn: len(lines(cli)) >= n and not cli.queue.jobs())
    keys = [job.spec.key for job in hooks(cli)]
    assert len(keys) == len(set(keys)) == len(lines(cli))


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that notes what is posted to it: its address, and that."""
    posted: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"] or 0))))
            self.send_response(500 if self.path.startswith("/broken") else 200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()


def test_pings_tell_of_start_and_end_in_order(cli: Cli, server: tuple[str, list[tuple[str, bytes]]]) -> None:
    address, posted = server
    cli("add", "--ping", f"{address}/good?key=1", "echo hello")
    drain(cli, "-j", "1")
    cli("add", "--ping", f"{address}/bad/", "--retries", "1", "--backoff", "const:0s", "echo why >&2; false")
    drain(cli, "-j", "1", code=1)
    assert posted == [
        ("/good/start?key=1", b""),
        ("/good?key=1", b"hello\n"),
        ("/bad/start", b""),
        ("/bad/fail", b"why\n"),
    ]


def test_a_ping_that_fails_is_not_repeated(cli: Cli, server: tuple[str, list[tuple[str, bytes]]]) -> None:
    address, posted = server
    cli("add", "--ping", f"{address}/broken", "true")
    cli("add", "--ping", "http://127.0.0.1:9/nobody", "true")
    drain(cli)
    assert [path for path, _ in posted] == ["/broken/start", "/broken"]
    assert [job.state for job in hooks(cli)] == [State.FAILED] * 4
    assert "500" in cli("log", str(next(job.id for job in hooks(cli) if "broken" in str(job.command)))).stdout


def test_what_is_no_address_or_no_command_is_refused(cli: Cli) -> None:
    for words in (
        ["--ping", "file:///etc/passwd"],
        ["--ping", "https://"],
        ["--on-failure", " "],
        ["--on-finish", "x" * 5000],
    ):
        assert f"error: {words[0]}: " in cli("add", *words, "true", code=2).stderr


def test_the_terminal_of_the_person_notifies(cli: Cli) -> None:
    cli.env = {name: value for name, value in cli.env.items() if name not in {"DISPLAY", "DBUS_SESSION_BUS_ADDRESS"}}
    terminal = Terminal(
        cli,
        80,
        "-c",
        f"{JOBQ} add --notify -n 'two words' true; {JOBQ} worker --drain >/dev/null; cat",
        program=("/bin/sh",),
    )
    job = wait_until(lambda: next((job for job in hooks(cli) if "notify" in str(job.command)), None))
    assert job.state is State.SUCCEEDED
    wait_until(lambda: b"\x1b]9;two words succeeded: true\x07" in bytes(terminal.seen))
    terminal.type(b"\x04")
    terminal.end()


def test_without_a_terminal_a_notification_is_no_failure(cli: Cli) -> None:
    cli.env = {name: value for name, value in cli.env.items() if name not in {"DISPLAY", "DBUS_SESSION_BUS_ADDRESS"}}
    cli("add", "--notify", "true")
    drain(cli)
    (hook,) = hooks(cli)
    assert hook.state is State.SUCCEEDED
    assert "nobody to tell" in cli("log", str(hook.id)).stdout


def test_schedules_and_lines_of_json_have_hooks(cli: Cli) -> None:
    cli("add", "--jsonl", "-", stdin=json.dumps({"command": "true", "on_finish": "echo line >> log"}))
    cli("schedule", "add", "each", "@every 1h", "--on-success", "echo schedule >> log", "true")
    cli("schedule", "run", "each")
    drain(cli)
    assert sorted(lines(cli)) == ["line", "schedule"]


def test_a_hook_has_the_directory_and_environment_of_its_job(cli: Cli) -> None:
    cli.env["COLOUR"] = "red"
    (cli.cwd / "there").mkdir()
    cli("add", "-C", "there", "--on-finish", "echo $COLOUR > here", "true")
    del cli.env["COLOUR"]
    drain(cli)
    assert (cli.cwd / "there" / "here").read_text() == "red\n"
    assert os.path.exists(cli.queue.log_path(hooks(cli)[0].id, 1))


def test_a_hook_whose_environment_is_gone_stops_nothing(cli: Cli) -> None:
    """The end of the job is recorded all the same."""
    job_id = cli.id("--on-finish", "true", "touch begun; until [ -e go ]; do sleep 0.01; done")
    cli.worker("-j", "2")
    wait_until((cli.cwd / "begun").exists)
    for path in (cli.store / "env").iterdir():
        path.unlink()
    (cli.cwd / "go").touch()
    assert cli.queue.wait(job_id, timeout=30).state is State.SUCCEEDED
    cli.env["OTHER"] = "1"
    other = cli.id("true")
    assert cli.queue.wait(other, timeout=30).state is State.SUCCEEDED
    cli("rm", str(job_id))


def test_the_hook_of_a_run_that_was_killed_is_run_by_the_next_worker(cli: Cli) -> None:
    process = cli.start("run", "--retries", "0", "--on-failure", "echo $JOBQ_JOB_ID >> log", "touch begun; sleep 50")
    wait_until((cli.cwd / "begun").exists)
    process.kill()
    process.wait()
    drain(cli, code=None)
    wait_until(lambda: lines(cli) == ["1"])
