"""New jobs in a transaction: those of one request, except those that are there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jobq.checks import check_needs, check_order
from jobq.command import Command
from jobq.errors import NotFound, Refused
from jobq.job import Spec, State
from jobq.moment import Moment
from jobq.options.selectors import Selector
from jobq.rules import lifecycle
from jobq.rules.consequences import why_skipped
from jobq.rules.dependencies import WAITING, key_of, parents_of
from jobq.rules.uniqueness import asks, identity_of
from jobq.store.selection import resolve
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.transaction import Add, Transaction
from jobq.typed import NamedTuple


class Added(NamedTuple):
    """The result of an add: the id of each command's job, and which of them are new."""

    ids: Sequence[int]
    new: Sequence[int]
    replaced: Sequence[int] = ()  # jobs that were there, and have what was asked for now


class Request(NamedTuple):
    """Jobs to be added with the same options.

    `waits`: for "after", "after_any" and "after_fail" the jobs of the request that the spec does not have yet: they may
    be among those of the requests before it. `again`: the same for jobs of those requests, by their places.
    `on_conflict`: what to do about a job with an identity for which there is one already: "skip", "replace", "fail".
    `wait_room`: how long to wait if its queue is full.
    """

    spec: Spec
    commands: Sequence[Command]
    waits: Mapping[str, Sequence[Selector]] = MappingProxyType({})
    again: Mapping[str, Sequence[int]] = MappingProxyType({})
    on_conflict: str = "skip"
    hold: bool = False
    wait_room: float = 0.0  # seconds
    lines: Sequence[int] = ()  # of a file, where the commands stand; else they are numbered

    @property
    def is_plain(self) -> bool:
        """True if it can be stored without looking at the other jobs."""
        spec = self.spec
        return not (
            self.hold
            or self.waits
            or self.again
            or asks(spec)
            or spec.name is not None
            or spec.needs
            or key_of(spec) is not None
        )


def placed(request: Request, added: Sequence[Added]) -> Request:
    """Return the request with the ids of the jobs that it is after, which are stored by now."""
    spec = request.spec
    for name, places in request.again.items():
        ids = {*getattr(spec, name), *(i for place in places for i in added[place].ids)}
        changed: Any = tuple(sorted(ids))
        spec = spec._replace(**{name: changed})
    return request._replace(spec=spec)


def store_request(store: Store, transaction: Transaction, request: Request, now: Moment) -> Added:
    """Store the jobs of a request, all or none. Raises Refused, NotFound."""
    spec = request.spec
    try:
        for name, selectors in request.waits.items():
            ids: Any = tuple(sorted(resolve(store, selectors).ids))
            spec = spec._replace(**{name: ids})
    except NotFound as e:
        raise Refused(f"line {request.lines[0]}: {e}" if request.lines else str(e), e.hint) from None
    there, fresh, replaced = already_there(transaction, spec, request.commands, now, request.on_conflict)
    new: Sequence[int] = ()
    if fresh:
        _check_new(transaction, spec)
        _check_room(transaction.state, spec, len(fresh))
        new = transaction.add(Add(spec, fresh))
    parents = transaction.find(parents_of(spec))
    cause = why_skipped(transaction.jobs[new[0]], parents) if new else None
    for job_id in [*new, *replaced]:
        if request.hold and transaction.jobs[job_id].state is State.QUEUED:
            transaction.put(lifecycle.hold(transaction.jobs[job_id], now))
    if cause is not None:
        for job_id in new:
            transaction.put(lifecycle.skip(transaction.jobs[job_id], now, cause.skipped_for or cause.id))
        if cause.skipped_for is None and not cause.skips:
            transaction.put(cause._replace(skips=True), cause)
    return Added([new[-place - 1] if place < 0 else place for place in there], new, replaced)


def _check_new(transaction: Transaction, spec: Spec, besides: int = 0) -> None:
    """Raise Refused if the name is taken (`besides`: by another job), NotFound if a job that it is after is missing."""
    other = transaction.state.named(spec.name) if spec.name is not None else None
    if other is not None and not other.state.final and other.id != besides:
        raise Refused(f"job {other.id} is named {spec.name} and is {other.state}", "choose another name")
    check_needs(transaction.state, spec)
    if gone := parents_of(spec) - transaction.find(parents_of(spec)).keys():
        raise NotFound(f"{min(gone)}, which the new job is to be after")


class QueueFull(Refused):
    """As many jobs wait in a queue as may. `may_fit`: there may be room for these `count` later."""

    def __init__(self, queue: str, waiting: int, capacity: int, count: int) -> None:
        self.queue = queue
        self.count = count
        self.may_fit = count <= capacity
        what = f"queue {queue} is full ({waiting} of {capacity} wait)"
        if waiting < capacity:
            what = f"queue {queue} has no room for {count} jobs ({waiting} of {capacity} wait)"
        super().__init__(what, "--wait-room 10m waits for room" if self.may_fit else "add fewer at once")


def has_room(state: StoreState, queue: str, count: int) -> bool:
    """Return True if so many more jobs may wait in the queue."""
    settings = state.queues.get(queue)
    capacity = settings.capacity if settings is not None else None
    return capacity is None or state.waiting.waiting_in(queue) + count <= capacity


def _check_room(state: StoreState, spec: Spec, count: int) -> None:
    """Raise QueueFull if there is no room for so many jobs. The jobs of a `jobq run` do not wait for others."""
    if spec.runner is None and not has_room(state, spec.queue, count):
        capacity = state.queues[spec.queue].capacity or 0
        raise QueueFull(spec.queue, state.waiting.waiting_in(spec.queue), capacity, count)


def already_there(
    transaction: Transaction, spec: Spec, commands: Sequence[Command], now: Moment, on_conflict: str
) -> tuple[list[int], list[Command], list[int]]:
    """Return for each command the id of the job that is it already, or -1 minus its place in the list of new ones.

    Then the new ones, and the jobs that were replaced.
    """
    if not asks(spec):
        return [-1 - place for place in range(len(commands))], list(commands), []
    replaced: list[int] = []
    there: list[int] = []
    fresh: dict[str, Command] = {}
    places: dict[str, int] = {}
    for command in commands:
        identity = identity_of(spec, command) or ""
        known = known_job(transaction.state, spec, identity, now)
        if known is None:
            if identity not in fresh:
                places[identity] = -1 - len(fresh)
                fresh[identity] = command
            there.append(places[identity])
            continue
        job = transaction.jobs.get(known)
        if on_conflict == "fail":
            raise Refused(f"job {known} is the same work", "leave out --on-conflict to get its id")
        if on_conflict == "replace" and job is not None and job.state in WAITING:
            edited = lifecycle.edit(job, now, spec, command)
            _check_new(transaction, spec, besides=known)
            check_order(transaction, job, edited)
            transaction.edit(edited)
            replaced.append(known)
        there.append(known)
    return there, list(fresh.values()), replaced


def known_job(state: StoreState, spec: Spec, identity: str, now: Moment) -> int | None:
    """Return the id of the job that stands for the identity, if a new one of this spec has to give way to it."""
    job = state.keys.unfinished(identity, state.jobs)
    if job is not None:
        return job.id
    if not spec.unique:
        return state.keys.succeeded(identity, state.jobs, now.wall)
    return None
