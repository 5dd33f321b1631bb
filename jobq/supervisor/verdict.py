"""The verdict of a called function, beside its exit status: if another attempt is any use, and when."""

from __future__ import annotations

import json
import os

from jobq.system import open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

LONGEST = 1 << 20  # bytes; an error takes less, and only errors hold a verdict
MOST_SAID = 200  # characters of why
LONGEST_WAIT = 1e9  # seconds


def verdict(path: str) -> dict[str, Any]:
    """Return what the result file at `path` adds to the ending of a failed call: why, and what is asked for."""
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            document = json.loads(f.read(LONGEST))
        again, after = document.get("retry"), document.get("after")
        error = document["error"]
        kind, what = str(error["type"]), str(error["message"])
        found: dict[str, Any] = {} if after is None else {"after": float(after)}
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, AttributeError):
        return {}
    if not 0.0 <= found.get("after", 0.0) <= LONGEST_WAIT:  # NaN is not
        return {}
    if not error.get("sentence") and not kind.startswith("jobq."):
        what = f"{kind}: {what}" if what else kind
    why = {"error": what[:MOST_SAID].encode("utf-8", "backslashreplace").decode()}
    if again is None:
        return why
    if again is False:
        return {**why, "permanent": True}
    counted = {} if document.get("counted") is not False else {"counted": False}
    return {**why, "wanted": True, **found, **counted}
