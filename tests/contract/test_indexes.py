"""Every index of the jobs says after any changes what one that is made anew says; run against all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.job import Attempt, Job, Spec, State
from jobq.store.indexes import Index, Names, Running

INDEXES: list[Callable[[], Any]] = [Names, Running]
VALUES = st.none() | st.builds(
    lambda name, state: Job(
        1, Spec("/", "", name=name), "true", 0.0, state=state, attempts=(Attempt(1, "w", "w/0", 0.0),)
    ),
    st.sampled_from([None, "a", "b"]),
    st.sampled_from([State.QUEUED, State.RUNNING, State.FAILED]),
)


@pytest.mark.parametrize("make", INDEXES)
@given(st.lists(st.tuples(st.integers(1, 3), VALUES), max_size=20))
def test_an_index_follows_every_change(make: Callable[[], Any], changes: list[tuple[int, Job | None]]) -> None:
    index: Index = make()
    jobs: dict[int, Job] = {}
    for job_id, value in changes:
        after = None if value is None else value._replace(id=job_id)
        index.note(jobs.get(job_id), after)
        if after is None:
            jobs.pop(job_id, None)
        else:
            jobs[job_id] = after
    again: Index = make()
    for job in jobs.values():
        again.note(None, job)
    assert index == again
