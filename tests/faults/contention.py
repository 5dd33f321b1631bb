"""Many processes at once: adders at the lock, a stopped holder, workers that die or stop at any moment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from jobq.api import Queue
from jobq.exit_codes import TRY_AGAIN
from jobq.job import Job, Outcome, State
from jobq.worker.stopping import STOP_AFTER
from tests.conftest import Cli, wait_until
from tests.faults.case import Bench, Figures, case, need_linux
from tests.faults.clients import Client, Done, boot_now, clients
from tests.faults.history import drain, leftovers, need_history
from tests.faults.history_rules import Add, Facts, Notes, broken
from tests.faults.seed import Seed
from tests.helpers.workers import tokens

# -- the lock ----------------------------------------------------------------------------------------


REAL = ("add, from its start",)


@case("fifty-adders", "14", "store", "50 adders at once")
def fifty_adders(bench: Bench) -> Figures:
    """Most adders are processes that add again and again; two threads start the real command.

    Time: of an add by the former; most time of the latter is the start of Python.
    """
    need_linux()
    each = bench.size(3, 20)
    figures, cli = Figures(limit=10.0), bench.cli()
    done: list[Done] = []

    def real() -> None:
        invoked = boot_now()
        process = cli("add", "true", code=None)
        done.append(Done(REAL, process.returncode, process.stdout, process.stderr, invoked, boot_now()))

    def persistent(client: Client) -> None:
        own = [client("add", "true") for _ in range(each)]
        ids = [int(add.out) for add in own if add.code == 0]
        figures.check(ids == sorted(ids), f"one adder's ids do not grow: {ids}")
        done.extend(own)

    reals = 2 * each  # by two threads: 48 x each + 2 x each = 50 x each
    with clients(cli.store, 48) as made:
        threads = [threading.Thread(target=persistent, args=(client,)) for client in made]
        threads += [threading.Thread(target=lambda: [real() for _ in range(reals // 2)]) for _ in range(2)]  # type: ignore[func-returns-value]
        queue = cli.queue
        with queue.store.lock:  # until all wait for it
            for thread in threads:
                thread.start()
            wait_until(lambda: all(client.pid for client in made))
        for thread in threads:
            thread.join()
    figures.n = len(done)
    for add in done:
        figures.check(add.code == 0, str(add))
    ids = sorted(int(add.out) for add in done if add.code == 0)
    figures.check(
        ids == list(range(1, 50 * each + 1)),
        f"the ids are not 1 to {50 * each}, each once: {len(set(ids))} different ones",
    )
    figures.check([job.id for job in cli.queue.jobs()] == ids, "the store does not hold the acknowledged jobs")
    figures.times = [add.acked - add.invoked for add in done if add.words != REAL]
    slowest = max(add.acked - add.invoked for add in done if add.words == REAL)
    figures.note = f"{len(ids)} ids; longest {max(figures.times) * 1000:.0f} ms; of the {reals} real commands {slowest * 1000:.0f} ms"
    return figures


# Adds a job, and stops itself inside the lock, before anything is written.
HOLDER = """
import os, signal, sys
from jobq.api import Queue
from jobq.store.transaction import Add
queue = Queue()
spec = queue.spec()
with queue.store.transaction(0.0) as changes:
    os.kill(os.getpid(), signal.SIGSTOP)
    print(*changes.add(Add(spec, ["true"])))
"""
# The real command with a shorter lock timeout than 10 s; its last word on stderr is the total wait for the lock.
IMPATIENT = """
import sys, time
from jobq.store.lock import StoreLock
from jobq.store.store import Store
patience = float(sys.argv.pop(1))
Store.__init__.__kwdefaults__["lock_timeout"] = patience
StoreLock.__init__.__defaults__ = (patience, *StoreLock.__init__.__defaults__[1:])
from jobq.__main__ import outcome
enter, waited = StoreLock.__enter__, []
def timed(lock):
    begun = time.monotonic()
    try:
        return enter(lock)
    finally:
        waited.append(time.monotonic() - begun)
StoreLock.__enter__ = timed
code = outcome(sys.argv[1:])
print(sum(waited), file=sys.stderr)
sys.exit(code)
"""


@case("lock-holder-stopped", "21", "store", "the holder of the lock is stopped")
def stopped_holder(bench: Bench) -> Figures:
    """The others report the pid of the holder, change nothing and exit with 75; a worker waits; then all go on.

    Time: of the wait for the lock, without the start of Python, which takes seconds on a busy machine.
    """
    need_linux()
    patience = 10.0 if bench.full else 0.3
    figures, cli = Figures(limit=patience + 0.5), bench.cli()
    cli("add", "--from", "-", "--queue", "later", stdin="true\n" * 3)
    cli("cancel", "2")
    worker = cli.worker("-j", "1", "-q", "default")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], env=cli.env, cwd=cli.cwd, stdout=subprocess.PIPE, text=True
    )
    try:
        os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
        before = contents(cli.store)
        for words in (
            ("add", "true"),
            ("add", "--name", "x", "true"),
            ("cancel", "1"),
            ("requeue", "2"),
            ("rm", "3"),
        ) * bench.size(1, 2):
            impatient(cli, patience, words, holder.pid, figures)
        figures.check(cli("list", "--json").stdout.count('"queued"') >= 2, "reading does not work")
        figures.check(contents(cli.store) == before, "the files of the store have changed")
    finally:
        holder.send_signal(signal.SIGCONT)
    (added,) = map(int, holder.communicate(timeout=30)[0].split())
    figures.check(cli.queue.wait(added, timeout=30).state is State.SUCCEEDED, "the holder's own job has not run")
    figures.check(cli.id("true") == added + 1, "a refused add has used up an id")
    figures.check(worker.poll() is None, "the worker has ended")
    return figures


def impatient(cli: Cli, patience: float, words: tuple[str, ...], holder: int, figures: Figures) -> None:
    """Run a command that can't get the lock."""
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, str(patience), *words],
        env=cli.env, cwd=cli.cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    figures.n += 1
    figures.times.append(float(done.stderr.split()[-1]))
    figures.check(
        done.returncode == 75 and f"process {holder}" in done.stderr and not done.stdout,
        f"{words}: {done.returncode} {done.stdout} {done.stderr}",
    )


def contents(store: Path) -> dict[str, bytes]:
    """Return the content of each file of the store, except those of its workers."""
    return {str(path): path.read_bytes() for path in store.rglob("*") if path.is_file() and "workers" not in path.parts}


# -- workers ------------------------------------------------------------------------------------------


@case("worker-killed-noticed", "22c", "supervision", "a dead worker is noticed by another one")
def noticed(bench: Bench) -> Figures:
    """Time: from the SIGKILL until all of its running jobs have a new owner. Nothing notifies the other worker."""
    need_history()
    figures, cli, notes = Figures(n=bench.size(2, 50), limit=2.0), bench.cli(), Notes(bench.folder)
    cli.queue.add_many([notes.command("sleep 600", f"tag{n}") for n in range(2)], lambda: cli.queue.spec(retries=0))
    with clients(cli.store, 2) as workers:
        doomed, other = workers
        doomed.start("worker", "-j", "2")
        wait_until(lambda: len(notes.lines()) == 2)
        for _ in range(figures.n):
            other.start("worker", "-j", "2")
            wait_until(lambda: len(tokens(cli.queue)) == 2)
            time.sleep(bench.dice.uniform(0, 1.5))  # at any point of its loop
            (before,) = owners(cli)
            doomed.signal(signal.SIGKILL)
            doomed.wait()
            killed = time.monotonic()
            wait_until(lambda before=before: before not in owners(cli))
            figures.times.append(time.monotonic() - killed)
            doomed, other = other, doomed
        cli("cancel", "--wait", "1", "2")
        doomed.signal(signal.SIGTERM)
        doomed.wait()
        cli("worker", "--drain")
    figures.check(len(notes.lines()) == 2, f"jobs were started again: {notes.lines()}")
    figures.bad += leftovers([cli.store])
    return figures


def owners(cli: Cli) -> set[str]:
    """Return the workers that own running jobs."""
    return {job.attempts[-1].owner for job in cli.queue.jobs() if job.state is State.RUNNING}


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@case("worker-signalled-at-random", "48", "supervision", "one signal or two to a worker, at random times")
def signalled(bench: Bench) -> Figures:
    """Each run adds jobs to those that are left, starts a worker and stops it. Time: until it has ended."""
    need_history()
    store, facts, notes = bench.folder / "store", Facts(), Notes(bench.folder)
    figures, queue = Figures(n=bench.size(8, 200)), Queue(str(store))
    with clients(store, 2) as (adder, worker):
        for run in range(figures.n):
            for n in range(4):
                retries, tag = bench.dice.choice((0, 2)), f"{run}.{n}"
                shell = bench.dice.choice(("sleep 0.05", "sleep 0.4", "setsid sleep 60 & sleep 0.2"))
                words = ("add", "--retries", str(retries), "--grace", "0.5", "--", *notes.command(shell, tag))
                facts.adds.append(Add(tag, retries, (0,), adder(*words)))
            figures.times.append(stop_somehow(worker, queue, bench.dice, figures))
    drain(store, facts, notes)
    for name, found in broken(facts).items():
        figures.bad += [f"{name}: {detail}" for detail in found]
    figures.bad += [
        *facts.seen,
        *leftovers([store]),
        *(c for job in facts.jobs.values() for c in handed_back_for_free(job)),
    ]
    interrupted = [
        a for job in facts.jobs.values() for a in job.attempts if a.ending and a.ending.outcome is Outcome.INTERRUPTED
    ]
    figures.note = f"{len(facts.jobs)} jobs, {len(facts.lines)} notes, {len(interrupted)} attempts cut short"
    return figures


def stop_somehow(worker: Client, queue: Queue, dice: random.Random, figures: Figures) -> float:
    """Start a worker, and send it one or two signals; return the seconds from the first until it has ended."""
    drains, before = dice.random() < 0.5, set(tokens(queue))
    worker.start("worker", "-j", "2", *(["--drain"] if drains else []))
    wait_until(lambda: set(tokens(queue)) - before or worker.is_over())
    time.sleep(dice.uniform(0, 0.4))
    asked = boot_now()
    worker.signal(dice.choice(SIGNALS))
    if dice.random() < 0.6:
        time.sleep(dice.uniform(0, 0.2))
        worker.signal(dice.choice(SIGNALS))
    done = worker.wait()
    figures.check(done.code in ({0, 1, TRY_AGAIN} if drains else {0}) and "Traceback" not in done.err, str(done))
    return max(0.0, done.acked - asked)


@case("worker-signalled-while-leaving", "48b", "supervision", "a second signal while the worker ends: wrong exit codes")
def signalled_late(bench: Bench) -> Figures:
    """A worker with nothing to do exits with 0 after two signals, too: closing a terminal may send several."""
    figures, cli = Figures(n=bench.size(6, 100)), bench.cli()
    for n in range(figures.n):
        worker = cli.worker("-j", "1")
        worker.send_signal(bench.dice.choice(SIGNALS))
        time.sleep(0.01 + 0.06 * n / figures.n)
        worker.send_signal(bench.dice.choice(SIGNALS))
        figures.check(worker.wait(30) == 0, f"the worker exits with {worker.returncode}")
    return figures


def handed_back_for_free(job: Job) -> list[str]:
    """Complain if a job that could succeed did not, or was cut short and lost a retry."""
    last = job.ending.outcome if job.ending else None
    if job.spec.retries:
        fine = job.state is State.SUCCEEDED and job.retries_used == 0
    else:
        fine = job.state is State.SUCCEEDED or last is Outcome.INTERRUPTED
    return (
        []
        if fine
        else [f"job {job.id} with {job.spec.retries} retries has {job.state}, {last}, {job.retries_used} used"]
    )


@case(
    "worker-stopped-hands-back",
    "23",
    "supervision",
    "a worker that is stopped once gives running jobs 30 s, then hands them back",
    in_suite=False,
)
def drained(bench: Bench) -> Figures:
    """Handing back costs no retry; a job with none left fails. Time: from the signal until the worker has ended."""
    need_history()
    figures, cli, notes = Figures(n=2, limit=STOP_AFTER + 2), bench.cli(), Notes(bench.folder)
    for retries in (2, 0):
        cli.queue.add_many([notes.command("sleep 600", str(retries))], partial(cli.queue.spec, retries=retries))
    worker = cli.worker("--drain", "-j", "2")
    wait_until(lambda: len(notes.lines()) == 2)
    waiting = cli.id("true")
    asked = time.monotonic()
    worker.terminate()
    figures.check(worker.wait(60) == TRY_AGAIN, f"the worker exits with {worker.returncode}")
    figures.times.append(time.monotonic() - asked)
    figures.check(figures.times[0] >= STOP_AFTER, f"the jobs had {figures.times[0]:.1f} s")
    kept, ended, untouched = (cli.queue.job(job_id) for job_id in (1, 2, waiting))
    figures.check((kept.state, kept.retries_used) == (State.QUEUED, 0), f"with retries left it is {kept}")
    figures.check(
        ended.state is State.FAILED and ended.ending and ended.ending.outcome is Outcome.INTERRUPTED,
        f"without it is {ended}",
    )
    figures.check(untouched.state is State.QUEUED, f"what was added later is {untouched}")
    figures.bad += leftovers([cli.store])
    return figures


SEEDS = [
    Seed(
        harness="history",
        fault="a process that has waited long enough gets the lock",
        file="store/lock.py",
        old='                raise LockTimeout(f"{self._folder.path}/{self.NAME}", timeout, self._holder())',
        new="                return",
        caught_by="lock-holder-stopped",
    ),
    Seed(
        harness="history",
        fault="a short lock timeout",
        file="store/store.py",
        old="path: str, *, lock_timeout: float = 10.0",
        new="path: str, *, lock_timeout: float = 0.02",
        caught_by="fifty-adders",
    ),
    Seed(
        harness="history",
        fault="too rare checks for dead workers",
        file="worker/recovery.py",
        old="CHECK_EVERY = 1.5 ",
        new="CHECK_EVERY = 15.0 ",
        caught_by="worker-killed-noticed",
    ),
    Seed(
        harness="history",
        fault="handing back counts as an attempt",
        file="supervisor/supervisor.py",
        old='job.begin_stop("interrupted", order.number, counted=False)',
        new='job.begin_stop("interrupted", order.number)',
        caught_by="worker-signalled-at-random",
    ),
    Seed(
        harness="history",
        fault="jobs that were cut short are handed back, with or without retries left",
        file="rules/lifecycle.py",
        old="(not ending.counted and not full and left)",
        new="(not ending.counted and not full)",
        caught_by="worker-signalled-at-random",
    ),
]
