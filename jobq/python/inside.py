"""For the code of a job: handlers, what they may raise, their progress, and their steps.

`jobq` exports these names. In an interpreter that has no jobq, this file itself is the module `jobq` of the functions
that run there. So it uses only the standard library, imports little, and talks to jobq by variables and files alone.
Oldest Python: 3.7.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as half a bare Python
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from datetime import timedelta
    from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

    from jobq.options.request import HandlerOptions
    from jobq.python.handles import JobHandle

    P = ParamSpec("P")
    R = TypeVar("R")
    S = TypeVar("S")

    class _Typed(Generic[P, R]):
        """A function with these parameters, and this result."""
else:

    class _Typed:
        """A base that takes parameters and forgets them."""

        def __class_getitem__(cls, _parameters):
            return cls

    def overload(function):
        """Return the function."""
        return function


PROGRESS_EVERY = 0.1  # seconds between two reports that are written
PASSED: set[tuple[int | None, int, str]] = set()  # steps that were done before, by job, attempt and name
TWICE = "the step %s was run in this attempt already: give each its own name"
MOST_TEXT = 200  # characters of a report
LONGEST_WAIT = 1e9  # seconds
MOST_STEPS = 64 << 20  # bytes of their records
MOST_OUTPUT = 64 << 10  # bytes of the output of a step that are kept


# -- what a function may raise ---------------------------------------------------------------------


class Fail(Exception):
    """The job has failed, and another attempt would fail as well: it is not retried."""

    jobq_wish = "fail"


class Retry(Exception):
    """The job wants another attempt, `after` so many seconds (None: as its backoff says), if it has retries left."""

    jobq_wish = "retry"

    def __init__(self, reason: str = "", *, after: float | timedelta | None = None) -> None:
        """`after`: seconds, or a timedelta. Raises ValueError."""
        Exception.__init__(self, reason or "it asked for another attempt")
        self.after = None if after is None else seconds_of(after)


class Snooze(Exception):
    """The job can't do its work yet, and is to be started again in so many seconds. This uses up no retry."""

    jobq_wish = "snooze"

    def __init__(self, seconds: float | timedelta, reason: str = "") -> None:
        """`seconds` may also be a timedelta. Raises ValueError."""
        Exception.__init__(self, reason or "it is not time yet")
        self.after = seconds_of(seconds)


def seconds_of(wanted: Any) -> float:
    """Return a time span as seconds, at most LONGEST_WAIT. Raises ValueError if it is none."""
    try:
        if isinstance(wanted, str):
            raise TypeError
        seconds = float(wanted.total_seconds() if hasattr(wanted, "total_seconds") else wanted)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not seconds >= 0:  # NaN is neither
        raise ValueError("a time is given in seconds, as in 600, or as a timedelta, not as %r" % (wanted,))
    return min(seconds, LONGEST_WAIT)


# -- handlers --------------------------------------------------------------------------------------

enqueue_call: Callable[[Handler[Any, Any], tuple[Any, ...], dict[str, Any]], JobHandle[Any]] | None = None
"""Enqueues a call of a handler; set by the package, which this file does not need."""
HANDLERS: dict[str, Handler[Any, Any]] = {}
"""The handlers of this process, by name."""


class Handler(_Typed["P", "R"]):
    """A function with options for its jobs. To call it runs it here and now; `enqueue` makes a job of the call."""

    jobq_handler = True  # by which it is known, whichever copy of this file has made it
    __name__: str

    def __init__(self, function: Callable[P, R], name: str | None, options: dict[str, Any]) -> None:
        self.function = function
        self.name = name
        self.options = options
        self.__wrapped__ = function
        source: Any = function
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, attribute, getattr(source, attribute, None))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return "<handler %s>" % (self.name or getattr(self.function, "__qualname__", "of a function"))

    def using(self, **options: Unpack[HandlerOptions]) -> Handler[P, R]:
        """Return the same handler with other options: those of `jobq add`, and `store` (a Queue, or a path)."""
        return Handler(self.function, self.name, {**self.options, **options})

    @overload
    def enqueue(self: Handler[P, Coroutine[Any, Any, S]], *args: P.args, **kwargs: P.kwargs) -> JobHandle[S]: ...
    @overload
    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]: ...
    def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        """Enqueue a call with these arguments. Raises UsageError if they do not fit, and as `Queue.add`."""
        if enqueue_call is None:
            raise RuntimeError("jobq is not installed in this environment, so nothing can be enqueued here")
        return enqueue_call(self, args, kwargs)


@overload
def handler(target: Callable[P, R], **options: Unpack[HandlerOptions]) -> Handler[P, R]: ...
@overload
def handler(
    target: str | None = None, **options: Unpack[HandlerOptions]
) -> Callable[[Callable[P, R]], Handler[P, R]]: ...
def handler(target: Any = None, **options: Any) -> Any:
    """Make a handler of a function: `@handler`, `@handler("send-email", retries=5)`, `handler(function)`.

    The name is another word for it on the command line; `options` are those of its jobs, unless a job has others.
    """

    def decorate(function: Callable[P, R]) -> Handler[P, R]:
        made = Handler(function, name, options)
        if name is not None:
            HANDLERS[name] = made
        return made

    name = target if isinstance(target, str) else None
    if target is None or name is not None:
        return decorate
    if not callable(target):
        raise TypeError("handler() takes a function or a name, not %r" % (target,))
    return decorate(target)


# -- the job that runs -----------------------------------------------------------------------------


def current_job() -> CurrentJob:
    """Return the job that this code runs in. Outside of a job its `id` is None, and nothing is reported anywhere."""
    return CurrentJob()


class CurrentJob:
    """The job that runs. `attempt` counts from 1."""

    _reported_at = float("-inf")  # monotonic seconds
    _reported = ""

    def __init__(self) -> None:
        number = os.environ.get("JOBQ_JOB_ID", "")
        self.id = int(number) if number.isdecimal() else None
        attempt = os.environ.get("JOBQ_JOB_ATTEMPT", "")
        self.attempt = int(attempt) if attempt.isdecimal() else 1
        self.name = os.environ.get("JOBQ_JOB_NAME")
        self._files = os.environ.get("JOBQ_JOB_FILES") if self.id is not None else None

    def __repr__(self) -> str:
        return "<no job>" if self.id is None else "<job %d, attempt %d>" % (self.id, self.attempt)

    def progress(self, fraction: float | None, text: str = "") -> None:
        """Tell how much is done, from 0 to 1 (None: unknown), and what is being done.

        Of reports in quick succession with the same text some are left out, but never one of 1. Raises ValueError.
        """
        from json import dumps
        from time import monotonic, time

        fraction = None if fraction is None else float(fraction)
        if fraction is not None and not 0 <= fraction <= 1:
            raise ValueError("progress is from 0 to 1, as in 0.4 for 40 %%, not %r" % (fraction,))
        now, text = monotonic(), str(text)[:MOST_TEXT]
        is_news = fraction == 1 or text != CurrentJob._reported
        if self._files is None or (now < CurrentJob._reported_at + PROGRESS_EVERY and not is_news):
            return
        CurrentJob._reported_at, CurrentJob._reported = now, text
        path = "%s.%d.progress" % (self._files, self.attempt)
        report = dumps({"fraction": fraction, "text": text, "at": time()})
        new = "%s.%d.tmp" % (path, os.getpid())
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as f:
                f.write(report)
            os.rename(new, path)
        except OSError:
            pass  # a full disk must not end the job

    @overload
    def step(self, name: str) -> Step: ...
    @overload
    def step(self, name: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R: ...
    def step(self, name: str, function: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Run a step of the job once: later attempts get the result that it had, which is JSON.

        `step("fetch", f, 1)` returns what `f(1)` returns. `with step("fetch") as s:` runs its block in each attempt:
        `s.done` tells that the step is done, and `s.result`, which the block sets, is what it was.
        """
        if function is None:
            return self.step_of(name)
        from json import dumps

        try:
            digest = digest_of(dumps([getattr(function, "__qualname__", ""), args, kwargs]))
        except (TypeError, ValueError):
            digest = None  # arguments that are no JSON can't be compared
        with self.step_of(name, digest) as step:
            if not step.done:
                step.result = function(*args, **kwargs)
        return step.result

    def step_of(self, name: str, digest: str | None = None) -> Step:
        """Return a step of the job, with a short name for what it runs. Raises ValueError for a bad name."""
        step = Step(name, self._files, self.attempt, digest)
        key = self.id, self.attempt, name
        if step.done and key in PASSED:
            raise ValueError(TWICE % name)
        if step.done:
            PASSED.add(key)
        return step


# -- steps -----------------------------------------------------------------------------------------


class Step:
    """One step of a job, recorded once it has succeeded."""

    def __init__(self, name: str, files: str | None, attempt: int, digest: str | None = None) -> None:
        """`digest` tells what it runs: done is only the same. `files`: None outside of a job. Raises ValueError."""
        if not isinstance(name, str) or not name.strip() or len(name) > MOST_TEXT or not name.isprintable():
            raise ValueError("a step has a name of 1 to %d printable characters, not %r" % (MOST_TEXT, name))
        self.name = name
        self.digest = digest
        self.attempt = attempt
        self.path = files and steps_path(files)
        known = read_steps(self.path).get(name, {}) if self.path else {}
        self.changed = digest is not None and known.get("digest") not in (None, digest)
        self.done = known.get("status") == 0 and not self.changed
        if known.get("status") == 0 and known.get("n") == attempt:
            raise ValueError(TWICE % name)
        self.known: dict[str, Any] = known if self.done else {}
        self.result: Any = self.known.get("result")
        self._began = 0.0

    def begin(self) -> None:
        """Take the time from now on."""
        from time import monotonic

        self._began = monotonic()

    def __enter__(self) -> Step:
        self.begin()
        return self

    def __exit__(self, kind: object, _error: object, _traceback: object) -> None:
        from json import dumps, loads

        if self.done:
            return
        if kind is None:
            try:
                self.result = loads(dumps(self.result, allow_nan=False))  # as later attempts get it
            except (TypeError, ValueError) as e:
                raise TypeError("the step %s has run, but its result is not JSON: %s" % (self.name, e)) from None
        self.record(status=0 if kind is None else 1, result=self.result if kind is None else None)

    def record(self, *, status: int, **more: Any) -> None:
        """Record how the step has ended. Raises OSError, TypeError or ValueError for a result that is not JSON."""
        from time import monotonic, time

        if self.path is not None:
            line = {"step": self.name, "n": self.attempt, "digest": self.digest, "status": status, "at": time()}
            append_line(self.path, {**line, "seconds": round(monotonic() - self._began, 3), **more})


def steps_path(files: str) -> str:
    """Return the file of the steps of the job with these files."""
    return files + ".steps"


def digest_of(text: str) -> str:
    """Return a short name for what a step runs."""
    from hashlib import sha256

    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def open_plain(path: str, flags: int) -> int:
    """Open a regular file, never a link or a FIFO. Raises OSError."""
    from stat import S_ISREG

    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(22, "it is no regular file", path)
    return fd


def read_steps(path: str) -> dict[str, dict[str, Any]]:
    """Return the last record of each step, in the order in which they were first run. What is none is passed over."""
    try:
        with os.fdopen(open_plain(path, os.O_RDONLY), "rb") as f:
            lines = f.read(MOST_STEPS).split(b"\n")
    except OSError:
        return {}
    steps: dict[str, dict[str, Any]] = {}
    for record in map(record_of, lines):
        if isinstance(record.get("step"), str):
            steps[record["step"]] = record
        elif isinstance(record.get("from"), str) and record["from"] in steps:
            names = list(steps)
            for name in names[names.index(record["from"]) :]:
                del steps[name]
    return steps


def record_of(line: bytes) -> dict[str, Any]:
    """Return the record in a line; {} for an empty one, one that a power cut has torn, or anything else."""
    from json import loads

    try:
        record = loads(line)
    except (ValueError, RecursionError):
        return {}
    kinds: dict[str, Any] = {
        "step": str,
        "from": str,
        "n": int,
        "status": int,
        "at": (int, float),
        "seconds": (int, float),
    }
    if not isinstance(record, dict) or not all(isinstance(record[k], kinds[k]) for k in kinds if k in record):
        return {}
    sane = all(0 <= record.get(name, 0) < 1e11 for name in ("at", "seconds", "n", "status"))  # no NaN, no infinity
    return record if sane else {}


def append_line(path: str, record: dict[str, Any]) -> None:
    """Append the record to a file of lines, durably; other processes may do so at the same time. Raises OSError."""
    import fcntl
    from json import dumps

    data = dumps(record, allow_nan=False).encode("ascii") + b"\n"
    fd = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            data = b"\n" + data  # a power cut has torn the line before
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
    finally:
        os.close(fd)
