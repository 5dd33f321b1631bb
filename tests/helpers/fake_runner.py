"""A runner without processes: the rules of a worker are tested with it, step by step, on a clock of one's own."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.engine.task import NOT_STARTED, Ended, Key, Task, Trace
from jobq.job import Ending, Outcome
from jobq.moment import Moment


class FakeRunner:
    """Attempts run until the test ends them (`end`), or until they are cancelled or stopped."""

    outlives = True

    def __init__(self, folder: str = "/w000000000000", *, most: int = 1_000) -> None:
        """`folder` is the worker's; `most` places there are."""
        self._token = folder.rpartition("/")[2]
        self._most = most
        self._places = 0
        self._traces: dict[Key, Trace] = {}
        self._at: dict[str, list[Key]] = {}  # handle -> the attempts that were given, in their order
        self._ended: list[Ended] = []
        self._watched: set[int] = set()
        self.tasks: dict[Key, Task] = {}
        self.calls: list[tuple[object, ...]] = []  # what the worker asked for beside jobs

    @property
    def busy(self) -> int:
        """The number of places with an attempt."""
        return sum(bool(keys) for keys in self._at.values())

    def reserve(self, count: int) -> list[str]:
        """Return handles of free places."""
        free = [handle for handle, keys in self._at.items() if not keys]
        while len(free) < count and self._places < self._most:
            handle = f"{self._token}/{self._places}"
            self._places += 1
            self._at[handle] = []
            free.append(handle)
        return free[: max(0, count)]

    def submit(self, handle: str, tasks: Sequence[Task]) -> None:
        """Begin the first; the others wait behind it."""
        for task in tasks:
            self._traces[task.trace.key] = task.trace
            self.tasks[task.trace.key] = task
            self._at[handle].append(task.trace.key)

    def withdraw(self, key: Key) -> None:
        """End it as not started."""
        self._ended.append(Ended(key, NOT_STARTED))

    def adopt(self, trace: Trace) -> None:
        """Take it over."""
        self._traces[trace.key] = trace
        self._at[trace.attempt.supervisor] = [trace.key]

    def end(self, job_id: int, n: int = 1, ending: Ending | None = None) -> None:
        """Let an attempt end, with success if nothing else is said."""
        key = Key(job_id, n)
        for keys in self._at.values():
            if key in keys:
                keys.remove(key)
                self._ended.append(Ended(key, ending or Ending(Outcome.EXIT, 0, started_at=1.0, ended_at=2.0)))
                return
        raise AssertionError(f"{key} does not run")

    def cancel(self, key: Key) -> bool:
        """End it as cancelled."""
        return self._order("cancel", key, Ending(Outcome.CANCELLED, signal=15, started_at=1.0))

    def stop(self, key: Key, grace: float) -> bool:
        """End it as interrupted."""
        self.calls.append(("grace", grace))
        return self._order("stop", key, Ending(Outcome.INTERRUPTED, signal=15, started_at=1.0, counted=False))

    def suspend(self, key: Key, *, suspend: bool) -> bool:
        """Note it."""
        self.calls.append(("suspend" if suspend else "continue", key))
        return key in self.running()

    def _order(self, what: str, key: Key, ending: Ending) -> bool:
        self.calls.append((what, key))
        if key not in self.running():
            return False
        self.end(*key, ending)
        return True

    def ended(self) -> list[Ended]:
        """Return what is over and not recorded."""
        return list(self._ended)

    def recorded(self, ended: Sequence[Ended]) -> None:
        """Forget it."""
        keys = {end.key for end in ended}
        self._ended = [end for end in self._ended if end.key not in keys]
        for key in keys:
            self._traces.pop(key, None)

    def running(self) -> list[Key]:
        """Return what was submitted and is not over."""
        return [key for keys in self._at.values() for key in keys]

    def trace(self, key: Key) -> Trace | None:
        """Return what identifies an attempt."""
        return self._traces.get(key)

    def recall(self, late: float = 0.0) -> bool:
        """Give back what waits behind another attempt, if the worker does not want to wait for it to be late."""
        if late:
            return False
        behind = [key for keys in self._at.values() for key in keys[1:]]
        for key in behind:
            self.end(*key, NOT_STARTED)
        return bool(behind)

    def mark_read(self, key: Key, end: int, *, stderr: bool = False) -> None:
        """Note it."""
        self.calls.append(("read", key, end))

    def narrow(self, most: int) -> None:
        """Note it."""
        self.calls.append(("narrow", most))

    def announce_stop(self) -> None:
        """Note it."""
        self.calls.append(("stopping",))

    def troubles(self) -> list[str]:
        """There are none."""
        return []

    def watch(self, fd: int) -> None:
        """Note it."""
        self._watched.add(fd)

    def unwatch(self, fd: int) -> None:
        """Forget it."""
        self._watched.discard(fd)

    def wait(self, timeout: float | None) -> list[int]:
        """Return at once."""
        return []

    def tend(self, now: Moment) -> float:
        """There is nothing to do."""
        return float("inf")

    def close(self) -> None:
        """Note it."""
        self.calls.append(("close",))
