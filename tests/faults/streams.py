"""Writes to stdout and stderr that fail, by errno and by kind of command."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from jobq.job import State
from tests.conftest import Cli
from tests.faults.case import Bench, Figures, case, need_linux
from tests.faults.seed import Seed
from tests.faults.supervision import start_worker

SUBJECT = "streams"
READING: tuple[list[str], ...] = (["list"], ["list", "--json"], ["show"], ["show", "--json"], ["log", "1"], ["log", "-f", "1"], [], ["doctor"],
           ["completion", "bash"], ["--version"], ["--help"], ["add", "--help"])  # fmt: skip


def full() -> int:
    """Open a device where writes fail with ENOSPC."""
    return os.open("/dev/full", os.O_WRONLY)


def closed_to_writing() -> int:
    """Open a descriptor where writes fail with EBADF."""
    return os.open(os.devnull, os.O_RDONLY)


def hung_up() -> int:
    """Open a terminal whose other end is closed: writes fail with EIO."""
    other, end = os.openpty()
    os.close(other)
    return end


def broken() -> int:
    """Open a pipe without a reader: writes fail with EPIPE."""
    read, write = os.pipe()
    os.close(read)
    return write


ERRORS: dict[int, Callable[[], int]] = {errno.ENOSPC: full, errno.EBADF: closed_to_writing, errno.EIO: hung_up}


def jobq(cli: Cli, *words: str, stdout: int, stderr: int = subprocess.PIPE, **more: str) -> tuple[int, str]:
    """Run jobq, and close `stdout` afterwards; return its exit code and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "jobq", *words],
        env=cli.env | more,
        cwd=cli.cwd,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        timeout=60,
        check=False,
    )
    os.close(stdout)
    return done.returncode, (done.stderr or b"").decode()


@case(
    "stdout-error-command",
    "47c",
    SUBJECT,
    "writes to stdout fail, by errno: missing output with exit 0, changes that are made twice or not at all",
)
def erring_stdout(bench: Bench) -> Figures:
    need_linux()
    cli, figures = bench.cli(), Figures()
    cli.id("--retries", "0", "seq 1 1000")
    cli("worker", "--drain")
    for number, make in ERRORS.items():
        reason = "is closed" if number == errno.EBADF else f"can't be written: {os.strerror(number)}"
        for words in READING if bench.full or number == errno.ENOSPC else READING[:5]:
            for more in ({}, {"PYTHONUNBUFFERED": "1"}):
                figures.n += 1
                code, told = jobq(cli, *words, stdout=make(), **more)  # type: ignore[arg-type]
                figures.check(
                    code == 74 and f"stdout {reason}" in told,
                    f"{errno.errorcode[number]}, jobq {' '.join(words)}: exit {code}: {told!r}",
                )
        for words in (["add", "true"], ["add", "-n", f"n{number}", "true"], ["call", "os:getcwd"]):
            figures.n += 1
            before = len(cli.queue.jobs())
            code, told = jobq(cli, *words, stdout=make())
            figures.check(code == 0, f"{errno.errorcode[number]}, {words}: exit {code}: {told!r}")
            figures.check(f"stdout {reason}" in told, f"{errno.errorcode[number]}, {words}: not reported: {told!r}")
            figures.check(len(cli.queue.jobs()) == before + 1, f"{words}: {len(cli.queue.jobs()) - before} jobs")
        figures.n += 1
        ended = bench.folder / f"ended{number}"
        code, told = jobq(cli, "run", f"seq 1 1000; sleep 0.2; touch {ended}", stdout=make())
        figures.check(code == 74 and "stdout" in told, f"{errno.errorcode[number]}, run: exit {code}: {told!r}")
        figures.check(ended.exists(), f"{errno.errorcode[number]}, run: the job was ended")
        code, told = jobq(cli, "run", "echo; exit 3", stdout=make())
        figures.check(code == 3 and "stdout" in told, f"{errno.errorcode[number]}, run that fails: {code}: {told!r}")
    for words in READING:
        figures.n += 1
        code, told = jobq(cli, *words, stdout=broken())
        figures.check((code, told if words else "") == (0, ""), f"EPIPE, jobq {' '.join(words)}: exit {code}: {told!r}")
    return figures


@case("output-error-worker", "47d", SUBJECT, "writes to stdout or stderr of a worker fail: jobs that do not run")
def erring_worker(bench: Bench) -> Figures:
    need_linux()
    cli, figures = bench.cli(), Figures()
    for make in (*ERRORS.values(), broken):
        for name in ("stdout", "stderr"):
            figures.n += 1
            fd = make()
            worker = start_worker(cli, "-j", "1", **{name: fd})  # type: ignore[arg-type]
            os.close(fd)
            for _ in range(3):
                job = cli.queue.wait(cli.queue.add("true", env=cli.env).id, timeout=30)
                figures.check(job.state is State.SUCCEEDED, f"{make.__name__} as {name}: {job.state}")
            figures.check(worker.poll() is None, f"{make.__name__} as {name}: the worker has ended")
            worker.terminate()
            figures.check(worker.wait(30) == 0, f"{make.__name__} as {name}: exit {worker.returncode}")
    return figures


@case(
    "pipe-reader-slow",
    "47e",
    SUBJECT,
    "a slow reader of a non-blocking pipe, and one that is further behind than --log-max: missing output",
)
def slow_reader(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures()
    lines = bench.size(200_000, 2_000_000)
    wanted = b"".join(b"%d\n" % n for n in range(1, lines + 1))
    written = bench.folder / "written"
    cli.id(f"seq 1 {lines}")
    cli("worker", "--drain")
    for words in (["run", "--log-max", "64k", f"seq 1 {lines}; touch {written}; sleep 1.2"], ["log", "1"]):
        for blocking in (True, False):
            figures.n += 1
            written.unlink(missing_ok=True)
            read, write = os.pipe()
            os.set_blocking(write, blocking)
            got: list[bytes] = []
            reader = threading.Thread(target=drain_late, args=(read, written if words[0] == "run" else None, got))
            reader.start()
            code, told = jobq(cli, *words, stdout=write)
            reader.join()
            figures.check(
                code == 0 and b"".join(got) == wanted,
                f"{words[0]}, blocking {blocking}: exit {code}, {len(b''.join(got))} bytes of {len(wanted)}: {told!r}",
            )
    return figures


def drain_late(fd: int, until: Path | None, got: list[bytes]) -> None:
    """Read to the end; begin when the file `until` exists and the supervisor has checked the log since."""
    waited = threading.Event()
    while until is not None and not until.exists():
        waited.wait(0.05)
    waited.wait(1.1)
    while data := os.read(fd, 1 << 16):
        got.append(data)
    os.close(fd)


SEEDS = [
    Seed(harness="stdout-error-command", fault="every error of stdout counts as a reader that has left", file="views/console.py", old="            except BrokenPipeError:\n", new="            except OSError:\n", caught_by="stdout-error-command"),
    Seed(harness="stdout-error-command", fault="run ends a job whose output can't be written", file="views/passthrough.py", old="            self._has_read(self._job_id, self._n, None)\n", new="            self._nobody_reads()\n", caught_by="stdout-error-command"),
    Seed(harness="stdout-error-command", fault="a failed acknowledgement is a failed command", file="views/console.py", old="        info(f\"added {ids}; {e}\")\n", new="        raise\n", caught_by="stdout-error-command"),
    Seed(harness="output-error-worker", fault="a worker prints nothing more after the first line that can't be written", file="views/watch.py", old="                except OutputFailed as e:", new="                except ValueError as e:", caught_by="tests/screens/test_streams.py::test_a_worker_prints_again_once_there_is_room"),
    Seed(harness="pipe-reader-slow", fault="a full non-blocking pipe is an error", file="views/console.py", old="            except BlockingIOError:\n                wait_until_writable(self.fd)\n", new="", caught_by="pipe-reader-slow"),
    Seed(harness="pipe-reader-slow", fault="output that the reader of run has not read is dropped", file="supervisor/logs.py", old="self.read_to = 0 if followed else sys.maxsize", new="self.read_to = sys.maxsize", caught_by="pipe-reader-slow"),
]  # fmt: skip
