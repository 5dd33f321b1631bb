"""What a fault case is: a fault that is tried n times, what went wrong, and how long what is promised took.

Each case is a function of a `Bench`, registered by `@case`. It runs in two sizes: quick in the test suite
(`test_cases.py`), full by `python -m tests.faults --full`. A case that can't run here raises Skipped with the reason.
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

ROOT = Path(__file__).resolve().parents[2]  # of the project that is tested: a copy, if faults are seeded


class Skipped(Exception):
    """This machine can't run the case; the message says why."""


@dataclass
class Figures:
    """What a case came to."""

    n: int = 0  # how often the fault was tried
    bad: list[str] = field(default_factory=list)  # what went wrong, a sentence each
    times: list[float] = field(default_factory=list)  # seconds: what the promise is about
    limit: float | None = None  # seconds that the 99th percentile of `times` may take
    note: str = ""  # further figures, in words

    def check(self, fine: object, complaint: str) -> None:
        """Note the complaint unless it is fine."""
        if not fine:
            self.bad.append(complaint)

    def percentile(self, share: float) -> float | None:
        """Of the times; None without any."""
        return sorted(self.times)[min(len(self.times) - 1, int(share * len(self.times)))] if self.times else None


class Bench:
    """Where one run of a case takes place: a private folder, its size, its dice."""

    def __init__(self, folder: Path, *, full: bool, seed: int = 0) -> None:
        self.folder = folder
        self.full = full
        self.dice = random.Random(seed)
        self._started: list[Cli] = []

    def size(self, quick: int, full: int) -> int:
        """How much of something, by the size of the run."""
        return full if self.full else quick

    def cli(self, name: str = "store") -> Cli:
        """The real command on a store of this folder; what it starts ends with the case."""
        command = Cli(self.folder / name, self.folder)
        command.env = environment(self.folder / name)
        self._started.append(command)
        return command

    def close(self) -> None:
        """End what is still running."""
        for command in self._started:
            command.stop()


def environment(store: Path) -> dict[str, str]:
    """For processes that are to run the tree under test on this store, and no other; small and always the same."""
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
    """One line of the table."""

    number: str  # where cases belong together they share it, "22", "22b"
    subject: str
    name: str
    run: Run
    in_suite: bool  # whether its quick form is part of the test suite
    alone: bool  # whether it only runs when it is asked for by its number: it takes half an hour


CASES: list[Case] = []


def case(number: str, subject: str, name: str, *, in_suite: bool = True, alone: bool = False) -> Callable[[Run], Run]:
    """Register the function that runs the case."""

    def register(run: Run) -> Run:
        CASES.append(Case(number, subject, name, run, in_suite and not alone, alone))
        return run

    return register


def need_root() -> None:
    """Raises Skipped unless this is root."""
    if os.geteuid() != 0:
        raise Skipped("needs root")


def need_linux() -> None:
    """Raises Skipped elsewhere."""
    if sys.platform != "linux":
        raise Skipped("needs Linux")


def need_tool(*names: str) -> None:
    """Raises Skipped if a program is missing."""
    for name in names:
        if shutil.which(name) is None:
            raise Skipped(f"needs {name}")
