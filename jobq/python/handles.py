"""Handles of jobs for Python code, each with the job as it was when it was last looked at."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from jobq.job import Attempt, Ending, Job, State
from jobq.python import conversion, plain
from jobq.python.results import Result, returned

R = TypeVar("R")
MOST_LOG = 1 << 20  # bytes of output


class Poll(Protocol):
    """The rhythm of a wait."""

    def next(self) -> float:
        """Return the seconds until the next look."""

    def has_changed(self) -> bool:
        """Return True if there is something new."""

    def is_time_to_check(self) -> bool:
        """Return True about once a second."""

    def recover(self, job_ids: Sequence[int]) -> bool:
        """Recover these jobs if their worker is dead."""


class Source(Protocol):
    """The queue of a job, as far as a handle needs it."""

    @property
    def path(self) -> str:
        """The directory of the store."""

    def job(self, job_id: int) -> Job:
        """Return the job of that id."""

    def wait_all(self, job_ids: Sequence[int], timeout: float | None = None) -> list[Job]:
        """Return the jobs once all are finished."""

    def result_of(self, job: Job, attempt: int) -> Result | None:
        """Return what a Python function returned or raised."""

    def output_of(self, job_id: int, attempt: int, most: int) -> bytes:
        """Return the end of the output of an attempt."""

    def poll(self) -> Poll:
        """Return the rhythm for a wait."""

    def cancel(self, job_ids: Sequence[int]) -> Any:
        """End these jobs."""

    def requeue(self, job_ids: Sequence[int]) -> Any:
        """Give them another turn."""


class JobHandle(Generic[R]):
    """One job. Its attributes are those of the last look, and cost nothing; `refresh` and `wait` look again."""

    def __init__(self, queue: Source, job: Job, function: object = None) -> None:
        """`function`: its annotation says what class the result is."""
        self._queue = queue
        self._function = function
        self.job = job
        self._found: Result | None = None
        self._read_result()

    def __repr__(self) -> str:
        return f"<job {self.id}: {self.state}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and (self.id, self._queue.path) == (other.id, other._queue.path)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> int:
        """The id."""
        return self.job.id

    @property
    def name(self) -> str | None:
        """The name, if it has one."""
        return self.job.spec.name

    @property
    def state(self) -> State:
        """The state."""
        return self.job.state

    @property
    def finished(self) -> bool:
        """True if nothing more happens by itself."""
        return self.job.state.final

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts so far."""
        return self.job.attempts

    @property
    def ending(self) -> Ending | None:
        """The ending of the latest finished attempt, or None."""
        return self.job.ending

    @property
    def exit_code(self) -> int | None:
        """The exit code that `jobq run` would have; None as long as it is not finished."""
        return self.job.exit_code if self.finished else None

    @property
    def result(self) -> R:
        """The value that its function gave. Raises CallFailed with its exception; Refused if there is none (yet)."""
        value = returned(self.job, self._found)
        if self._function is None or value is None:
            return value  # type: ignore[no-any-return]
        annotation = getattr(self._function, "__annotations__", {}).get("return", object)
        try:
            names = conversion.names_of(self._function)
            return conversion.convert(value, annotation, "the result", names, lax=False)  # type: ignore[no-any-return]
        except plain.Mismatch:
            return value  # type: ignore[no-any-return]  # it returned something else than its annotation says

    def log(self, attempt: int | None = None) -> str:
        """Return what it has printed so far, in an attempt or (None) the last one; of much, the end."""
        n = attempt or len(self.job.attempts)
        return self._queue.output_of(self.id, n, MOST_LOG).decode("utf-8", "replace")

    def refresh(self) -> Self:
        """Look again. Raises NotFound if it was removed."""
        self.job = self._queue.job(self.id)
        self._read_result()
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Return once it is finished, however it has ended. Raises WaitTimeout after so many seconds, NotFound."""
        self.job = self._queue.wait_all([self.id], timeout)[0]
        self._read_result()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait in asyncio, without a thread: `await job`; asyncio.timeout() limits it."""
        return self._wait().__await__()

    async def _wait(self) -> Self:
        import asyncio  # noqa: PLC0415

        poll = self._queue.poll()
        while not self.refresh().finished:
            while not poll.has_changed():
                if poll.is_time_to_check() and poll.recover([self.id]):
                    break
                await asyncio.sleep(poll.next())
        return self

    def cancel(self) -> Self:
        """End it: at once if it waits, else by a wish that its worker carries out. Raises Refused if it has ended."""
        return self._changed(self._queue.cancel([self.id]))

    def requeue(self) -> Self:
        """Give it another turn, with all its retries. Raises Refused if it has not ended, or has succeeded."""
        return self._changed(self._queue.requeue([self.id]))

    def _changed(self, done: Any) -> Self:
        for refusal in done.refused:
            raise refusal
        return self.refresh()

    def _read_result(self) -> None:
        if self.job.state.final and self.job.call is not None:
            self._found = self._queue.result_of(self.job, len(self.job.attempts))
