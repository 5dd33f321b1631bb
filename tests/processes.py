"""Looking at real processes."""

from __future__ import annotations

import os
from pathlib import Path

from tests.conftest import wait_until


def is_alive(pid: int) -> bool:
    """Whether it exists and is not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def marked(store: Path) -> list[int]:
    """The live processes of jobs of this store, by their environment."""
    wanted = f"JOBQ_STORE={store}".encode()
    found = []
    for name in os.listdir("/proc"):
        try:
            variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0") if name.isdecimal() else []
        except OSError:
            continue
        if wanted in variables and any(v.startswith(b"JOBQ_JOB_ID=") for v in variables) and is_alive(int(name)):
            found.append(int(name))
    return found


def supervisors(store: Path) -> list[int]:
    """The live supervisors of this store, by what their lock files say."""
    pids = [int(path.read_text() or 0) for path in (store / "workers").glob("*/*.lock")]
    return [pid for pid in pids if pid and is_alive(pid)]


def pids_in(path: Path, count: int) -> list[int]:
    """The numbers in a file, once there are that many."""

    def read() -> list[int] | None:
        words = path.read_text().split() if path.exists() else []
        return [int(word) for word in words] if len(words) >= count else None

    return wait_until(read)
