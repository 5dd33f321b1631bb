"""The measurements: jobq on a fresh store, other programs in a fresh folder, one action at a time."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pty
import resource
import signal
import statistics
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jobq.api import Queue
from tests.bench import peers
from tests.conftest import wait_until

Figures = float | Mapping[str, float]  # one figure, or several by name


class Contender(NamedTuple):
    """A program in a row; `measure` gets an empty folder."""

    name: str
    measure: Callable[..., Figures]


class Row(NamedTuple):
    """A comparison; the ratios are to its first contender."""

    name: str
    unit: str  # "ms", "s", "jobs/s", "MiB" ...; one for each of several figures: "ms, jobs/s"
    contenders: list[Contender]
    runs: int = 5  # most runs of each contender


@functools.cache
def jobq_words() -> list[str]:
    """Return the command of an installed jobq, as users have it."""
    return [str(peers.install_jobq() / "jobq")]


@functools.cache
def floor() -> str | None:
    """Compile the C program that does the least possible work; return its path, or None without a compiler."""
    program = Path(tempfile.mkdtemp(prefix="floor-")) / "floor"
    source = Path(__file__).with_name("floor.c")
    try:
        subprocess.run(["cc", "-O2", "-o", program, source], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(program)


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for jobq on the store of the folder."""
    return os.environ | {"JOBQ_STORE": f"{folder}/store"}


def jobq(folder: Path, *words: str, stdin: str = "", check: bool = True) -> None:
    """Run jobq to its end."""
    run(*jobq_words(), *words, env=environment(folder), stdin=stdin, check=check)


def run(*words: str, env: dict[str, str] | None = None, stdin: str = "", check: bool = True) -> None:
    """Run any program to its end, and throw its output away."""
    subprocess.run(
        words, input=stdin, text=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=check
    )


def timed(act: Callable[[], object], *, scale: float = 1.0) -> float:
    """Return the seconds that the call takes, times `scale`."""
    begun = time.perf_counter()
    act()
    return (time.perf_counter() - begun) * scale


def cpu(act: Callable[[], object]) -> float:
    """Return the milliseconds of CPU that the child processes of the call take."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    act()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def share(times: list[float], part: float) -> float:
    """Return the value below which this part of the times lies: 0.5 for the median."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


def fill(folder: Path, count: int, *, line: str = "true", finished: bool = False) -> Queue:
    """Make a store with that many jobs, waiting or (`finished`) cancelled."""
    queue = Queue(f"{folder}/store")
    for start in range(0, count, 100_000):
        queue.add_many([line] * min(100_000, count - start), queue.spec)
    if finished:
        for start in range(1, count + 1, 10_000):
            queue.cancel(range(start, min(start + 10_000, count + 1)))
    return queue


def fill_mixed(folder: Path, count: int, line: str) -> Queue:
    """Make a store with waiting jobs of three priorities; a tenth fails, a tenth of those with one retry."""
    queue = Queue(f"{folder}/store")
    for priority, part in (("low", 0.3), ("normal", 0.4), ("high", 0.2)):
        queue.add_many([line] * int(count * part), functools.partial(queue.spec, priority=priority))
    queue.add_many([f"{line}; exit 1"] * int(count * 0.09), lambda: queue.spec(retries=0))
    queue.add_many([f"{line}; exit 1"] * int(count * 0.01), lambda: queue.spec(retries=1, priority=5))
    return queue


@contextlib.contextmanager
def worker(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker; enter the block when it listens, stop it at the end."""
    process = subprocess.Popen(
        [*jobq_words(), "worker", *words],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(Queue(f"{folder}/store").workers.all)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        process.wait()


def size(path: Path) -> int:
    """Return the size of the file in bytes; 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def peak_mib(pid: int) -> float:
    """Return the highest memory of the process so far, in MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def drain_rate(folder: Path, held: int, seconds: float) -> Mapping[str, float]:
    """Return the attempts per second of two slots while `held` jobs wait, and the worker's peak memory in MiB."""
    fill_mixed(folder, held, f"echo >> {folder}/ticks").store.close()
    ticks = folder / "ticks"
    with worker(folder, "-j", "2") as process:
        wait_until(lambda: size(ticks))
        before, begun = size(ticks), time.perf_counter()
        time.sleep(seconds)
        after, over = size(ticks), time.perf_counter()
        return {"attempts": (after - before) / (over - begun), "memory": peak_mib(process.pid)}


def idle(folder: Path, *words: str, terminal: bool = False, seconds: float = 10.0) -> Mapping[str, float]:
    """Return wake-ups (voluntary context switches of all threads) and ms of CPU per second of an idle command."""
    jobq(folder, "add", "-q", "later", "sleep 600")  # only a worker without -q takes it
    ours, its = pty.openpty() if terminal else (-1, subprocess.DEVNULL)
    if terminal:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        threading.Thread(target=_read_all, args=(ours,), daemon=True).start()
    process = subprocess.Popen(
        [*jobq_words(), *words], env=environment(folder) | {"TERM": "xterm"}, stdin=its, stdout=its, stderr=its
    )
    try:
        time.sleep(4.0)  # the first checks and the tidying are over then
        before, begun = switches(process.pid), cpu_ms(process.pid)
        time.sleep(seconds)
        return {
            "wake-ups": (switches(process.pid) - before) / seconds,
            "CPU": (cpu_ms(process.pid) - begun) / seconds,
        }
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        if terminal:
            os.close(its)


def _read_all(fd: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(fd, 65536):
            pass


def switches(pid: int) -> int:
    """Return the voluntary context switches of all threads of the process so far."""
    return sum(
        int(path.read_text().partition("voluntary_ctxt_switches:")[2].split()[0])
        for path in Path(f"/proc/{pid}/task").glob("*/status")
    )


def cpu_ms(pid: int) -> float:
    """Return the milliseconds of CPU that the process has taken so far."""
    return sum(
        float(path.read_text().split()[0]) / 1e6  # first field: nanoseconds on a processor
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def noise() -> str:
    """Describe the state of the machine: the time to start /bin/true, and the load."""
    costs = sorted(timed(lambda: run("/bin/true"), scale=1000) for _ in range(100))
    load = os.getloadavg()[0]
    return f"starting /bin/true: median {statistics.median(costs):.1f} ms, p99 {costs[98]:.1f} ms; load {load:.1f}"


class Session:
    """A run of a peer in its own folder."""

    def __init__(self, peer: peers.Peer, folder: Path, redis: str) -> None:
        self.peer = peer
        self.folder = folder
        self.redis = redis
        self.ticks = folder / "ticks"
        self.env = os.environ | {
            "BENCH_W": str(folder), "BENCH_REDIS": redis, "PYTHONPATH": str(folder), "HOME": str(folder),
            "TS_SOCKET": f"{folder}/socket", "TMPDIR": str(folder), "TS_MAXFINISHED": "10", "NQDIR": str(folder),
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        }  # fmt: skip
        if peer.app:
            (folder / "app.py").write_text(peers.APP + peer.app)
        if peer.needs_redis:
            flush(redis)

    def shell(self, line: str) -> None:
        """Run a shell line of the peer to its end."""
        run("sh", "-c", self.filled(line), env=self.env, check=False)

    def filled(self, line: str) -> str:
        """Return the line with its placeholders replaced."""
        places = {"V": peers.venv(self.peer), "W": self.folder, "REDIS": self.redis, "LIST": self.folder / "list"}
        for place, value in places.items():
            line = line.replace(f"{{{place}}}", str(value))
        return line

    def put(self, kind: str, argument: str, count: int = 1) -> None:
        """Enqueue `count` tasks through the library, in a new process."""
        code = f"import app\nfor _ in range({count}): app.put_{kind}({argument!r})"
        run(str(peers.venv(self.peer) / "bin/python"), "-c", code, env=self.env)

    @contextlib.contextmanager
    def worker(self) -> Iterator[None]:
        """Run the peer's worker; at the end, stop it and all that it started."""
        process = subprocess.Popen(
            ["sh", "-c", self.filled(self.peer.worker)],
            env=self.env, cwd=self.folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                if number == signal.SIGTERM:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(3.0)
            process.wait()


def flush(redis: str) -> None:
    """Delete all data of the Redis server."""
    import socket  # noqa: PLC0415

    with socket.create_connection(("127.0.0.1", int(redis.rpartition(":")[2]))) as server:
        server.sendall(b"FLUSHALL\r\n")
        server.recv(64)
