"""Work that is done once: the identity of a job, and the jobs that stand for an identity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from jobq.command import Call, Command, to_record
from jobq.job import Job, Spec, State
from jobq.sealed import sha256
from jobq.typed import NamedTuple

LAST = 1e12  # seconds since 1970: for ever


class Kept(NamedTuple):
    """A job that has succeeded and left the journal, and answers for its identity `until` then (wall clock)."""

    identity: str
    id: int
    until: float
    payload: str


def asks(spec: Spec) -> bool:
    """Return True if jobs of this spec have an identity."""
    return spec.key is not None or spec.once or spec.unique


def identity_of(spec: Spec, command: Command) -> str | None:
    """Return what makes a job the same work as another one: its key, else what it runs and where; None: nothing."""
    if spec.key is not None:
        return f"key:{spec.key}"
    return payload_of(spec, command) if spec.once or spec.unique else None


def payload_of(spec: Spec, command: Command) -> str:
    """Return a digest of what is run, and where: a program and its arguments, or a function and its own."""
    import json  # noqa: PLC0415

    what = [command.function, command.args, command.kwargs] if isinstance(command, Call) else to_record(command)
    return sha256(json.dumps([what, spec.cwd], sort_keys=True).encode("ascii"))[:32]


def lasts_until(job: Job) -> float:
    """Return until when a job that has succeeded answers for its identity (wall clock)."""
    return min((job.finished_at or 0.0) + job.spec.key_ttl, LAST)


class Keys:
    """The index of identities: unfinished jobs and those that succeeded, in the journal or kept from before it."""

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._kept: dict[int, Kept] = {}
        self._kept_ids: dict[str, set[int]] = {}  # by identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._ids == other._ids

    __hash__ = None  # type: ignore[assignment]

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update the index: `before` has become `after`."""
        old, new = _identity_that_counts(before), _identity_that_counts(after)
        if after is not None:
            self.forget(after.id)  # it is back
        if old == new:
            return
        if before is not None and old is not None:
            self._ids[old].discard(before.id)
            if not self._ids[old]:
                del self._ids[old]
        if after is not None and new is not None:
            self._ids.setdefault(new, set()).add(after.id)

    def add_many(self, spec: Spec, ids: range, commands: Iterable[Command]) -> None:
        """Add new jobs of one spec."""
        if asks(spec):
            for job_id, command in zip(ids, commands, strict=True):
                self._ids.setdefault(identity_of(spec, command) or "", set()).add(job_id)

    def keep(self, kept: Iterable[Kept]) -> None:
        """Let these answer though their jobs have left the journal."""
        for one in kept:
            self._kept[one.id] = one
            self._kept_ids.setdefault(one.identity, set()).add(one.id)

    def forget(self, job_id: int) -> None:
        """Let a job that was removed answer no more."""
        kept = self._kept.pop(job_id, None)
        if kept is not None:
            self._kept_ids[kept.identity].discard(job_id)

    def kept(self) -> list[Kept]:
        """Return those that have left the journal, by id."""
        return [self._kept[job_id] for job_id in sorted(self._kept)]

    def unfinished(self, identity: str, jobs: Mapping[int, Job]) -> Job | None:
        """Return the unfinished job of this identity."""
        return next((jobs[i] for i in self._ids.get(identity, ()) if not jobs[i].state.final), None)

    def succeeded(self, identity: str, jobs: Mapping[int, Job], wall: float) -> int | None:
        """Return the id of the last job of this identity that has succeeded, if it still answers at this time."""
        here = [i for i in self._ids.get(identity, ()) if jobs[i].state.final and wall < lasts_until(jobs[i])]
        gone = [i for i in self._kept_ids.get(identity, ()) if wall < self._kept[i].until]
        return max([*here, *gone], default=None)

    def payload(self, job_id: int, jobs: Mapping[int, Job]) -> str:
        """Return the payload of a job that answers."""
        job = jobs.get(job_id)
        return payload_of(job.spec, job.command) if job is not None else self._kept[job_id].payload


def to_keep(jobs: Iterable[Job], wall: float) -> Iterator[Kept]:
    """Yield what is to be kept of these jobs, which leave the journal."""
    for job in jobs:
        identity = identity_of(job.spec, job.command)
        if identity is not None and job.state is State.SUCCEEDED and wall < lasts_until(job):
            yield Kept(identity, job.id, lasts_until(job), payload_of(job.spec, job.command))


def _identity_that_counts(job: Job | None) -> str | None:
    if job is None or not asks(job.spec) or not (job.state is State.SUCCEEDED or not job.state.final):
        return None
    return identity_of(job.spec, job.command)
