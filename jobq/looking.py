"""The questions to a queue that change nothing.

`jobq list` needs no more than this, so what only few questions need is imported by them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from jobq import clock
from jobq.job import Job
from jobq.options.selectors import Selected, Wanted, parse
from jobq.rules.dependencies import parents_of
from jobq.rules.progress import Progress
from jobq.rules.reasons import Situation
from jobq.settings.places import store_path
from jobq.store.reading import StoreReader
from jobq.store.selection import find_all, find_named, narrowed, open_failures, resolve, with_ancestors
from jobq.store.surroundings import progress_of, survey

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any

    from jobq.python.results import Result


class Looking:
    """The part of a `Queue` that only reads."""

    @property
    def _store(self) -> StoreReader:
        raise NotImplementedError

    @property
    def path(self) -> str:
        """The directory of the store."""
        return self._store.path

    def exists(self) -> bool:
        """Return True if there is a store already; the first add makes it."""
        return self._store.read() is not None and self._store.header is not None

    def select(self, wanted: Wanted) -> Selected:
        """Return the jobs that words name (ids, ranges, names, "@", "@failed"; no words: all), as far as they match.

        Raises NotFound, UsageError.
        """
        selectors = list(map(parse, wanted.words))
        self._store.read()
        named = resolve(self._store, selectors) if selectors else None
        return narrowed(self._store, named, wanted.filters)

    def with_ancestors(self, jobs: Sequence[Job]) -> list[Job]:
        """Return these jobs, which were just read, and all that they are after, directly or through others."""
        return with_ancestors(self._store, jobs)

    def job(self, job_id: int) -> Job:
        """Return the job of that id. Raises NotFound."""
        self._store.read()
        return self._store.get(job_id)

    def named(self, name: str) -> Job:
        """Return the unfinished job of that name, else the latest finished one. Raises NotFound."""
        self._store.read()
        return find_named(self._store, name)

    def jobs_of(self, job_ids: Sequence[int]) -> list[Job]:
        """Return the jobs of these ids, in this order. Raises NotFound."""
        self._store.read()
        return list(find_all(self._store, job_ids).values())

    def known(self, job_ids: Collection[int]) -> dict[int, Job]:
        """Return those of these jobs that exist, by id."""
        self._store.read()
        return self._store.find_all(job_ids)

    def jobs(self) -> list[Job]:
        """Return the unfinished jobs, by id."""
        return sorted(self._store.read().unfinished(), key=lambda job: job.id)

    def finished(self) -> Iterator[Job]:
        """Yield the finished jobs, the last one first; reads no more than is asked for."""
        self._store.read()
        return self._store.finished_jobs()

    def open_failures(self, most: int = 20) -> tuple[int, list[Job]]:
        """Return the number of open failures (not requeued, removed or acknowledged), and the last, newest first."""
        self._store.read()
        return open_failures(self._store, most)

    def situation(self, jobs: Iterable[Job]) -> Situation:
        """Return the facts beside these jobs, which were just read: workers, pauses, the time."""
        return survey(self._store, jobs, clock.now())

    def time_waited(self, job: Job) -> dict[str, float]:
        """Return the seconds that a job, which was just read, has waited, by reason (`rules.waits.REASONS`)."""
        from jobq.rules.waits import time_waited  # noqa: PLC0415

        return time_waited(job, self._store.find_all(parents_of(job.spec)).values(), clock.now().wall)

    def log_path(self, job_id: int, attempt: int, *, stderr: bool = False) -> str:
        """Return the file with the output of an attempt (or its `stderr`, if that is apart), if it exists or not."""
        return (self._store.logs.error_path if stderr else self._store.logs.path)(job_id, attempt)

    def output_of(self, job_id: int, attempt: int, most: int) -> bytes:
        """Return the last `most` bytes that an attempt has printed, as far as they are kept."""
        return self._store.logs.read_end(job_id, attempt, most)

    def progress_of(self, job: Job) -> Progress | None:
        """Return the latest report of a job's last attempt; None if it has told nothing."""
        return progress_of(self._store, job)

    def steps_of(self, job_id: int) -> dict[str, dict[str, Any]]:
        """Return what is recorded of the steps of a job, by name, in order."""
        from jobq.python.inside import read_steps  # noqa: PLC0415

        return read_steps(self._store.logs.steps_path(job_id))

    def result_of(self, job: Job, attempt: int, most: int | None = None) -> Result | None:
        """Return what a Python function returned or raised, without values of more than `most` bytes; None: nothing."""
        from jobq.python.results import LARGEST, result_of  # noqa: PLC0415

        return result_of(job, attempt, self._store.logs, LARGEST if most is None else most)

    def environment_of(self, job: Job) -> dict[str, str]:
        """Return the variables of a job: those that were captured, and those in its spec. Raises StoreDamaged."""
        return {**self._store.load_environment(job.spec.env), **dict(job.spec.vars)}


class Reader(Looking):
    """A store to look at. `path` None: JOBQ_STORE, else the user's state directory."""

    def __init__(self, path: str | None = None) -> None:
        self._reader = StoreReader(store_path(path))

    @property
    def _store(self) -> StoreReader:
        return self._reader
