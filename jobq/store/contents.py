"""All that a journal holds beside jobs: what compaction and repair carry on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobq.queues import QueueSettings
from jobq.rules.uniqueness import Kept
from jobq.schedules import Schedule
from jobq.store.format import BASE, JOB_OPTIONS
from jobq.store.schedules import SetSchedule
from jobq.store.state import StoreState
from jobq.store.tables import format_of_queue
from jobq.typed import NamedTuple


class Tables(NamedTuple):
    """The tables at one point of the journal."""

    queues: Sequence[QueueSettings]
    resources: Mapping[str, int]
    keys: Sequence[Kept]  # of jobs that have left the journal
    schedules: Sequence[Schedule]

    @classmethod
    def of(cls, state: StoreState) -> Tables:
        """Copy the tables of a state."""
        return cls(
            tuple(state.queues.values()),
            dict(state.resources),
            tuple(state.keys.kept()),
            tuple(state.schedules.values()),
        )

    def needs(self) -> int:
        """Return the least format of a store that holds them."""
        least = JOB_OPTIONS if self.keys or self.resources else BASE
        schedules = (SetSchedule(schedule).needs() for schedule in self.schedules)
        return max([least, *map(format_of_queue, self.queues), *schedules])
