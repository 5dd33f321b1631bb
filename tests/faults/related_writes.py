"""SIGKILL at every call of a command whose job depends on others: it is after them, or is the same work as one of them.

Such an add reads the other jobs under the lock, and may change several of them at once. Some of the stores are of the
first format: the command moves them to a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from jobq import clock
from jobq.api import Queue
from jobq.job import Job, State
from jobq.store import compaction
from tests.faults.case import Bench, Figures, case, environment
from tests.faults.seed import Seed
from tests.faults.writes import NEVER, Outcome, Workload, disturb_all, five, jobq
from tests.helpers.finished import end

KEY = "nightly"

# -- the stores before the command ------------------------------------------------------------------------


def add_all(store: Path, *wanted: dict[str, object]) -> None:
    """Add a job for each of these options, with the environment of the commands."""
    queue = Queue(str(store))
    for options in wanted:
        queue.add("true", env=environment(store), **options)  # type: ignore[arg-type]
    queue.store.save_environment(environment(store))
    queue.store.close()


def family(store: Path) -> None:
    """Make a store of six jobs: 2 is after 1, 3 after 2, 4 after any end of 1; 5 and 6, which is after it, never ran."""
    add_all(store, {}, {"after": [1]}, {"after": [2]}, {"after_any": [1]}, {}, {"after": [5]})
    queue = Queue(str(store))
    queue.cancel([5])
    queue.store.close()


def broken_family(store: Path) -> None:
    """Make the store of six jobs, and cancel job 1: jobs 2 and 3 are skipped."""
    family(store)
    queue = Queue(str(store))
    queue.cancel([1])
    queue.store.close()


def old_family(store: Path) -> None:
    """Make the store of six jobs, and compact it: the finished jobs leave the journal."""
    family(store)
    compaction.compact(str(store), clock.now())


def keyed(store: Path) -> None:
    """Make a store with two jobs, one with a key that is not KEY."""
    add_all(store, {}, {"key": "other"})


def waiting(store: Path) -> None:
    """Make the store with the other key, and add a job with KEY, job 3."""
    keyed(store)
    add_all(store, {"key": KEY})


def done(store: Path) -> None:
    """Make the store in which job 3 has KEY; it has succeeded, and has left the journal."""
    waiting(store)
    queue = Queue(str(store))
    end(queue.store, 3, now=clock.now())
    queue.store.close()
    compaction.compact(str(store), clock.now())


# -- the checks afterwards ------------------------------------------------------------------------------------


def all_jobs(queue: Queue) -> dict[int, Job]:
    """Return all jobs as a process that starts now sees them."""
    return {job.id: job for job in [*queue.finished(), *queue.jobs()]}


def in_order(store: Path, _outcome: Outcome) -> Iterator[str]:
    """Check who waits and who is skipped; then cancel and requeue what others are after, and check it again."""
    queue = Queue(str(store))
    yield from misplaced(queue)
    parents = {
        parent for job in queue.jobs() if not job.state.final for parent in (*job.spec.after, *job.spec.after_any)
    }
    for move in (queue.cancel, queue.requeue):
        jobs = all_jobs(queue)
        move([parent for parent in sorted(parents) if parent in jobs])
        yield from misplaced(queue)
    queue.store.close()


def misplaced(queue: Queue) -> Iterator[str]:
    """Yield each job that waits or is skipped although its parents say otherwise."""
    jobs = all_jobs(queue)
    dependents = queue.store.read().dependents
    for job in jobs.values():
        wrong = [parent for parent in job.spec.after if has_ended(jobs, parent) not in {State.SUCCEEDED, None}]
        if (job.state is State.SKIPPED) != bool(wrong):
            yield f"job {job.id} is {job.state}, and of what it is after, {wrong} ended without success"
        if job.state is State.SKIPPED:
            cause = jobs.get(job.skipped_for or 0)
            if cause is not None and not (cause.state.final and cause.skips):
                yield f"job {job.id} is skipped for job {cause.id}, which is {cause.state} and does not know"
        unfinished = {p for p in (*job.spec.after, *job.spec.after_any) if has_ended(jobs, p) is None}
        if job.state is State.QUEUED and set(dependents.waits_for(job)) != unfinished:
            yield f"job {job.id} waits for {dependents.waits_for(job)} and not for {unfinished}"


def has_ended(jobs: Mapping[int, Job], job_id: int) -> State | None:
    """Return the state in which a job has ended; None if it has not. A waiting job that was removed counts as cancelled."""
    job = jobs.get(job_id)
    if job is None:
        return State.CANCELLED
    return job.state if job.state.final else None


def once(store: Path, outcome: Outcome) -> Iterator[str]:
    """Check that at most one job has KEY, that all who asked were told its id, and that two later adds are, too."""
    queue = Queue(str(store))
    there = [job.id for job in all_jobs(queue).values() if job.spec.key == KEY]
    told = [int(line) for line in outcome.said.splitlines() if line.isdecimal()]
    if outcome.twin is not None:
        if outcome.twin.returncode != 0:
            yield f"the add beside it exits with {outcome.twin.returncode}: {outcome.twin.stderr[-200:]}"
        told += map(int, outcome.twin.stdout.split())
    queue.store.close()
    for then in ("later", "after a compaction"):
        queue = Queue(str(store))
        told.append(queue.add("true", key=KEY, env=environment(store)).id)
        queue.store.close()
        if len(there) > 1 or len({*there, *told}) != 1:
            yield f"{then}: jobs {there} have the key, and the adds were told {told}"
        compaction.compact(str(store), clock.now())


WORKLOADS = [
    Workload(
        "add after a job", family, jobq("add", "--after", "1", "--after-any", "5", "true"), adds=1, check=in_order
    ),
    Workload("add after a job, first format", five, jobq("add", "--after", "1", "true"), adds=1, check=in_order),
    Workload("add after a cancelled job", family, jobq("add", "--after", "5", "true"), adds=1, check=in_order),
    Workload("add after an old job", old_family, jobq("add", "--after", "5", "true"), adds=1, check=in_order),
    Workload("cancel a parent", family, jobq("cancel", "1"), moved=(1, "queued", "cancelled"), check=in_order),
    Workload("requeue a parent", broken_family, jobq("requeue", "1"), moved=(1, "cancelled", "queued"), check=in_order),
    Workload("rm a parent", family, jobq("rm", "1"), moved=(1, "queued", NEVER), check=in_order),
    Workload("add a key", keyed, jobq("add", "--key", KEY, "true"), adds=1, check=once),
    Workload("add a key, first format", five, jobq("add", "--key", KEY, "true"), adds=1, check=once),
    Workload("add a key twice at once", keyed, jobq("add", "--key", KEY, "true"), adds=1, has_twin=True, check=once),
    Workload("add a key that waits", waiting, jobq("add", "--key", KEY, "true"), check=once),
    Workload("add a key that is done", done, jobq("add", "--key", KEY, "true"), check=once),
]


@case(
    "kill-every-write-related",
    "1b",
    "store",
    "SIGKILL at every write point of adds with dependencies or a key, of changes of parents, of moves to another format",
)
def kill_related(bench: Bench) -> Figures:
    return disturb_all(bench, lambda call: [f"signal=KILL:when={call.index}"], quick=0, workloads=WORKLOADS)


SEEDS = [
    Seed(
        harness="kill-every-write",
        fault="the full command acknowledges a job before it is written",
        file="commands/add.py",
        old="    added = (\n        queue.enqueue_lines(jobs)\n",
        new="    print(queue.store.read().next_id, flush=True)\n    added = (\n        queue.enqueue_lines(jobs)\n",
        caught_by="kill-every-write-related",
    ),
    Seed(
        harness="kill-every-write",
        fault="what follows from a change is written as a change of its own",
        file="store/store.py",
        old="                lines = changes.lines()\n"
        "                hint = commit(root, self.journal.fd, hint, lines, self.state.next_id)\n"
        "                self.state.seq += len(lines)\n",
        new="                ops, changes._ops = changes._ops, []\n"
        "                for op in ops:\n"
        "                    changes._ops = [op]\n"
        "                    lines = changes.lines()\n"
        "                    hint = commit(root, self.journal.fd, hint, lines, self.state.next_id)\n"
        "                    self.state.seq += len(lines)\n",
        caught_by="kill-every-write-related",
    ),
]
