"""The whole table of moves, and the state of a job after each end of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.errors import Refused
from jobq.job import Attempt, Ending, Job, Outcome, Spec, State
from jobq.moment import STALE, Due, Moment
from jobq.rules import lifecycle, retry
from jobq.rules.lifecycle import HINTS, MOVES, PASSIVE, Event, IllegalMove
from jobq.store.check import job_problems

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
SPEC = Spec("/", "0" * 64)


def job_in(state: State, spec: Spec = SPEC) -> Job:
    """Return a job that legal moves have brought to this state."""
    job = Job(1, spec, "true", NOW.wall)
    match state:
        case State.QUEUED:
            return job
        case State.HELD:
            return lifecycle.hold(job, NOW)
        case State.RUNNING:
            return lifecycle.claim(job, NOW, owner="w1", supervisor="w1/0")
        case State.SUCCEEDED:
            return finish(job_in(State.RUNNING, spec), Outcome.EXIT, status=0)
        case State.FAILED:
            return finish(job_in(State.RUNNING, spec._replace(retries=0)), Outcome.EXIT, status=1)
        case State.CANCELLED:
            return lifecycle.cancel(job, NOW)
        case State.SKIPPED:
            return lifecycle.skip(job, NOW._replace(wall=NOW.wall - 1), 1)
        case State.EXPIRED:
            return lifecycle.expire(job, NOW)


def finish(job: Job, outcome: Outcome, *, jitter: float = 0.5, started_at: float | None = 1.0, **ending: object) -> Job:
    return lifecycle.finish(job, Ending(outcome, started_at=started_at, **ending), NOW, jitter)  # type: ignore[arg-type]


def perform(event: Event, job: Job) -> Job:
    """Make this move by its named function."""
    running_end = {
        Event.SUCCEED: lambda: finish(job, Outcome.EXIT, status=0),
        Event.FAIL: lambda: finish(job._replace(spec=job.spec._replace(retries=0)), Outcome.EXIT, status=1),
        Event.RETRY: lambda: finish(job, Outcome.EXIT, status=1),
        Event.HAND_BACK: lambda: finish(job, Outcome.INTERRUPTED, counted=False),
    }
    match event:
        case Event.CLAIM:
            return lifecycle.claim(job, NOW, owner="w1", supervisor="w1/0")
        case Event.ADOPT:
            return lifecycle.adopt(job, NOW, owner="w2")
        case Event.ASK_CANCEL | Event.CANCEL:
            return lifecycle.cancel(job, NOW)
        case Event.HOLD:
            return lifecycle.hold(job, NOW)
        case Event.RELEASE:
            return lifecycle.release(job, NOW)
        case Event.REQUEUE:
            return lifecycle.requeue(job, NOW)
        case Event.SKIP:
            return lifecycle.skip(job, NOW, 1)
        case Event.REARM:
            return lifecycle.rearm(job, NOW)
        case Event.EXPIRE:
            return lifecycle.expire(job, NOW)
        case Event.EDIT:
            return lifecycle.edit(job, NOW, job.spec._replace(priority=7))
        case Event.MOVE:
            return lifecycle.move(job, NOW, 7, 0.5)
        case _:
            return running_end[event]()


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_move_is_in_the_table_or_refused(state: State, event: Event) -> None:
    job = job_in(state)
    if (state, event) == (State.RUNNING, Event.CANCEL):
        after = finish(job, Outcome.CANCELLED)  # a running job is only cancelled by its end
    elif event is Event.ASK_CANCEL and state in {State.QUEUED, State.HELD}:
        return  # waiting jobs are cancelled at once
    elif (state, event) not in MOVES:
        with pytest.raises(IllegalMove) as refusal:
            perform(event, job)
        refused = refusal.value.event
        assert str(refusal.value) == f"job 1 is {state}: it can't {PASSIVE.get(refused, refused)}"
        assert refusal.value.hint == HINTS.get((state, refused), "").replace(" ID'", " 1'")
        assert refused is event or event not in PASSIVE
        return
    else:
        after = perform(event, job)
    assert after.state is MOVES[state, event]
    assert after.history[-1].event == event
    assert list(job_problems(after, next_id=2)) == []


def test_a_failure_is_retried_with_doubling_delays_and_then_is_final() -> None:
    job = job_in(State.QUEUED)
    delays = []
    for _ in range(SPEC.retries):
        job = finish(lifecycle.claim(job, NOW, owner="w", supervisor="w/0"), Outcome.EXIT, status=1, jitter=0.0)
        assert job.state is State.QUEUED
        assert job.due is not None
        delays.append(retry.wait(job, NOW))
    assert delays == [1.0, 2.0, 4.0]
    job = finish(lifecycle.claim(job, NOW, owner="w", supervisor="w/0"), Outcome.EXIT, status=1)
    assert job.state is State.FAILED
    assert len(job.attempts) == 4


@pytest.mark.parametrize("status", [126, 127])
def test_some_exit_codes_are_never_retried(status: int) -> None:
    assert finish(job_in(State.RUNNING), Outcome.EXIT, status=status).state is State.FAILED


def test_without_retries_a_started_attempt_never_runs_again() -> None:
    running = job_in(State.RUNNING, SPEC._replace(retries=0))
    for outcome in (Outcome.LOST, Outcome.INTERRUPTED, Outcome.TIMEOUT, Outcome.SIGNAL):
        after = finish(running, outcome, counted=outcome is not Outcome.INTERRUPTED)
        assert after.state is State.FAILED
        assert after.ending is not None
        assert after.ending.outcome is outcome


def test_an_attempt_that_never_started_goes_back_whatever_the_retries() -> None:
    running = job_in(State.RUNNING, SPEC._replace(retries=0))
    assert finish(running, Outcome.INTERRUPTED, counted=False, started_at=None).state is State.QUEUED


def test_handing_back_costs_no_retry() -> None:
    after = finish(job_in(State.RUNNING), Outcome.INTERRUPTED, counted=False)
    assert (after.state, after.retries_used, after.due) == (State.QUEUED, 0, None)


def test_a_job_that_keeps_losing_its_supervisor_fails() -> None:
    job = job_in(State.QUEUED, SPEC._replace(retries=100))
    for _ in range(3):
        assert job.state is State.QUEUED
        job = finish(lifecycle.claim(job, NOW, owner="w", supervisor="w/0"), Outcome.LOST)
    assert (job.state, job.lost) == (State.FAILED, 3)


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        (Ending(Outcome.EXIT, status=0), State.SUCCEEDED),
        (Ending(Outcome.EXIT, status=3), State.FAILED),
        (Ending(Outcome.SIGNAL, signal=9), State.FAILED),
        (Ending(Outcome.CANCELLED, signal=15), State.CANCELLED),
        (Ending(Outcome.LOST), State.CANCELLED),
        (Ending(Outcome.INTERRUPTED, counted=False), State.CANCELLED),
    ],
)
def test_a_cancel_request_keeps_a_real_end_and_prevents_another_run(ending: Ending, state: State) -> None:
    wished = lifecycle.cancel(job_in(State.RUNNING), NOW)
    assert wished.state is State.RUNNING
    assert lifecycle.cancel(wished, NOW) is wished
    assert lifecycle.finish(wished, ending, NOW, 0.5).state is state


def test_requeue_restores_all_retries_and_forgets_the_cancel_request() -> None:
    worn = job_in(State.FAILED)._replace(retries_used=3, lost=2, due=Due.after(NOW, 60), cancel_asked_at=1.0)
    after = lifecycle.requeue(worn, NOW)
    assert (after.state, after.retries_used, after.lost, after.finished_at) == (State.QUEUED, 0, 0, None)
    assert (after.due, after.cancel_asked_at, after.anyone) == (None, None, False)
    assert len(after.attempts) == 1


def test_a_requeued_job_of_a_run_may_be_claimed_by_any_worker() -> None:
    job = job_in(State.FAILED, SPEC._replace(runner="r1"))
    assert job.runner == "r1"
    assert lifecycle.requeue(job, NOW).runner is None


def test_a_job_is_not_requeued_beyond_the_most_attempts() -> None:
    attempts = job_in(State.FAILED).attempts
    job = job_in(State.FAILED)._replace(attempts=attempts * (retry.MOST_ATTEMPTS - 1))
    assert lifecycle.requeue(job, NOW).state is State.QUEUED
    with pytest.raises(Refused, match=f"job 1 was started {retry.MOST_ATTEMPTS} times") as refusal:
        lifecycle.requeue(job._replace(attempts=attempts * retry.MOST_ATTEMPTS), NOW)
    assert refusal.value.hint == "add it again"


@pytest.mark.parametrize("move", [lifecycle.cancel, lambda job, now: lifecycle.skip(job, now, 1), lifecycle.expire])
def test_a_finished_job_is_not_due(move: Callable[[Job, Moment], Job]) -> None:
    assert move(job_in(State.QUEUED)._replace(due=Due.after(NOW, 60)), NOW).due is None


@pytest.mark.parametrize(
    ("ending", "worth"),
    [
        (Ending(Outcome.EXIT, status=1), True),
        (Ending(Outcome.EXIT, status=2), True),
        (Ending(Outcome.EXIT, status=126), False),
        (Ending(Outcome.SIGNAL, signal=9), True),
        (Ending(Outcome.TIMEOUT, signal=15), True),
        (Ending(Outcome.LOST), True),
        (Ending(Outcome.SPAWN_ERROR, status=127), False),
        (Ending(Outcome.CANCELLED, signal=15), False),
    ],
)
def test_hopeless_endings_are_not_worth_a_retry(ending: Ending, worth: bool) -> None:
    assert bool(retry.why_hopeless(SPEC, ending)) is not worth


@pytest.mark.parametrize(
    ("n", "chance", "seconds"),
    [(1, 0.0, 1.0), (3, 0.5, 4.2), (12, 0.0, 2048.0), (13, 0.0, 3600.0), (1999, 0.5, 3780.0)],
)
def test_delays_double_up_to_an_hour_and_jitter_only_adds(n: int, chance: float, seconds: float) -> None:
    assert retry.backoff(SPEC, n, chance) == pytest.approx(seconds)


def test_due_times_hold_across_clock_jumps_and_reboots() -> None:
    due = Due.after(NOW, 60)
    assert due.wait(NOW, 66) == 60
    assert due.wait(NOW._replace(wall=NOW.wall + 3600, boot=NOW.boot + 10), 66) == 50
    assert due.wait(Moment(NOW.wall + 20, 5.0, "next boot"), 66) == 40


YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize("boot_id", ["boot", ""])
@pytest.mark.parametrize("off", [YEARS, -YEARS])
def test_a_wrong_clock_makes_no_retry_wait_longer_than_its_delay(boot_id: str, off: float) -> None:
    """The clock was wrong when the retry was decided and is right now, with and without a reboot."""
    due = Due.after(Moment(NOW.wall + off, NOW.boot, boot_id), 60)
    assert due.wait(Moment(NOW.wall + 10, NOW.boot + 10, boot_id), 66) == 50  # no reboot: never early
    rebooted = Moment(NOW.wall + 20, 5.0, boot_id and "next boot")
    assert due.wait(rebooted, 66) == min(61, off + 40)
    assert due.wait(rebooted._replace(wall=NOW.wall + 82, boot=67.0), 66) <= 0


def test_a_boot_clock_of_another_container_makes_no_retry_wait_longer() -> None:
    """The boot is the same, but its clock is a day behind or ahead of the earlier reading."""
    due = Due.after(NOW, 60)
    assert due.wait(NOW._replace(wall=NOW.wall + 20, boot=NOW.boot - 86_400), 66) == 40
    assert due.wait(NOW._replace(wall=NOW.wall + 60, boot=NOW.boot - 86_400), 66) == 0
    assert due.wait(Moment(NOW.wall - YEARS, NOW.boot - 86_400, NOW.boot_id), 66) == 0  # neither clock can be right
    assert due.wait(NOW._replace(boot=NOW.boot + 86_400), 66) <= 0


def test_a_clock_read_before_the_decision_does_not_count_as_wrong() -> None:
    """Another worker read the clocks, and then waited for the store."""
    due = Due.after(NOW, 60)
    assert due.wait(Moment(NOW.wall - 10, NOW.boot - 10, NOW.boot_id), 60) == 70


@given(
    delay=st.floats(0.1, 4_000), passed=st.floats(0, 10_000), since_boot=st.floats(0, 10_000),
    then=st.floats(-YEARS, YEARS), off=st.floats(-YEARS, YEARS), reboots=st.booleans(), ids=st.booleans(),
)  # fmt: skip
def test_a_wrong_wall_clock_makes_no_retry_late_or_early_in_one_boot(
    delay: float, passed: float, since_boot: float, then: float, off: float, *, reboots: bool, ids: bool
) -> None:
    due = Due.after(Moment(NOW.wall + then, NOW.boot, "a" if ids else ""), delay)
    if reboots:
        since_boot = min(since_boot, passed)
        now = Moment(NOW.wall + passed + off, since_boot, "b" if ids else "")
    else:
        now = Moment(NOW.wall + passed + off, NOW.boot + passed, "a" if ids else "")
    wait = due.wait(now, delay)
    assert wait <= delay + STALE
    if not reboots:
        assert wait == pytest.approx(delay - passed, abs=1e-6)
    elif ids:
        assert wait <= delay - since_boot


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (Ending(Outcome.EXIT, status=3), 3),
        (Ending(Outcome.SIGNAL, signal=9), 137),
        (Ending(Outcome.TIMEOUT, signal=15), 124),
        (Ending(Outcome.SPAWN_ERROR, status=127), 127),
        (Ending(Outcome.LOST), 125),
    ],
)
def test_exit_codes_are_those_that_a_shell_would_give(ending: Ending, code: int) -> None:
    job = job_in(State.RUNNING, SPEC._replace(retries=0))
    assert lifecycle.finish(job, ending, NOW, 0.5).exit_code == code
    assert job_in(State.CANCELLED).exit_code == 125
    assert job_in(State.SUCCEEDED).exit_code == 0


def test_an_attempt_belongs_to_the_worker_that_adopted_it() -> None:
    after = lifecycle.adopt(job_in(State.RUNNING), NOW, owner="w2")
    assert after.attempts[-1] == Attempt(1, "w2", "w1/0", NOW.wall, NOW.boot_id)
    retried = finish(job_in(State.RUNNING), Outcome.EXIT, status=1)
    second = lifecycle.claim(retried, NOW, owner="w1", supervisor="w1/0")
    assert lifecycle.adopt(second, NOW, owner="w2").attempts[:-1] == retried.attempts
