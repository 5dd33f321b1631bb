"""Retries: which ends are tried again, after how long, and the reason where one is not."""

from __future__ import annotations

import pytest

from jobq.errors import UsageError
from jobq.job import Attempt, Ending, Job, Outcome, Spec, State
from jobq.moment import Moment
from jobq.options.policies import Backoff, Codes, parse_jitter
from jobq.rules import lifecycle, policies, retry

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")


def ended(ending: Ending, **options: object) -> Job:
    """A job whose first attempt has ended so."""
    spec = Spec("/", "", **options)  # type: ignore[arg-type]
    job = Job(1, spec, "x", 1.0, State.RUNNING, attempts=(Attempt(1, "w", "w/0", 1.0),))
    return lifecycle.finish(job, ending, NOW, 0.5)


@pytest.mark.parametrize(
    ("policy", "delays"),
    [
        ("exp:1s..1h", [1, 2, 4, 8]),
        ("exp:10s..15s", [10, 15, 15, 15]),
        ("exp:1m", [60, 120, 240, 480]),
        ("exp:0..1m", [0, 0, 0, 0]),
        ("linear:5s..12s", [5, 10, 12, 12]),
        ("const:500ms", [0.5, 0.5, 0.5, 0.5]),
        ("LIST: 1s, 5s, 1m", [1, 5, 60, 60]),
    ],
)
def test_a_policy_gives_the_delays_that_it_names(policy: str, delays: list[float]) -> None:
    stored = Backoff().parse(policy)
    assert Backoff().parse(stored) == stored
    assert Backoff().parse(Backoff().shown(stored)) == stored
    assert [policies.delay(stored, n) for n in (1, 2, 3, 4)] == delays


@pytest.mark.parametrize(
    "policy", ["", "exp", "exp:", "5s", "exp:1h..1s", "exp:1s..2s..3s", "const:1s,2s", "const:-1", "list:", "fib:1s",
               "list:" + "1s," * 100 + "1s", "const:600000w", "const:nan", "const:1e999"]
)  # fmt: skip
def test_what_is_no_policy_is_refused(policy: str) -> None:
    with pytest.raises(UsageError):
        Backoff().parse(policy)
    assert not Backoff().stored.allows(policy)


@pytest.mark.parametrize(
    ("jitter", "least", "most"), [("10%", 60, 66), ("none", 60, 60), ("full", 0, 60), ("100", 60, 120), ("0%", 60, 60)]
)
def test_jitter_bounds_the_delay(jitter: str, least: float, most: float) -> None:
    spec = Spec("/", "", backoff="const:60", jitter=parse_jitter(jitter))
    assert retry.backoff(spec, 1, 0.0) == pytest.approx(least)
    assert retry.backoff(spec, 1, 1.0) == pytest.approx(most)
    waits = ended(Ending(Outcome.EXIT, status=1, started_at=1.0), backoff="const:60", jitter=spec.jitter)
    assert least <= retry.wait(waits, NOW) <= most


EXIT_1 = Ending(Outcome.EXIT, status=1, started_at=1.0)


@pytest.mark.parametrize(
    ("options", "ending", "state", "says"),
    [
        ({}, EXIT_1, State.QUEUED, ""),
        ({}, EXIT_1._replace(status=2), State.QUEUED, ""),
        ({"retry_on": "75-78"}, EXIT_1, State.FAILED, "exit 1 is not in --retry-on 75-78"),
        ({"retry_on": "75-78"}, EXIT_1._replace(status=76), State.QUEUED, ""),
        ({"retry_on": "127"}, EXIT_1._replace(status=127), State.QUEUED, ""),
        ({"retry_on": "1"}, Ending(Outcome.LOST, started_at=1.0), State.QUEUED, ""),
        ({"no_retry_on": "1"}, EXIT_1, State.FAILED, "exit 1 is in --no-retry-on 1"),
        ({"no_retry_on": "SIGSEGV"}, Ending(Outcome.SIGNAL, signal=11), State.FAILED, "in --no-retry-on SIGSEGV"),
        ({"no_retry_on": "SIGSEGV"}, Ending(Outcome.SIGNAL, signal=9), State.QUEUED, ""),
        ({"no_retry_on": "timeout"}, Ending(Outcome.TIMEOUT, signal=15), State.FAILED, "timeout is in"),
        ({"retry_on": "SIGTERM"}, Ending(Outcome.TIMEOUT, signal=15), State.FAILED, "timeout is not in"),
        ({"no_retry_on": "SIGABRT"}, Ending(Outcome.SIGNAL, signal=6), State.FAILED, "in --no-retry-on SIGABRT"),
        ({"retry_on": "timeout"}, Ending(Outcome.IDLE_TIMEOUT, signal=15), State.QUEUED, ""),
        ({"retry_on": "1", "no_retry_on": "1"}, EXIT_1, State.FAILED, "--no-retry-on"),
        ({"success_codes": "0,1"}, EXIT_1, State.SUCCEEDED, ""),
        ({"success_codes": "3"}, EXIT_1._replace(status=0), State.QUEUED, ""),
        ({"success_codes": "1"}, Ending(Outcome.SIGNAL, signal=1), State.QUEUED, ""),
        ({"max_lost": 1}, Ending(Outcome.LOST, started_at=1.0), State.FAILED, "its supervisor died 1 times"),
    ],
)
def test_what_is_tried_again_and_why_not(options: dict[str, object], ending: Ending, state: State, says: str) -> None:
    job = ended(ending, **options)
    assert job.state is state
    assert says in retry.why_not_retried(job)
    assert bool(says) == bool(retry.why_not_retried(job))


def test_a_tiny_delay_is_stored_without_an_exponent() -> None:
    stored = Backoff().parse("const:0.05ms")
    assert stored == "const:0.00005"
    assert Backoff().shown(stored) == "const:0.05ms"
    assert Backoff().shown("exp:1..3600") == "exp:1s..1h"
    assert Backoff().shown("list:0,1.5,90,86400") == "list:0s,1500ms,90s,1d"


def test_codes_are_spelled_in_one_way() -> None:
    assert Codes().parse(" 1, 03-5,kill,SIGTERM,Timeout,1") == "1,3-5,SIGKILL,SIGTERM,timeout"
    for wrong in ("", "1,", "x", "300", "5-5", "SIG", "-1", "1-", "²"):
        with pytest.raises(UsageError):
            Codes().parse(wrong)
        assert not Codes().stored.allows(wrong)
    assert not Codes().stored.allows("kill")
    assert Codes().parse("SIGIOT,idle-timeout") == "SIGABRT,idle_timeout"
