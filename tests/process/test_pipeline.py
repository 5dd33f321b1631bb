"""A build pipeline as a user writes it, through the command line: what is recorded of it proves that its order held."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.conftest import Cli, wait_until
from tests.helpers.order_rules import Expected, broken
from tests.helpers.processes import supervisors

PARTS = "abcdefgh"
COUNTS = {"net": 2, "cpu": 3}
SURE = ("--retries", "40", "--max-lost", "40", "--backoff", "const:20ms")  # more than the kills of a test can use up
MISSING = 3  # exit code
LUCKY_LATER = "mv unlucky lucky 2> /dev/null && exit 7; [ -e lucky ]"
DONE = Expected()
Line = dict[str, Any]


class Pipeline:
    """The 40 jobs, and how each has to end."""

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.expected: dict[int, Expected] = {}
        (cli.cwd / "unlucky").touch()
        for name, count in COUNTS.items():
            cli("resource", "set", name, str(count))
        mirror = self.add(Expected(statuses=(7, 0)), "-q", "fetch", "-n", "mirror", LUCKY_LATER)
        self.schema = self.add(
            Expected("failed", (MISSING,)), "-q", "build", "-n", "schema", "--no-retry-on", str(MISSING), f"test -e sql || exit {MISSING}"
        )  # fmt: skip
        skipped = Expected("skipped", (), self.schema)
        self.add(skipped, "-q", "test", "-n", "migrate", "--after", "schema", "--lock", "db", "sleep 0.03")
        self.add(DONE, "-q", "fetch", "--after-fail", "schema", "echo alarm")
        lines = [*parts(), *diamond(), *rest()]
        first, last = cli("add", "--jsonl", "-", stdin="\n".join(map(json.dumps, lines))).stdout.strip().split("-")
        self.expected |= dict.fromkeys(range(int(first), int(last) + 1), DONE)
        ids = {line["name"]: job_id for job_id, line in enumerate(lines, int(first))}
        self.expected |= {ids["seed"]: skipped, ids["e2e"]: skipped, ids["lint"]: Expected("failed", (1, 1, 1))}
        self.expected[ids["tidy"]] = Expected("skipped", (), mirror)
        assert list(self.expected) == list(range(1, 41))

    def add(self, expected: Expected, *words: str) -> int:
        """Add a job that has to end like this; return its id."""
        job_id = self.cli.id(*SURE, *words)
        self.expected[job_id] = expected
        return job_id

    def mend(self) -> None:
        """Remove the cause of the failure, and requeue its job: what was skipped for it has to run."""
        branch = [self.schema, *(i for i, expected in self.expected.items() if expected.because_of == self.schema)]
        assert len(branch) == 4
        (self.cli.cwd / "sql").touch()
        self.cli("requeue", "schema")
        self.expected |= dict.fromkeys(branch, DONE)

    def check(self) -> None:
        """Check every rule in what is shown of the jobs."""
        shown = json.loads(self.cli("show", "1-40", "--json").stdout)["jobs"]
        assert broken(shown, COUNTS, self.expected) == []

    def wait(self) -> None:
        """Wait until every job is finished."""
        self.cli.queue.wait_all(range(1, 41), timeout=60)


def parts() -> Iterator[Line]:
    """Yield three jobs for each part: fetch, build, test."""
    for n, part in enumerate(PARTS):
        yield line(f"fetch-{part}", "fetch", "sleep 0.03", needs={"net": 1}, locks=["disk"] if n < 5 else [])
    for n, part in enumerate(PARTS):
        locks = ["objects"] if n % 3 == 0 else []
        yield line(
            f"build-{part}", "build", "sleep 0.05", after=[f"fetch-{part}"], needs={"cpu": 1 + n % 2}, locks=locks
        )
    for n, part in enumerate(PARTS):
        yield line(f"unit-{part}", "test", "sleep 0.04", after=[f"build-{part}"], locks=["db"] if n % 4 == 0 else [])


def diamond() -> Iterator[Line]:
    """Yield a job, two that are after it, and one after both."""
    yield line("configure", "build", "sleep 0.04", after_any=["fetch-a"])
    yield line("left", "build", "sleep 0.06", after=["configure"], needs={"cpu": 1})
    yield line("right", "build", "sleep 0.06", after=["configure"], needs={"cpu": 1})
    yield line("join", "build", "sleep 0.02", after=["left", "right"])


def rest() -> Iterator[Line]:
    """Yield the rest of the branch that fails at first, and jobs that run after whatever ends."""
    yield line("seed", "test", "sleep 0.03", after=["migrate"])
    yield line("e2e", "test", "sleep 0.03", after=["seed", "join"], needs={"cpu": 2})
    yield line("report", "test", "echo report", after_any=["e2e"])
    yield line("roll-back", "test", "sleep 0.03", after_fail=["migrate"], locks=["db"])
    yield line("tidy", "fetch", "echo tidy", after_fail=["mirror"])
    yield line("lint", "test", "sleep 0.01; exit 1", retries=2, backoff="const:30ms", jitter="none")
    yield line("publish", "test", "echo publish", after_any=["lint"], after=["join"])
    yield line("package", "build", "echo package", after=[f"unit-{part}" for part in PARTS], needs={"net": 2})


def line(name: str, queue: str, command: str, **options: Any) -> Line:
    """Return a job as a line of JSON has it."""
    sure = {"retries": 40, "max_lost": 40, "backoff": "const:20ms"}
    return {"command": command, "name": name, "queue": queue, **sure, **options}


def test_a_pipeline_keeps_its_order_its_locks_and_its_retries(cli: Cli) -> None:
    pipeline = Pipeline(cli)
    cli.worker("-j", "4", "-q", "fetch", "-q", "build")
    cli.worker("-j", "4", "-q", "build", "-q", "test")
    pipeline.wait()
    pipeline.check()
    pipeline.mend()
    pipeline.wait()
    pipeline.check()


class Killer:
    """Two workers, which it kills at random moments, and their supervisors."""

    def __init__(self, cli: Cli, seed: int) -> None:
        self.cli = cli
        self.dice = random.Random(seed)
        self.queue = cli.queue
        self.workers = [self.start() for _ in range(2)]
        self.killed = {"worker": 0, "supervisor": 0}

    def start(self) -> subprocess.Popen[str]:
        """Start a worker for all queues."""
        return self.cli.start("worker", "-j", "4", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill_until_done(self, most: int) -> None:
        """Kill a supervisor, a worker, a supervisor ... each after a few more claims, until all jobs are finished."""
        for turn in range(most):
            mark = self.claims() + self.dice.randint(1, 6)
            wait_until(lambda mark=mark: self.claims() >= mark or not self.queue.jobs())
            if not self.queue.jobs():
                return
            alive = supervisors(self.cli.store)
            if alive and turn % 2 == 0:
                os.kill(self.dice.choice(alive), signal.SIGKILL)
                self.killed["supervisor"] += 1
            else:
                n = self.dice.randrange(len(self.workers))
                self.workers[n].kill()
                self.workers[n].wait()
                self.workers[n] = self.start()
                self.killed["worker"] += 1

    def claims(self) -> int:
        """Return how many attempts there were so far."""
        return sum(step.event == "claim" for job in self.queue.jobs_of(range(1, 41)) for step in job.history)


def test_a_pipeline_keeps_them_while_workers_and_supervisors_are_killed(cli: Cli) -> None:
    pipeline = Pipeline(cli)
    killer = Killer(cli, seed=26)
    killer.kill_until_done(most=20)
    pipeline.wait()
    pipeline.check()
    pipeline.mend()
    killer.kill_until_done(most=5)
    pipeline.wait()
    pipeline.check()
    assert min(killer.killed.values()) > 0
