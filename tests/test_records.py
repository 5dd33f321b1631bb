"""What is written down comes back as it was; what does not fit is refused with the reason, never a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.job import Attempt, Call, Due, Ending, Job, Outcome, Spec, State, Step
from jobq.records import BadRecord, job_record, read_job

TEXT = st.text(max_size=8)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
MAYBE = st.none() | NUMBER
EXTRA = st.none() | st.dictionaries(TEXT.map("new-".__add__), TEXT, min_size=1, max_size=2)
SPECS = st.builds(
    Spec, TEXT, TEXT, umask=st.integers(0, 0o777), queue=TEXT, priority=st.integers(), retries=st.integers(0),
    timeout=MAYBE, grace=NUMBER, name=st.none() | TEXT, runner=st.none() | TEXT, extra=EXTRA,
)  # fmt: skip
ENDINGS = st.builds(
    Ending, st.sampled_from(Outcome), status=st.none() | st.integers(), signal=st.none() | st.integers(), error=st.none() | TEXT,
    started_at=MAYBE, ended_at=MAYBE, user_s=NUMBER,
    system_s=NUMBER, max_rss_kib=st.integers(), counted=st.booleans(), extra=EXTRA,
)  # fmt: skip
ATTEMPTS = st.lists(
    st.builds(Attempt, st.integers(), TEXT, TEXT, NUMBER, boot_id=TEXT, ending=st.none() | ENDINGS, extra=EXTRA),
    max_size=3,
)
CALLS = st.builds(
    Call, st.sampled_from(["m:f", "a.b:C.d"]), st.lists(TEXT).map(tuple), st.dictionaries(TEXT, TEXT), TEXT
)
JOBS = st.builds(
    Job, st.integers(1), SPECS, TEXT | st.lists(TEXT, min_size=1).map(tuple) | CALLS, NUMBER,
    state=st.sampled_from(State), retries_used=st.integers(), lost=st.integers(),
    due=st.none() | st.builds(Due, NUMBER, NUMBER, TEXT), cancel_asked_at=MAYBE, finished_at=MAYBE, anyone=st.booleans(),
    attempts=ATTEMPTS.map(tuple), history=st.lists(st.builds(Step, TEXT, NUMBER), max_size=3).map(tuple), extra=EXTRA,
)  # fmt: skip


@given(JOBS)
def test_a_job_comes_back_as_it_was_with_what_a_later_version_added(job: Job) -> None:
    assert read_job(json.loads(json.dumps(job_record(job)))) == job


JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


@given(JOBS, st.data())
def test_a_record_with_anything_in_any_place_is_read_or_refused(job: Job, data: st.DataObject) -> None:
    record = json.loads(json.dumps(job_record(job)))
    place = record
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    try:
        assert isinstance(read_job(record), Job)
    except BadRecord as e:
        assert str(e)


@pytest.mark.parametrize("record", [None, [], {}, {"id": 1}, {"id": 1, "command": [], "added_at": 0}, "x"])
def test_what_is_no_job_is_refused(record: object) -> None:
    with pytest.raises(BadRecord):
        read_job(record)
