"""A limit of a queue that changes while its workers are killed: never more jobs run than may."""

from __future__ import annotations

import time
from collections.abc import Iterator

from jobq.api import Queue
from jobq.job import Job, State
from tests.faults.case import Bench, Figures, case
from tests.faults.clients import workers_to_kill
from tests.faults.firing import work
from tests.faults.history import leftovers, need_history
from tests.faults.related_writes import all_jobs
from tests.faults.seed import Seed

QUEUE = "default"
WORKERS, SLOTS = 3, 4
LIMITS = (2, 3, 1, 2)
NEAR = 0.5  # seconds around a change of the limit in which either may be obeyed


def too_many(jobs: list[Job], changes: list[tuple[float, int]]) -> Iterator[str]:
    """Yield each start of a job beside more others than the limit allowed then. `changes`: the limit from when on."""
    spans = [
        (attempt.ending.started_at, attempt.ending.ended_at or attempt.ending.started_at)
        for job in jobs
        for attempt in job.attempts
        if attempt.ending is not None and attempt.ending.started_at is not None
    ]
    for at, _ in spans:
        beside = sum(start <= at < end for start, end in spans)
        ends = [until for until, _ in changes[1:]] + [float("inf")]
        allowed = max(
            limit for (since, limit), until in zip(changes, ends, strict=True) if since - NEAR <= at <= until + NEAR
        )
        if beside > allowed:
            yield f"{beside} jobs run at {at:.3f}, and {allowed} may"


@case(
    "queue-limit-workers-killed",
    "74",
    "order",
    "a queue with a changing limit, three workers of 4 slots that are killed",
)
def limits(bench: Bench) -> Figures:
    """One try is one job."""
    need_history()
    figures, cli = Figures(), bench.cli()
    count = bench.size(40, 1000)
    changes = [(0.0, LIMITS[0])]
    cli("queue", "set", QUEUE, "--limit", str(LIMITS[0]))
    cli("add", "--max-lost", "1000", "--backoff", "const:0s", "sleep 0.03; : {}", ":::", *map(str, range(count)))
    with workers_to_kill(cli, WORKERS, "-j", str(SLOTS)) as workers:
        while left := len(Queue(str(cli.store)).jobs()):
            wanted = LIMITS[min(len(LIMITS) - 1, len(LIMITS) * (count - left) // count)]
            if wanted != changes[-1][1]:
                cli("queue", "set", QUEUE, "--limit", str(wanted))
                changes.append((time.time(), wanted))
            time.sleep(bench.dice.uniform(0, 0.3))
            worker = bench.dice.choice(workers)
            worker.kill()
            worker.start("worker", "-j", str(SLOTS))
    figures.bad += work(cli.store)
    queue = Queue(str(cli.store))
    jobs = list(all_jobs(queue).values())
    queue.store.close()
    figures.n = count
    figures.bad += too_many(jobs, changes)
    figures.check(len(jobs) == count, f"{len(jobs)} jobs of {count}")
    lost = [job.id for job in jobs if job.state is not State.SUCCEEDED]
    figures.check(not lost, f"jobs {lost} have not succeeded")
    figures.bad += leftovers([cli.store])
    figures.note = f"limits {', '.join(str(limit) for _, limit in changes)}"
    return figures


SEEDS = [
    Seed(
        harness="queue-limit-workers-killed",
        fault="a limit counts the jobs of this worker only",
        file="rules/order.py",
        old="                if queue in limits and self.running[queue] + taken.get(queue, 0) >= limits[queue]:\n",
        new="                if queue in limits and taken.get(queue, 0) >= limits[queue]:\n",
        caught_by="queue-limit-workers-killed",
    ),
]
