"""`jobq queue`: limits, capacities, pauses that end."""

from __future__ import annotations

import json
import subprocess
import threading

from jobq.job import State
from tests.conftest import Cli, wait_until


def rows(cli: Cli) -> dict[str, dict[str, object]]:
    """The queues as `--json` tells them, by name."""
    return {row["name"]: row for row in json.loads(cli("queue", "--json").stdout)["queues"]}


def test_a_limit_holds_over_all_workers_and_can_be_changed(cli: Cli) -> None:
    cli("queue", "set", "build", "--limit", "2")
    cli("add", "-q", "build", "while ! [ -e go ]; do sleep 0.02; done # {}", ":::", *map(str, range(6)))
    for _ in range(2):
        cli.worker("-j", "4")
    wait_until(lambda: rows(cli)["build"]["running"] == 2)
    found = json.loads(cli("list", "--json").stdout)["jobs"]
    assert {job["reason"] for job in found if job["state"] == "queued"} == {"queue build is full (2/2)"}
    assert "full" in cli("queue").stdout
    assert cli.id("true") == 7  # another queue goes on
    cli.queue.wait(7, timeout=30)
    cli("queue", "set", "build", "--limit", "3")
    wait_until(lambda: rows(cli)["build"]["running"] == 3)
    cli("queue", "set", "build", "--limit", "none")
    wait_until(lambda: rows(cli)["build"]["running"] == 6)
    (cli.cwd / "go").touch()
    cli.queue.wait_all(range(1, 7), timeout=30)


def test_a_full_queue_refuses_or_lets_wait(cli: Cli) -> None:
    cli("queue", "set", "build", "--capacity", "2")
    assert cli("add", "-q", "build", "true", ":::", "1", "2").stdout == "1-2\n"
    told = cli("add", "-q", "build", "true", code=1).stderr
    assert told == "error: queue build is full (2 of 2 wait)\nhint: --wait-room 10m waits for room\n"
    assert "after 0.1 s" in cli("add", "-q", "build", "--wait-room", "100ms", "true", code=124).stderr
    told = cli("add", "-q", "build", "--wait-room", "9m", "true", ":::", "1", "2", "3", code=1).stderr
    assert "has no room for 3 jobs" in told or "is full" in told
    waiting = cli.start("add", "-q", "build", "--wait-room", "60s", "true")
    assert waiting.poll() is None
    cli("worker", "--drain", "-q", "build")
    assert waiting.communicate(timeout=30)[0] == "3\n"
    assert waiting.returncode == 0
    assert cli.id("true") == 4  # other queues are not full
    assert cli.queue.add("true", queue="build").id == 5
    cli("run", "-q", "build", "true")  # its job waits for nobody


def test_the_capacity_holds_against_many_at_once(cli: Cli) -> None:
    cli("queue", "set", "build", "--capacity", "5")
    processes = [cli.start("add", "-q", "build", "true") for _ in range(12)]
    codes = sorted(process.wait(60) for process in processes)
    assert codes == [0] * 5 + [1] * 7
    assert len(cli.queue.jobs()) == 5


def test_held_jobs_take_room_and_ended_ones_do_not(cli: Cli) -> None:
    cli("queue", "set", "build", "--capacity", "2")
    cli("add", "-q", "build", "--hold", "true", ":::", "1", "2")
    cli("add", "-q", "build", "true", code=1)
    cli("cancel", "1")
    assert cli.id("-q", "build", "true") == 3


def test_a_pause_ends_by_itself(cli: Cli) -> None:
    told = cli("pause", "build", "--for", "700ms", "--reason", "disk").stderr
    assert "queue build is paused: disk, until " in told
    cli("add", "-q", "build", "true")
    cli.worker("-q", "other")  # any worker ends it
    wait_until(lambda: not cli.queue.queues.pauses())
    cli("worker", "--drain", "-q", "build")
    assert cli.queue.job(1).state is State.SUCCEEDED
    cli("pause", "--for", "1h")
    assert "all queues are paused: until " in cli("list").stderr
    cli("resume")


def test_settings_survive_and_can_be_forgotten(cli: Cli) -> None:
    cli("add", "-q", "b", "true")
    assert "queue b: limit 2, capacity 9" in cli("queue", "set", "b", "--limit", "2", "--capacity", "9").stderr
    cli("pause", "b", "--for", "1h")
    assert "queue b: limit 2" in cli("queue", "set", "b", "--capacity", "none").stderr
    assert (rows(cli)["b"]["limit"], rows(cli)["b"]["capacity"]) == (2, None)
    assert rows(cli)["b"]["paused"]
    assert "no settings any more" in cli("queue", "rm", "b").stderr
    assert "nothing changed" in cli("queue", "rm", "b").stderr
    assert (rows(cli)["b"]["limit"], rows(cli)["b"]["paused"]) == (None, None)
    cli("queue", "set", "b", code=2)
    cli("queue", "set", "b", "--limit", "0", code=2)
    cli("queue", "set", "7", "--limit", "1", code=2)
    assert "Usage: jobq queue set" in cli("help", "queue", "set").stdout


def test_no_more_than_the_limit_ever_runs(cli: Cli) -> None:
    """Workers are killed and the limit changes meanwhile; the recorded times of all attempts are checked."""
    cli("queue", "set", "default", "--limit", "3")
    cli(
        "add",
        "--max-lost",
        "50",
        "--retries",
        "50",
        "--backoff",
        "const:10ms",
        "sleep 0.02 # {}",
        ":::",
        *map(str, range(60)),
    )
    stop = threading.Event()

    def kill_workers() -> None:
        while not stop.is_set():
            worker = cli.worker("-j", "4")
            stop.wait(0.7)
            worker.kill()
            worker.wait()

    cli.worker("-j", "4")
    killer = threading.Thread(target=kill_workers)
    killer.start()
    try:
        cli.queue.wait_all(range(1, 61), timeout=120)
    finally:
        stop.set()
        killer.join()
    edges = []
    for job in json.loads(cli("show", "--json", "1-60").stdout)["jobs"]:
        for attempt in job["attempts"]:
            edges += [(attempt["started_at"], 1), (attempt["ended_at"], -1)]
    running = most = 0
    for _, step in sorted(edges):
        running += step
        most = max(most, running)
    assert 0 < most <= 3


def test_completion_offers_the_words_of_queue(cli: Cli) -> None:
    script = cli("completion", "bash").stdout
    done = subprocess.run(
        ["bash", "-c", f'{script}\nCOMP_WORDS=(jobq queue ""); COMP_CWORD=2; _jobq; echo "${{COMPREPLY[@]}}"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert {"set", "rm"} <= set(done.stdout.split())
