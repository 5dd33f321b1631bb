"""Checks of a job that is edited, or is to run again: nobody else has its name or its work, and it can start."""

from __future__ import annotations

from jobq.errors import Refused
from jobq.job import Job, Spec, State
from jobq.moment import Moment
from jobq.rules.consequences import why_skipped
from jobq.rules.dependencies import key_of, parents_of, reaches
from jobq.rules.lifecycle import WrongState
from jobq.rules.uniqueness import identity_of
from jobq.store.state import StoreState
from jobq.store.transaction import Transaction


def check(changes: Transaction, before: Job, after: Job, now: Moment) -> None:
    """Raise Refused if the job can't become `after`."""
    check_name(changes.state, after)
    check_order(changes, before, after)
    check_once(changes.state, before, after, now)
    if after.spec.needs != before.spec.needs:
        check_needs(changes.state, after.spec)


def check_name(state: StoreState, job: Job) -> None:
    """Raise Refused if another unfinished job has the name of this one, which is unfinished, too."""
    if job.spec.name is not None and not job.state.final:
        other = state.named(job.spec.name)
        if other is not None and other.id != job.id and not other.state.final:
            raise Refused(f"job {other.id} is named {job.spec.name} too and is {other.state}", "cancel it first")


def check_needs(state: StoreState, spec: Spec) -> None:
    """Raise Refused if a job of this spec needs more than there is."""
    for name, number in spec.needs:
        count = state.resources.get(name, 0)
        if number > count:
            raise Refused(
                f"the job needs {name}={number}, and there are {count}",
                f"'jobq resource set {name} {number}' says how many there are",
            )


def check_order(changes: Transaction, before: Job, after: Job) -> None:
    """Raise Refused if the job is to wait for jobs that it can't wait for: the change would skip it, or never end."""
    if after.state.final or not (before.state.final or after.spec != before.spec) or key_of(after.spec) is None:
        return
    wanted = parents_of(after.spec)
    parents = changes.find(wanted)
    if after.spec != before.spec and (gone := wanted - parents.keys()):
        raise Refused(f"job {after.id} can't wait for job {min(gone)}: there is none")
    if reaches(wanted, after.id, changes.find):
        raise Refused(f"job {after.id} can't wait for itself", "leave out the jobs that are after it")
    if (cause := why_skipped(after, parents)) is not None:
        what = "be requeued" if before.state.final else "be edited"
        hint = f"'jobq requeue {cause.id}' runs that again; those that it had skipped follow"
        if cause.state is State.SUCCEEDED:
            hint = "add it again, to run after something else"
        raise WrongState(before, f"{what} to run after job {cause.id}, which is {cause.state}", hint)


def check_once(state: StoreState, before: Job, after: Job, now: Moment) -> None:
    """Raise Refused if another job is the same work as this one, which is to run again or was edited."""
    if after.state.final or not (before.state.final or (after.spec, after.command) != (before.spec, before.command)):
        return
    identity = identity_of(after.spec, after.command)
    if identity is None:
        return
    other = state.keys.unfinished(identity, state.jobs)
    if other is not None and other.id != after.id:
        raise WrongState(
            before,
            f"run: job {other.id} is the same work, and is {other.state}",
            f"'jobq wait {other.id}' waits for that",
        )
    done = None if after.spec.unique else state.keys.succeeded(identity, state.jobs, now.wall)
    if done is not None:
        raise WrongState(before, f"run: job {done} has done its work", "add it again without --once to repeat it")
