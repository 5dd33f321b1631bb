"""Fault cases: each tries a fault n times, counts what went wrong, and measures the times that jobq promises.

A case is a function of a `Bench`, registered by `@case`. It has two sizes: the test suite runs the quick one
(`test_cases.py`), `python -m tests.faults --full` the full one. A case that can't run here raises Skipped with the reason.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Cli

ROOT = Path(__file__).resolve().parents[2]  # of the project under test: a copy while a fault is seeded


class Skipped(Exception):
    """Raised if this machine can't run the case; the message is the reason."""


@dataclass
class Figures:
    """The results of a case."""

    n: int = 0  # number of tries
    bad: list[str] = field(default_factory=list)  # one sentence for each thing that went wrong
    times: list[float] = field(default_factory=list)  # seconds, as the promise counts them
    limit: float | None = None  # seconds, for the 99th percentile of `times`
    note: str = ""  # other figures, as text

    def check(self, fine: object, complaint: str) -> None:
        """Record the complaint unless `fine` is true."""
        if not fine:
            self.bad.append(complaint)

    def percentile(self, share: float) -> float | None:
        """Return this percentile (0 to 1) of the times; None if there are none."""
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))] if self.times else None


class Bench:
    """One run of a case: its private folder, its size, its random numbers."""

    def __init__(self, folder: Path, *, full: bool, seed: int = 0) -> None:
        self.folder = folder
        self.full = full
        self.dice = random.Random(seed)
        self._started: list[Cli] = []

    def size(self, quick: int, full: int) -> int:
        """Return the count that belongs to the size of the run."""
        return full if self.full else quick

    def cli(self, name: str = "store") -> Cli:
        """Return the real command on a store in this folder; `close` ends the processes it starts."""
        command = Cli(self.folder / name, self.folder)
        command.env = environment(self.folder / name)
        self._started.append(command)
        return command

    def close(self) -> None:
        """End the processes that are still running."""
        for command in self._started:
            command.stop()


def environment(store: Path) -> dict[str, str]:
    """Return the environment of processes that run the tree under test on this store: small, and always the same."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(store.parent),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "JOBQ_STORE": str(store),
    }


Run = Callable[[Bench], Figures]


@dataclass(frozen=True)
class Case:
    """A fault case: one line of the table."""

    name: str  # short, in kebab case: what is broken, "worker-killed-adopted"
    number: str  # an alias of the name; cases that belong together share its digits: "22", "22b"
    subject: str
    sentence: str
    run: Run
    in_suite: bool  # its quick form is part of the test suite
    alone: bool  # it runs only if it is selected by its name: it takes half an hour


CASES: list[Case] = []


def case(
    name: str, number: str, subject: str, sentence: str, *, in_suite: bool = True, alone: bool = False
) -> Callable[[Run], Run]:
    """Register the function that runs the case."""

    def register(run: Run) -> Run:
        CASES.append(Case(name, number, subject, sentence, run, in_suite and not alone, alone))
        return run

    return register


def need_root() -> None:
    """Check that this process is root. Raises Skipped."""
    if os.geteuid() != 0:
        raise Skipped("needs root")


def need_linux() -> None:
    """Check that this is Linux. Raises Skipped."""
    if sys.platform != "linux":
        raise Skipped("needs Linux")


def need_tool(*names: str) -> None:
    """Check that these programs are installed. Raises Skipped."""
    for name in names:
        if shutil.which(name) is None:
            raise Skipped(f"needs {name}")
