"""Order between jobs: which jobs wait for which, and what the end of one means for the others.

A job waits as long as one of the jobs that it is after is unfinished. A job whose parent ends in the wrong way is
skipped in the same transaction, so a waiting job has no parent that ended in the wrong way: those that are finished
and gone need not be looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from jobq.job import Job, Spec, State

Key = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # after, after_any, after_fail
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

    def __init__(self, open_parents: set[int]) -> None:
        self.open = open_parents
        self.ids: set[int] = set()


class Dependents:
    """The index of jobs that wait for others. Jobs after the same jobs are one group, however many they are."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}
        self._by_parent: dict[int, set[Key]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dependents) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]

    def _content(self) -> dict[Key, tuple[set[int], set[int]]]:
        return {key: (group.open, group.ids) for key, group in self._groups.items()}

    def note(self, before: Job | None, after: Job | None, jobs: Mapping[int, Job]) -> Collection[int]:
        """Update the index: `before` has become `after`. Return the jobs that wait for no other one any more."""
        released: list[int] = []
        was_open, is_open = _is_open(before), _is_open(after)
        if was_open != is_open:
            job_id = (after or before).id  # type: ignore[union-attr]
            for key in self._by_parent.get(job_id, ()):
                group = self._groups[key]
                if is_open:
                    group.open.add(job_id)
                else:
                    group.open.discard(job_id)
                    released.extend(group.ids if not group.open else ())
        left, joined = _waiting_key(before), _waiting_key(after)
        if left != joined:
            if before is not None and left is not None:
                self._leave(left, before.id)
            if after is not None and joined is not None:
                self.add(after.spec, (after.id,), jobs)
        return released

    def add(self, spec: Spec, ids: Iterable[int], jobs: Mapping[int, Job]) -> None:
        """Let these jobs of one spec wait for those that they are after, as far as those are not finished."""
        key = key_of(spec)
        if key is None:
            return
        group = self._groups.get(key)
        if group is None:
            parents = parents_of(spec)
            group = self._groups[key] = Group({parent for parent in parents if _is_open(jobs.get(parent))})
            for parent in parents:
                self._by_parent.setdefault(parent, set()).add(key)
        group.ids.update(ids)

    def _leave(self, key: Key, job_id: int) -> None:
        group = self._groups[key]
        group.ids.discard(job_id)
        if not group.ids:
            del self._groups[key]
            for parent in {*key[0], *key[1], *key[2]}:
                keys = self._by_parent[parent]
                keys.discard(key)
                if not keys:
                    del self._by_parent[parent]

    def waits_for(self, job: Job) -> Collection[int]:
        """Return the unfinished jobs that a waiting job is after."""
        key = key_of(job.spec)
        group = self._groups.get(key) if key is not None else None
        return group.open if group is not None else ()

    def of(self, parent: int) -> Iterator[int]:
        """Yield the waiting jobs that are after this one."""
        for key in list(self._by_parent.get(parent, ())):
            yield from list(self._groups[key].ids)

    def reaches(self, start: Iterable[int], goal: int, jobs: Mapping[int, Job]) -> bool:
        """Return True if one of these jobs is, or is after, the job `goal`, as far as they are not finished."""
        todo, seen = list(start), set[int]()
        while todo:
            job_id = todo.pop()
            if job_id == goal:
                return True
            job = jobs.get(job_id)
            if job_id not in seen and job is not None and not job.state.final:
                todo.extend(parents_of(job.spec))
            seen.add(job_id)
        return False


def _is_open(job: Job | None) -> bool:
    return job is not None and not job.state.final


def _waiting_key(job: Job | None) -> Key | None:
    return key_of(job.spec) if job is not None and job.state in WAITING else None
