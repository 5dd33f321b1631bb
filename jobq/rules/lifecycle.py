"""Every legal move of a job, as one table and one named function a move.

A function takes the job and exactly the facts that the move needs, and returns the job after it; whatever the table
does not list raises `IllegalMove`. Nothing here knows files, clocks or processes.
"""

from __future__ import annotations

from enum import StrEnum

from jobq.errors import Refused
from jobq.job import Attempt, Due, Ending, Job, Moment, Outcome, State, Step
from jobq.rules import retry


class Event(StrEnum):
    """What can happen to a job; the words of its history."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    HAND_BACK = "hand back"
    ADOPT = "adopt"
    ASK_CANCEL = "ask cancel"
    CANCEL = "cancel"
    HOLD = "hold"
    RELEASE = "release"
    REQUEUE = "requeue"
    SKIP = "skip"
    EXPIRE = "expire"


Q, H, R = State.QUEUED, State.HELD, State.RUNNING
MOVES: dict[tuple[State, Event], State] = {
    (Q, Event.CLAIM): R,
    (Q, Event.HOLD): H,
    (H, Event.RELEASE): Q,
    (Q, Event.CANCEL): State.CANCELLED,
    (H, Event.CANCEL): State.CANCELLED,
    (Q, Event.EXPIRE): State.EXPIRED,
    (H, Event.EXPIRE): State.EXPIRED,
    (Q, Event.SKIP): State.SKIPPED,
    (H, Event.SKIP): State.SKIPPED,
    (R, Event.SUCCEED): State.SUCCEEDED,
    (R, Event.FAIL): State.FAILED,
    (R, Event.CANCEL): State.CANCELLED,
    (R, Event.RETRY): Q,
    (R, Event.HAND_BACK): Q,
    (R, Event.ADOPT): R,
    (R, Event.ASK_CANCEL): R,
    (State.FAILED, Event.REQUEUE): Q,
    (State.CANCELLED, Event.REQUEUE): Q,
    (State.SKIPPED, Event.REQUEUE): Q,
    (State.EXPIRED, Event.REQUEUE): Q,
}


class WrongState(Refused):
    """The job's state does not allow this."""

    def __init__(self, job: Job, what: str, hint: str = "") -> None:
        super().__init__(f"job {job.id} is {job.state}: it can't {what}", hint)
        self.job = job


class IllegalMove(WrongState):
    """The table of moves has nothing for this state and this event."""

    def __init__(self, job: Job, event: Event) -> None:
        super().__init__(job, PASSIVE.get(event, event), HINTS.get((job.state, event), ""))
        self.event = event


PASSIVE = {
    Event.CANCEL: "be cancelled",
    Event.REQUEUE: "be requeued",
    Event.HOLD: "be held",
    Event.RELEASE: "be released",
}
HINTS = {
    (Q, Event.REQUEUE): "it is waiting already",
    (H, Event.REQUEUE): "it is waiting already, held by hand",
    (R, Event.REQUEUE): "cancel it first, or wait until it is over",
    (State.SUCCEEDED, Event.REQUEUE): "add it again to run it once more",
}


def _move(job: Job, event: Event, now: Moment, **changes: object) -> Job:
    state = MOVES.get((job.state, event))
    if state is None:
        raise IllegalMove(job, event)
    finished_at = now.wall if state.final else None
    step = Step(event.value, now.wall)
    fields = {"state": state, "finished_at": finished_at, "history": (*job.history, step), **changes}
    return job._replace(**fields)  # type: ignore[arg-type]  # one place that knows all fields


def claim(job: Job, now: Moment, *, owner: str, supervisor: str) -> Job:
    """A worker takes it for one attempt; one that was never started is made again, under its number."""
    made = job.attempts
    if made and made[-1].ending is not None and made[-1].ending.never_started:
        made = made[:-1]
    attempt = Attempt(len(made) + 1, owner, supervisor, now.wall, now.boot_id)
    return _move(job, Event.CLAIM, now, attempts=(*made, attempt), due=None)


def finish(job: Job, ending: Ending, now: Moment, jitter: float) -> Job:
    """Its attempt is over: succeeded, failed, cancelled, back for a retry, or handed back.

    `roll` in [0, 1) decides the jitter of a retry's delay, which is stored with the decision.
    """
    if job.state is not State.RUNNING:
        raise IllegalMove(job, Event.FAIL)
    lost = job.lost + (ending.outcome is Outcome.LOST)
    left = retry.attempts_left(job)
    ended = {"attempts": (*job.attempts[:-1], job.attempts[-1]._replace(ending=ending)), "lost": lost}
    if ending.succeeded:
        return _move(job, Event.SUCCEED, now, **ended)
    if ending.outcome is Outcome.CANCELLED:
        return _move(job, Event.CANCEL, now, **ended)
    if job.cancel_asked_at is not None:
        ours = ending.outcome in {Outcome.LOST, Outcome.INTERRUPTED} or not ending.counted
        return _move(job, Event.CANCEL if ours else Event.FAIL, now, **ended)
    # Cut short by us, or never started: with retries left it costs none. Without, what has run is never run again.
    full = len(job.attempts) >= retry.MOST_ATTEMPTS
    if ending.never_started or (not ending.counted and not full and left):
        return _move(job, Event.HAND_BACK, now, **ended)
    if left and not retry.why_hopeless(ending, lost):
        used = job.retries_used + 1
        due = Due.after(now, retry.backoff(used, jitter))
        return _move(job, Event.RETRY, now, **ended, retries_used=used, due=due)
    return _move(job, Event.FAIL, now, **ended)


def adopt(job: Job, now: Moment, *, owner: str) -> Job:
    """Another worker answers for the running attempt from now on."""
    if not job.attempts:
        raise IllegalMove(job, Event.ADOPT)
    attempts = (*job.attempts[:-1], job.attempts[-1]._replace(owner=owner))
    return _move(job, Event.ADOPT, now, attempts=attempts)


def cancel(job: Job, now: Moment) -> Job:
    """A person wants it to end: at once if it only waits, else as a wish that its owner carries out."""
    if job.state is State.RUNNING:
        if job.cancel_asked_at is not None:
            return job
        return _move(job, Event.ASK_CANCEL, now, cancel_asked_at=now.wall)
    return _move(job, Event.CANCEL, now, due=None)


def hold(job: Job, now: Moment) -> Job:
    """A person keeps it from starting."""
    return _move(job, Event.HOLD, now)


def release(job: Job, now: Moment) -> Job:
    """A person lets a held job go on."""
    return _move(job, Event.RELEASE, now)


def requeue(job: Job, now: Moment) -> Job:
    """A person gives a finished job its retries back and another turn."""
    if len(job.attempts) >= retry.MOST_ATTEMPTS:
        raise Refused(f"job {job.id} was started {len(job.attempts)} times, which is the most", "add it again")
    return _move(
        job,
        Event.REQUEUE,
        now,
        retries_used=0,
        lost=0,
        due=None,
        cancel_asked_at=None,
        anyone=job.spec.runner is not None,
    )


def acknowledge(job: Job, _now: Moment) -> Job:
    """A person knows that it failed, and leaves it at that; no move: it stays what it is."""
    if job.state is not State.FAILED:
        raise WrongState(job, "be acknowledged", "only what has failed can")
    if not job.is_open_failure:
        return job
    return job._replace(acknowledged=len(job.attempts))


def skip(job: Job, now: Moment) -> Job:
    """What it depends on can't succeed any more."""
    return _move(job, Event.SKIP, now, due=None)


def expire(job: Job, now: Moment) -> Job:
    """It had not started by the time it was wanted."""
    return _move(job, Event.EXPIRE, now, due=None)
