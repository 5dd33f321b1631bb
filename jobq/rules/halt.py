"""When `jobq run` stops starting jobs because too many have failed: the grammar of parallel's --halt."""

from __future__ import annotations

from math import ceil

from jobq.errors import UsageError
from jobq.typed import NamedTuple

FORM = "write it like never, soon,fail=1, now,fail=3 or soon,fail=10%"


class Halt(NamedTuple):
    """`now`: the running jobs are ended, too. `failures`: so many of them, or so many `percent` of all jobs."""

    now: bool
    failures: int = 0
    percent: float = 0.0

    def is_reached(self, failed: int, total: int) -> bool:
        """Return True if so many failures of so many jobs are too many."""
        least = self.failures or max(1, ceil(total * self.percent / 100))
        return failed >= least


def parse_halt(text: str) -> Halt | None:
    """Return when to stop; None: never. Raises UsageError."""
    if text == "never":
        return None
    when, _, rest = text.partition(",")
    what, _, number = rest.partition("=")
    if when not in {"now", "soon"} or what != "fail":
        raise UsageError(f"--halt: {text!r:.60} is not possible", FORM)
    is_percent = number.endswith("%")
    try:
        value = float(number.removesuffix("%")) if is_percent else int(number)
    except ValueError:
        value = 0
    if not 0 < value < 1e9 or (is_percent and value > 100):
        raise UsageError(f"--halt: {number!r:.60} is no number of failures", FORM)
    return Halt(when == "now", percent=value) if is_percent else Halt(when == "now", int(value))
