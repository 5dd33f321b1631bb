"""Engines run attempts: the seam between a worker and processes here, or jobs of a cluster.

A worker has one `Runner`. Whoever recovers the jobs of a dead worker asks a `Finder`, by the handle that the claim
recorded: "TOKEN/SLOT" is of the engine `local`, "NAME:..." of another one. Neither knows the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jobq.engine.task import Ended, Found, Key, Task, Trace
from jobq.moment import Moment


class Runner(Protocol):
    """All attempts that one worker answers for."""

    outlives: bool  # a worker that stops may leave its jobs running

    @property
    def busy(self) -> int:
        """The number of attempts that take a place."""

    def reserve(self, count: int) -> list[str]:
        """Return handles of up to `count` free places, to be recorded with the claims before anything runs."""

    def submit(self, handle: str, tasks: Sequence[Task]) -> None:
        """Run these one after the other at a reserved place. Whatever goes wrong comes back as their ending."""

    def withdraw(self, key: Key) -> None:
        """Give up an attempt that was claimed and can't be submitted."""

    def adopt(self, trace: Trace) -> None:
        """Answer for a running attempt of a dead worker from now on."""

    def cancel(self, key: Key) -> bool:
        """End an attempt as cancelled; return True if the order was given. It may be given again."""

    def stop(self, key: Key, grace: float) -> bool:
        """End an attempt as interrupted, KILL after `grace` seconds; return True if the order was given."""

    def suspend(self, key: Key, *, suspend: bool) -> bool:
        """Stop all processes of an attempt for a while, its time limits included, or let them go on.

        Return True if the order was given. It may be given again.
        """

    def ended(self) -> list[Ended]:
        """Return the attempts that are over; each is returned until it is `recorded`."""

    def recorded(self, ended: Sequence[Ended]) -> None:
        """Forget these endings: they are durable."""

    def running(self) -> list[Key]:
        """Return the attempts that are not over, as far as is known."""

    def trace(self, key: Key) -> Trace | None:
        """Return what identifies an attempt of this runner."""

    def recall(self, late: float = 0.0) -> bool:
        """Ask attempts back that wait behind another one, if none has ended for `late` seconds; True: some were."""

    def mark_read(self, key: Key, end: int, *, stderr: bool = False) -> None:
        """Let what comes before this offset of a followed log be dropped."""

    def narrow(self, most: int) -> None:
        """Keep no more than `most` places, as far as they are free."""

    def announce_stop(self) -> None:
        """Tell all places that the worker was asked to stop: they, and the jobs, may have been told as well."""

    def troubles(self) -> list[str]:
        """Return what hinders it, a sentence each."""

    def watch(self, fd: int) -> None:
        """Let `wait` return when this descriptor is readable."""

    def unwatch(self, fd: int) -> None:
        """Undo `watch`."""

    def wait(self, timeout: float | None) -> list[int]:
        """Sleep until something happens, `timeout` seconds at most; return the watched descriptors to be read."""

    def tend(self, now: Moment) -> float:
        """Do the housekeeping; return the seconds until there is more."""

    def close(self) -> None:
        """Let everything go: what runs goes on by itself if this runner `outlives`."""


class Finder(Protocol):
    """Finds the attempts of dead workers, and tells how they ended or that they still run."""

    def find(self, trace: Trace, cancelled_for: float | None) -> Found:
        """Look for an attempt; kill what a dead supervisor left. `cancelled_for`: seconds since a person cancelled it.

        An ending stays proven until `close`. Raises OSError.
        """

    def cancel(self, trace: Trace) -> None:
        """Forward a cancel to an attempt that runs, and that no worker answers for."""

    def close(self) -> None:
        """Release what proves the endings: they are recorded, or are looked for again."""


def engine_of(handle: str) -> str:
    """Return the name of the engine that a handle belongs to."""
    name, colon, _ = handle.partition(":")
    return name if colon else "local"


def make_finder(engine: str, workers: str) -> Finder | None:
    """Return the finder of an engine, for the folder of all workers; None for an engine that is not installed."""
    if engine != "local":
        return None
    from jobq.engine.local.finder import LocalFinder  # noqa: PLC0415  # with all that knows processes

    return LocalFinder(workers)
