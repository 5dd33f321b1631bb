"""Python functions under the faults that only they know: jobq replaced under a worker, no room for what they return."""

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
    return {x}
"""


def call(cli: Cli, function: str, x: int, **asked: object) -> int:
    """The id of a call of one of CALLS."""
    folder = str(cli.store.parent)
    return cli.queue.call(f"calls:{function}", [x], python=sys.executable, cwd=folder, env=cli.env, **asked).id  # type: ignore[arg-type]


def calls_that_ran(folder: Path) -> list[int]:
    """The arguments of every call that has begun, sorted."""
    path = folder / "ran"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


# -- jobq is replaced under a worker -----------------------------------------------------------------------------------


def move(package: Path) -> None:
    """As an upgrade begins."""
    package.rename(package.with_name("moved"))


def replace(package: Path) -> None:
    """By a version that calls functions in another way."""
    move(package)
    shutil.copytree(package.with_name("moved"), package)
    (package / "python/child.py").write_text("raise SystemExit(2)\n")


WAYS: dict[str, Callable[[Path], object]] = {"moved": move, "replaced": replace, "removed": shutil.rmtree}


@case("61", SUBJECT, "jobq is moved, replaced or removed under a worker: calls that fail for it, are lost or run twice")
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
    """One worker, whose package changes; whether its `first` job was a call, too."""
    (folder / "calls.py").write_text(CALLS)
    package = folder / "lib" / "jobq"
    shutil.copytree(ROOT / "jobq", package, ignore=shutil.ignore_patterns("__pycache__"))
    worker = start_worker(cli, "-j", str(slots), env=cli.env | {"PYTHONPATH": str(package.parent)})
    cli.queue.wait(call(cli, "at_once", 0) if first else cli.queue.add("true", env=cli.env).id, timeout=60)
    change(package)
    count = 4
    ids = [call(cli, "at_once", n) for n in range(1, count + 1)]
    wait_until(lambda: worker.poll() is not None or all(cli.queue.job(job_id).state.final for job_id in ids))
    if worker.poll() is not None:  # it can't start more supervisors, and says so: another one does the rest
        start_worker(cli, "-j", "2")
    for job in cli.queue.wait_all(ids, timeout=60):
        figures.n += 1
        figures.check(job.state is State.SUCCEEDED, f"{folder.name}: job {job.id} {job.state}: {job.ending}")
    ran = [n for n in calls_that_ran(folder) if n]
    figures.check(ran == list(range(1, count + 1)), f"{folder.name}: the calls that ran are {ran}")
    cli.stop()


# -- what can't be kept ------------------------------------------------------------------------------------------------


@case(
    "8b", SUBJECT, "disk full while functions return, then space returns: results that are lost, calls that run again"
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
    """One disk; the worker may be killed while there is no room."""
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


@case("62", SUBJECT, "functions whose result is no JSON, with retries left: how often they run")
def unkept_results(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures()
    (bench.folder / "calls.py").write_text(CALLS)
    ids = [call(cli, "no_json", n, retries=2) for n in range(bench.size(4, 40))]
    start_worker(cli, "-j", "2")
    for job in cli.queue.wait_all(ids, timeout=60):
        figures.n += 1
        figures.check(job.state is State.FAILED and len(job.attempts) == 1, f"job {job.id}: {len(job.attempts)} tries")
        figures.check(
            job.ending is not None and job.ending.permanent,
            f"job {job.id} does not say why it is not retried: {job.ending}",
        )
    figures.check(calls_that_ran(bench.folder) == list(range(len(ids))), "a call ran twice, or not at all")
    return figures


SEEDS = [
    Seed("61", "calls are made by the script of the package, not by the worker's copy", "engine/local/caller.py", 'self.path = f"{folder}/{NAME}"', "self.path = SCRIPT", "61"),
    Seed("8b", "a result that there is no room for is given up", "python/child.py", "if e.errno not in MAY_BE_MENDED:", "if e.errno:", "8b"),
    Seed("62", "what can only end the same way is tried again", "rules/retry.py", "    if ending.permanent:\n        return str(ending)\n", "", "62"),
    Seed("62", "nobody asks whether trying again is of use", "supervisor/supervisor.py", 'if end.get("status"):', "if False:", "62"),
    Seed("62", "TERM ends a function where it stands", "python/child.py", "        signal.signal(signal.SIGTERM, self.handler)\n", "", "tests/python/test_child.py::test_a_cancelled_function_runs_its_cleanup"),
    Seed("62", "modules of the user take the place of those that calls are made with", "python/child.py", "if place.startswith(LIBRARY)]", "if place]", "tests/python/test_child.py::test_a_user_module_hides_the_python_module_of_its_name_as_in_a_script"),
]  # fmt: skip
