"""Order between jobs: which jobs wait for which, and what the end of one means for the others.

A job waits as long as one of the jobs that it is after is unfinished. A job whose parent ends in the wrong way is
skipped in the same transaction, so a waiting job has no parent that ended in the wrong way: those that are finished
and gone need not be looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from jobq.job import Job, Spec, State

Key = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # after, after_any, after_fail
MOST_SPECS = 10_000  # of which the group is kept at hand
WAITING = frozenset({State.QUEUED, State.HELD})


def key_of(spec: Spec) -> Key | None:
    """Return the ids that jobs of this spec are after; None if there are none."""
    if spec.after or spec.after_any or spec.after_fail:
        return spec.after, spec.after_any, spec.after_fail
    return None


def parents_of(spec: Spec) -> set[int]:
    """Return the ids of all jobs that jobs of this spec are after."""
    return {*spec.after, *spec.after_any, *spec.after_fail}


def rules_out(spec: Spec, parent: int, ended: State) -> bool:
    """Return True if a job of this spec can't run after its parent has ended like this: it is skipped."""
    if ended is State.SUCCEEDED:
        return parent in spec.after_fail
    return parent in spec.after


class Group:
    """The waiting jobs that are after the same jobs, and those of the latter that are not finished."""

    def __init__(self, key: Key, open_parents: set[int]) -> None:
        self.key = key
        self.open = open_parents
        self.ids: set[int] = set()


class Dependents:
    """The index of jobs that wait for others, and of jobs that were skipped because of others.

    Jobs after the same jobs are one group, however many they are. A key is as long as its list of jobs, so a group is
    looked up by the spec, which jobs share.
    """

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}
        self._by_spec: dict[int, tuple[Spec, Group]] = {}  # by the id() of a spec that is kept here
        self._by_parent: dict[int, set[Group]] = {}
        self._skipped: dict[int, set[int]] = {}  # cause -> jobs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependents) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> tuple[dict[Key, tuple[set[int], set[int]]], dict[int, set[int]]]:
        return {key: (group.open, group.ids) for key, group in self._groups.items()}, self._skipped

    def note(self, before: Job | None, after: Job | None, jobs: Mapping[int, Job]) -> Collection[int]:
        """Update the index: `before` has become `after`. Return the jobs that wait for no other one any more."""
        released: list[int] = []
        was_open, is_open = _is_open(before), _is_open(after)
        if was_open != is_open:
            job_id = (after or before).id  # type: ignore[union-attr]
            for group in self._by_parent.get(job_id, ()):
                if is_open:
                    group.open.add(job_id)
                else:
                    group.open.discard(job_id)
                    released.extend(group.ids if not group.open else ())
        if before is not None and before.skipped_for is not None:
            self._skipped[before.skipped_for].discard(before.id)
            if not self._skipped[before.skipped_for]:
                del self._skipped[before.skipped_for]
        if after is not None and after.skipped_for is not None:
            self._skipped.setdefault(after.skipped_for, set()).add(after.id)
        left, joined = _waits(before), _waits(after)
        if left and joined and before is not None and after is not None and before.spec is after.spec:
            return released
        if before is not None and left:
            self._leave(before)
        if after is not None and joined:
            self.add(after.spec, (after.id,), jobs)
        return released

    def add(self, spec: Spec, ids: Iterable[int], jobs: Mapping[int, Job]) -> None:
        """Let these jobs of one spec wait for those that they are after, as far as those are not finished."""
        group = self._group(spec)
        if group is None:
            key = key_of(spec)
            if key is None:
                return
            parents = parents_of(spec)
            group = self._groups[key] = Group(key, {parent for parent in parents if _is_open(jobs.get(parent))})
            for parent in parents:
                self._by_parent.setdefault(parent, set()).add(group)
        group.ids.update(ids)

    def _group(self, spec: Spec) -> Group | None:
        kept = self._by_spec.get(id(spec))
        if kept is not None and kept[0] is spec and kept[1].ids:
            return kept[1]
        key = key_of(spec)
        group = self._groups.get(key) if key is not None else None
        if group is not None:
            if len(self._by_spec) > MOST_SPECS:
                self._by_spec.clear()
            self._by_spec[id(spec)] = spec, group
        return group

    def _leave(self, job: Job) -> None:
        group = self._group(job.spec)
        if group is None:
            return
        group.ids.discard(job.id)
        if not group.ids:
            del self._groups[group.key]
            for parent in {*group.key[0], *group.key[1], *group.key[2]}:
                self._by_parent[parent].discard(group)
                if not self._by_parent[parent]:
                    del self._by_parent[parent]

    def waits_for(self, job: Job) -> Collection[int]:
        """Return the unfinished jobs that a waiting job is after."""
        spec = job.spec
        group = self._group(spec) if spec.after or spec.after_any or spec.after_fail else None
        return group.open if group is not None else ()

    def of(self, parent: int) -> Iterator[int]:
        """Yield the waiting jobs that are after this one."""
        for group in list(self._by_parent.get(parent, ())):
            yield from list(group.ids)

    def skipped_for(self, cause: int) -> Collection[int]:
        """Return the jobs of the journal that were skipped because of this one."""
        return self._skipped.get(cause, ())


def reaches(start: Iterable[int], goal: int, find: Callable[[Collection[int]], Mapping[int, Job]]) -> bool:
    """Return True if one of these jobs is, or is after, the job `goal`, as far as they may run (again)."""
    todo, seen = set(start), set[int]()
    while todo:
        if goal in todo:
            return True
        seen |= todo
        jobs = find(todo).values()
        todo = {p for job in jobs if _is_open(job) or job.state is State.SKIPPED for p in parents_of(job.spec)} - seen
    return False


def _is_open(job: Job | None) -> bool:
    return job is not None and not job.state.final


def _waits(job: Job | None) -> bool:
    return job is not None and job.state in WAITING and key_of(job.spec) is not None
