"""Schedules that fire while their workers are killed: each instant gets a job once, and is dealt with or still due.

The jobs of most schedules here are in a queue that no worker serves: a worker fires them all the same.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jobq import clock
from jobq.api import Queue
from jobq.job import Job, State
from jobq.rules.firing import MOST, rhythm_of
from jobq.rules.rhythm import instants
from jobq.schedules import Schedule
from jobq.scheduling import Timing
from jobq.store import compaction
from tests.conftest import wait_until
from tests.faults.case import Bench, Figures, case, environment
from tests.faults.clients import clients
from tests.faults.history import leftovers, need_history
from tests.faults.related_writes import all_jobs
from tests.faults.seed import Seed
from tests.faults.strace import Call
from tests.faults.writes import Lab, Outcome, Workload, is_at_journal, jobq, no_umask
from tests.helpers.workers import tokens

NAME = "x"
SERVED, UNSERVED = "default", "later"  # queues
HOUR = 3600.0


class Plan(NamedTuple):
    """The misses of an hourly schedule, and its answer to them."""

    missed: str
    overlap: str
    due: int  # instants
    fired: int  # of these
    queue: str = UNSERVED
    unfinished: bool = False  # the job that it has added before still waits


PLANS = {
    "all": Plan("all", "allow", 3, 3),
    "the last": Plan("once", "skip", 3, 1),
    "all, in two transactions": Plan("all", "allow", MOST + 2, MOST + 2),
    "all, one behind the other": Plan("all", "queue", 3, 3),
    "none": Plan("skip", "skip", 3, 0),
    "none beside an unfinished job": Plan("once", "skip", 3, 0, unfinished=True),
    "all, and run them": Plan("all", "allow", 3, 3, SERVED),
}

# -- the schedule, before and after ------------------------------------------------------------------------


def make(store: Path, when: str, plan: Plan, begun: float) -> None:
    """Make a store with a schedule that begins `begun` seconds before now, a whole second."""
    queue = Queue(str(store))
    queue.store.save_environment(environment(store))
    options = {"queue": plan.queue, "retries": 3, "backoff": "const:0s"}
    made = queue.schedules.add(NAME, "true", Timing(when, "UTC", plan.missed, plan.overlap), options)
    if plan.unfinished:
        queue.schedules.run(NAME)
        made = queue.schedules.get(NAME)
    start = float(int(made.start - begun))
    with queue.store.transaction(clock.now().wall) as changes:
        changes.set_schedule(made._replace(start=start, mark=start))
    queue.store.close()


def hourly(plan: Plan) -> Callable[[Path], None]:
    """Return a function that makes a store of which the worker has missed these instants; the next is far off."""
    return lambda store: make(store, "@every 1h", plan, (plan.due + 0.1) * HOUR)


def firing(store: Path) -> tuple[Schedule, list[Job]]:
    """Return the schedule and its jobs, as a process that starts now sees them."""
    queue = Queue(str(store))
    known = queue.schedules.get(NAME)
    jobs = [job for job in all_jobs(queue).values() if dict(job.spec.labels).get("schedule") == NAME]
    queue.store.close()
    return known, jobs


def mistakes(known: Schedule, jobs: list[Job], by_hand: int = 0) -> Iterator[str]:
    """Yield each instant that fired twice, and each up to the mark that neither fired nor was dropped.

    `by_hand`: the number of jobs of `jobq schedule run`, which come first.
    """
    fired = sorted(dict(job.spec.vars)["JOBQ_SCHEDULED_AT"] for job in sorted(jobs, key=lambda job: job.id)[by_hand:])
    rhythm = rhythm_of(known.when, known.zone, known.start)
    passed = [clock_of(at) for at in instants(rhythm, known.start, known.mark, sys.maxsize)]
    twice = sorted({at for at in fired if fired.count(at) > 1})
    if twice:
        yield f"fired twice: {twice}"
    if set(fired) - set(passed):
        yield f"fired, and the mark is before it: {sorted(set(fired) - set(passed))}"
    if known.fired != len(jobs):
        yield f"it says that it has fired {known.fired} times, and has {len(jobs)} jobs"
    if len(passed) != len(fired) + known.dropped:
        yield f"of {len(passed)} instants it has fired {len(fired)} and dropped {known.dropped}"
    if (known.missed, known.overlap) == ("all", "allow") and set(passed) - set(fired):
        yield f"missing: {sorted(set(passed) - set(fired))}"


def clock_of(at: float) -> str:
    """Return an instant as a job is told it: "2027-01-31T18:00:00Z"."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def fires_once(store: Path, _outcome: Outcome, *, plan: Plan) -> Iterator[str]:
    """Check the schedule after the fault, after the next worker, and after a compaction; then no other worker fires."""
    by_hand = int(plan.unfinished)
    yield from (f"at once: {mistake}" for mistake in mistakes(*firing(store), by_hand))
    for _ in range(-(-plan.due // MOST)):  # without jobs of its own, a worker with --drain leaves after one transaction
        yield from work(store)
    known, jobs = firing(store)
    yield from (f"after the next worker: {mistake}" for mistake in mistakes(known, jobs, by_hand))
    if (len(jobs) - by_hand, known.mark) != (plan.fired, known.start + plan.due * HOUR):
        yield f"after the next worker: {len(jobs) - by_hand} jobs, mark {known.mark - known.start:.0f} s from its start"
    if plan.queue == SERVED and (bad := [job.id for job in jobs if job.state is not State.SUCCEEDED]):
        yield f"jobs {bad} have not succeeded"
    compaction.compact(str(store), clock.now())
    if firing(store)[0] != known:
        yield f"after a compaction: {firing(store)[0]} instead of {known}"


def work(store: Path, *codes: int) -> Iterator[str]:
    """Run a worker until nothing is left to do; yield what goes wrong. `codes`: its exit codes that are right, but 0."""
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "worker", "--drain", "-q", SERVED], env=environment(store),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode not in {0, *codes} or "Traceback" in done.stderr:
        yield f"the next worker: exit {done.returncode} {done.stderr[-200:]}"


# -- killed at every call -----------------------------------------------------------------------------------

WORKLOADS = [
    Workload(
        f"worker, fire {name}",
        hourly(plan),
        jobq("worker", "--drain", "-q", SERVED),
        adds=min(plan.fired, MOST),  # more are added only when the last one has started
        check=partial(fires_once, plan=plan),
    )
    for name, plan in PLANS.items()
]


def writes(call: Call) -> bool:
    """Return False for a call that leaves the store as it is: a kill there is one at the next call."""
    return call.name != "close" and (call.name != "openat" or "O_RDONLY" not in call.text)


@case("kill-every-write-of-schedules", "1c", "store", "SIGKILL at every write point of a worker that fires a schedule")
def kill_firing(bench: Bench) -> Figures:
    """The quick form runs no job, and kills at each write to the journal and at one other call."""
    figures = Figures(note=f"{len(WORKLOADS)} schedules" if bench.full else "a sample")
    lab = Lab(bench.folder, figures)
    with no_umask():
        for workload in WORKLOADS if bench.full else WORKLOADS[:2]:
            before = lab.prepare(workload)
            faults = [(call, f"signal=KILL:when={call.index}") for call in lab.points(workload) if writes(call)]
            at_journal = [fault for fault in faults if is_at_journal(*fault)]
            for call, how in faults if bench.full else [*at_journal, bench.dice.choice(faults)]:
                lab.disturb(workload, call, how, before)
    return figures


# -- killed at random ---------------------------------------------------------------------------------------

WORKERS = 3


@case("schedule-workers-killed", "33b", "clocks", "a schedule that fires each second, three workers that are killed")
def killed_while_firing(bench: Bench) -> Figures:
    """The kills are at random, half of them at the instants, when all workers want to fire. One try is one kill."""
    need_history()
    figures, cli = Figures(), bench.cli()
    make(cli.store, "@every 1s", Plan("all", "allow", 0, 0, SERVED), 0.0)
    end = time.monotonic() + bench.size(3, 120)
    with clients(cli.store, WORKERS) as workers:
        for worker in workers:
            worker.start("worker")
        wait_until(lambda: len(tokens(cli.queue)) == WORKERS)
        while time.monotonic() < end:
            time.sleep(bench.dice.uniform(0, 0.6))
            if bench.dice.random() < 0.5:  # the start is a whole second, and so are the instants
                time.sleep(1 - time.time() % 1 + bench.dice.uniform(0, 0.02))
            worker = bench.dice.choice(workers)
            worker.signal(signal.SIGKILL)
            done = worker.wait()
            figures.n += 1
            figures.check(done.code == -signal.SIGKILL, str(done))
            worker.start("worker")
        cli("schedule", "pause", NAME)
        for worker in workers:
            worker.signal(signal.SIGKILL)
            worker.wait()
    figures.bad += work(cli.store)
    known, jobs = firing(cli.store)
    figures.bad += mistakes(known, jobs)
    figures.check(known.mark >= time.time() - 30, f"it has stopped {time.time() - known.mark:.0f} s ago")
    lost = [job.id for job in jobs if job.state is not State.SUCCEEDED]
    figures.check(not lost, f"jobs {lost} have not succeeded")
    figures.check("healthy" in cli("doctor").stdout, "the store is damaged")
    figures.bad += leftovers([cli.store])
    figures.note = f"{len(jobs)} instants"
    return figures


FIRE = (
    "            with store.transaction(now.wall, notify=False) as changes:\n"
    "                fired = [self._fire(changes, one, now) for one in self._due(changes.state, now)]\n"
)
SEEDS = [
    Seed(
        harness="kill-every-write-of-schedules",
        fault="the mark of a schedule is recorded behind its jobs, in a transaction of its own",
        file="worker/schedules.py",
        old=FIRE,
        new=FIRE
        + "                marks = [op for op in changes._ops if op[0]['op'] == MarkSchedule.KIND]\n"
        + "                changes._ops = [op for op in changes._ops if op not in marks]\n"
        + "            with store.transaction(now.wall, notify=False) as changes:\n"
        + "                changes._ops = marks\n",
        caught_by="kill-every-write-of-schedules",
    ),
    Seed(
        harness="schedule-workers-killed",
        fault="schedules are looked at before the lock",
        file="worker/schedules.py",
        old=FIRE,
        new="            known = self._due(store.state, now)\n"
        "            __import__('time').sleep(0.02)  # so that others come between\n"
        + FIRE.replace("self._due(changes.state, now)", "known"),
        caught_by="schedule-workers-killed",
    ),
]
