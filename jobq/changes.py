"""Changes of jobs that a person asks for, each one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jobq import clock
from jobq.checks import check
from jobq.command import Command
from jobq.errors import JobqError, NotFound, Refused, StoreDamaged, UsageError
from jobq.exit_codes import TRY_AGAIN
from jobq.job import Job, State
from jobq.moment import Moment
from jobq.python.inside import append_line, read_steps
from jobq.rules import lifecycle, retry
from jobq.rules.dependencies import WAITING
from jobq.rules.lifecycle import MOVES, Event, IllegalMove, WrongState
from jobq.rules.ranks import claim_key, places_before
from jobq.store import cleaning, compaction
from jobq.store.environment import EnvironmentGone
from jobq.store.selection import find_all
from jobq.store.store import Store
from jobq.store.transaction import Transaction
from jobq.store.upgrade import upgrading
from jobq.typed import NamedTuple
from jobq.waiting import recover_if_orphaned

KEEP_ALL = float("inf")  # seconds: only workers and `clean` know what the settings say about that
TRIES = 10  # of what other processes may interrupt


class Changed(NamedTuple):
    """The result of a change of several jobs: the jobs after it, and why others were left as they are."""

    jobs: list[Job]
    refused: list[Refused]
    followed: Sequence[Job] = ()  # other jobs that changed because of these


def change(store: Store, job_ids: Sequence[int], move: Callable[[Job, Moment], Job]) -> Changed:
    """Move these jobs, as far as their states allow it. Raises NotFound, NotSaved."""
    return upgrading(store, lambda: _change(store, job_ids, move))


def _change(store: Store, job_ids: Sequence[int], move: Callable[[Job, Moment], Job]) -> Changed:
    now = clock.now()
    done = Changed([], [])
    with changing(store, job_ids, now) as (changes, jobs):
        for before in jobs:
            try:
                after = move(before, now)
                check(changes, before, after, now)
            except Refused as e:
                done.refused.append(e)
                continue
            done.jobs.append(after)
            if (after.spec, after.command) != (before.spec, before.command):
                changes.edit(after, before)
            elif after is not before:
                changes.put(after, before)
    return done._replace(followed=changes.followed)


def cancel(store: Store, job_ids: Sequence[int]) -> Changed:
    """End these jobs, or wish it where they run; tell the supervisors of dead workers. Raises NotFound, NotSaved."""
    done = change(store, job_ids, lifecycle.cancel)
    running = [job.id for job in done.jobs if job.state is State.RUNNING]
    try:
        if running and recover_if_orphaned(store, running):  # which tells their supervisors
            now = store.find_all(job_ids)
            return done._replace(jobs=[now.get(job.id, job) for job in done.jobs])
    except (JobqError, OSError):
        pass  # the cancel is recorded; `wait`, or the next worker, recovers the jobs of the dead one
    return done


class Edit(NamedTuple):
    """A change of what waiting jobs ask for: fields of their specs, variables of their environments, their command.

    `seen`: what the job was when the person decided on it; if it has changed since, that is refused.
    """

    fields: Mapping[str, Any]
    variables: Mapping[str, str]
    command: Command | None = None
    seen: Job | None = None


def edit(store: Store, job_ids: Sequence[int], wanted: Edit) -> Changed:
    """Change what these jobs ask for, as far as they wait. Raises UsageError, NotFound, NotSaved."""
    if wanted.fields.get("name") is not None and len(job_ids) > 1:
        raise UsageError("several jobs can't share one name", "give one job")
    for _ in range(TRIES):
        try:
            return _edit(store, job_ids, wanted)
        except (EnvironmentGone, OtherEdit):
            continue  # begin with what the job asks for now
    return _edit(store, job_ids, wanted)


class OtherEdit(JobqError):
    """Another process has changed the environment of a job meanwhile."""

    exit_code = TRY_AGAIN

    def __init__(self, job_id: int) -> None:
        super().__init__(f"job {job_id} is being edited by another process", "try again")


def _edit(store: Store, job_ids: Sequence[int], wanted: Edit) -> Changed:
    fields, variables, command, seen = wanted
    store.read()
    environments: dict[str, str] = {}  # the digest before -> the digest after
    if variables:
        for job in find_all(store, job_ids).values():  # written before the lock is taken
            old = job.spec.env
            if old not in environments:
                environments[old] = store.save_environment({**_environment_of(store, job), **variables})

    def edited(job: Job, now: Moment) -> Job:
        if variables and job.spec.env not in environments:
            raise OtherEdit(job.id)
        if seen is not None and (job.spec, job.command, job.history) != (seen.spec, seen.command, seen.history):
            raise WrongState(job, "be edited: it has changed meanwhile", f"see 'jobq show {job.id}', and edit it again")
        env = environments.get(job.spec.env, job.spec.env)
        others = tuple(pair for pair in job.spec.vars if pair[0] not in variables)
        spec = job.spec._replace(**fields, env=env, vars=others)
        if fields.get("delay") is not None:
            spec = spec._replace(asked=now)
        elif fields.get("expires") is not None:  # counts from now; what is left of the delay stays
            left = max(0.0, retry.wait(job, now)) if job.spec.delay is not None and job.due is None else None
            spec = spec._replace(asked=now, delay=left)
        return lifecycle.edit(job, now, spec, command)

    try:
        return change(store, job_ids, edited)
    finally:
        if variables:
            _forget_unused(store, {*environments, *environments.values()})


def _environment_of(store: Store, job: Job) -> dict[str, str]:
    """Return the captured environment. Raises OtherEdit if another edit has just replaced it, StoreDamaged."""
    try:
        return store.load_environment(job.spec.env)
    except StoreDamaged:
        store.read()
        if any(now.spec.env != job.spec.env for now in store.find_all([job.id]).values()):
            raise OtherEdit(job.id) from None
        raise


def _forget_unused(store: Store, digests: set[str]) -> None:
    """Remove environments that no job names any more, if possible now: they may hold secrets."""
    try:
        cleaning.forget_environments(store, digests)
    except (JobqError, OSError):
        pass  # the change is durable; a later cleanup removes them


def forget_steps(store: Store, jobs: Sequence[Job], name: str) -> None:
    """Record that this step of jobs and those behind it are not done. Raises UsageError if a job has no such step.

    Jobs that can't be requeued now are left as they are.
    """
    paths = {job.id: store.logs.steps_path(job.id) for job in jobs}
    steps = {job_id: read_steps(path) for job_id, path in paths.items()}
    if not any(name in known for known in steps.values()):
        others = sorted({step for known in steps.values() for step in known})
        which = f"job {jobs[0].id} has no step" if len(jobs) == 1 else "none of these jobs has a step"
        raise UsageError(f"{which} {name!r:.60}", f"there are: {', '.join(others)}" if others else "there are none")
    for job in jobs:
        if name in steps[job.id] and (job.state, Event.REQUEUE) in MOVES:
            append_line(paths[job.id], {"from": name})


def move(store: Store, job_ids: Sequence[int], before: int | None) -> Changed:
    """Let waiting jobs start, in this order, right before that job; None: before all others of their queues.

    They get the priority of the job that they are put before. Raises NotFound, Refused, NotSaved.
    """
    return upgrading(store, lambda: _move(store, job_ids, before))


def _move(store: Store, job_ids: Sequence[int], before: int | None) -> Changed:
    now = clock.now()
    done = Changed([], [])
    with changing(store, job_ids, now) as (changes, jobs):
        queues: dict[str, list[Job]] = {}
        for job in jobs:
            if job.state not in WAITING:
                done.refused.append(IllegalMove(job, Event.MOVE))
            elif job.id != before:
                queues.setdefault(job.spec.queue if before is None else "", []).append(job)
        for queue, moved in queues.items():
            others = _in_order(changes, [job.id for job in moved])
            anchor = next((job for job in others if job.spec.queue == queue), None)
            if before is not None and (anchor := changes.find([before]).get(before)) is None:
                raise NotFound(str(before))
            if anchor is not None:
                lower = [job for job in moved if before is not None or job.spec.priority <= anchor.spec.priority]
                _put_before(changes, anchor, others, lower, now)  # the others are before it already
            done.jobs.extend(changes.state.jobs[job.id] for job in moved)
    return done


def _in_order(changes: Transaction, but: Sequence[int]) -> list[Job]:
    """Return the waiting jobs in the order of their claim, but for some."""
    left_out = set(but)
    waiting = (job for job in changes.state.unfinished() if job.state in WAITING and job.id not in left_out)
    return sorted(waiting, key=claim_key)


def _put_before(changes: Transaction, anchor: Job, others: list[Job], moved: Sequence[Job], now: Moment) -> None:
    if anchor.state not in WAITING:
        raise WrongState(anchor, "have others put before it", "only a waiting job has a place among others")
    order = [job for job in others if job.spec.priority == anchor.spec.priority]
    places = places_before(order.index(anchor), order, moved) if moved else {}
    for job_id, place in places.items():
        job = changes.state.jobs[job_id]
        changes.edit(lifecycle.move(job, now, anchor.spec.priority, place))


def remove(store: Store, job_ids: Sequence[int], *, only_old: bool = False) -> Changed:
    """Forget jobs, their logs, and the parts of their environment that no other job needs; refuse running ones.

    `only_old`: refuse all but finished ones, and failures that nobody has dealt with. Raises NotFound, NotSaved.
    """
    done = Changed([], [])
    with changing(store, job_ids, clock.now()) as (changes, jobs):
        for job in jobs:
            if job.state is State.RUNNING:
                hint = f"'jobq cancel --wait {job.id}' ends it; then 'jobq rm {job.id}'"
                done.refused.append(WrongState(job, "be removed", hint))
                continue
            if only_old and (not job.state.final or job.is_open_failure):
                done.refused.append(WrongState(job, "be cleaned away"))  # it was requeued meanwhile
                continue
            done.jobs.append(job)
            changes.remove(job.id, open_failure=job.is_open_failure)
        done = done._replace(followed=changes.followed)
    try:
        store.logs.remove({job.id for job in done.jobs})
    except OSError:
        pass  # the jobs are removed; the next compaction cleans up
    _forget_unused(store, {job.spec.env for job in done.jobs})
    return done


@contextmanager
def changing(store: Store, job_ids: Sequence[int], now: Moment) -> Iterator[tuple[Transaction, Iterator[Job]]]:
    """Yield a transaction, and these jobs as they are in it, finished long ago or not. Raises NotFound.

    Old files are read before the lock is taken: they are large. If compaction moves jobs there meanwhile, they are
    read again.
    """
    while True:
        store.read()
        known = find_all(store, job_ids)
        skipped = store.skipped_for({job.id for job in known.values() if job.skips})
        generation = store.header.generation if store.header else 0
        with store.transaction(now.wall, skipped=skipped) as changes:
            header, jobs = store.header, changes.state.jobs
            wanted = known.keys() | {job.id for job in skipped}
            if header is not None and header.generation != generation and not jobs.keys() >= wanted:
                continue
            if gone := known.keys() & changes.state.removed:
                raise NotFound(str(min(gone)))
            yield changes, (jobs.get(job_id, known[job_id]) for job_id in known)
        break
    if compaction.is_due(store):
        try:  # there may be no worker to do it
            compaction.compact(store.path, now, known=compaction.Checkpoint.by(store), keep=KEEP_ALL)
        except (JobqError, OSError):
            pass  # the change is durable; the next change, or a worker, will try again
