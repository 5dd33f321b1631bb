"""Every row of the table: jobq beside the programs that do the same best."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.measure import (
    JOBQ,
    Contender,
    Row,
    cpu,
    drain_rate,
    environment,
    fill,
    jobq,
    peak_memory,
    run,
    timed,
    wake_ups,
    worker,
)
from tests.bench.peers import huey_python
from tests.conftest import wait_until

HUEY = """
import sys
from huey import FileHuey
huey = FileHuey(path=sys.argv[1], fsync=False)
@huey.task()
def nothing(): pass
"""


# -- what the contenders do --------------------------------------------------------------------------


def drain_jobq(count: int) -> Callable[[Path], float]:
    """Process start to exit of a worker that does them all."""

    def measure(folder: Path) -> float:
        fill(folder, count).store.close()
        return timed(lambda: jobq(folder, "worker", "--drain", "-j", "2"))

    return measure


def drain_tsp(count: int) -> Callable[[Path], float]:
    """Submitted one by one to a server that runs two at a time: task-spooler knows no other way."""

    def measure(folder: Path) -> float:
        env = os.environ | {"TS_SOCKET": f"{folder}/socket", "TMPDIR": str(folder), "TS_MAXFINISHED": "10"}
        run("tsp", "-S", "2", env=env)
        loop = f"i=1; while [ $i -lt {count} ]; do tsp -n sh -c true; i=$((i+1)); done; tsp -nf sh -c true; tsp -K"
        return timed(lambda: run("sh", "-c", loop, env=env))

    return measure


def drain_shell(line: str) -> Callable[[Path], float]:
    """A runner that keeps nothing."""
    return lambda folder: timed(lambda: run("sh", "-c", line, env=os.environ | {"HOME": str(folder)}))


def drain_huey(python: str, count: int) -> Callable[[Path], float]:
    """Tasks that start /bin/sh, as its users would run a command; enqueued before."""

    def measure(folder: Path) -> float:
        app = HUEY.replace(
            "def nothing(): pass", "def nothing():\n    import subprocess; subprocess.run(['sh', '-c', 'true'])"
        )
        (folder / "app.py").write_text(app.replace("sys.argv[1]", repr(f"{folder}/q")))
        code = f"import app\nfor _ in range({count}): app.nothing()"
        run(python, "-c", code, env=os.environ | {"PYTHONPATH": str(folder)})
        consumer = subprocess.Popen(
            [str(Path(python).parent / "huey_consumer"), "app.huey", "-w", "2", "-k", "process"],
            env=os.environ | {"PYTHONPATH": str(folder)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        begun = time.perf_counter()
        check = "import app, time\nwhile app.huey.pending_count(): time.sleep(0.02)"
        run(python, "-c", check, env=os.environ | {"PYTHONPATH": str(folder)})
        took = time.perf_counter() - begun
        consumer.terminate()
        consumer.wait()
        return took

    return measure


def add_jobq(held: int) -> Callable[[Path], float]:
    """One more job beside those that wait; the whole process."""

    def measure(folder: Path) -> float:
        if held:
            fill(folder, held).store.close()
        jobq(folder, "add", "true")  # captures the environment
        return timed(lambda: jobq(folder, "add", "true"), scale=1000)

    return measure


def add_huey(python: str) -> Callable[[Path], float]:
    """A script that enqueues one task."""
    return lambda folder: timed(lambda: run(python, "-c", HUEY + "nothing()", str(folder)), scale=1000)


def add_tsp(folder: Path) -> float:
    """One command to a server that is up, and busy."""
    env = os.environ | {"TS_SOCKET": f"{folder}/socket", "TMPDIR": str(folder)}
    run("tsp", "-n", "sleep", "100", env=env)
    took = timed(lambda: run("tsp", "-n", "true", env=env), scale=1000)
    run("tsp", "-k", env=env)
    run("tsp", "-K", env=env)
    return took


def add_nq(folder: Path) -> float:
    """One command behind a job that waits for a signal to end."""
    env = os.environ | {"NQDIR": str(folder)}
    run("nq", "-q", "sleep", "0.2", env=env)
    return timed(lambda: run("nq", "-q", "true", env=env), scale=1000)


def bulk_jobq(count: int) -> Callable[[Path], float]:
    """From a file, in one transaction; the whole process."""
    lines = "true\n" * count
    return lambda folder: count / timed(lambda: jobq(folder, "add", "--from", "-", stdin=lines))


def list_jobq(count: int, *words: str, finished: bool) -> Callable[[Path], float]:
    """The whole process of `jobq list`."""

    def measure(folder: Path) -> float:
        fill(folder, count, finished=finished).store.close()
        return timed(lambda: jobq(folder, "list", *words), scale=1000)

    return measure


def dispatch(folder: Path) -> float:
    """From the return of `add` to the first instruction of the job, milliseconds, median of 20."""
    return _dispatch(folder, lambda stamp: jobq(folder, "add", "--", *stamp), worker(folder, "-j", "1"))


def dispatch_tsp(folder: Path) -> float:
    """The same of task-spooler."""
    env = os.environ | {"TS_SOCKET": f"{folder}/socket", "TMPDIR": str(folder)}
    took = _dispatch(folder, lambda stamp: run("tsp", "-n", *stamp, env=env), None)
    run("tsp", "-K", env=env)
    return took


def _dispatch(
    folder: Path, add: Callable[[list[str]], None], up: contextlib.AbstractContextManager[object] | None
) -> float:
    stamp = ["/bin/sh", "-c", f"date +%s.%N >> {folder}/stamps"]
    with up if up is not None else contextlib.nullcontext():
        times = []
        for n in range(20):
            add(stamp)
            returned = time.time()
            wait_until(lambda n=n: (folder / "stamps").exists() and len((folder / "stamps").read_text().split()) > n)
            times.append(float((folder / "stamps").read_text().split()[n]) - returned)
    return sorted(times)[10] * 1000


def contend(adders: int, workers: int) -> Callable[[Path], float]:
    """The 99th percentile of 200 adds, milliseconds, by that many adders beside workers that run them."""

    def measure(folder: Path) -> float:
        fill(folder, 1).store.close()
        times: list[float] = []

        def adding(count: int) -> None:
            times.extend(timed(lambda: jobq(folder, "add", "true"), scale=1000) for _ in range(count))

        with contextlib.ExitStack() as stack:
            for _ in range(workers):
                stack.enter_context(worker(folder, "-j", "2"))
            threads = [threading.Thread(target=adding, args=(200 // adders,)) for _ in range(adders)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return sorted(times)[int(len(times) * 0.99)]

    return measure


# -- the table ---------------------------------------------------------------------------------------


def rows(*, scale: bool) -> list[Row]:
    """Every comparison; `scale`: with a million jobs, too."""
    python, huey = sys.executable, huey_python()

    def peers(*found: tuple[str, Contender]) -> list[Contender]:
        return [contender for program, contender in found if shutil.which(program)]

    def with_huey(name: str, make: Callable[[str], Callable[[Path], float]]) -> list[Contender]:
        return [Contender(name, make(huey))] if huey else []

    held = [1_000, 10_000, 100_000, *([1_000_000] if scale else [])]
    return [
        Row("drain 1,000 no-op shell jobs, two at a time", "s", [
            Contender("jobq worker --drain -j 2", drain_jobq(1000)),
            Contender("xargs -P2 sh -c", drain_shell("seq 1000 | xargs -P2 -I@ sh -c true")),
            *peers(
                ("tsp", Contender("task-spooler", drain_tsp(1000))),
                ("parallel", Contender("GNU parallel -j2", drain_shell("seq 1000 | parallel -j2 -n0 true"))),
            ),
            *with_huey("huey, file store", lambda p: drain_huey(p, 1000)),
        ]),
        Row("drain 10,000", "s", [
            Contender("jobq worker --drain -j 2", drain_jobq(10_000)),
            Contender("xargs -P2 sh -c", drain_shell("seq 10000 | xargs -P2 -I@ sh -c true")),
            *peers(("tsp", Contender("task-spooler", drain_tsp(10_000)))),
        ], runs=3),
        Row("rate of two slots, by jobs that wait", "jobs/s",
            [Contender(f"{n:,}", lambda f, n=n: drain_rate(f, n, min(3.0, n / 2000))) for n in held], runs=3),
        Row("add one job, whole process", "ms", [
            Contender("jobq add, nothing held", add_jobq(0)),
            Contender("jobq add, 100,000 held", add_jobq(100_000)),
            Contender("python -c pass", lambda _f: timed(lambda: run(python, "-c", "pass"), scale=1000)),
            Contender("python -c 'import typer'", lambda _f: timed(lambda: run(python, "-c", "import typer"), scale=1000)),
            *with_huey("huey script", add_huey),
            *peers(("tsp", Contender("tsp", add_tsp)), ("nq", Contender("nq", add_nq))),
        ], runs=15),
        Row("CPU of one add", "ms", [
            Contender("jobq add", lambda f: (jobq(f, "add", "true"), cpu(lambda: jobq(f, "add", "true")))[1]),
            Contender("python -c pass", lambda _f: cpu(lambda: run(python, "-c", "pass"))),
        ], runs=15),
        Row("add from a file", "jobs/s",
            [Contender(f"{n:,} jobs", bulk_jobq(n)) for n in (100_000, *([1_000_000] if scale else []))], runs=3),
        Row("list", "ms", [
            Contender("100 finished", list_jobq(100, finished=True)),
            Contender("100,000 finished", list_jobq(100_000, finished=True)),
            Contender("100 waiting, list @", list_jobq(100, "@", finished=False)),
            Contender("100,000 waiting, list @", list_jobq(100_000, "@", finished=False)),
        ], runs=3),
        Row("add returned to first instruction, idle worker", "ms",
            [Contender("jobq", dispatch), *peers(("tsp", Contender("task-spooler", dispatch_tsp)))], runs=3),
        Row("memory of a worker, at most", "MiB",
            [Contender(f"{n:,} waiting", lambda f, n=n: peak_memory(f, n)) for n in (0, *held[2:])], runs=1),
        Row("wake-ups a second", "", [
            Contender("idle worker", lambda f: wake_ups([*JOBQ, "worker"], _one(f), 10.0)),
            Contender("wait", lambda f: wake_ups([*JOBQ, "wait", "1"], _one(f), 5.0)),
            Contender("log -f", lambda f: wake_ups([*JOBQ, "log", "-f", "1"], _one(f), 5.0)),
        ], runs=1),
        Row("p99 of an add", "ms", [
            Contender(f"{a} adders, {w} workers", contend(a, w)) for a, w in ((1, 1), (8, 1), (8, 4), (50, 2))
        ], runs=1),
    ]  # fmt: skip


def _one(folder: Path) -> Path:
    """The folder, with a job on its store that nobody takes by default."""
    jobq(folder, "add", "-q", "later", "--cwd", str(folder), "sleep 600")
    run(*JOBQ, "list", env=environment(folder))
    return folder
