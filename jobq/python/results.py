"""What Python functions returned or raised, read from the files that they left."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from jobq.command import Call, Record
from jobq.job import Job
from jobq.store.logs import Logs
from jobq.system import open_plain

LARGEST = (16 << 20) + 1024  # bytes: nothing larger is written by the script that calls functions


class Result(NamedTuple):
    """The value that was returned (None if there is none), or the error: type, message, traceback."""

    value: Any = None
    error: Record | None = None
    unread: int = 0  # bytes of a value that is larger than was asked for


def result_of(job: Job, attempt: int, logs: Logs, most: int = LARGEST) -> Result | None:
    """What that attempt of a Python job left; None if it left nothing, or if it is no Python job.

    A value of more than `most` bytes is not read, as objects take many times the memory of their text.
    """
    if not isinstance(job.command, Call):
        return None
    path = logs.result_path(job.id, attempt)
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size > LARGEST:
                return _broken(f"{path} has {size} bytes, which no result has")
            if size > most:
                return Result(unread=size)
            document = json.loads(f.read(LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as e:
        return _broken(f"{path} can't be read: {e}")
    match document:
        case {"result": value}:
            return Result(value)
        case {"error": {"type": str(), "message": str(), "traceback": str()} as error}:
            return Result(error=error)
    return _broken(f"{path} holds no result")


def _broken(why: str) -> Result:
    return Result(error={"type": "ValueError", "message": why, "traceback": ""})
