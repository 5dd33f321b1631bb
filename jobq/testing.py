"""For tests of code that uses jobq: handlers through JSON, a queue drained here and now, a clock that one sets.

from jobq.testing import call, drain, frozen_clock, jobq_queue

`jobq_queue` and `frozen_clock` are fixtures of pytest: import them in a test or a conftest.py.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jobq import clock
from jobq.api import Queue
from jobq.calls import call_of
from jobq.command import Call
from jobq.engine.task import Ended, Key, Task, Trace
from jobq.job import Ending, Job, Outcome
from jobq.moment import Moment
from jobq.python import child, conversion
from jobq.python.handles import JobHandle
from jobq.python.inside import Handler
from jobq.supervisor.verdict import verdict
from jobq.system import shell_argv
from jobq.worker.signals import StopSignals

if TYPE_CHECKING:
    import pytest

P = ParamSpec("P")
R = TypeVar("R")


def call(handler: Handler[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a handler as a job would: its arguments and its result go through JSON, and are checked.

    Raises UsageError for arguments that do not fit, TypeError for a result that is not JSON, and what it raises.
    """
    function: Any = handler.function
    command = call_of(handler, args, kwargs, None)
    returned = child.run(function, {"args": command.args, "kwargs": command.kwargs}, command.function)
    try:
        text = child.as_json(returned, command.function)
    except child.Final as e:
        raise TypeError(str(e)) from None
    annotation = getattr(function, "__annotations__", {}).get("return", object)
    result: R = conversion.convert(json.loads(text)["result"], annotation, "the result", conversion.names_of(function))
    return result


# -- a queue drained here and now ------------------------------------------------------------------


def drain(queue: Queue) -> list[JobHandle[Any]]:
    """Run all jobs that can run, one after the other, calls in this process; return those that have ended by it.

    Retries are waited for; with a frozen clock no time passes, it is set forward instead. Jobs for a later time stay,
    as for `jobq worker --drain`: let the time pass first (`FrozenClock.tick`).
    """
    before = {job.id for job in queue.finished()}
    signals = StopSignals()
    try:
        queue.worker(slots=1, drain=True, make_runner=Inline).run(signals)
    finally:
        signals.close()
    return [JobHandle(queue, job) for job in sorted(queue.finished()) if job.id not in before]


class Inline:
    """A runner without processes for calls: what it is given is over at once. Commands are run, and waited for."""

    outlives = False
    busy = 0

    def __init__(self, folder: str, _bound: bool) -> None:
        self._token = os.path.basename(folder)
        self._ended: list[Ended] = []
        self._traces: dict[Key, Trace] = {}

    def reserve(self, count: int) -> list[str]:
        """Return a handle for the only job at a time."""
        return [f"{self._token}/0"][:count]

    def submit(self, handle: str, tasks: Sequence[Task]) -> None:  # noqa: ARG002
        """Run the tasks."""
        for task in tasks:
            self._traces[task.trace.key] = task.trace
            began = clock.now().wall
            ending = called(task) if task.result is not None else executed(task)
            self._ended.append(Ended(task.trace.key, ending._replace(started_at=began, ended_at=clock.now().wall)))

    def ended(self) -> list[Ended]:
        """Return what is over and not recorded."""
        return list(self._ended)

    def recorded(self, ended: Sequence[Ended]) -> None:
        """Forget it."""
        keys = {end.key for end in ended}
        self._ended = [end for end in self._ended if end.key not in keys]

    def trace(self, key: Key) -> Trace | None:
        """Return what identifies an attempt."""
        return self._traces.get(key)

    def wait(self, timeout: float | None) -> list[int]:
        """Let the time pass, on the frozen clock if there is one."""
        seconds = min(timeout or 0.0, 86400.0)
        frozen = getattr(clock.now, "__self__", None)
        if isinstance(frozen, FrozenClock):
            frozen.tick(max(seconds, LEAST))
        elif not self._ended:
            time.sleep(min(seconds, 0.1))
        return []

    def running(self) -> list[Key]:
        """Nothing runs between two steps."""
        return []

    def troubles(self) -> list[str]:
        """There are none."""
        return []

    def tend(self, now: Moment) -> float:  # noqa: ARG002
        """There is nothing to do."""
        return float("inf")

    def withdraw(self, key: Key) -> None: ...
    def adopt(self, trace: Trace) -> None: ...
    def cancel(self, key: Key) -> bool:  # noqa: ARG002
        """It does not run."""
        return False

    def stop(self, key: Key, grace: float) -> bool:  # noqa: ARG002
        """It does not run."""
        return False

    def suspend(self, key: Key, *, suspend: bool) -> bool:  # noqa: ARG002
        """It does not run."""
        return False

    def recall(self, late: float = 0.0) -> bool:  # noqa: ARG002
        """Nothing waits."""
        return False

    def mark_read(self, key: Key, end: int, *, stderr: bool = False) -> None: ...
    def narrow(self, most: int) -> None: ...
    def announce_stop(self) -> None: ...
    def watch(self, fd: int) -> None: ...
    def unwatch(self, fd: int) -> None: ...
    def close(self) -> None: ...


def called(task: Task) -> Ending:
    """Make a call in this process, with the variables of its job."""
    if task.call is not None:
        function, found = str(task.call["function"]), dict[str, Any](task.call["call"])  # type: ignore[call-overload]
    else:
        function, found = task.command[3], json.loads(task.command[4])
    with variables(task.variables):
        text, status = child.outcome(function, found)
    path = str(task.result)
    file = child.ResultFile(path, function)
    file.write(text)
    file.close()
    if status == 0:
        return Ending(Outcome.EXIT, 0)
    return Ending(Outcome.EXIT, status, **verdict(path))


def executed(task: Task) -> Ending:
    """Run a command to its end, with its output in its log."""
    argv = shell_argv(task.command) if isinstance(task.command, str) else list(task.command)
    with open(task.env_file, "rb") as f:
        environment = {**json.load(f), **task.variables}
    with open(task.trace.log, "ab") as log:
        try:
            done = subprocess.run(argv, cwd=task.cwd, env=environment, stdout=log, stderr=log, check=False)
        except OSError as e:
            return Ending(Outcome.SPAWN_ERROR, 127, error=f"{argv[0]}: {e.strerror}")
    code = done.returncode
    return Ending(Outcome.EXIT, code) if code >= 0 else Ending(Outcome.SIGNAL, signal=-code)


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# -- a clock that one sets -------------------------------------------------------------------------


LEAST = 1e-6  # seconds that pass in a wait: less may be lost in the sum, and nothing would ever be due


class FrozenClock:
    """The clock of jobq in this process, which stands still until `tick`. Use it in a `with`."""

    def __init__(self, at: datetime.datetime | None = None) -> None:
        """`at`: the time that it shows at first; None: the time now."""
        real = clock.now()
        self._wall = real.wall if at is None else at.timestamp()
        self._real, self._passed = real, 0.0

    def now(self) -> Moment:
        """Return the current moment."""
        return Moment(self._wall + self._passed, self._real.boot + self._passed, self._real.boot_id)

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self._passed += seconds

    def __enter__(self) -> FrozenClock:
        self._before = clock.now
        clock.now = self.now
        return self

    def __exit__(self, *_: object) -> None:
        clock.now = self._before


# -- assertions and fixtures -----------------------------------------------------------------------


def enqueued(queue: Queue, handler: Handler[P, Any], *args: P.args, **kwargs: P.kwargs) -> list[JobHandle[Any]]:
    """Return the jobs, finished ones included, that call this handler with these arguments, by id."""
    wanted = call_of(handler, args, kwargs, None)
    jobs = sorted([*queue.jobs(), *queue.finished()], key=lambda job: job.id)
    return [JobHandle(queue, job, handler.function) for job in jobs if job.call is not None and same(job.call, wanted)]


def same(one: Call, other: Call) -> bool:
    """Return True if two calls do the same."""
    return (one.function, one.args, one.kwargs) == (other.function, other.args, other.kwargs)


def assert_enqueued(queue: Queue, handler: Handler[P, Any], *args: P.args, **kwargs: P.kwargs) -> JobHandle[Any]:
    """Return the only job that calls this handler with these arguments. Raises AssertionError that lists the others."""
    found = enqueued(queue, handler, *args, **kwargs)
    if len(found) == 1:
        return found[0]
    from jobq.command import as_typed  # noqa: PLC0415

    there = [f"{job.id}: {as_typed(job.command)}" for job in sorted([*queue.jobs(), *queue.finished()])]
    raise AssertionError(f"{len(found)} such jobs, not 1; there are: {'; '.join(there) or 'none'}")


def left_over(queue: Queue) -> list[Job]:
    """Return the jobs that have not ended, or have failed and nobody has looked at them."""
    return [*queue.jobs(), *(job for job in queue.finished() if job.is_open_failure)]


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture
    def jobq_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
        """A queue of the test's own, which is also the usual one. The test fails if jobs are left over, or failed."""
        store = tmp_path / "jobq"
        monkeypatch.setenv("JOBQ_STORE", str(store))
        queue = Queue(str(store))
        yield queue
        if left := left_over(queue):
            pytest.fail("jobs left over: " + ", ".join(f"job {job.id} ({job.state})" for job in left))

    @pytest.fixture
    def frozen_clock() -> Iterator[FrozenClock]:
        """The clock of jobq, which stands still until it is told to go on."""
        with FrozenClock() as frozen:
            yield frozen


__all__ = ["FrozenClock", "assert_enqueued", "call", "drain", "enqueued", "frozen_clock", "jobq_queue"]
