"""The soak: half an hour of everything; nothing may grow, and the history must be right at the end.

20,000 jobs of all kinds run on three workers. One of the first two is killed every 5 seconds. The third is never killed:
it lives as long as the soak and adopts the jobs of dead workers; its memory and descriptors show leaks. JOBQ_SOAK_S sets
another length in seconds; the number of jobs and the times of the samples follow.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from jobq.api import Queue
from jobq.supervisor.tree import read_stat
from tests.conftest import wait_until
from tests.faults.case import Bench, Figures, case
from tests.faults.clients import Client, clients
from tests.faults.history import Crew, Load, judge, living, need_history, supervisor_name
from tests.faults.history_rules import Add
from tests.faults.seed import Seed
from tests.helpers.workers import tokens

JOBS_PER_S = 20_000 / 1800
SAMPLES = 180
MIB = 1 << 20
LATE = MIB // 2  # bytes that the journal may grow before a worker checks its size, and compacts it

# The Python function writes the same notes as the shell jobs.
MODULE = """
import os, time

def note(what):
    with open({runs!r}, "a") as f:
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        f.write(f"{{what}} {{os.environ['JOBQ_JOB_ID']}} {{os.environ['JOBQ_JOB_ATTEMPT']}} {{now}}\\n")

def work(tag):
    note("begin")
    note("end")
    return tag
"""


class Kind(NamedTuple):
    """A kind of job: its command, its options, the exit statuses that it may have, and its share of all jobs."""

    shell: str
    retries: int | None  # None: 0, 1 or 3
    options: tuple[str, ...]
    statuses: tuple[int, ...]
    weight: int
    verb: str = "add"


KINDS = (
    Kind("true", None, (), (0,), 25),
    Kind("sleep 0.2", None, (), (0,), 20),
    Kind("head -c 5000 /dev/zero | tr '\\0' x", None, (), (0,), 15),
    Kind('[ "$JOBQ_JOB_ATTEMPT" -gt 1 ]', 2, (), (0, 1), 10),
    Kind("sleep 30", 0, ("--timeout", "0.3", "--grace", "0.2"), (), 4),
    Kind("setsid sleep 60 & (setsid sh -c 'sleep 60 & sleep 60' &); sleep 0.1", None, (), (0,), 10),
    Kind("sleep 0.1", None, ("--name", "one-of-a-name"), (0,), 6),
    Kind("", None, (), (0,), 6, "call"),
    Kind("echo said", None, (), (0,), 4, "run"),
)


class Sample(NamedTuple):
    """The sizes at one time: bytes for memory and files, numbers for the rest."""

    at: float
    worker_rss: int
    worker_fds: int
    supervisor_rss: int  # the largest supervisor of the spared worker
    supervisor_fds: int
    processes: int
    zombies: int
    journal: int
    snapshot: int
    store: int


# The most that each may grow in the second half, by the straight line through its samples. The worker keeps the jobs
# since the last snapshot, so its memory goes up and down with the journal.
TOLERANCE = {
    "worker_rss": 16 * MIB,
    "worker_fds": 4,
    "supervisor_rss": 2 * MIB,
    "supervisor_fds": 2,
    "processes": 10,
    "zombies": 2,
}


@case("soak", "56", "soak", "half an hour of everything", alone=True)
def soak(bench: Bench) -> Figures:
    """Run everything at once, then check the history and the growth. Times: of one add."""
    need_history()
    seconds = float(os.environ.get("JOBQ_SOAK_S", bench.size(20, 1800)))
    run = Soak(bench, seconds)
    run.go()
    figures = judge([run.store], run.load.facts, run.load.notes)
    figures.bad += growth(run.samples)
    lasted = run.samples[-1].at
    rate = len(run.load.facts.jobs) / lasted
    figures.check(lasted > 0.95 * seconds, f"it ended after {lasted:.0f} s of {seconds:.0f}")
    figures.note = f"{lasted:.0f} s, {rate:.1f} jobs/s, {summary(run.samples)}; {figures.note}"
    return figures


class Soak:
    """One run of the soak."""

    def __init__(self, bench: Bench, seconds: float) -> None:
        self.bench = bench
        self.seconds = seconds
        self.cli = bench.cli()
        self.store = self.cli.store
        self.load = Load(bench, [self.store])
        self.samples: list[Sample] = []
        (bench.folder / "soaked.py").write_text(MODULE.format(runs=str(self.load.notes.runs)))
        self._errors = bench.folder / "errors"
        self._begun = time.monotonic()
        self._asked = 0

    def go(self) -> None:
        """Run the load; return when all of its processes have ended."""
        load, watched, sampled = self.load, Queue(str(self.store)), Queue(str(self.store))  # one for each thread
        spared, *workers = self.worker("2"), self.worker("4"), self.worker("4")
        wait_until(lambda: len(tokens(watched)) == 3)
        self._begun = time.monotonic()
        with clients(self.store, 4) as (first, second, canceller, requeuer), Crew() as crew:
            for adder in (first, second):
                crew.hire(load.task(self.ask, adder))
            crew.hire(slowly(load.task(load.cancel, canceller, Queue(str(self.store))), 2.0))
            crew.hire(slowly(load.task(load.requeue, requeuer), 2.0))
            crew.hire(slowly(load.task(self.kill, workers), min(5.0, self.seconds / 20)))
            crew.hire(slowly(lambda: load.watch(watched), 0.5))
            crew.hire(
                slowly(lambda: self.samples.append(self.look(spared.pid, sampled)) or 0.0, self.seconds / SAMPLES)  # type: ignore[func-returns-value]
            )
            wait_until(lambda: crew.bad or time.monotonic() - self._begun > self.seconds, self.seconds + 60)
            crew.close()
            load.facts.seen += crew.bad
        wait_until(lambda: len(tokens(watched)) == 3)  # a worker that is just starting does not listen yet
        for worker in (spared, *workers):
            worker.terminate()
        ended = {worker.wait(60) for worker in (spared, *workers)}
        load.facts.seen += [f"a worker exits with {code}" for code in ended - {0}]
        load.facts.seen += [f"a worker reports: {line}" for line in self._errors.read_text().splitlines()]

    def worker(self, slots: str) -> subprocess.Popen[str]:
        """Start the real worker command."""
        with self._errors.open("a") as errors:
            return self.cli.start("worker", "-j", slots, stdout=subprocess.DEVNULL, stderr=errors)

    def kill(self, workers: list[subprocess.Popen[str]], dice: random.Random) -> float:
        """Kill one of the workers, and start another in its place."""
        n = dice.randrange(len(workers))
        workers[n].kill()
        workers[n].wait()
        self.cli.started.remove(workers[n])
        workers[n] = self.worker("4")
        self.load.facts.kills["workers"] += 1
        return 0.0

    def ask(self, client: Client, dice: random.Random) -> float:
        """Add the next job, of any kind; return the seconds until the one after it."""
        (kind,) = dice.choices(KINDS, [kind.weight for kind in KINDS])
        tag, retries = (
            f"tag{dice.getrandbits(60)}",
            kind.retries if kind.retries is not None else dice.choice((0, 1, 3)),
        )
        command = self.load.notes.command(kind.shell, tag) if kind.verb != "call" else ("soaked:work", tag)
        where = ("--cwd", str(self.bench.folder))
        done = client(kind.verb, *where, "--retries", str(retries), *kind.options, "--", *command)
        add = Add(tag, retries, kind.statuses, done)
        self.load.facts.adds.append(add)
        if add.id is not None:
            self.load.ids.append(add.id)
        self._asked += 1
        return max(0.0, self._begun + self._asked / JOBS_PER_S - time.monotonic())

    def look(self, spared: int, queue: Queue) -> Sample:
        """Return the current sizes."""
        processes = living([self.store])
        supervisors = [pid for pid in processes if is_supervisor_of(pid, spared)]
        queue.store.read()
        journal, snapshot = queue.store.journal_size
        return Sample(
            time.monotonic() - self._begun,
            resident(spared),
            descriptors(spared),
            max(map(resident, supervisors), default=0),
            max(map(descriptors, supervisors), default=0),
            len(processes),
            sum(1 for stat in map(read_stat, pids()) if stat is not None and stat[2] and stat[0] in processes),
            journal,
            snapshot,
            sum(size(f"{folder}/{name}") for folder, _, names in os.walk(self.store) for name in names),
        )


def slowly(work: Callable[[], float], seconds: float) -> Callable[[], float]:
    """Return `work`, changed to rest at least so many seconds."""
    return lambda: max(work(), seconds)


def pids() -> list[int]:
    """Return the pids of all processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def is_supervisor_of(pid: int, worker: int) -> bool:
    """Return True if the process is a supervisor that this worker has started."""
    stat = read_stat(pid)
    return stat is not None and stat[0] == worker and bool(supervisor_name(pid))


def resident(pid: int) -> int:
    """Return the process's resident memory in bytes; 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def descriptors(pid: int) -> int:
    """Return the number of the process's open descriptors; 0 if it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def size(path: str) -> int:
    """Return the bytes that the file takes on the disk; 0 if it does not exist."""
    try:
        return os.lstat(path).st_blocks * 512
    except OSError:
        return 0


def slope(samples: list[Sample], what: str) -> float:
    """Return the growth per second in the second half: the slope of the least-squares line."""
    late = samples[len(samples) // 2 :]
    return linear_regression([sample.at for sample in late], [getattr(sample, what) for sample in late]).slope


def growth(samples: list[Sample]) -> list[str]:
    """Return a complaint for each size that has grown more than it may."""
    window = samples[-1].at - samples[len(samples) // 2].at
    rises = {what: slope(samples, what) * window for what in TOLERANCE}
    bad = [f"{what} rises by {rise:.0f} in {window:.0f} s" for what, rise in rises.items() if rise > TOLERANCE[what]]
    too_long = (sample for sample in samples if sample.journal > 4 * MIB + 3 * sample.snapshot + LATE)
    bad += [f"after {s.at:.0f} s the journal has {s.journal} bytes, its snapshot {s.snapshot}" for s in too_long]
    return bad


def summary(samples: list[Sample]) -> str:
    """Return the figures as text."""
    last, hour = samples[-1], 3600.0
    return ", ".join(
        [
            f"worker {last.worker_rss / MIB:.0f} MiB ({slope(samples, 'worker_rss') * hour / MIB:+.1f} an hour), {last.worker_fds} descriptors ({slope(samples, 'worker_fds') * hour:+.1f})",
            f"supervisors {last.supervisor_rss / MIB:.0f} MiB ({slope(samples, 'supervisor_rss') * hour / MIB:+.1f}), {last.supervisor_fds} descriptors ({slope(samples, 'supervisor_fds') * hour:+.1f})",
            f"at most {max(sample.processes for sample in samples)} processes ({slope(samples, 'processes') * hour:+.1f}) and {max(sample.zombies for sample in samples)} zombies",
            f"journal at most {max(sample.journal for sample in samples) / MIB:.1f} MiB, store {last.store / MIB:.0f} MiB",
        ]
    )


SEEDS = [
    Seed(
        harness="soak",
        fault="a descriptor stays open after each job",
        file="supervisor/logs.py",
        old="            os.close(log.fd)\n        return sizes",
        new="            pass\n        return sizes",
        caught_by="soak",
    ),
]
