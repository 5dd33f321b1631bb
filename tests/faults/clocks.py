"""Wrong clocks: they must not remove finished jobs, nor make retries wait.

The commands are real processes that read their clocks through a file: seconds to add to the wall clock, seconds to add
to the boot clock, and the id of the boot.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from jobq.job import Job, State
from jobq.store.retention import NOTE, Ages
from jobq.store.store import Store
from jobq.system import boot_time
from tests.conftest import Cli, wait_until
from tests.faults.case import Bench, Figures, case
from tests.faults.seed import Seed
from tests.helpers.workers import tokens

SUBJECT = "clocks"
DAY = 86_400.0
YEARS = 10 * 365 * DAY
MOVED = """
import sys, time
import jobq.__main__, jobq.clock, jobq.system
clocks, sys.argv = sys.argv[1], ["jobq", *sys.argv[2:]]
wall_clock, any_clock = time.time, time.clock_gettime
def words():
    with open(clocks) as f:
        return f.read().split()
time.time = lambda: wall_clock() + float(words()[0])
time.clock_gettime = lambda which: any_clock(which) + (float(words()[1]) if which == jobq.system._BOOT_CLOCK else 0)
jobq.clock._BOOT_ID = words()[2]
jobq.__main__.main()
"""


class Clocks:
    """The clocks of the processes that this object starts."""

    def __init__(self, cli: Cli, file: Path) -> None:
        self.cli = cli
        self.queue = cli.queue
        self.file = file
        self.set()

    def set(self, wall: float = 0.0, boot: float = 0.0, boot_id: str = "boot") -> None:
        """Set the error of each clock in seconds; the boot id applies to processes that start later."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{wall} {boot} {boot_id}")
        new.replace(self.file)

    def worker(self, *words: str) -> subprocess.Popen[str]:
        """Start a worker that sees these clocks; return when it listens."""
        before = set(tokens(self.queue))
        command = [sys.executable, "-c", MOVED, str(self.file), "worker", *words]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
            env=self.cli.env, cwd=self.cli.cwd,
        )  # fmt: skip
        self.cli.started.append(process)
        wait_until(lambda: set(tokens(self.queue)) - before or process.poll() is not None)
        return process


def stop(process: subprocess.Popen[str]) -> None:
    """Stop the worker, and wait until it has ended."""
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def finished(store: Path) -> set[int]:
    """Return the ids of the finished jobs."""
    opened = Store(str(store))
    try:
        opened.read()
        return {job.id for job in opened.finished_jobs()}
    finally:
        opened.close()


def logs(store: Path) -> set[int]:
    """Return the ids of the jobs that have a log."""
    return {int(path.name.partition(".")[0]) for path in store.glob("runs/*/*.log")}


def seen_at(store: Path) -> float:
    """Return the wall-clock time of the last check of the finished jobs' ages; 0.0 if there was none."""
    with suppress(OSError, ValueError):
        return float(json.loads((store / NOTE).read_bytes().partition(b"\n")[0])["wall"])
    return 0.0


WRONG = {  # error of the wall clock in seconds: while jobs finish, for a moment afterwards, and then
    "years ahead for a moment": (0.0, YEARS, 0.0),
    "two weeks ahead for a moment": (0.0, 14 * DAY, 0.0),
    "two weeks behind for a moment": (0.0, -14 * DAY, 0.0),
    "two weeks behind at boot, then right": (-14 * DAY, 0.0, 0.0),
    "years behind at boot, then right": (-YEARS, 0.0, 0.0),
    "years ahead at boot, then right": (YEARS, 0.0, 0.0),
}


@case(
    "clock-wrong-retention",
    "70",
    SUBJECT,
    "the wall clock is wrong for a moment, or at boot: lost finished jobs and logs",
)
def wrong_for_a_moment(bench: Bench) -> Figures:
    figures = Figures()
    for turn in range(bench.size(1, 5)):
        for number, (name, offsets) in enumerate(WRONG.items()):
            if bench.full or number in {0, 3}:
                be_wrong(bench, f"{name} ({turn})", offsets, figures)
    return figures


def be_wrong(bench: Bench, name: str, offsets: tuple[float, ...], figures: Figures) -> None:
    """Let a worker finish enough jobs that it moves them out of the journal; then move its clock, twice."""
    cli = bench.cli(name)
    clocks = Clocks(cli, bench.folder / f"{name}.clock")
    queue = clocks.queue
    clocks.set(offsets[0])
    worker = clocks.worker("-j", "2")
    ids = set(queue.add_many(["echo out"] * 110, lambda: queue.spec(env=cli.env, cwd=str(bench.folder))))
    queue.wait_all(sorted(ids), timeout=120)
    wait_until(lambda: not ids & queue.store.read().jobs.keys())
    for off in offsets[1:]:
        clocks.set(off)
        ids.add(queue.wait(queue.add("echo later", env=cli.env, cwd=str(bench.folder)), timeout=60).id)
        wait_until(lambda off=off: abs(seen_at(cli.store) - time.time() - off) < 3600)
    figures.n += len(ids)
    stop(worker)
    stop(clocks.worker("--drain"))
    gone = ids - finished(cli.store)
    figures.check(not gone, f"{name}: {len(gone)} of {len(ids)} jobs are lost")
    gone = ids - logs(cli.store)
    figures.check(not gone, f"{name}: {len(gone)} of {len(ids)} logs are lost")


@case(
    "clock-wrong-retry",
    "70b",
    SUBJECT,
    "a clock is wrong when a retry is decided, then a reboot; the boot clock of another container: seconds until the retry",
)
def wrong_before_a_retry(bench: Bench) -> Figures:
    figures = Figures(limit=1.1 + 1.0)
    for turn in range(bench.size(1, 10)):
        since_boot = -boot_time()
        after = {"ahead": (YEARS, (0.0, since_boot, "next")), "container": (0.0, (0.0, -DAY, "boot"))}
        for name, (off, then) in after.items():
            cli = bench.cli(f"{name}{turn}")
            clocks = Clocks(cli, bench.folder / f"{name}{turn}.clock")
            clocks.set(off)
            job = decided_to_retry(bench, clocks)
            clocks.set(*then)
            ready = bench.folder / f"{cli.store.name}.ready"
            ready.touch()
            clocks.worker()
            begun = time.monotonic()
            figures.n += 1
            try:
                job = clocks.queue.wait(job.id, timeout=30)
                figures.times.append(time.monotonic() - begun)
                figures.check(job.state is State.SUCCEEDED, f"{name}: job {job.id} is {job.state}")
            except Exception as e:
                figures.bad.append(f"{name}: {e}")
    return figures


def decided_to_retry(bench: Bench, clocks: Clocks) -> Job:
    """Return a job that waits one second for its retry, in a store without a worker."""
    cli, queue = clocks.cli, clocks.queue
    ready = bench.folder / f"{cli.store.name}.ready"
    while True:
        job = queue.add(f"[ -e '{ready}' ]", retries=9, env=cli.env, cwd=str(bench.folder)).job
        worker = clocks.worker()
        wait_until(lambda: queue.job(job.id).retries_used)  # noqa: B023
        worker.kill()
        worker.wait()
        job = queue.job(job.id)
        if job.state is State.QUEUED and job.due is not None:
            return job
        queue.cancel([job.id])


@case(
    "days-pass-retention",
    "70c",
    SUBJECT,
    "7 days pass on both clocks: finished jobs and logs that stay, bytes of the store",
)
def days_pass(bench: Bench) -> Figures:
    """Too few jobs for a compaction; the worker stays, or another one starts, also after a reboot."""
    figures = Figures()
    for name in ("lives on", "another", "rebooted"):
        cli = bench.cli(name)
        clocks = Clocks(cli, bench.folder / f"{name}.clock")
        queue = clocks.queue
        worker = clocks.worker()
        old = queue.add_many(["head -c 1000000 /dev/zero"] * 9, partial(queue.spec, env=cli.env, cwd="/"))
        queue.wait_all(old, timeout=60)
        wait_until(lambda queue=queue: Ages.read(queue.store.root).ends)
        if name != "lives on":
            stop(worker)
        clocks.set(6 * DAY, 6 * DAY)
        if name != "lives on":
            worker = clocks.worker()
        wait_until(lambda cli=cli: seen_at(cli.store) > time.time() + 5 * DAY)
        figures.check(finished(cli.store) == logs(cli.store) == set(old), f"{name}: jobs are lost after 6 days")
        if name == "rebooted":
            stop(worker)
            clocks.set(8 * DAY, 2 * DAY - boot_time(), "next")
            clocks.worker()
        clocks.set(8 * DAY, 8 * DAY if name != "rebooted" else 2 * DAY - boot_time())
        figures.n += len(old)
        try:
            wait_until(lambda cli=cli: not finished(cli.store) and not logs(cli.store), timeout=20)
        except AssertionError:
            figures.bad.append(f"{name}: after 8 days, jobs {sorted(finished(cli.store))} are still there")
        size = sum(path.stat().st_size for path in cli.store.rglob("*") if path.is_file())
        figures.check(size < 100_000, f"{name}: the store takes {size} bytes")
    return figures


SEEDS = [
    Seed(harness="clock-wrong-retention", fault="finished jobs age by the wall clock alone", file="store/retention.py", old="min(since, now.wall - before.wall)", new="now.wall - before.wall", caught_by="clock-wrong-retention"),
    Seed(harness="clock-wrong-retention", fault="finished jobs are as old as the name of their file says", file="store/retention.py", old="            seconds[day] = min(seconds.get(day, age.seconds), age.seconds)", new='            seconds[day] = 1e9 if day < today else 0.0', caught_by="clock-wrong-retention"),
    Seed(harness="clock-wrong-retention", fault="finished jobs age by the boot clock alone", file="store/retention.py", old="min(since, now.wall - before.wall)", new="since", caught_by="tests/store/test_retention.py"),
    Seed(harness="clock-wrong-retention", fault="a reboot counts no time", file="store/retention.py", old="else now.boot\n", new="else 0.0\n", caught_by="days-pass-retention"),
    Seed(harness="clock-wrong-retention", fault="a job that has just finished is as old as the rest of its day", file="store/retention.py", old=" if age.content == contents.get(day)}", new=" if day in contents}", caught_by="tests/store/test_retention.py"),
    Seed(harness="clock-wrong-retention", fault="a later file is removed before earlier ones, with later records of their jobs", file="store/retention.py", old="dict(dropwhile(lambda file: file[1].seconds >= keep, sorted(self.files.items())))", new="{day: age for day, age in sorted(self.files.items()) if age.seconds < keep}", caught_by="tests/store/test_retention.py"),
    Seed(harness="clock-wrong-retention", fault="a process that read the clocks earlier counts the time again", file="store/retention.py", old="seen = self.seen if overtaken else now", new="seen = now", caught_by="tests/store/test_retention.py"),
    Seed(harness="clock-wrong-retention", fault="files are made for future days", file="store/filing.py", old="return min(max(day, newest), today)", new="return max(day, newest)", caught_by="tests/store/test_retention.py"),
    Seed(harness="clock-wrong-retry", fault="after a reboot a retry waits for the wall clock", file="moment.py", old="            wall = min(wall, longest - now.boot)  # it was decided before this boot\n        return wall if wall <= possible else 0.0\n", new="            pass\n        return wall\n", caught_by="clock-wrong-retry"),
    Seed(harness="clock-wrong-retry", fault="after a reboot an impossible wait is not ignored", file="moment.py", old="wall = min(wall, longest - now.boot)", new="pass", caught_by="tests/rules/test_lifecycle.py"),
    Seed(harness="clock-wrong-retry", fault="any boot clock is trusted", file="moment.py", old="if same_boot and boot <= possible:", new="if same_boot:", caught_by="clock-wrong-retry"),
    Seed(harness="days-pass-retention", fault="nothing is removed as long as no compaction is due", file="worker/upkeep.py", old="if by_age or compaction", new="if compaction", caught_by="days-pass-retention"),
]  # fmt: skip
