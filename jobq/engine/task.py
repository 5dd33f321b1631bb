"""The data that workers and engines exchange about attempts. It knows no store."""

from __future__ import annotations

from jobq.job import Attempt, Ending, Job, Outcome
from jobq.typed import NamedTuple

NOT_STARTED = Ending(Outcome.INTERRUPTED, error="it was not started", counted=False)


class Key(NamedTuple):
    """One attempt of one job."""

    job_id: int
    n: int


class Trace(NamedTuple):
    """The facts that identify an attempt, even if its worker and its supervisor are dead."""

    key: Key
    attempt: Attempt
    mark: int  # that all its processes carry
    log: str
    added_at: float = 0.0  # tells the job from one that has its number since a backup was restored

    def is_of(self, job: Job) -> bool:
        """Return True if this is an attempt of the job that the job does not know of."""
        return job.added_at == self.added_at and self.key.n > len(job.attempts)


class Task(NamedTuple):
    """Everything that is needed to run one attempt. Seconds; absolute paths; text is UTF-8, as supervisors read it."""

    trace: Trace
    command: str | tuple[str, ...]  # a shell line or an argv
    cwd: str
    umask: int
    env_file: str
    variables: dict[str, str]  # on top of the environment
    stdin: str | None  # a file
    stderr: str | None  # a file; None: the log
    apart: bool  # that file is a log, too, and limited like the other
    timeout: float | None
    idle_timeout: float | None
    grace: float
    log_max: int  # bytes
    boot_id: str
    once: bool  # it must not be started again, whatever happens
    result: str | None  # where a function leaves what it returned
    call: dict[str, object] | None  # what a warm process is given; the command starts that process then
    followed: bool  # a reader follows the log, and must miss nothing


class Ended(NamedTuple):
    """An attempt is over."""

    key: Key
    ending: Ending


class Found(NamedTuple):
    """The fate of an attempt whose worker is dead: it `runs`, or has an `ending`, or nobody can tell."""

    runs: bool = False
    ending: Ending | None = None
