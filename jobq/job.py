"""The domain on one page: jobs, their attempts, and their states.

A job is a value. `Spec` holds its options, is shared by all jobs of one bulk add, and never changes. `Job` holds what
has happened to one job. An `Attempt` is one run of it, and an `Ending` tells why that run is over. State and outcome
are separate: *failed* is a state, *exit 3* is the reason.
"""

from __future__ import annotations

from enum import StrEnum

from jobq.command import Call, Command, Record
from jobq.exit_codes import BY_SIGNAL, NOT_ITS_OWN, TIMEOUT
from jobq.moment import Due, Moment
from jobq.typed import NamedTuple


class State(StrEnum):
    """The stored states. Why a queued job waits is derived (`order.why_waiting`), never stored."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        """True if nothing more happens by itself."""
        return self not in UNFINISHED


UNFINISHED = (State.QUEUED, State.HELD, State.RUNNING)  # no set: the hash of a member is computed in Python


class Outcome(StrEnum):
    """The reason why one attempt is over."""

    EXIT = "exit"  # by itself; `status` is its exit status
    SIGNAL = "signal"  # killed by `signal`, not by jobq
    TIMEOUT = "timeout"  # jobq killed it at its time limit
    IDLE_TIMEOUT = "idle_timeout"  # jobq killed it because it had printed nothing for so long
    CANCELLED = "cancelled"  # jobq killed it because a person asked
    INTERRUPTED = "interrupted"  # jobq killed it because its worker was stopping, or never started it
    SPAWN_ERROR = "spawn_error"  # it could not be started; `error` says why
    LOST = "lost"  # its supervisor died: how it ended can't be known


class Spec(NamedTuple):
    """The options of a job, apart from its command. Times are seconds."""

    cwd: str
    env: str  # sha256 of the captured environment, a file of the store
    umask: int = 0o022
    queue: str = "default"
    priority: int = 0  # higher first
    retries: int = 3  # attempts after the first
    backoff: str = "exp:1..3600"  # the delays before retries (rules/policies.py)
    jitter: str = "10%"
    retry_on: str | None = None  # the only endings that are retried
    no_retry_on: str | None = None
    success_codes: str = "0"
    max_lost: int = 3  # a job whose supervisor died this often counts as the cause
    timeout: float | None = None
    idle_timeout: float | None = None
    grace: float = 10.0  # time between SIGTERM and SIGKILL
    log_max: int = 256 << 20  # bytes of output to keep of each attempt
    at: float | None = None  # not before this instant of the wall clock
    delay: float | None = None  # not before so much has passed since `asked`
    expires: float | None = None  # it leaves if it has not started so long after `asked`
    after: tuple[int, ...] = ()  # jobs that must have succeeded before it starts
    after_any: tuple[int, ...] = ()  # ... must be finished
    after_fail: tuple[int, ...] = ()  # ... must be finished without success
    key: str | None = None  # its identity; else that is what it runs, and where
    once: bool = False  # added only if no job of this identity is unfinished or has succeeded
    unique: bool = False  # ... is unfinished
    key_ttl: float = 604800.0  # seconds that a success answers for its identity
    locks: tuple[str, ...] = ()  # names; it holds them while it runs, alone
    needs: tuple[tuple[str, int], ...] = ()  # resources, and how much of each
    slots: int = 1  # of its worker
    labels: tuple[tuple[str, str], ...] = ()
    meta: str | None = None  # JSON
    stdin: str | None = None  # a file
    on_success: str | None = None  # lines for the shell, when it ends: hooks (rules/hooks.py)
    on_failure: str | None = None
    on_finish: str | None = None
    notify: bool = False
    ping: str | None = None  # a URL
    pty: bool = False  # it has a terminal
    stderr: str | None = None  # a file, or "apart": a log of its own; None: the log of stdout
    name: str | None = None
    isolation: str = "process"  # a call: a process of its own, or a "warm" one
    runner: str | None = None  # token of the only worker that may run it (`jobq run`), as long as not `anyone`
    asked: Moment | None = None  # from when `delay` and `expires` count
    vars: tuple[tuple[str, str], ...] = ()  # variables on top of `env`, by name (environment.PASSED_ON)
    extra: Record | None = None  # keys of later versions


class Ending(NamedTuple):
    """The end of one attempt, as its supervisor saw it. Wall-clock seconds, CPU seconds, KiB, bytes."""

    outcome: Outcome
    status: int | None = None
    signal: int | None = None
    error: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    user_s: float = 0.0
    system_s: float = 0.0
    max_rss_kib: int = 0  # 0: not known
    log_bytes: int = 0  # dropped ones included
    log_dropped: int = 0
    counted: bool = True  # uses up a retry
    permanent: bool = False  # the same call can only end the same way: it is not retried, and `error` says why
    wanted: bool = False  # it asked for another attempt itself
    after: float | None = None  # seconds that it wants to wait before that
    result: str | None = None  # of a call, as JSON: {"result": ...}; None: it is in a file, if there is one
    replaced: str | None = None  # why the warm process that made the call made no more: "it changed the umask"
    extra: Record | None = None

    @property
    def seconds(self) -> float | None:
        """The time that it ran; None if that is not known."""
        if self.started_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.started_at)

    @property
    def never_started(self) -> bool:
        """True if the attempt never started, for reasons that are not the job's own."""
        return not self.counted and self.started_at is None

    @property
    def snoozed(self) -> bool:
        """True if it asked to be started again later, which is no failure."""
        return self.wanted and not self.counted

    @property
    def exit_code(self) -> int:
        """The exit code that a shell would report; 124 for a timeout as in timeout(1), 125 where jobq is the cause."""
        match self.outcome:
            case Outcome.EXIT | Outcome.SPAWN_ERROR:
                return self.status if self.status is not None else NOT_ITS_OWN
            case Outcome.SIGNAL:
                return BY_SIGNAL + (self.signal or 0)
            case Outcome.TIMEOUT | Outcome.IDLE_TIMEOUT:
                return TIMEOUT
            case _:
                return NOT_ITS_OWN

    def __str__(self) -> str:
        if self.snoozed:
            return f"snoozed: {self.error}"
        match self.outcome:
            case Outcome.EXIT:
                return f"exit {self.status}: {self.error}" if self.error else f"exit {self.status}"
            case Outcome.SIGNAL:
                return f"signal {self.signal}"
            case Outcome.SPAWN_ERROR:
                return f"could not start: {self.error}"
            case _:
                return f"{self.outcome}: {self.error}" if self.error else str(self.outcome)


class Attempt(NamedTuple):
    """One run of a job. `owner`: the worker that answers for it; `supervisor` ("token/slot"): the process beside it."""

    n: int
    owner: str
    supervisor: str
    claimed_at: float
    boot_id: str = ""
    ending: Ending | None = None
    given: tuple[tuple[str, tuple[int, ...]], ...] = ()  # indices of the resources that it needs
    extra: Record | None = None

    @property
    def began_at(self) -> float:
        """The time of its start; of its claim, as long as no more is known."""
        known = self.ending.started_at if self.ending is not None else None
        return self.claimed_at if known is None else known

    def ended_at(self, now: float) -> float:
        """Return the time of its end; `now` if it runs."""
        if self.ending is None:
            return max(now, self.began_at)
        return self.began_at if self.ending.ended_at is None else max(self.ending.ended_at, self.began_at)

    @property
    def handle(self) -> str:
        """The name by which its engine finds it: "token/slot" for the local one, else "engine:..."."""
        return self.supervisor


class Step(NamedTuple):
    """One line of a job's history."""

    event: str
    at: float


class Job(NamedTuple):
    """One job and what has happened to it. `history` starts after the add, whose time is `added_at`."""

    id: int
    spec: Spec
    command: Command
    added_at: float
    state: State = State.QUEUED
    retries_used: int = 0
    lost: int = 0
    due: Due | None = None  # not before (backoff)
    cancel_asked_at: float | None = None  # a request; only the owner of the process records the end
    finished_at: float | None = None
    acknowledged: int = 0  # the number of attempts when a person acknowledged the failure
    skipped_for: int | None = None  # the job whose end ruled it out, directly or through others
    skips: bool = False  # others were skipped because of it
    place: float | None = None  # among those of its priority, in the place of its id
    anyone: bool = False  # requeued by hand: it belongs to no `jobq run` any more
    attempts: tuple[Attempt, ...] = ()
    history: tuple[Step, ...] = ()
    extra: Record | None = None  # keys of later versions that change with the job
    more: Record | None = None  # ... and those that stay

    @property
    def runner(self) -> str | None:
        """The token of the only worker that may run it; None: any worker may."""
        return None if self.anyone else self.spec.runner

    @property
    def call(self) -> Call | None:
        """The function that it calls; None for a shell line or an argv."""
        return self.command if isinstance(self.command, Call) else None

    @property
    def has_started(self) -> bool:
        """True if it has run, or was claimed to run."""
        last = self.attempts[-1].ending if self.attempts else None
        return len(self.attempts) > 1 or (bool(self.attempts) and (last is None or not last.never_started))

    @property
    def not_before(self) -> Due | None:
        """The moment that it waits for: that of its retry, or the one that was asked for its first start."""
        if self.due is not None or self.has_started:
            return self.due
        if self.spec.at is not None:
            return Due.at(self.spec.at)
        return self._after(self.spec.delay)

    @property
    def deadline(self) -> Due | None:
        """The moment when it expires, so long after it may start, unless it has started once or is finished."""
        spec = self.spec
        if spec.expires is None or self.has_started or self.state.final:
            return None
        return (
            Due.at(spec.at + spec.expires) if spec.at is not None else self._after((spec.delay or 0.0) + spec.expires)
        )

    def _after(self, seconds: float | None) -> Due | None:
        asked = self.spec.asked
        return Due.after(asked, seconds) if seconds is not None and asked is not None else None

    @property
    def is_open_failure(self) -> bool:
        """True if it has failed, and nobody has requeued, removed or acknowledged it."""
        return self.state is State.FAILED and self.acknowledged < len(self.attempts)

    @property
    def running(self) -> Attempt | None:
        """The running attempt, or None."""
        return self.attempts[-1] if self.state is State.RUNNING else None

    @property
    def ending(self) -> Ending | None:
        """The ending of the latest finished attempt, or None."""
        for attempt in reversed(self.attempts):
            if attempt.ending is not None:
                return attempt.ending
        return None

    @property
    def seconds(self) -> float | None:
        """The run time of the latest finished attempt; None if it is not known."""
        return self.ending.seconds if self.ending is not None else None

    @property
    def exit_code(self) -> int:
        """The exit code of `jobq run` and `jobq wait` for this one job, once it is finished."""
        if self.state is State.SUCCEEDED:
            return 0
        if self.state is State.FAILED and self.ending is not None:
            return self.ending.exit_code or NOT_ITS_OWN
        return NOT_ITS_OWN
