"""Warm processes under fire: calls that crash, hang or print among thousands, while workers and supervisors are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from jobq.api import Queue
from jobq.job import Job, Outcome, State
from jobq.python.results import result_of
from tests.conftest import Cli
from tests.faults.case import Bench, Figures, case
from tests.faults.clients import workers_to_kill
from tests.faults.firing import work
from tests.faults.history import leftovers, need_history
from tests.faults.related_writes import all_jobs
from tests.faults.seed import Seed
from tests.helpers.processes import supervisors

WORKERS, SLOTS = 2, 2
CALLS = """
import os, sys, threading, time

def fine(n): return n
def says(n): print("call", n); return n
def crashes(n): os._exit(9)
def hangs(n): time.sleep(600)
def leaves(n):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start(); os.environ["LEFT"] = str(n); return n
def clean(n): assert "LEFT" not in os.environ; return n
"""
KINDS = ("fine", "fine", "says", "clean", "fine", "says", "clean", "fine", "says", "clean")
OURS = {Outcome.LOST, Outcome.INTERRUPTED}  # of attempts that were killed with their supervisor


def kind_of(n: int) -> str:
    """Return the function that call `n` is of: 1 of 100 crashes, 1 hangs, 2 leave something behind."""
    return {17: "crashes", 42: "hangs", 63: "leaves", 84: "leaves"}.get(n % 100, KINDS[n % 10])


@case(
    "warm-calls-processes-killed",
    "75",
    "functions",
    "calls in warm processes, 1 % crash, 1 % hang, others print or leave something; workers and supervisors are killed",
)
def warm(bench: Bench) -> Figures:
    """One try is one call."""
    need_history()
    figures, cli = Figures(), bench.cli()
    count = bench.size(200, 5000)
    (bench.folder / "calls.py").write_text(CALLS)
    queue = Queue(str(cli.store))
    kinds: dict[int, tuple[str, int]] = {}
    for n in range(count):
        kind = kind_of(n)
        job = queue.call(
            f"calls:{kind}", [n], python=sys.executable, cwd=str(bench.folder), env=cli.env, isolation="warm", retries=2,
            backoff="const:0", max_lost=1000, timeout=0.3 if kind == "hangs" else None,
        )  # fmt: skip
        kinds[job.id] = kind, n
    killed = 0
    with workers_to_kill(cli, WORKERS, "-j", str(SLOTS)) as workers:
        while Queue(str(cli.store)).jobs():
            time.sleep(bench.dice.uniform(0, 1.0))
            victims = supervisors(cli.store)
            if victims and bench.dice.random() < 0.5:
                killed += 1
                try:
                    os.kill(bench.dice.choice(victims), signal.SIGKILL)
                except ProcessLookupError:
                    pass
                continue
            worker = bench.dice.choice(workers)
            worker.kill()
            worker.start("worker", "-j", str(SLOTS))
    figures.bad += work(cli.store)
    figures.n = count
    jobs = all_jobs(queue)
    figures.check(len(jobs) == count, f"{len(jobs)} jobs of {count}")
    for job_id, (kind, n) in kinds.items():
        examine(cli, jobs[job_id], kind, n, figures)
    figures.bad += leftovers([cli.store])
    figures.note = f"{killed} supervisors killed"
    queue.store.close()
    return figures


def examine(cli: Cli, job: Job, kind: str, n: int, figures: Figures) -> None:
    """Check that exactly what the call did stands in its record, and that its log holds what it printed."""
    own = [attempt.ending for attempt in job.attempts if attempt.ending and attempt.ending.outcome not in OURS]
    ends = {(ending.outcome, ending.status) for ending in own if not ending.never_started}
    wanted = {"crashes": (Outcome.EXIT, 9), "hangs": (Outcome.TIMEOUT, None)}.get(kind, (Outcome.EXIT, 0))
    found = {(outcome, None if outcome is Outcome.TIMEOUT else status) for outcome, status in ends}
    figures.check(found == {wanted}, f"job {job.id}, {kind}: it ended as {sorted(map(str, found))}")
    state = State.FAILED if kind in {"crashes", "hangs"} else State.SUCCEEDED
    figures.check(job.state is state, f"job {job.id}, {kind}: {job.state}")
    if state is State.SUCCEEDED:
        logs, last = cli.queue.store.logs, len(job.attempts)
        result = result_of(job, last, logs)
        figures.check(
            result is not None and result.value == n, f"job {job.id}, {kind}: the result is {result}, not {n}"
        )
        path = Path(logs.path(job.id, last))
        text = path.read_text() if path.exists() else ""
        figures.check(
            text == (f"call {n}\n" if kind == "says" else ""), f"job {job.id}, {kind}: its log is {text!r:.60}"
        )


SEEDS = [
    Seed(
        harness="warm-calls-processes-killed",
        fault="a warm process goes on writing to the log of an earlier call",
        file="python/host.py",
        old="        self.write_to(output)\n        return True\n",
        new="        return True\n",
        caught_by="tests/process/test_warm_batches.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="what a call leaves behind does not end its process",
        file="python/host.py",
        old='        if why:\n            reply["replaced"] = why\n',
        new="",
        caught_by="tests/process/test_warm.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="calls are made that were taken back",
        file="python/batch.py",
        old="        return int(NUMBER.unpack(os.pread(self.fd, NUMBER.size, LIMIT))[0])\n",
        new="        return 1 << 40\n",
        caught_by="tests/process/test_warm_batches.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="a warm process does not carry the mark of the call that it makes",
        file="python/host.py",
        old='                resource.setrlimit(RLIMIT_LOCKS, (job["mark"], self.hard))\n',
        new="                pass\n",
        caught_by="tests/process/test_warm.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="a module that was changed is not imported anew",
        file="python/host.py",
        old="                self.modules[file] = self.files[file] = traces.changed_at(file)\n",
        new="                pass\n",
        caught_by="tests/process/test_warm.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="calls that had ended when their supervisor was killed are made again",
        file="engine/local/batches.py",
        old=" if reply is not None else None\n",
        new=" if None else None\n",
        caught_by="tests/process/test_warm_batches.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="calls that had not begun when their supervisor was killed count as lost",
        file="engine/local/batches.py",
        old='or start["index"] > begun.index:\n',
        new='or start["index"] > begun.index + 1000:\n',
        caught_by="tests/process/test_warm_batches.py",
    ),
    Seed(
        harness="warm-calls-processes-killed",
        fault="what a call printed before its supervisor was killed is in no log",
        file="engine/local/batches.py",
        old="            os.rename(output, log)\n",
        new="            pass\n",
        caught_by="tests/process/test_warm_batches.py",
    ),
]
