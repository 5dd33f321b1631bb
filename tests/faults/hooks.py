"""Hooks whose worker is killed: each end has its hooks, once each, in the transaction of the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobq import clock
from jobq.api import Queue
from jobq.job import State
from jobq.rules.hooks import is_hook
from jobq.store import compaction
from tests.faults.case import Bench, Figures, case, environment
from tests.faults.firing import work, writes
from tests.faults.related_writes import all_jobs
from tests.faults.seed import Seed
from tests.faults.writes import Lab, Outcome, Workload, is_at_journal, jobq, no_umask

HOOKS_EACH = 2  # of each job: on_success and on_finish


def two_jobs(store: Path) -> None:
    """Make a store with two jobs, and hooks that leave a line each."""
    forget(store)
    queue = Queue(str(store))
    queue.store.save_environment(environment(store))
    lines = dict.fromkeys(("on_success", "on_failure", "on_finish"), f"echo $JOBQ_JOB_ID >> {store.parent}/ran")
    for _ in range(2):
        queue.add("true", backoff="const:0s", cwd=str(store.parent), **lines)  # type: ignore[arg-type]
    compaction.compact(str(store), clock.now())
    queue.store.close()


def forget(store: Path) -> None:
    """Remove what the hooks have left behind."""
    (store.parent / "ran").unlink(missing_ok=True)


def mistakes(store: Path) -> Iterator[str]:
    """Yield each job whose hooks are not what its state asks for."""
    queue = Queue(str(store))
    jobs = all_jobs(queue)
    queue.store.close()
    told = [int(dict(job.spec.vars)["JOBQ_JOB_ID"]) for job in jobs.values() if is_hook(job)]
    for job in jobs.values():
        wanted = HOOKS_EACH if job.state.final and not is_hook(job) else 0
        if told.count(job.id) != wanted:
            yield f"job {job.id} is {job.state} and has {told.count(job.id)} hooks"


def each_runs_once(store: Path, _outcome: Outcome) -> Iterator[str]:
    """Check the hooks after the fault and after the next worker: all have run, and none twice."""
    yield from (f"at once: {mistake}" for mistake in mistakes(store))
    yield from work(store, 1)  # a job whose supervisor was killed at that call in each attempt fails in the end
    yield from (f"after the next worker: {mistake}" for mistake in mistakes(store))
    queue = Queue(str(store))
    jobs = all_jobs(queue)
    queue.store.close()
    if unfinished := [job.id for job in jobs.values() if not job.state.final]:
        yield f"jobs {unfinished} are unfinished"
    ran = (store.parent / "ran").read_text().split()
    lost = [job for job in jobs.values() if is_hook(job) and job.state is not State.SUCCEEDED]
    if len(ran) + len(lost) < HOOKS_EACH * 2 or len(ran) > HOOKS_EACH * 2:
        yield f"hooks ran for {ran}, and {len(lost)} did not succeed"
    forget(store)


WORKLOAD = Workload(
    "worker, jobs with hooks", two_jobs, jobq("worker", "--drain", "-j", "1"), adds=4, check=each_runs_once
)


@case("kill-every-write-of-hooks", "1d", "store", "SIGKILL at every write point of a worker whose jobs have hooks")
def kill_hooks(bench: Bench) -> Figures:
    """The quick form kills at some writes to the journal."""
    figures = Figures(note="all points" if bench.full else "a sample")
    lab = Lab(bench.folder, figures)
    with no_umask():
        before = lab.prepare(WORKLOAD)
        faults = [(call, f"signal=KILL:when={call.index}") for call in lab.points(WORKLOAD) if writes(call)]
        forget(lab.store)
        at_journal = [fault for fault in faults if is_at_journal(*fault)]
        for call, how in faults if bench.full else bench.dice.sample(at_journal, min(4, len(at_journal))):
            lab.disturb(WORKLOAD, call, how, before)
    return figures


SEEDS = [
    Seed(
        harness="kill-every-write-of-hooks",
        fault="the first change of a transaction adds no hooks",
        file="store/transaction.py",
        old="        if earlier is not None and has_hooks(job.spec):\n",
        new="        if earlier is not None and has_hooks(job.spec) and len(self._ops) > 1:\n",
        caught_by="tests/process/test_hooks.py::test_each_end_has_its_hooks",
    ),
    Seed(
        harness="kill-every-write-of-hooks",
        fault="a hook takes a slot",
        file="rules/hooks.py",
        old="        slots=0,\n",
        new="        slots=1,\n",
        caught_by="tests/process/test_hooks.py::test_a_hook_that_hangs_delays_nothing",
    ),
    Seed(
        harness="kill-every-write-of-hooks",
        fault="the idle hook is added by every worker that sees it",
        file="worker/hooks.py",
        old="._replace(key=key, once=True)",
        new="._replace(key=None)",
        caught_by="tests/process/test_hooks.py::test_the_idle_hook_is_run_once_by_two_workers",
    ),
]
