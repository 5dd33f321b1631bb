"""All fault cases by subject, all seeded faults, what ordinary tests cover already, and what waits for its feature."""

from __future__ import annotations

from typing import NamedTuple

from tests.faults import writes
from tests.faults.case import CASES
from tests.faults.seed import Seed

__all__ = ["CASES", "COVERED", "SEEDS", "WAITING"]


class Covered(NamedTuple):
    """A case that is an ordinary test, or several: each test is a try."""

    number: str
    subject: str
    name: str
    tests: tuple[str, ...]


class Waiting(NamedTuple):
    """A case whose feature is not there yet."""

    number: str
    name: str
    feature: str


COVERED: list[Covered] = []

WAITING = [
    Waiting(
        "1b",
        "SIGKILL at every write point of an add with dependencies, of a fired schedule, of a migration",
        "dependencies, schedules, a second format",
    ),
    Waiting("33", "three days down with an hourly schedule", "schedules"),
    Waiting("50", "dependencies: cycle, self, missing, failed, 1,000 deep, 1,000 wide", "dependencies"),
    Waiting("47b", "a repeated `--key` adds none", "idempotency keys"),
]

SEEDS: list[Seed] = [*writes.SEEDS]
