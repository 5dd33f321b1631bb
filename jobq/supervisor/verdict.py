"""The verdict of a called function, beside its exit status: the same call can only end in the same way."""

from __future__ import annotations

import json
import os

from jobq.system import open_plain

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

LONGEST = 1 << 20  # bytes; an error takes less, and only errors hold a verdict
MOST_SAID = 200  # characters of why


def verdict(path: str) -> dict[str, Any]:
    """Return what the result file at `path` adds to the ending of a failed call: {}, or why it is permanent."""
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            document = json.loads(f.read(LONGEST))
        if document["retry"] is not False:
            return {}
        why = str(document["error"]["message"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return {"permanent": True, "error": why[:MOST_SAID].encode("utf-8", "backslashreplace").decode()}
