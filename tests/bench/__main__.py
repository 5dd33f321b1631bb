"""Figures beside those of other programs, taken turn about in one run: `python -m tests.bench [--runs N] [ROW ...]`.

What counts is the ratio to the first column; raw figures hold for this machine and this minute. Programs that are not
installed are left out. The output is a table in markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

JOBQ = [sys.executable, "-m", "jobq"]
DRAINED = 1_000
HELD = 100_000


class Contender(NamedTuple):
    """One program in a row: `prepare` makes a folder ready, `act` is what is timed."""

    name: str
    prepare: Callable[[str], None]
    act: Callable[[str], None]


class Row(NamedTuple):
    """One comparison; jobq comes first."""

    name: str
    contenders: list[Contender]


def jobq(folder: str, *words: str, stdin: str = "") -> None:
    """Run jobq on the store of the folder."""
    environment = os.environ | {"JOBQ_STORE": f"{folder}/store"}
    subprocess.run(
        [*JOBQ, *words],
        input=stdin,
        text=True,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )


def run(*words: str, **options: object) -> None:
    """Run another program."""
    subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, **options)  # type: ignore[call-overload]


def nothing(_folder: str) -> None:
    """No preparation."""


def tsp_all(folder: str) -> None:
    """Submit and run them two at a time, as the first submit of task-spooler starts its server."""
    environment = os.environ | {"TS_SOCKET": f"{folder}/socket", "TMPDIR": folder, "TS_MAXFINISHED": "10"}
    run("tsp", "-S", "2", env=environment)
    script = f"i=0; while [ $i -lt {DRAINED - 1} ]; do tsp -n sh -c true; i=$((i+1)); done; tsp -nf sh -c true; tsp -K"
    run("sh", "-c", script, env=environment)


def rows() -> list[Row]:
    """Every comparison there is."""
    lines = "true\n" * DRAINED
    drain = [
        Contender(
            "jobq worker --drain -j 2",
            lambda f: jobq(f, "add", "--from", "-", stdin=lines),
            lambda f: jobq(f, "worker", "--drain", "-j", "2"),
        ),
        Contender("xargs -P2 sh -c", nothing, lambda _: run("sh", "-c", f"seq {DRAINED} | xargs -P2 -I@ sh -c true")),
    ]
    if shutil.which("tsp"):
        drain.append(Contender("task-spooler -S 2", nothing, tsp_all))
    held = "true\n" * HELD
    add = [
        Contender("jobq add, 0 held", lambda f: jobq(f, "add", "true"), lambda f: jobq(f, "add", "true")),
        Contender(
            f"jobq add, {HELD} held",
            lambda f: jobq(f, "add", "--from", "-", stdin=held),
            lambda f: jobq(f, "add", "true"),
        ),
        Contender("python -c 'import typer'", nothing, lambda _: run(sys.executable, "-c", "import typer")),
        Contender("python -c pass", nothing, lambda _: run(sys.executable, "-c", "pass")),
    ]
    bulk = [Contender(f"jobq add --from, {HELD} lines", nothing, lambda f: jobq(f, "add", "--from", "-", stdin=held))]
    listing = [
        Contender(
            "jobq list, 100 waiting",
            lambda f: jobq(f, "add", "--from", "-", stdin="true\n" * 100),
            lambda f: jobq(f, "list", "@"),
        ),
        Contender(
            f"jobq list, {HELD} waiting",
            lambda f: jobq(f, "add", "--from", "-", stdin=held),
            lambda f: jobq(f, "list", "@"),
        ),
    ]
    return [
        Row(f"drain {DRAINED} no-op shell jobs", drain),
        Row("add one job", add),
        Row("bulk", bulk),
        Row("list", listing),
    ]


def measure(row: Row, times: int) -> dict[str, list[float]]:
    """Seconds of every contender, turn about."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in row.contenders}
    for _ in range(times):
        for contender in row.contenders:
            folder = tempfile.mkdtemp()
            try:
                contender.prepare(folder)
                started = time.perf_counter()
                contender.act(folder)
                seconds[contender.name].append(time.perf_counter() - started)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    return seconds


def main() -> None:
    """Measure the rows that are named, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("rows", nargs="*")
    asked = parser.parse_args()
    print("| what | who | median | min | max | ratio of the first to it |\n|---|---|---|---|---|---|")
    for row in rows():
        if asked.rows and not any(word in row.name for word in asked.rows):
            continue
        seconds = measure(row, asked.runs)
        first = statistics.median(seconds[row.contenders[0].name])
        for name, taken in seconds.items():
            middle = statistics.median(taken)
            figures = " | ".join(f"{value * 1000:.0f} ms" for value in (middle, min(taken), max(taken)))
            print(f"| {row.name} | {name} | {figures} | {first / middle:.2f} |", flush=True)


if __name__ == "__main__":
    main()
