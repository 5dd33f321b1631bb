"""What Python functions returned or raised, read from the files that they left."""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from jobq.job import Call, Job, Record
from jobq.store.logs import Logs
from jobq.system import open_plain

BROKEN = {"type": "ValueError", "message": "the result file can't be read", "traceback": ""}


class Result(NamedTuple):
    """The value that was returned (None if there is none), or the error: type, message, traceback."""

    value: Any = None
    error: Record | None = None


def result_of(job: Job, attempt: int, logs: Logs) -> Result | None:
    """What that attempt of a Python job left; None if it left nothing, or if it is no Python job."""
    if not isinstance(job.command, Call):
        return None
    try:
        with open(open_plain(logs.result_path(job.id, attempt), os.O_RDONLY), encoding="utf-8") as f:
            document = json.load(f)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Result(error=BROKEN)
    match document:
        case {"result": value}:
            return Result(value)
        case {"error": {"type": str(), "message": str(), "traceback": str()} as error}:
            return Result(error=error)
    return Result(error=BROKEN)
