"""Changes of a store, as a function of its state: the shape in which tests like to write them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from jobq.job import Job
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.store.transaction import Add


class Remove(NamedTuple):
    """The job is to be forgotten; `open_failure`: it is one."""

    id: int
    open_failure: bool = False


Change = Add | Job | Remove


def update(store: Store, decide: Callable[[StoreState], Iterable[Change]], at: float) -> list[int]:
    """Make these changes in one transaction; return the ids of new jobs."""
    ids: list[int] = []
    with store.transaction(at) as changes:
        for change in decide(changes.state):
            match change:
                case Add():
                    ids += changes.add(change)
                case Remove(job_id, open_failure):
                    changes.remove(job_id, open_failure=open_failure)
                case Job():
                    changes.put(change)
    return ids
