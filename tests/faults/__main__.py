"""Run the fault cases: `python -m tests.faults [--full] [--jobs N] [--case NAME_OR_NUMBER ...] [--seeds] [--list]`.

Prints one table: the case, how often it was tried, how often it went wrong, and the 50th and 99th percentile of the
times that jobq promises (milliseconds), with their limit. A case that can't run here is listed with the reason. Exits
with 1 if anything went wrong.
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
from tests.faults.catalogue import CASES, COVERED, SEEDS, WAITING, Covered, Waiting, name_of, run_case
from tests.faults.seed import plant_all


def order(case: Case | Covered | Waiting) -> tuple[int, str]:
    """Return the key that sorts cases by number: 22 before 22b before 100, S1 before all."""
    found = re.match(r"\d+", case.number)
    return (int(found[0]) if found else 0, case.number)


def run_covered(covered: Iterable[Covered]) -> dict[str, Figures]:
    """Run the tests of these cases in one run of pytest; return the figures by the name of the case."""
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
    figures = {c.name: Figures() for c in covered}
    for found in root.iter("testcase"):
        name = f"{found.get('classname', '').replace('.', '/')}.py::{found.get('name', '').partition('[')[0]}"
        if found.find("skipped") is not None:
            continue
        for c in covered:
            if any(name == test or name.startswith(f"{test}::") for test in c.tests):
                figures[c.name].n += 1
                if found.find("failure") is not None or found.find("error") is not None:
                    figures[c.name].bad.append(f"{name} fails")
    return figures


def milliseconds(seconds: float | None) -> str:
    """Format seconds as milliseconds; "" for None."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f}" if seconds >= 0.01 else f"{seconds * 1000:.1f}"


def show(case: Case | Covered, figures: Figures | str) -> bool:
    """Print one line of the table, and below it what went wrong. Return True if nothing did."""
    cells = [case.name, case.number, case.subject, case.sentence]
    if isinstance(figures, str):
        print(f"| {' | '.join(cells)} | 0 | | | | | skipped: {figures} |", flush=True)
        return True
    p50, p99 = figures.percentile(0.5), figures.percentile(0.99)
    if figures.limit is not None and p99 is not None:
        figures.check(p99 <= figures.limit, f"p99 {milliseconds(p99)} ms is over the limit")
    figures.check(figures.n, "nothing was tried")
    cells += [str(figures.n), str(len(figures.bad))]
    cells += [milliseconds(p50), milliseconds(p99), milliseconds(figures.limit), figures.note]
    print("| " + " | ".join(cells) + " |", flush=True)
    for complaint in figures.bad[:10]:
        print(f"  bad: {complaint}", flush=True)
    return not figures.bad


def run_seeds(names: set[str]) -> bool:
    """Plant the seeds of these harnesses and cases, or all seeds. Return True if every one was caught."""
    chosen = [seed for seed in SEEDS if not names or not names.isdisjoint({seed.harness, name_of(seed.caught_by)})]
    print("| harness | seeded fault | caught by | how |\n|---|---|---|---|")
    caught = 0
    with tempfile.TemporaryDirectory(prefix="seeds-", ignore_cleanup_errors=True) as scratch:
        for verdict in plant_all(chosen, Path(scratch)):
            caught += verdict.caught
            how = verdict.how if verdict.caught else f"**not caught** ({verdict.how})"
            print(f"| {verdict.seed.harness} | {verdict.seed.fault} | {verdict.seed.caught_by} | {how} |", flush=True)
    print(f"\nscore: {caught} of {len(chosen)}")
    return caught == len(chosen)


def selected(parser: argparse.ArgumentParser, words: list[str], *, seeds: bool) -> set[str]:
    """Return the names of the cases that the words select, and of harnesses for `seeds`. Exits if one is unknown."""
    names = {word: name_of(word) for word in words}
    if seeds:
        names |= {word: word for word in words if word in {seed.harness for seed in SEEDS}}
    unknown = [word for word, name in names.items() if name is None]
    if unknown:
        parser.error(f"there is no case {', '.join(unknown)}: see --list")
    return {name for name in names.values() if name is not None}


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--full", action="store_true", help="run the full form of every case, and the seeded faults")
    parser.add_argument("--seeds", action="store_true", help="run only the seeded faults")
    parser.add_argument(
        "--case", nargs="*", action="extend", default=[], metavar="NAME_OR_NUMBER", help="run only these cases"
    )
    parser.add_argument("--number", nargs="*", action="extend", default=[], dest="case", help=argparse.SUPPRESS)
    parser.add_argument("--jobs", type=int, default=1, help="number of cases at a time, each in its own process")
    parser.add_argument("--list", action="store_true", help="list the cases: name, number, sentence")
    options = parser.parse_args()
    if options.list:
        known: list[Case | Covered | Waiting] = [*CASES, *COVERED, *WAITING]
        for c in sorted(known, key=order):
            print(f"{c.name:32} {c.number:4} {c.sentence}")
        return 0
    names = selected(parser, options.case, seeds=options.seeds)
    if options.seeds:
        return 0 if run_seeds(names) else 1
    cases = [c for c in CASES if c.name in names or (not names and (c.in_suite or (options.full and not c.alone)))]
    covered = [c for c in COVERED if c.name in names or not names]
    sys.path.insert(
        0, str(ROOT)
    )  # for the processes of the pool: they run the code of this tree, whatever is installed
    begun = time.monotonic()
    print(
        "times in milliseconds\n\n| case | number | subject | sentence | n | bad | p50 | p99 | limit | |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    fine = True
    by_test = run_covered(covered)
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {c: pool.submit(run_case, CASES.index(c), full=options.full) for c in sorted(cases, key=order)}
        tried: list[Case | Covered] = [*cases, *covered]
        for one in sorted(tried, key=order):
            fine &= show(one, running[one].result() if isinstance(one, Case) else by_test[one.name])
    for waiting in WAITING:
        if not names or waiting.name in names:
            print(
                f"| {waiting.name} | {waiting.number} | | {waiting.sentence} | 0 | | | | | waits for: {waiting.feature} |"
            )
    print(f"\n{time.monotonic() - begun:.0f} s", flush=True)
    if options.full and not names:
        fine &= run_seeds(set())
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
