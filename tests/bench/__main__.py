"""Figures beside those of other programs, taken turn about in one run: `python -m tests.bench [--runs N] [ROW ...]`.

What counts is the ratio to the first contender of a row; raw figures hold for this machine and this minute. The other
programs are installed if that is possible. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from tests.bench import peers
from tests.bench.measure import Row, noise
from tests.bench.rows import rows


def measure(row: Row, runs: int) -> dict[str, list[float]]:
    """The figures of every contender, turn about."""
    figures: dict[str, list[float]] = {contender.name: [] for contender in row.contenders}
    for _ in range(min(runs, row.runs)):
        for contender in row.contenders:
            folder = Path(tempfile.mkdtemp(prefix="bench-"))
            try:
                figures[contender.name].append(contender.measure(folder))
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return figures


def show(row: Row, figures: dict[str, list[float]]) -> None:
    """The lines of one row."""
    first = statistics.median(figures[row.contenders[0].name])
    for name, values in figures.items():
        middle = statistics.median(values)
        cells = [
            row.name,
            name,
            *(f"{value:,.{1 if value < 100 else 0}f} {row.unit}" for value in (middle, min(values), max(values))),
        ]
        print(f"| {' | '.join(cells)} | {middle / first if first else 0:.2f} |", flush=True)


def main() -> None:
    """Measure the rows that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help="of each contender, at most")
    parser.add_argument("--scale", action="store_true", help="with a million jobs, too")
    parser.add_argument("rows", nargs="*", help="words that the names of the wanted rows hold")
    asked = parser.parse_args()
    for reason in peers.install():
        print(f"left out: {reason}")
    print(f"before: {noise()}\n")
    print("| what | who | median | min | max | ratio to the first |\n|---|---|---|---|---|---|")
    for row in rows(scale=asked.scale):
        if not asked.rows or any(word in row.name for word in asked.rows):
            show(row, measure(row, asked.runs))
    print(f"\nafter: {noise()}")


if __name__ == "__main__":
    main()
