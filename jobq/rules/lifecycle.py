"""The legal moves of a job: one table, and one named function for each move.

A function takes the job and exactly the facts that the move needs, and returns the job after it. A move that the table
does not list raises `IllegalMove`. Nothing here knows files, clocks or processes.
"""

from __future__ import annotations

from enum import StrEnum

from jobq.command import Command
from jobq.errors import Refused
from jobq.job import Attempt, Ending, Job, Outcome, Spec, State, Step
from jobq.moment import Due, Moment
from jobq.rules import retry


class Event(StrEnum):
    """The events that can happen to a job; its history uses these words."""

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
    REARM = "rearm"
    SKIP = "skip"
    EXPIRE = "expire"
    EDIT = "edit"
    MOVE = "move"


Q, H, R = State.QUEUED, State.HELD, State.RUNNING
MOVES: dict[tuple[State, Event], State] = {
    (Q, Event.CLAIM): R,
    (Q, Event.HOLD): H,
    (H, Event.RELEASE): Q,
    (Q, Event.CANCEL): State.CANCELLED,
    (H, Event.CANCEL): State.CANCELLED,
    (Q, Event.EDIT): Q,
    (H, Event.EDIT): H,
    (Q, Event.MOVE): Q,
    (H, Event.MOVE): H,
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
    (State.SKIPPED, Event.REARM): Q,
}


class WrongState(Refused):
    """A request that the job's state does not allow."""

    def __init__(self, job: Job, what: str, hint: str = "") -> None:
        super().__init__(f"job {job.id} is {job.state}: it can't {what}", hint)
        self.job = job


class IllegalMove(WrongState):
    """An event that the table of moves does not list for this state."""

    def __init__(self, job: Job, event: Event) -> None:
        hint = HINTS.get((job.state, event), "").replace(" ID'", f" {job.id}'")
        super().__init__(job, PASSIVE.get(event, event), hint)
        self.event = event


PASSIVE = {
    Event.CANCEL: "be cancelled",
    Event.REQUEUE: "be requeued",
    Event.HOLD: "be held",
    Event.RELEASE: "be released",
    Event.EDIT: "be edited",
    Event.MOVE: "be moved",
}
HINTS = {
    (Q, Event.REQUEUE): "it is waiting already",
    (H, Event.REQUEUE): "it is waiting already, held by hand",
    (R, Event.REQUEUE): "cancel it first, or wait until it is over",
    (State.SUCCEEDED, Event.REQUEUE): "'jobq again ID' runs it once more",
    (R, Event.EDIT): "cancel it, then 'jobq again ID' runs it with other options",
    (R, Event.MOVE): "only a waiting job has a place among others",
    **{(state, Event.MOVE): "it has ended; only a waiting job has a place" for state in State if state.final},
    (R, Event.HOLD): "only a waiting job can be held",
    (Q, Event.RELEASE): "it is not held",
    (H, Event.HOLD): "it is held already",
    **{(state, Event.CANCEL): "it has ended" for state in State if state.final},
    **{(state, Event.HOLD): "it has ended; only a waiting job can be held" for state in State if state.final},
    **{(state, Event.EDIT): "'jobq again ID' runs it with other options" for state in State if state.final},
    (State.SUCCEEDED, Event.EDIT): "'jobq again ID' runs it once more, with other options",
    (State.SKIPPED, Event.EDIT): "requeue the job that it was skipped for; then edit it",
}


def _move(job: Job, event: Event, now: Moment, **changes: object) -> Job:
    state = MOVES.get((job.state, event))
    if state is None:
        raise IllegalMove(job, event)
    finished_at = now.wall if state.final else None
    step = Step(event.value, now.wall)
    fields = {"state": state, "finished_at": finished_at, "history": (*job.history, step), **changes}
    return job._replace(**fields)  # type: ignore[arg-type]  # one place that knows all fields


def claim(
    job: Job,
    now: Moment,
    *,
    owner: str,
    supervisor: str,
    given: tuple[tuple[str, tuple[int, ...]], ...] = (),
) -> Job:
    """Claim the job for one attempt. If the last attempt was never started, this one replaces it, with its number.

    `given`: the indices of the resources that it needs.
    """
    made = job.attempts
    if made and made[-1].ending is not None and made[-1].ending.never_started:
        made = made[:-1]
    attempt = Attempt(len(made) + 1, owner, supervisor, now.wall, now.boot_id, given=given)
    return _move(job, Event.CLAIM, now, attempts=(*made, attempt), due=None)


def finish(job: Job, ending: Ending, now: Moment, chance: float) -> Job:
    """End the running attempt: the job has succeeded, failed, was cancelled, is retried, or is handed back.

    `chance` in [0, 1) decides the jitter in the delay of a retry, which is stored with the decision.
    """
    if job.state is not State.RUNNING:
        raise IllegalMove(job, Event.FAIL)
    lost = job.lost + (ending.outcome is Outcome.LOST)
    left = retry.attempts_left(job)
    ended = {"attempts": (*job.attempts[:-1], job.attempts[-1]._replace(ending=ending)), "lost": lost}
    if retry.is_success(job.spec, ending) and not (ending.wanted or ending.permanent):
        return _move(job, Event.SUCCEED, now, **ended)
    if ending.outcome is Outcome.CANCELLED:
        return _move(job, Event.CANCEL, now, **ended)
    if job.cancel_asked_at is not None:
        ours = ending.outcome in {Outcome.LOST, Outcome.INTERRUPTED} or not ending.counted
        return _move(job, Event.CANCEL if ours else Event.FAIL, now, **ended)
    # Cut short by jobq, or never started: with retries left it uses none. Without, a job that has run never runs again.
    full = len(job.attempts) >= retry.MOST_ATTEMPTS
    if ending.snoozed and not full:
        return _move(job, Event.HAND_BACK, now, **ended, due=Due.after(now, ending.after or 0.0))
    if ending.never_started or (not ending.counted and not full and left):
        return _move(job, Event.HAND_BACK, now, **ended)
    if left and not retry.why_hopeless(job.spec, ending, lost):
        used = job.retries_used + 1
        due = Due.after(now, ending.after if ending.after is not None else retry.backoff(job.spec, used, chance))
        return _move(job, Event.RETRY, now, **ended, retries_used=used, due=due)
    return _move(job, Event.FAIL, now, **ended)


def adopt(job: Job, now: Moment, *, owner: str) -> Job:
    """Let another worker answer for the running attempt from now on."""
    if not job.attempts:
        raise IllegalMove(job, Event.ADOPT)
    attempts = (*job.attempts[:-1], job.attempts[-1]._replace(owner=owner))
    return _move(job, Event.ADOPT, now, attempts=attempts)


def cancel(job: Job, now: Moment) -> Job:
    """Cancel the job: at once if it only waits, else as a request that its owner carries out."""
    if job.state is State.SKIPPED and job.history[-1:] == (Step(Event.SKIP.value, now.wall),):
        return job  # the same change has cancelled what it is after
    if job.state is State.RUNNING:
        if job.cancel_asked_at is not None:
            return job
        return _move(job, Event.ASK_CANCEL, now, cancel_asked_at=now.wall)
    return _move(job, Event.CANCEL, now, due=None)


def hold(job: Job, now: Moment) -> Job:
    """Hold a queued job, so that it does not start."""
    if job.runner is not None:
        raise Refused(f"job {job.id} belongs to a 'jobq run', which waits for it", "'jobq pause' holds a whole queue")
    return _move(job, Event.HOLD, now)


def release(job: Job, now: Moment) -> Job:
    """Release a held job."""
    return _move(job, Event.RELEASE, now)


def edit(job: Job, now: Moment, spec: Spec, command: Command | None = None) -> Job:
    """Change the options of a waiting job, and its command (None: as it is)."""
    command = job.command if command is None else command
    place = job.place if spec.priority == job.spec.priority else None  # it has none among those of another priority
    edited = _move(job, Event.EDIT, now, spec=spec, command=command, place=place)
    return job if (spec, command) == (job.spec, job.command) else edited


def move(job: Job, now: Moment, priority: int, place: float) -> Job:
    """Give a waiting job another place among those that wait."""
    return _move(job, Event.MOVE, now, spec=job.spec._replace(priority=priority), place=place)


def requeue(job: Job, now: Moment) -> Job:
    """Requeue a finished job by hand, with all its retries. One that was rearmed by the same change stays as it is."""
    if job.state in {Q, H} and Step(Event.REARM.value, now.wall) in job.history[-2:]:
        return job
    if len(job.attempts) >= retry.MOST_ATTEMPTS:
        raise Refused(f"job {job.id} was started {len(job.attempts)} times, which is the limit", "add it again")
    return _move(
        job,
        Event.REQUEUE,
        now,
        retries_used=0,
        lost=0,
        due=None,
        cancel_asked_at=None,
        anyone=job.spec.runner is not None,
        skipped_for=None,
        skips=False,
        spec=_anew(job.spec, now),
    )


def _anew(spec: Spec, now: Moment) -> Spec:
    """Let the time in which a job has to start begin anew."""
    return spec._replace(asked=now) if spec.expires is not None else spec


def acknowledge(job: Job, _now: Moment) -> Job:
    """Record that a person knows of the failure. This is no move: the job stays failed."""
    if job.state is not State.FAILED:
        raise WrongState(job, "be acknowledged", "only a failed job can")
    if not job.is_open_failure:
        return job
    return job._replace(acknowledged=len(job.attempts))


def skip(job: Job, now: Moment, cause: int) -> Job:
    """Skip the job: the end of the job `cause` rules it out, directly or through others."""
    return _move(job, Event.SKIP, now, due=None, skipped_for=cause)


def rearm(job: Job, now: Moment) -> Job:
    """Let a skipped job wait again, as the job that had ruled it out does; one that was held is held again."""
    again = _move(job, Event.REARM, now, skipped_for=None, spec=_anew(job.spec, now))
    return hold(again, now) if _was_held(job) else again


def _was_held(job: Job) -> bool:
    """Return True if nobody has released a job since it was held."""
    asked = (step.event for step in reversed(job.history) if step.event in {Event.HOLD, Event.RELEASE, Event.REQUEUE})
    return next(asked, None) == Event.HOLD


def expire(job: Job, now: Moment) -> Job:
    """Expire the job: it had not started in time."""
    return _move(job, Event.EXPIRE, now, due=None)
