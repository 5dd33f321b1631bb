"""The evidence about calls that a warm process was given together, when its supervisor has died."""

from __future__ import annotations

import os
import struct

from jobq.command import Record
from jobq.engine.task import NOT_STARTED, Key
from jobq.job import Ending
from jobq.store.records import CLOCK, MISFITS, read_ending
from jobq.supervisor.calls import Calls, ending_of


def start_in_batch(record: Record, key: Key) -> Record:
    """Return the start of this attempt in the record of a batch of calls; nothing if it is not among them."""
    match record:
        case {"batch": int() as batch, "at": at, "clock": clock, "file": file, "calls": list() as calls} if (
            CLOCK.allows(clock)
        ):
            for index, call in enumerate(calls):
                match call:
                    case [job_id, n, claim, mark] if (job_id, n) == key:
                        start = {"event": "start", "id": job_id, "n": n, "claim": claim, "at": at, "mark": mark}
                        return {**start, "batch": batch, "index": index, "clock": clock, "file": file}
            return {}
    return {"event": "start", **key._asdict()}  # it can't be read: perhaps this attempt was among them


def end_in_batch(files: str, recorded: dict[str, Record], log: str) -> Ending | None:
    """Return how a call ended that was handed over with others; None if it was not, or had begun and nobody knows.

    `files`: the path of the supervisor's files, without what they end in; `recorded`: what it has recorded. It is dead.
    The process that makes the calls may live, but begins no more of them once it finds the limit. Raises OSError.
    """
    start = recorded.get("start", {})
    if "batch" not in start:
        return None
    try:
        calls = Calls(f"{files}.calls", new=False)
    except (OSError, struct.error):
        return None
    try:
        if calls.file != start["file"]:
            return None  # it was put back from a copy, and knows nothing of this batch
        begun = calls.stop(0)
        if calls.number > start["batch"]:
            return None
        if calls.number < start["batch"] or start["index"] > begun.index:
            return None if "pid" in recorded else NOT_STARTED
        reply = next(iter(calls.replies()[start["index"] :]), None)
        if start["index"] == begun.index and (reply is None or reply.get("left")):
            move_output(f"{files}.out", log)
        return read_ending(ending_of(reply, start["at"], start["clock"])) if reply is not None else None
    except (*MISFITS, struct.error):
        return None
    finally:
        calls.close()


def move_output(output: str, log: str) -> None:
    """Make what a call has printed its log, if its process or its supervisor could not do that any more."""
    try:
        if os.lstat(output).st_size:
            os.rename(output, log)
    except OSError:
        pass
