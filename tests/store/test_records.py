"""Records: a job is read as it was written; a bad record is refused with the reason, without a crash."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.command import BadRecord, Call
from jobq.job import Attempt, Ending, Job, Outcome, Spec, State, Step
from jobq.moment import Due, Moment
from jobq.store.records import job_record, read_job, read_spec

TEXT = st.text(max_size=8)
WORD = st.text("az09-_", max_size=8)  # becomes part of a path
SPAN = st.floats(0, allow_nan=False, allow_infinity=False) | st.integers(0, 2**60)
TIME = st.floats(-3e10, 2.5e11) | st.integers(-(2**34), 2**37)
COUNT = st.integers(0, 2**63 - 1)
BYTE = st.none() | st.integers(0, 255)
CODES = st.sampled_from(["0", "1,3-5", "SIGKILL,timeout"])
IDS = st.lists(st.integers(1, 2**62), max_size=3).map(tuple)
GIVEN = st.lists(st.tuples(TEXT, st.lists(st.integers(0, 9), max_size=2).map(tuple)), max_size=2).map(tuple)
LABEL = st.text("az=", min_size=1, max_size=3)
EXTRA = st.none() | st.dictionaries(TEXT.map("new-".__add__), TEXT, min_size=1, max_size=2)
SPECS = st.builds(
    Spec, TEXT, WORD, umask=st.integers(0, 0o777), queue=TEXT, priority=st.integers(-(2**40), 2**40), retries=COUNT, log_max=COUNT,
    backoff=st.sampled_from(["exp:1..3600", "linear:0..5", "const:0.25", "list:1,5,60"]), jitter=st.sampled_from(["10%", "full", "none"]),
    retry_on=st.none() | CODES, no_retry_on=st.none() | CODES, success_codes=st.sampled_from(["0", "0,3-5"]), max_lost=COUNT,
    after=IDS, after_any=IDS, after_fail=IDS, locks=st.lists(TEXT, max_size=2).map(tuple), slots=st.integers(1, 99), needs=st.lists(st.tuples(TEXT, st.integers(1, 2**62)), max_size=2).map(tuple), labels=st.lists(st.tuples(LABEL, LABEL), max_size=2).map(tuple), meta=st.none() | st.sampled_from(["{}", "[1]"]), stdin=st.none() | TEXT, stderr=st.none() | TEXT, key=st.none() | TEXT.map("k".__add__), once=st.booleans(), unique=st.booleans(), key_ttl=SPAN, timeout=st.none() | SPAN, idle_timeout=st.none() | SPAN, grace=SPAN, at=st.none() | TIME, delay=st.none() | SPAN, expires=st.none() | SPAN,
    asked=st.none() | st.builds(Moment, TIME, st.floats(-1e12, 1e12), TEXT), name=st.none() | TEXT, runner=st.none() | WORD,
    vars=st.dictionaries(TEXT, TEXT, max_size=2).map(lambda variables: tuple(variables.items())), extra=EXTRA,
)  # fmt: skip
ENDINGS = st.builds(
    Ending, st.sampled_from(Outcome), status=BYTE, signal=BYTE, error=st.none() | TEXT,
    started_at=st.none() | TIME, ended_at=st.none() | TIME, user_s=SPAN,
    system_s=SPAN, max_rss_kib=COUNT, log_bytes=COUNT, log_dropped=COUNT, counted=st.booleans(), after=st.none() | SPAN, extra=EXTRA,
)  # fmt: skip
CALLS = st.builds(
    Call,
    st.sampled_from(["m:f", "a.b:C.d"]),
    st.lists(TEXT).map(tuple),
    st.dictionaries(TEXT, TEXT),
    TEXT,
    st.none() | TEXT,
    EXTRA,
)


@st.composite
def attempts(draw: st.DrawFn, *, running: bool) -> tuple[Attempt, ...]:
    """Draw attempts numbered from 1; all have ended, except the last one of a running job."""
    ended = draw(st.lists(st.tuples(WORD, WORD, TIME, TEXT, ENDINGS, GIVEN, EXTRA), max_size=3, min_size=int(running)))
    made = [Attempt(n, *fields) for n, fields in enumerate(ended, 1)]
    return (*made[:-1], made[-1]._replace(ending=None)) if running else tuple(made)


JOBS = st.sampled_from(State).flatmap(
    lambda state: st.builds(
        Job, st.integers(1, 2**62), SPECS, TEXT | st.lists(TEXT, min_size=1).map(tuple) | CALLS, TIME,
        state=st.just(state), retries_used=COUNT, lost=COUNT, due=st.none() | st.builds(Due, TIME, st.floats(-1e12, 1e12), TEXT),
        cancel_asked_at=st.none() | TIME, finished_at=st.none() | TIME, anyone=st.booleans(), skipped_for=st.none() | st.integers(1, 2**62), skips=st.booleans(), place=st.none() | st.floats(-1e18, 1e18),
        attempts=attempts(running=state is State.RUNNING),
        history=st.lists(st.builds(Step, WORD, TIME), max_size=3).map(tuple), extra=EXTRA, more=EXTRA, acknowledged=COUNT,
    )
)  # fmt: skip


@given(JOBS)
def test_a_job_is_read_as_it_was_written_with_the_keys_of_a_later_version(job: Job) -> None:
    assert read_job(json.loads(json.dumps(job_record(job)))) == job


JSON = st.recursive(
    st.none() | st.booleans() | SPAN | TEXT,
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
def test_a_record_that_is_no_job_is_refused(record: object) -> None:
    with pytest.raises(BadRecord):
        read_job(record)


@pytest.mark.parametrize(
    ("field", "value", "fits"),
    [
        ("timeout", None, True),
        ("timeout", 1.5, True),
        ("timeout", "1.5", False),
        ("timeout", True, False),
        ("retries", None, False),
        ("cwd", None, False),
        ("env", None, False),
        ("env", "../env", False),
        ("backoff", "exp:2..1", False),
        ("labels", [["a", "b"]], True),
        ("labels", [["a"]], False),
        ("once", 1, False),
        ("after", [0], False),
    ],
)
def test_a_field_of_a_spec_has_a_value_that_fits(field: str, value: object, fits: bool) -> None:
    record = {"cwd": "/", "env": "a", field: value}
    if fits:
        assert read_spec(record) is not None
    else:
        with pytest.raises(BadRecord, match=f"{field} can't be"):
            read_spec(record)
