"""Indexes of the jobs, which `StoreState` updates with each change; the order of claims is in rules/order.py."""

from __future__ import annotations

from collections.abc import Mapping

from jobq.job import Job, Spec, State
from jobq.typed import Protocol


class Index(Protocol):
    """A view of the jobs that follows every change."""

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update the index: `before` has become `after` (None: did not exist, is removed)."""


class Running(set[int]):
    """The ids of the running jobs."""

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update the index: `before` has become `after`."""
        if after is not None and after.state is State.RUNNING:
            self.add(after.id)
        elif before is not None:
            self.discard(before.id)


class Names(dict[str, set[int]]):
    """The ids of the jobs that have a name, by name."""

    def note(self, before: Job | None, after: Job | None) -> None:
        """Update the index: `before` has become `after`."""
        old = before.spec.name if before is not None else None
        new = after.spec.name if after is not None else None
        if old == new:
            return
        if before is not None and old is not None:
            self[old].discard(before.id)
            if not self[old]:
                del self[old]
        if after is not None and new is not None:
            self.setdefault(new, set()).add(after.id)

    def add_many(self, spec: Spec, ids: range) -> None:
        """Add new jobs of one spec."""
        if spec.name is not None:
            self.setdefault(spec.name, set()).update(ids)

    def find(self, name: str, jobs: Mapping[int, Job]) -> Job | None:
        """Return the unfinished job of that name, else the latest finished one."""
        latest = None
        for job_id in sorted(self.get(name, ())):
            latest = jobs[job_id]
            if not latest.state.final:
                return latest
        return latest
