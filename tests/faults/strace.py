"""Run the tree under test below strace(1): record its system calls, make one fail, or kill the process at one."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import wait_until
from tests.faults.case import need_tool

# Calls that change the disk, or what other processes see. strace ignores names that this system lacks ("?" in front).
WRITES = (
    "mkdir", "mkdirat", "open", "openat", "flock", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat",
    "renameat2", "link", "linkat", "unlink", "unlinkat", "rmdir", "close", "chmod", "fchmod", "fchmodat", "mknodat", "mknod",
)  # fmt: skip


class Call(NamedTuple):
    """One system call: `index` counts the calls of this name in this process, from 1, as `when=` does."""

    pid: int
    name: str
    index: int  # type: ignore[assignment]
    text: str  # arguments and result


def jobq(*words: str) -> list[str]:
    """Return the command line of the real command."""
    return [sys.executable, "-m", "jobq", *words]


def trace(
    command: list[str],
    to: Path,
    env: dict[str, str],
    *options: str,
    calls: tuple[str, ...] = WRITES,
    timeout: float = 60,
    patience: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command below strace with these options.

    After `patience` seconds it gets SIGINT and SIGTERM, as from ^C twice. After `timeout` seconds it is killed (its supervisors
    end by themselves). Raises subprocess.TimeoutExpired, Skipped.
    """
    need_tool("strace")
    process = subprocess.Popen(
        ["strace", "-f", "-y", "-qq", "-o", str(to), "-e", "trace=" + ",".join(f"?{name}" for name in calls), *options, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
        env=env, cwd="/", start_new_session=True,
    )  # fmt: skip
    try:
        try:
            said, errors = process.communicate(timeout=patience or timeout)
        except subprocess.TimeoutExpired:
            if patience is None:
                raise
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                for pid in map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
                    # On a slow machine it may still be loading.
                    wait_until(lambda pid=pid: catches(pid, signal.SIGTERM), timeout)
                    os.kill(pid, signal.SIGINT)
                    os.kill(pid, signal.SIGTERM)  # a second INT might merge with the first
            said, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return subprocess.CompletedProcess(command, process.returncode, said, errors)


def catches(pid: int, number: int) -> bool:
    """Return True if a process has a handler for a signal. Raises FileNotFoundError if it has ended."""
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


def read(path: Path) -> Iterator[Call]:
    """Read the calls of a recording; those of different processes may be interleaved."""
    counts: dict[tuple[int, str], int] = {}
    with path.open(errors="replace") as lines:
        for line in lines:
            if found := re.match(r"(\d+)\s+(\w+)\((.*)", line):
                pid, name = int(found[1]), found[2]
                counts[pid, name] = counts.get((pid, name), 0) + 1
                yield Call(pid, name, counts[pid, name], found[3])
