"""A mark that every process of a job carries, whatever it does to its environment, its session or its parents.

When supervisor and worker are both dead, only such a mark tells which processes belong to a job. It is a number, set as
the soft limit RLIMIT_LOCKS, which Linux has not enforced since 2.4.25 (setrlimit(2)): fork(2), execve(2), setsid(2) and
set-user-ID programs all keep it. Every user may read it in /proc/PID/limits, even of processes that hide their
environment. The same number is in the variable JOBQ_JOB_MARK, for programs that reset all limits (pam_limits(8)).

The number is made from the store's own directory (device and inode), the supervisor and the claim: no process of a
copied, deleted or other store, or of another attempt, has it.
"""

from __future__ import annotations

import os
import resource

from jobq.sealed import sha256
from jobq.supervisor.tree import pids, read_proc, read_stat

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from jobq.supervisor.tree import Process

VARIABLE = "JOBQ_JOB_MARK"
HOOK_VARIABLE = "JOBQ_HOOK_ID"  # the id of a hook, whose JOBQ_JOB_ID is that of another job
RLIMIT_LOCKS = 10  # linux/resource.h
BITS = 60  # a limit is a signed number of 64 bits in Python


def mark_of(store: tuple[int, int], supervisor: str, job_id: int, n: int, claimed_at: float) -> int:
    """Return the mark of one claim of one attempt; `store`: device and inode of its directory."""
    run = f"{store[0]}:{store[1]} {supervisor} {job_id}.{n} {claimed_at!r}"
    return 1 << BITS | int(sha256(run.encode("utf-8", "surrogateescape"))[: BITS // 4], 16)


def wear(mark: int) -> None:
    """Mark all processes that this one starts from now on, as far as the system allows."""
    try:
        resource.setrlimit(RLIMIT_LOCKS, (mark, resource.getrlimit(RLIMIT_LOCKS)[1]))
    except (OSError, ValueError):
        pass  # not Linux, or a hard limit below it: only the variable is left


def wears(pid: int, mark: int) -> bool:
    """Return True if the process carries the mark. Raises OSError if resources are short (EMFILE, ENOMEM)."""
    limit, variable = b"Max file locks".ljust(26) + b"%d " % mark, f"{VARIABLE}={mark:x}".encode()
    return limit in read_proc(pid, "limits") or variable in read_proc(pid, "environ")


def wearers(mark: int) -> set[Process]:
    """Return the live processes that carry the mark, except this one. Raises OSError as `wears` does."""
    found = {pid for pid in pids() if pid != os.getpid() and wears(pid, mark)}
    stats = ((pid, read_stat(pid)) for pid in found)
    return {(pid, stat[1]) for pid, stat in stats if stat is not None and not stat[2]}
