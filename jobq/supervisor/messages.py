"""The messages between a worker and its supervisors; both sides read and write them with these functions.

Supervisors may run on an older Python (3.8) than workers: this file and its neighbours keep to what that reads.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    class JobMessage(TypedDict):
        """A job, as a line of JSON on standard input. Seconds, bytes, absolute paths."""

        id: int
        n: int  # of the attempt
        claim: float  # when it was claimed: tells two claims of one attempt apart
        command: str | list[str] | tuple[str, ...]  # a line for /bin/sh, or a program and its arguments
        cwd: str
        umask: int
        env: str  # the file with the environment
        set: dict[str, str]  # variables on top of it
        log: str
        stdin: str | None  # the file that it reads from, or INHERITED and a descriptor; none: it has no input
        stderr: str | None  # the file that its stderr is appended to; none: the log
        apart: bool  # that file is a log, too, and limited like the other
        timeout: float | None
        idle_timeout: float | None  # without output
        grace: float
        log_max: int
        boot: str  # id of this boot
        once: bool  # it must never be started again
        followed: bool  # a reader follows the log: drop nothing that it has not read
        mark: int
        result: str | None  # the file that gets the result of a function
        call: dict[str, object] | None  # for a warm process: the function, the call and the file for the result
        first: bool  # the endings of all jobs before it are recorded
        line: NotRequired[bytes]  # all of this, as it came

    class Ending(TypedDict, total=False):
        """The ending of an attempt; see job.Ending."""

        outcome: str
        status: int
        signal: int
        error: str
        user_s: float
        system_s: float
        max_rss_kib: int
        log_bytes: int
        log_dropped: int
        counted: bool
        permanent: bool
        wanted: bool
        after: float
        result: str
        replaced: str


def key_of(job: JobMessage) -> dict[str, int | float]:
    """Return what identifies a claim of an attempt, as every record of it does."""
    return {"id": job["id"], "n": job["n"], "claim": job["claim"]}


INHERITED = "fd:"  # before the number of a descriptor that the supervisor got; no path of a job begins so


class Order:
    """One order, as a line in K.ctl. `id` and `n` name an attempt, 0 none; `number`: seconds, or an offset in bytes."""

    def __init__(self, kind: str, job_id: int = 0, n: int = 0, number: float = 0.0) -> None:
        self.kind = kind
        self.id = job_id
        self.n = n
        self.number = number


KINDS = ("cancel", "stop", "suspend", "continue", "read", "read-errors", "return", "stopping")


def cancel_order(job_id: int, n: int) -> str:
    """End the attempt as cancelled."""
    return f"cancel {job_id} {n}"


def stop_order(job_id: int, n: int, grace: float) -> str:
    """End the attempt as interrupted, with KILL `grace` seconds after TERM."""
    return f"stop {job_id} {n} {grace}"


def suspend_order(job_id: int, n: int, *, suspend: bool) -> str:
    """Stop all processes of the attempt (SIGSTOP), or let them go on."""
    return f"{'suspend' if suspend else 'continue'} {job_id} {n}"


def read_order(job_id: int, n: int, end: int, *, stderr: bool = False) -> str:
    """The follower of the log (or of that of stderr) has it up to this byte."""
    return f"read{'-errors' if stderr else ''} {job_id} {n} {end}"


RETURN_ORDER = "return"  # give back the jobs that wait behind the running one
STOPPING_ORDER = "stopping"  # the worker was asked to stop


def parse_order(line: str) -> Order | None:
    """Return the order of a line; None for one that this version does not know."""
    words = line.split()
    if not words or words[0] not in KINDS or len(words) > 4:
        return None
    try:
        numbers = [int(word) for word in words[1:3]]
        return Order(words[0], *numbers, *(float(word) for word in words[3:]))
    except ValueError:
        return None
