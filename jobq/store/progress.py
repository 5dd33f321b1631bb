"""The reports of progress that running jobs leave beside their logs (python/inside.py writes them)."""

from __future__ import annotations

import os

from jobq.rules.progress import Progress
from jobq.sealed import from_json
from jobq.system import open_plain

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any

LARGEST = 4096  # bytes


def read_progress(path: str) -> Progress | None:
    """Return the report in this file; None if there is none, or something else."""
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as f:
            found: Any = from_json(f.read(LARGEST).decode("utf-8"))
        fraction, text, at = found["fraction"], found["text"], float(found["at"])
        fraction = None if fraction is None else float(fraction)
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
    sane = 0 <= at < 1e11 and (fraction is None or 0 <= fraction <= 1)  # NaN is neither
    return Progress(fraction, str(text), at) if sane else None
