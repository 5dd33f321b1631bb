"""A mark that everything a job starts carries, whatever it does to its environment, its session or its parents.

When supervisor and worker are both dead, nothing but such a mark tells what is left of a job. A number is set as the
soft limit RLIMIT_LOCKS, which Linux has not enforced since 2.4.25 (setrlimit(2)): fork(2), execve(2), setsid(2) and
set-user-ID programs all keep it, and every user may read it in /proc/PID/limits, also of processes that hide their
environment. The same number stands in the variable JOBQ_JOB_MARK, for programs that reset all limits (pam_limits(8)).

The number is made of the store's own directory (device and inode), the supervisor and the claim: the process of a
copied, deleted or other store, or of another attempt, never has it.
"""

from __future__ import annotations

import os
import resource

from jobq.sealed import sha256
from jobq.supervisor.tree import Process, pids, read_proc, read_stat

VARIABLE = "JOBQ_JOB_MARK"
RLIMIT_LOCKS = 10  # linux/resource.h
BITS = 60  # a limit is a signed number of 64 bits in Python


def mark_of(store: tuple[int, int], supervisor: str, job_id: int, n: int, claimed_at: float) -> int:
    """The mark of one claim of one attempt; `store`: device and inode of its directory."""
    run = f"{store[0]}:{store[1]} {supervisor} {job_id}.{n} {claimed_at!r}"
    return 1 << BITS | int(sha256(run.encode("utf-8", "surrogateescape"))[: BITS // 4], 16)


def wear(mark: int) -> None:
    """Let all that this process starts from now on carry the mark, as far as the system lets us."""
    try:
        resource.setrlimit(RLIMIT_LOCKS, (mark, resource.getrlimit(RLIMIT_LOCKS)[1]))
    except (OSError, ValueError):
        pass  # not Linux, or a hard limit below it: the variable has to do


def wears(pid: int, mark: int) -> bool:
    """Whether the process carries the mark. Raises OSError where too little is left to look (EMFILE, ENOMEM)."""
    limit, variable = b"Max file locks".ljust(26) + b"%d " % mark, f"{VARIABLE}={mark:x}".encode()
    return limit in read_proc(pid, "limits") or variable in read_proc(pid, "environ")


def wearers(mark: int) -> set[Process]:
    """The live processes that carry the mark, but for this one. Raises OSError as `wears`."""
    found = {pid for pid in pids() if pid != os.getpid() and wears(pid, mark)}
    stats = ((pid, read_stat(pid)) for pid in found)
    return {(pid, stat[1]) for pid, stat in stats if stat is not None and not stat[2]}
