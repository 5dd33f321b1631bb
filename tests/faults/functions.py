"""Faults that affect only Python functions: jobq is replaced under a worker, the disk has no room for results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from jobq.job import State
from tests.conftest import Cli, wait_until
from tests.faults.case import ROOT, Bench, Figures, case
from tests.faults.disk import tmpfs
from tests.faults.seed import Seed
from tests.faults.supervision import start_worker
from tests.helpers.disk import fill
from tests.helpers.processes import marked

SUBJECT = "functions"
CALLS = """
import os, time

def note(x):
    with open("ran", "a") as f:
        f.write(f"{x}\\n")

def at_once(x):
    note(x)
    return x

def when_told(x):
    print("begun")  # a page of the log, with room for more
    note(x)
    while not os.path.exists("go"):
        time.sleep(0.01)
    return [x] * 5000

def no_json(x):
    note(x)
    return object()
"""


def call(cli: Cli, function: str, x: int, **asked: object) -> int:
    """Add a call of one of CALLS; return its id."""
    folder = str(cli.store.parent)
    return cli.queue.call(f"calls:{function}", [x], python=sys.executable, cwd=folder, env=cli.env, **asked).id  # type: ignore[arg-type]


def calls_that_ran(folder: Path) -> list[int]:
    """Return the arguments of all calls that have begun, sorted."""
    path = folder / "ran"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


# -- jobq is replaced under a worker -----------------------------------------------------------------------------------


def move(package: Path) -> None:
    """Rename the package, as the start of an upgrade does."""
    package.rename(package.with_name("moved"))


def replace(package: Path) -> None:
    """Replace the package with a version that calls functions in another way."""
    move(package)
    shutil.copytree(package.with_name("moved"), package)
    (package / "python/child.py").write_text("raise SystemExit(2)\n")


WAYS: dict[str, Callable[[Path], object]] = {"moved": move, "replaced": replace, "removed": shutil.rmtree}


@case(
    "jobq-replaced-under-worker",
    "61",
    SUBJECT,
    "jobq is moved, replaced or removed under a worker: calls that fail, are lost or run twice",
)
def upgraded(bench: Bench) -> Figures:
    figures = Figures()
    for turn in range(bench.size(1, 5)):
        for way, change in WAYS.items():
            for slots in (1, 3):
                folder = bench.folder / f"{turn}-{way}-{slots}"
                folder.mkdir()
                upgrade_once(bench.cli(f"{folder.name}/store"), folder, change, slots, figures, first=turn % 2 == 0)
    return figures


def upgrade_once(
    cli: Cli, folder: Path, change: Callable[[Path], object], slots: int, figures: Figures, *, first: bool
) -> None:
    """Run one worker, and change its package; with `first`, its first job is a call, too."""
    (folder / "calls.py").write_text(CALLS)
    package = folder / "lib" / "jobq"
    shutil.copytree(ROOT / "jobq", package, ignore=shutil.ignore_patterns("__pycache__"))
    worker = start_worker(cli, "-j", str(slots), env=cli.env | {"PYTHONPATH": str(package.parent)})
    cli.queue.wait(call(cli, "at_once", 0) if first else cli.queue.add("true", env=cli.env).id, timeout=60)
    change(package)
    count = 4
    ids = [call(cli, "at_once", n) for n in range(1, count + 1)]
    wait_until(lambda: worker.poll() is not None or all(cli.queue.job(job_id).state.final for job_id in ids))
    if worker.poll() is not None:  # it can't start more supervisors, and has reported it: another worker runs the rest
        start_worker(cli, "-j", "2")
    for job in cli.queue.wait_all(ids, timeout=60):
        figures.n += 1
        figures.check(job.state is State.SUCCEEDED, f"{folder.name}: job {job.id} {job.state}: {job.ending}")
    ran = [n for n in calls_that_ran(folder) if n]
    figures.check(ran == list(range(1, count + 1)), f"{folder.name}: the calls that ran are {ran}")
    cli.stop()


# -- results that can't be kept ------------------------------------------------------------------------------------------------


@case(
    "disk-full-function-result",
    "8b",
    SUBJECT,
    "disk full while functions return, then space returns: lost results, calls that run again",
)
def no_room_for_results(bench: Bench) -> Figures:
    figures = Figures()
    for number in range(bench.size(2, 8)):
        folder = bench.folder / str(number)
        folder.mkdir()
        with tmpfs(folder / "small", "size=1m") as small:
            return_once(bench.cli(f"{number}/small/store"), small, figures, killed=number % 2 == 1)
    return figures


def return_once(cli: Cli, small: Path, figures: Figures, *, killed: bool) -> None:
    """Fill one disk while calls return; with `killed`, kill the worker while there is no room."""
    (small / "calls.py").write_text(CALLS)
    worker = start_worker(cli, "-j", "3")
    ids = {call(cli, "when_told", n): n for n in range(3)}
    (small / "ran").touch()
    wait_until(lambda: len(calls_that_ran(small)) == len(ids))
    fill(small)
    (small / "go").touch()
    logs = [Path(cli.queue.store.logs.path(job_id, 1)) for job_id in ids]
    wait_until(lambda: not marked(cli.store) or all(b"waits for room" in log.read_bytes() for log in logs))
    if killed:
        worker.kill()
        worker.wait()
    (small / "filler").unlink()
    if killed:
        start_worker(cli, "-j", "3")
    for job in cli.queue.wait_all(list(ids), timeout=60):
        figures.n += 1
        fine = job.state is State.SUCCEEDED and cli.queue.result(job) == [ids[job.id]] * 5000
        figures.check(fine, f"job {job.id} {job.state}: {job.ending}")
    ran = calls_that_ran(small)
    figures.check(ran == list(range(len(ids))), f"the calls that ran are {ran}")
    cli.stop()


@case(
    "function-result-not-json",
    "62",
    SUBJECT,
    "functions whose result is not JSON, with retries left: number of runs",
)
def unkept_results(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures()
    (bench.folder / "calls.py").write_text(CALLS)
    ids = [call(cli, "no_json", n, retries=2) for n in range(bench.size(4, 40))]
    start_worker(cli, "-j", "2")
    for job in cli.queue.wait_all(ids, timeout=60):
        figures.n += 1
        figures.check(
            job.state is State.FAILED and len(job.attempts) == 1, f"job {job.id}: {len(job.attempts)} attempts"
        )
        figures.check(
            job.ending is not None and job.ending.permanent,
            f"job {job.id} does not give the reason why it is not retried: {job.ending}",
        )
    figures.check(calls_that_ran(bench.folder) == list(range(len(ids))), "a call ran twice, or never")
    return figures


SEEDS = [
    Seed(harness="jobq-replaced-under-worker", fault="calls are made by the script of the package, not by the worker's copy", file="engine/local/caller.py", old='self.path = f"{folder}/{NAME}"', new="self.path = SCRIPT", caught_by="jobq-replaced-under-worker"),
    Seed(harness="disk-full-function-result", fault="a result is given up if there is no room for it", file="python/child.py", old="if e.errno not in MAY_BE_MENDED:", new="if e.errno:", caught_by="disk-full-function-result"),
    Seed(harness="function-result-not-json", fault="a job that can only fail again is tried again", file="rules/retry.py", old="    if ending.permanent:\n        return str(ending)\n", new="", caught_by="function-result-not-json"),
    Seed(harness="function-result-not-json", fault="the supervisor does not check whether a retry is useful", file="supervisor/supervisor.py", old='if end.get("status"):', new="if False:", caught_by="function-result-not-json"),
    Seed(harness="function-result-not-json", fault="TERM ends a function at once", file="python/child.py", old="        signal.signal(signal.SIGTERM, self.handler)\n", new="", caught_by="tests/python/test_child.py::test_a_cancelled_function_runs_its_cleanup"),
    Seed(harness="function-result-not-json", fault="modules of the user replace those that make the calls", file="python/child.py", old="if place.startswith(LIBRARY)]", new="if place]", caught_by="tests/python/test_child.py::test_a_user_module_hides_the_python_module_of_its_name_as_in_a_script"),
]  # fmt: skip
