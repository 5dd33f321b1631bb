"""The changes that follow from a change of a job; no other module decides them. `Transaction.put` carries them out.

Workers, rescues, cancels and requeues end and begin jobs in several places; none of them looks further than its own
job. Hooks, which are new jobs, have their rules in `rules.hooks`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from jobq.job import Job, State
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.rules.dependencies import Dependents, key_of, parents_of, rules_out


class World(Protocol):
    """The jobs as they are before the change."""

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The jobs of the journal."""

    @property
    def dependents(self) -> Dependents:
        """The jobs that wait for others."""

    def find(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return those of these jobs that exist, finished long ago or not."""

    def is_taken(self, job: Job) -> bool:
        """Return True if another job has the name of this one by now, or does its work."""

    def skipped_for(self, job: Job) -> Iterable[Job]:
        """Return the jobs that were skipped because of this one, finished long ago or not, by id."""


def consequences(world: World, before: Job | None, after: Job | None, now: Moment) -> Iterator[Job]:
    """Yield the jobs that change because `before` becomes `after` (None: is removed), as they are then."""
    was_open, is_open = before is not None and not before.state.final, after is not None and not after.state.final
    if was_open and not is_open:
        yield from _skipped(world, before, after, now)
    if before is not None and before.skips and is_open and not was_open:
        yield from _rearmed(world, before, now)
    if before is not None and after is not None and before.state is State.RUNNING and after.state is State.QUEUED:
        cause = why_skipped(after, world.find(parents_of(after.spec)) if key_of(after.spec) else {})
        if cause is not None:  # requeued while this one ran, it has ended otherwise
            yield lifecycle.skip(after, now, cause.skipped_for or cause.id)


def _skipped(world: World, before: Job | None, after: Job | None, now: Moment) -> Iterator[Job]:
    """Yield the dependents of a job that ends in the wrong way for them."""
    assert before is not None
    ended = after.state if after is not None else State.CANCELLED
    cause = after.skipped_for if after is not None and after.skipped_for is not None else before.id
    for job_id in world.dependents.of(before.id):
        job = world.jobs[job_id]
        if job_id != before.id and rules_out(job.spec, before.id, ended):
            yield lifecycle.skip(job, now, cause)


def _rearmed(world: World, parent: Job, now: Moment) -> Iterator[Job]:
    """Yield the jobs that a job had skipped and that wait for it again, and those that another one skips now."""
    rest = {job.id: job for job in world.skipped_for(parent) if not world.is_taken(job)}
    known = {**world.find({p for job in rest.values() for p in parents_of(job.spec)}), **rest}
    known.pop(parent.id, None)
    again: list[int] = []
    while ready := [job for job in rest.values() if why_skipped(job, known) is None]:
        for job in ready:  # those that are after it may follow
            known[job.id] = lifecycle.rearm(rest.pop(job.id), now)
            again.append(job.id)
    yield from (known[job_id] for job_id in again)
    for job in rest.values():
        cause = why_skipped(job, known)
        if cause is not None and cause.id not in rest:
            yield job._replace(skipped_for=cause.skipped_for or cause.id)
            if not cause.skips and cause.skipped_for is None:
                yield cause._replace(skips=True)


def why_skipped(job: Job, parents: Mapping[int, Job]) -> Job | None:
    """Return the first of its parents that has ended in the wrong way for the job; None if none has."""
    for parent_id in sorted(parents_of(job.spec)):
        parent = parents.get(parent_id)
        if parent is not None and parent.state.final and rules_out(job.spec, parent_id, parent.state):
            return parent
    return None
