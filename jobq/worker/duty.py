"""The seam between the loop of a worker and its duties."""

from __future__ import annotations

from typing import Protocol

from jobq.moment import Moment


class Duty(Protocol):
    """Something that a worker does again and again."""

    def step(self, now: Moment) -> float:
        """Do what is due; return the seconds until there is more, unless something wakes the worker before."""
