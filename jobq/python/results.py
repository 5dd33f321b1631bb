"""Results of Python functions: what they returned or raised, read from their result files."""

from __future__ import annotations

import json
import os
from typing import Any

from jobq.command import Call, Record
from jobq.errors import CallFailed, Refused
from jobq.job import Job, State
from jobq.store.logs import Logs
from jobq.system import open_plain
from jobq.typed import NamedTuple

LARGEST = (16 << 20) + 1024  # bytes: the script that calls functions writes no larger file


class Result(NamedTuple):
    """The value that a function returned (None if there is none), or its error: type, message, traceback."""

    value: Any = None
    error: Record | None = None
    unread: int = 0  # bytes of a value that was not read, as it is too large


def result_of(job: Job, attempt: int, logs: Logs, most: int = LARGEST) -> Result | None:
    """Return the result of that attempt of a Python job; None if it left none, or if it is not a Python job.

    A value of more than `most` bytes is not read, as objects take many times the memory of their text.
    """
    if not isinstance(job.command, Call):
        return None
    path = logs.result_path(job.id, attempt)
    ending = next((one.ending for one in job.attempts if one.n == attempt), None)
    if ending is not None and ending.result is not None:
        return _read(ending.result, path)
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size > LARGEST:
                return _broken(f"{path} has {size} bytes, more than any result")
            if size > most:
                return Result(unread=size)
            text = f.read(LARGEST)
    except FileNotFoundError:
        return None
    except OSError as e:
        return _broken(f"{path} can't be read: {e}")
    return _read(text, path)


def _read(text: str | bytes, path: str) -> Result:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as e:
        return _broken(f"{path} can't be read: {e}")
    match document:
        case {"result": value}:
            return Result(value)
        case {"error": {"type": str() as kind, "message": str() as message, "traceback": str() as trace}}:
            return Result(error={"type": kind, "message": message, "traceback": trace})
    return _broken(f"{path} holds no result")


def _broken(why: str) -> Result:
    return Result(error={"type": "ValueError", "message": why, "traceback": ""})


def returned(job: Job, found: Result | None) -> Any:
    """Return what the function of a job returned. Raises Refused if there is no result, CallFailed if it failed."""
    if job.call is None:
        raise Refused(f"job {job.id} is a command: it has output, but no result", f"'jobq log {job.id}'")
    if not job.state.final:
        raise Refused(f"job {job.id} is {job.state}: it has no result yet", "wait for it")
    if job.state is not State.SUCCEEDED or found is None or found.error is not None:
        raise CallFailed(job.id, job.state, found.error if found else None)
    return found.value
