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
    """Return what the result file at `path` adds to the ending of a failed call: {} if it is one like any other."""
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            document = json.loads(f.read(LONGEST))
        again = document["retry"]
        why = str(document["error"]["message"])[:MOST_SAID].encode("utf-8", "backslashreplace").decode()
        after = document.get("after")
        found: dict[str, Any] = {} if after is None else {"after": min(max(float(after), 0.0), LONGEST_WAIT)}
        if document.get("counted") is False:
            found["counted"] = False
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {"permanent": True, "error": why} if again is False else {"wanted": True, "error": why, **found}
