"""Schedules: what is due of a rhythm, once for each instant, however the clock moves. Pure: `now` is an argument."""

from __future__ import annotations

from jobq.rules.rhythm import Rhythm, instants, last_until
from jobq.typed import NamedTuple

LATE = 60.0  # seconds after which "skip" drops an instant
COUNTED = 1000  # missed instants are counted up to here


class Firing(NamedTuple):
    """The instants to fire, the mark for the next call, and how many others have passed unfired."""

    instants: tuple[float, ...]
    mark: float  # the latest instant that is dealt with; it never goes back
    missed: int  # COUNTED at most


def due(rhythm: Rhythm, mark: float, now: float, missed: str, most: int) -> Firing:
    """Return what is due at `now`, if everything up to `mark` is dealt with.

    Of several instants, "once" fires the last, "all" every one (`most` in a call: call again until none is left), and
    "skip" those of the last LATE seconds. Instants up to `mark` never fire again, whatever the clock shows.
    """
    if missed == "all":
        found = instants(rhythm, mark, now, most)
        return Firing(tuple(found), found[-1] if found else mark, 0)
    last = last_until(rhythm, mark, now)
    if last is None:
        return Firing((), mark, 0)
    fired = [last] if missed == "once" else instants(rhythm, max(mark, now - LATE), now, most)
    late = instants(rhythm, mark, fired[0] if fired else last, COUNTED + 1)
    dropped = len(late) - bool(fired)
    return Firing(tuple(fired), fired[-1] if fired else last, min(dropped, COUNTED))
