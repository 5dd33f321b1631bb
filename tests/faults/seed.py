"""Seeded faults: small patches that break a promise; a harness must catch each of them.

`python -m tests.faults --seeds` applies each in a copy of the project, and runs the case or test that must catch it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.case import ROOT

LIMIT_S = 300.0  # a harness that hangs on a fault has caught it


@dataclass(frozen=True)
class Seed:
    """A patch: `old`, which occurs once in `file`, becomes `new`; then `caught_by` must fail."""

    harness: str  # the case or group of cases that the seed tests
    fault: str  # in words
    file: str  # below jobq/
    old: str
    new: str
    caught_by: str  # the name or number of a case ("soak"), or a test ("tests/store/test_journal.py")

    @property
    def path(self) -> Path:
        """The file in the tree under test."""
        return ROOT / "jobq" / self.file

    def applies(self) -> bool:
        """Return True if `old` occurs exactly once in the file."""
        return self.path.read_text(encoding="utf-8").count(self.old) == 1


@dataclass(frozen=True)
class Verdict:
    """The result of one seed."""

    seed: Seed
    caught: bool
    how: str


def plant(seed: Seed, scratch: Path) -> Verdict:
    """Apply the seed in a copy below `scratch`, and run what must catch it."""
    if not seed.applies():
        return Verdict(seed, caught=False, how="the patch does not fit the code any more")
    copy = scratch / str(abs(hash(seed)))
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*cache*", ".venv", ".hypothesis")
    )
    target = copy / "jobq" / seed.file
    target.write_text(target.read_text(encoding="utf-8").replace(seed.old, seed.new), encoding="utf-8")
    if seed.caught_by.startswith("tests/"):
        words = ["-m", "pytest", "-q", "-n", "0", "-x", "-p", "no:cacheprovider", seed.caught_by]
    else:
        words = ["-m", "tests.faults", "--case", seed.caught_by]
    environment = os.environ | {"PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(seed, caught=True, how="it hangs")
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    said = [line for line in done.stdout.splitlines() if line.startswith(("E  ", "  bad: "))]
    if done.returncode == 1 and said:
        return Verdict(seed, caught=True, how=said[0].strip()[:160])
    return Verdict(seed, caught=False, how=f"exit {done.returncode}: {(done.stdout + done.stderr)[-200:]!r}")


def plant_all(seeds: list[Seed], scratch: Path) -> Iterator[Verdict]:
    """Plant all seeds, two at a time; yield each verdict as soon as it and those before it are known."""
    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(lambda seed: plant(seed, scratch), seeds)
