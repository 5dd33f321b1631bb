"""All faults, in figures: `python -m tests.faults [--full] [--jobs N] [--number N ...] [--seeds] [--list]`.

Prints one table: case, how often it was tried, how often it went wrong, and the 50th and 99th percentile of what is
promised (milliseconds) beside its limit. Exits with 1 if anything went wrong. What can't run here says why.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tests.faults.case import ROOT, Case, Figures
from tests.faults.catalogue import CASES, COVERED, SEEDS, WAITING, Covered, run_case
from tests.faults.seed import plant_all


def order(number: str) -> tuple[int, str]:
    """22 before 22b before 100."""
    found = re.match(r"\d+", number)
    return (int(found[0]) if found else 0, number)


def run_covered(covered: Iterable[Covered]) -> dict[str, Figures]:
    """The ordinary tests that stand for a case, all in one run of pytest; by the number of the case."""
    covered = list(covered)
    tests = sorted({test for c in covered for test in c.tests})
    if not tests:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report.name}", *tests],
            cwd=ROOT, stdout=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        root = ET.parse(report.name).getroot()
    figures = {c.number: Figures() for c in covered}
    for found in root.iter("testcase"):
        name = f"{found.get('classname', '').replace('.', '/')}.py::{found.get('name', '').partition('[')[0]}"
        if found.find("skipped") is not None:
            continue
        for c in covered:
            if any(name == test or name.startswith(f"{test}::") for test in c.tests):
                figures[c.number].n += 1
                if found.find("failure") is not None or found.find("error") is not None:
                    figures[c.number].bad.append(f"{name} fails")
    return figures


def milliseconds(seconds: float | None) -> str:
    """For the table."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}" if seconds >= 0.01 else f"{seconds * 1000:.1f}"


def show(number: str, subject: str, name: str, figures: Figures | str) -> bool:
    """One line of the table, and what went wrong below it; whether all is well."""
    if isinstance(figures, str):
        print(f"| {number} | {subject} | {name} | 0 | | | | | skipped: {figures} |", flush=True)
        return True
    p50, p99 = figures.percentile(0.5), figures.percentile(0.99)
    if figures.limit is not None and p99 is not None:
        figures.check(p99 <= figures.limit, f"p99 {milliseconds(p99)} ms is over the limit")
    figures.check(figures.n, "nothing was tried")
    cells = [number, subject, name, str(figures.n), str(len(figures.bad))]
    cells += [milliseconds(p50), milliseconds(p99), milliseconds(figures.limit), figures.note]
    print("| " + " | ".join(cells) + " |", flush=True)
    for complaint in figures.bad[:10]:
        print(f"  bad: {complaint}", flush=True)
    return not figures.bad


def run_seeds(numbers: list[str]) -> bool:
    """Plant every seeded fault; whether all were caught."""
    chosen = [seed for seed in SEEDS if not numbers or seed.caught_by in numbers or seed.harness in numbers]
    with tempfile.TemporaryDirectory(prefix="seeds-", ignore_cleanup_errors=True) as scratch:
        verdicts = plant_all(chosen, Path(scratch))
    print("| harness | seeded fault | caught by | how |\n|---|---|---|---|")
    for verdict in verdicts:
        how = verdict.how if verdict.caught else f"**not caught** ({verdict.how})"
        print(f"| {verdict.seed.harness} | {verdict.seed.fault} | {verdict.seed.caught_by} | {how} |")
    print(f"\nscore: {sum(v.caught for v in verdicts)} of {len(verdicts)}")
    return all(verdict.caught for verdict in verdicts)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the long form of every case, and the seeded faults")
    parser.add_argument("--seeds", action="store_true", help="only the seeded faults")
    parser.add_argument("--number", nargs="*", default=[], help="only the cases of these numbers")
    parser.add_argument("--jobs", type=int, default=1, help="how many cases at a time, each in a process of its own")
    parser.add_argument("--list", action="store_true", help="say what there is")
    asked = parser.parse_args()
    cases = [
        c
        for c in CASES
        if c.number in asked.number or (not asked.number and (c.in_suite or (asked.full and not c.alone)))
    ]
    covered = [c for c in COVERED if not asked.number or c.number in asked.number]
    if asked.list:
        for number, name in sorted(
            [*((c.number, c.name) for c in CASES), *((c.number, c.name) for c in COVERED)], key=lambda x: order(x[0])
        ):
            print(number, name)
        return 0
    if asked.seeds:
        return 0 if run_seeds(asked.number) else 1
    begun = time.monotonic()
    print(
        "times in milliseconds\n\n| | subject | case | n | bad | p50 | p99 | limit | |\n|---|---|---|---|---|---|---|---|---|"
    )
    fine = True
    by_test = run_covered(covered)
    with ProcessPoolExecutor(asked.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        in_order = sorted(cases, key=lambda c: (order(c.number), c.name))
        running = {c: pool.submit(run_case, CASES.index(c), full=asked.full) for c in in_order}
        lines: list[Case | Covered] = [*cases, *covered]
        for c in sorted(lines, key=lambda c: (order(c.number), c.name)):
            figures = running[c].result() if isinstance(c, Case) else by_test[c.number]
            fine &= show(c.number, c.subject, c.name, figures)
    for waiting in WAITING if not asked.number else []:
        print(f"| {waiting.number} | | {waiting.name} | 0 | | | | | waits for: {waiting.feature} |")
    print(f"\n{time.monotonic() - begun:.0f} s", flush=True)
    if asked.full and not asked.number:
        fine &= run_seeds([])
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
