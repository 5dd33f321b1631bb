"""Compare jobq with other programs: `python -m tests.bench [--runs N] [--scale] [ROW ...]`.

The contenders of a row run in turn. Compare the ratios to the first contender: raw figures hold only for this machine at
this time. The other programs are installed if that is possible, and jobq into its own environment. Prints a table in
markdown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.bench import peers
from tests.bench.measure import Contender, Row, noise
from tests.bench.rows import rows

Samples = dict[str, dict[str, list[float]]]  # by contender, by figure


def measure(row: Row, runs: int) -> Samples:
    """Measure every contender in turn; return the samples. A contender that fails is reported and left out."""
    samples: Samples = {contender.name: {} for contender in row.contenders}
    out: set[str] = set()
    for _ in range(min(runs, row.runs)):
        for contender in row.contenders:
            if contender.name not in out:
                try:
                    note(samples[contender.name], contender)
                except Exception as e:  # a failure of one peer must not end the run
                    print(f"{row.name}: {contender.name} failed: {type(e).__name__}: {e!s:.200}", flush=True)
                    out.add(contender.name)
    return {name: figures for name, figures in samples.items() if figures}


def note(figures: dict[str, list[float]], contender: Contender) -> None:
    """Measure the contender once, in an empty folder, and append the figures."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        found = contender.measure(folder)
        for name, value in found.items() if isinstance(found, Mapping) else [("", found)]:
            figures.setdefault(name, []).append(value)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(row: Row, samples: Samples) -> None:
    """Print the lines of one row, figure by figure."""
    units = row.unit.split(", ")
    names = list(next(iter(samples.values()), {}))
    for at, name in enumerate(names):
        unit = units[at] if len(names) > 1 else row.unit
        first = statistics.median(next(iter(samples.values()))[name])
        for contender, figures in samples.items():
            values = figures[name]
            middle = statistics.median(values)
            cells = [f"{row.name}: {name}" if name else row.name, contender]
            cells += [f"{number(value)} {unit}" for value in (middle, min(values), max(values))]
            print(f"| {' | '.join(cells)} | {middle / first if first else 0:.2f} |", flush=True)


def number(value: float) -> str:
    """Format the value with a precision that fits its size."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def main() -> None:
    """Measure the rows that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="most runs of each contender")
    parser.add_argument("--scale", action="store_true", help="add rows with a million jobs")
    parser.add_argument("rows", nargs="*", help="only the rows whose names contain one of these words")
    asked = parser.parse_args()
    there, left_out = peers.install()
    for reason in left_out:
        print(f"left out: {reason}")
    with peers.redis(there) as redis:
        print(f"before: {noise()}\n")
        print("| what | who | median | min | max | ratio to the first |\n|---|---|---|---|---|---|")
        for row in rows(there, redis, scale=asked.scale):
            if not asked.rows or any(word in row.name for word in asked.rows):
                show(row, measure(row, asked.runs))
        print(f"\nafter: {noise()}")


if __name__ == "__main__":
    main()
