"""The rules of a pipeline each notice what breaks them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.helpers.order_rules import Expected, Record, broken

COUNTS = {"gpu": 2}
EVENTS = {"succeeded": "succeed", "failed": "fail", "skipped": "skip", "queued": "requeue"}


def time(at: float) -> str:
    """Return seconds since 2026 as JSON has a time."""
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    return datetime.fromtimestamp(start + at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def attempt(n: int, start: float, end: float, status: int | None = 0, **changes: Any) -> Record:
    """Return an attempt that ran so long; status None: it was lost."""
    times = {"claimed_at": time(start), "started_at": time(start), "ended_at": time(end)}
    return {"n": n, **times, "outcome": "lost" if status is None else "exit", "status": status, "given": {}, **changes}


def job(job_id: int, *attempts: Record, state: str = "succeeded", at: float | None = None, **changes: Any) -> Record:
    """Return a job with these attempts, each a retry of the one before; its last event was at that time."""
    history = [{"event": "add", "at": time(0)}]
    for one in attempts:
        history += [{"event": "retry", "at": one["claimed_at"]}] if one["n"] > 1 else []
        history += [{"event": "claim", "at": one["claimed_at"]}]
    last = attempts[-1]["ended_at"] if attempts and at is None else time(at or 0)
    history += [{"event": EVENTS[state], "at": last}]
    asked: Record = {"after": [], "after_any": [], "after_fail": [], "locks": [], "needs": {}}
    rest = {"retries": 3, "backoff": "const:0.5", "skipped_for": None, "attempts": list(attempts), "history": history}
    return {"id": job_id, "state": state, **asked, **rest, **changes}


def complaints(*jobs: Record, **expected: Expected) -> list[str]:
    """Return what is wrong with these jobs; by default each has to end as it did, whatever its statuses."""
    seen = {
        one["id"]: Expected(one["state"], tuple(a["status"] for a in one["attempts"]), one["skipped_for"])
        for one in jobs
    }
    return broken(jobs, COUNTS, seen | {int(name[1:]): want for name, want in expected.items()})


def test_a_pipeline_in_order_breaks_no_rule() -> None:
    first = job(1, attempt(1, 1, 2, 1), attempt(2, 2.5, 3), locks=["db"])
    second = job(2, attempt(1, 3, 4, given={"gpu": [0, 1]}), after=[1], locks=["db"], needs={"gpu": 2})
    third = job(3, attempt(1, 4, 5, 9), state="failed", after_any=[2], retries=0)
    fourth = job(4, state="skipped", at=5, after=[3], skipped_for=3)
    fifth = job(5, state="skipped", at=5, after=[4], skipped_for=3)
    sixth = job(6, attempt(1, 5, 6), after_fail=[5])
    assert complaints(first, second, third, fourth, fifth, sixth) == []


@pytest.mark.parametrize("kind", ["after", "after_any", "after_fail"])
def test_a_start_before_the_end_of_a_parent_is_noticed(kind: str) -> None:
    parent = job(1, attempt(1, 1, 3), state="failed" if kind == "after_fail" else "succeeded")
    child = job(2, attempt(1, 2.9, 4)) | {kind: [1]}
    assert complaints(parent, child) == [
        f"job 2 (attempt 1) started when its parent 1 was unfinished ({kind})",
        "job 2 (attempt 1) started while its parent 1 ran",
    ]


@pytest.mark.parametrize(
    ("kind", "state", "wrong"),
    [
        ("after", "succeeded", False),
        ("after", "failed", True),
        ("after", "skipped", True),
        ("after_any", "failed", False),
        ("after_any", "skipped", False),
        ("after_any", "queued", True),
        ("after_fail", "succeeded", True),
        ("after_fail", "failed", False),
        ("after_fail", "skipped", False),
    ],
)
def test_a_start_after_the_wrong_end_of_a_parent_is_noticed(kind: str, state: str, wrong: bool) -> None:
    parent = job(1, state=state, at=2, skipped_for=9 if state == "skipped" else None, after=[9])
    found = complaints(parent, job(2, attempt(1, 3, 4)) | {kind: [1]}, job(9, state="failed", at=1))
    assert [f"({kind})" in sentence for sentence in found] == ([True] if wrong else [])


def test_two_holders_of_a_lock_are_noticed_also_beside_a_long_one() -> None:
    jobs = [job(n, attempt(1, start, end), locks=["db"]) for n, start, end in [(1, 1, 9), (2, 2, 3), (3, 8, 10)]]
    assert complaints(*jobs) == [
        "lock db: job 2 (attempt 1) started while job 1 (1) ran",
        "lock db: job 3 (attempt 1) started while job 1 (1) ran",
    ]
    assert complaints(*jobs[1:]) == []


def test_two_attempts_of_a_job_at_once_are_noticed_also_if_one_was_lost() -> None:
    assert complaints(job(1, attempt(1, 1, 3, None), attempt(2, 2, 4)), e1=Expected()) == [
        "job 1: job 1 (attempt 2) started while job 1 (1) ran"
    ]


def test_too_much_of_a_resource_at_once_is_noticed() -> None:
    one = job(1, attempt(1, 1, 3, given={"gpu": [0]}), needs={"gpu": 1})
    two = job(2, attempt(1, 2, 4, given={"gpu": [0, 1]}), needs={"gpu": 2})
    assert complaints(one, two) == ["when job 2 started, 3 gpu of 2 were in use", "jobs 2 and 1 had gpu [0] at once"]
    apart = job(2, attempt(1, 3, 4, given={"gpu": [0, 1]}), needs={"gpu": 2})
    assert complaints(one, apart) == []


@pytest.mark.parametrize("given", [[], [0], [0, 0], [0, 1, 2], [1, 2]])
def test_indices_that_are_not_those_that_were_asked_for_are_noticed(given: list[int]) -> None:
    (sentence,) = complaints(job(1, attempt(1, 1, 2, given={"gpu": given}), needs={"gpu": 2}))
    assert sentence == f"job 1 (attempt 1) needs gpu=2 of 2 and was given {given}"


def test_one_index_for_two_jobs_is_noticed_also_if_there_is_enough() -> None:
    jobs = [job(n, attempt(1, n, 4, given={"gpu": [1]}), needs={"gpu": 1}) for n in (1, 2)]
    assert complaints(*jobs) == ["jobs 2 and 1 had gpu [1] at once"]


def test_a_skipped_job_that_has_run_is_noticed() -> None:
    cause = job(1, attempt(1, 1, 2, 1), state="failed")
    ran = job(2, attempt(1, 2, 3, 1), state="skipped", after_any=[1], skipped_for=1)
    assert complaints(cause, ran) == ["job 2 was claimed and then skipped: ['add', 'claim', 'skip']"]
    rearmed = job(2, attempt(1, 3, 4), after_any=[1])
    rearmed["history"][1:1] = [{"event": "skip", "at": time(2)}, {"event": "rearm", "at": time(2.5)}]
    assert complaints(cause, rearmed) == []


@pytest.mark.parametrize(
    ("skipped_for", "sentence"),
    [
        (2, "job 3 was skipped for 2, which is no job that ended by itself"),
        (7, "job 3 was skipped for None, which is no job that ended by itself"),
        (4, "job 3 was skipped for 4, which it is not after"),
        (None, "job 3 was skipped for None, which is no job that ended by itself"),
    ],
)
def test_a_skipped_job_that_does_not_name_the_first_failure_is_noticed(skipped_for: int | None, sentence: str) -> None:
    root, stranger = (job(n, attempt(1, 1, 2, 1), state="failed") for n in (1, 4))
    between = job(2, state="skipped", at=2, after=[1], skipped_for=1)
    assert complaints(root, stranger, between, job(3, state="skipped", at=2, after=[2], skipped_for=skipped_for)) == [
        sentence
    ]
    assert complaints(root, between, job(3, attempt(1, 5, 6), skipped_for=1)) == ["job 3 is succeeded and names 1"]


def test_too_many_attempts_and_too_early_ones_are_noticed() -> None:
    twice = job(1, attempt(1, 1, 2, 1), attempt(2, 2.4, 3), retries=0)
    assert complaints(twice) == ["job 1 was retried 1 times of 0", "job 1: attempt 2 started 0.400 s after 1 had ended"]
    unasked = job(1, attempt(1, 1, 2, 1), attempt(2, 3, 4))
    unasked["history"] = [step for step in unasked["history"] if step["event"] != "retry"]
    assert complaints(unasked) == ["job 1 was claimed again without a reason: ['add', 'claim', 'claim', 'succeed']"]
    requeued = job(1, attempt(1, 1, 2, 1), attempt(2, 2.1, 3))
    requeued["history"][2] = {"event": "requeue", "at": time(2.05)}
    assert complaints(requeued, e1=Expected()) == []


@pytest.mark.parametrize(
    ("attempts", "expected", "wrong"),
    [
        ([attempt(1, 1, 2, 1)], Expected(), "exited with [1] (0 lost), not with (0,)"),
        ([attempt(1, 1, 2, 1), attempt(2, 3, 4)], Expected(), "exited with [1, 0] (0 lost), not with (0,)"),
        ([attempt(1, 1, 2)], Expected(statuses=(1, 0)), "exited with [0] (0 lost), not with (1, 0)"),
        ([attempt(1, 1, 2, None), attempt(2, 3, 4)], Expected(statuses=(1, 0)), ""),
        ([attempt(1, 1, 2, 1), attempt(2, 3, 4, None)], Expected(statuses=(1, 0)), "succeeded without an exit with 0"),
        (
            [attempt(1, 1, 2, None), attempt(2, 3, 4)],
            Expected(statuses=(1,)),
            "exited with [0] (1 lost), not with (1,)",
        ),
        ([attempt(1, 1, 2)], Expected("failed", (0,)), "is succeeded (None), not failed (None)"),
        ([], Expected(statuses=()), ""),
    ],
)
def test_an_end_that_was_not_expected_is_noticed(attempts: list[Record], expected: Expected, wrong: str) -> None:
    found = complaints(job(1, *attempts), e1=expected)
    assert [wrong in sentence for sentence in found] == ([True] if wrong else [])


def test_a_missing_job_and_a_skipped_one_with_another_cause_are_noticed() -> None:
    root = job(1, attempt(1, 1, 2, 1), state="failed")
    skipped = job(2, state="skipped", at=2, after=[1], skipped_for=1)
    assert complaints(root, skipped, e2=Expected("skipped", (), 3), e3=Expected()) == [
        "job 3 is missing",
        "job 2 is skipped (1), not skipped (3)",
    ]
