"""Process trees: find the live processes of a tree, signal them, and end all of them.

The differences between systems are here. On Linux, orphaned descendants of a subreaper (prctl(2)) become its own
children, in whatever session they are; elsewhere only the job's process group can be seen.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Process = tuple[int, int]  # pid and start time in ticks, unique within a boot; (-pgid, 0): a group

KILL_BURST = 200  # rounds of killing before the caller checks everything again

BLIND = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # errors that hide processes
SUBREAPING = False


def become_subreaper() -> None:
    """Make the orphans of the job children of this process (Linux 3.4; prctl(2))."""
    global SUBREAPING  # noqa: PLW0603
    if sys.platform == "linux":
        try:
            import ctypes  # noqa: PLC0415

            SUBREAPING = ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
        except (ImportError, OSError, AttributeError):
            pass


@functools.lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8
def proc_is_ours() -> bool:
    """Return True if /proc is there and shows the pids of this process's namespace, not those of another one."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def pids() -> list[int]:
    """Return the pids of all visible processes. Raises OSError if resources are too short to look (BLIND)."""
    if not proc_is_ours():
        return []
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError as e:
        if e.errno in BLIND:
            raise
        return []


def read_proc(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID; empty if it can't be read. Raises OSError if resources are short (BLIND)."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as f:
            return f.read(1 << 22)
    except OSError as e:
        if e.errno in BLIND:
            raise
        return b""


def tree_of(leader: int) -> set[Process]:
    """Return the live processes of the job whose main process is `leader`, or its group if they can't be seen."""
    found = descendants(os.getpid()) if SUBREAPING else None
    return {(-leader, 0)} if found is None else found


def would_die_of_term(process: Process) -> bool:
    """Return True if TERM would end the process at once, so that it has had none yet; False if that can't be seen."""
    for line in read_proc(process[0], "status").splitlines():
        name, _, mask = line.partition(b":")
        if (
            name in {b"SigPnd", b"ShdPnd", b"SigBlk", b"SigIgn", b"SigCgt"}
            and int(mask, 16) >> (signal.SIGTERM - 1) & 1
        ):
            return False
        if name == b"State" and mask.split()[0] in {b"Z", b"X"}:
            return False
    return process[0] > 0 and read_stat(process[0]) is not None


def survivors(leader: int) -> set[Process] | None:
    """Return the visible rest of the tree whose main process, `leader`, is reaped; None if nothing is left.

    Dead processes are reaped. In a subreaper, only having no children means that nothing is left: every look may miss a
    process that forks all the time. Otherwise only the group can be seen; its number is not reused while it has
    members.
    """
    children = reap_children()
    if SUBREAPING and not children:
        return None
    found = descendants(os.getpid()) if children else set()
    if SUBREAPING and found is not None:
        return found
    try:
        os.killpg(leader, 0)
    except OSError:
        return None
    return {(-leader, 0)} | (found or set())


def own_children() -> set[Process]:
    """Return the direct children, dead unreaped ones included, in the fastest way there is (Linux)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
            pids = [int(word) for word in f.read().split()]
    except OSError:
        return set()
    stats = ((pid, read_stat(pid)) for pid in pids)
    return {(pid, stat[1]) for pid, stat in stats if stat is not None}


@functools.lru_cache(maxsize=None)  # noqa: UP033  # Python 3.8
def _children_file(pid: int) -> int:
    return os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY)


def has_other_children(pid: int) -> bool:
    """Return True if there are children beside this one, dead unreaped ones included; False if that can't be seen."""
    try:
        return os.pread(_children_file(os.getpid()), 1 << 12, 0).split() not in ([], [b"%d" % pid])
    except OSError:
        return False


def signal_group(leader: int, number: int) -> bool:
    """Signal the group of an unreaped child. Return False if we may not: all of it belongs to another user now."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def reap_children() -> bool:
    """Reap every dead child. Return True if live ones are left."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if dead is None:
            return True
        os.waitpid(dead.si_pid, 0)


def descendants(*roots: int) -> set[Process] | None:
    """Return the live processes below `roots`; None if they can't be seen (no /proc, or resources are short)."""
    children: dict[int, list[tuple[Process, bool]]] = {}
    try:
        numbers = pids()
    except OSError:
        return None
    for number in numbers:
        if (known := read_stat(number)) is not None:
            ppid, started, dead = known
            children.setdefault(ppid, []).append(((number, started), dead))
    if not children:
        return None
    found: set[Process] = set()
    todo = list(roots)
    while todo:
        for process, dead in children.get(todo.pop(), ()):
            todo.append(process[0])
            if not dead:
                found.add(process)
    return found


def read_stat(pid: int) -> tuple[int, int, bool] | None:
    """Return parent, start time in ticks, and True if it is dead (proc_pid_stat(5)); None if it can't be seen."""
    if not proc_is_ours():
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[19]), fields[0] in {b"Z", b"X"}
    except (OSError, ValueError, IndexError):
        return None


def send(process: Process, number: int) -> bool:
    """Signal exactly this process; none if it is dead and its number reused. Return False if we are not allowed to.

    Only another user may signal what a job has started as that user by sudo(8), or by any set-user-ID program.
    """
    pid, started = process
    if pid < 0:
        return signal_group(-pid, number)
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (OSError, AttributeError):
        handle = -1
    try:
        stat = read_stat(pid)
        if stat is None or stat[1] != started:
            return True
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except PermissionError:
        return False
    except OSError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)
    return True


def kill_all(processes: set[Process]) -> set[Process]:
    """KILL the processes; return those that we may not kill. The next look finds what they fork meanwhile."""
    return {process for process in parents_first(processes) if not send(process, signal.SIGKILL)}


def parents_first(processes: Collection[Process]) -> list[Process]:
    """Sort by age: a shell whose command ends before the shell gets the signal would start its next command."""
    return sorted(processes, key=lambda process: (process[1], process[0]))


def kill_children(is_ours: Callable[[int], bool] = lambda _pid: True) -> bool:
    """KILL and reap the children that `is_ours` accepts, without a pause: what forks all the time, and leaves its
    parents behind, must be caught between two forks. Return True if some that we may kill may be left."""
    beyond: set[Process] = set()
    for _ in range(KILL_BURST):
        left = own_children() - beyond
        beyond |= {process for process in left if not is_ours(process[0])}
        left -= beyond
        if not left:
            return False
        beyond |= kill_all(left)
        for pid, _ in left - beyond:
            try:
                os.waitpid(pid, os.WNOHANG)  # not to hang with a child that hangs; the next round sees it again
            except ChildProcessError:
                pass
    return True


def reap_orphans(spared: Collection[int]) -> None:
    """Reap dead orphans that came to us as a subreaper or as PID 1; not those in `spared`, which have a waiter."""
    try:
        while dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if dead.si_pid in spared:
                break  # it hides the others from this call
            os.waitpid(dead.si_pid, 0)
        else:
            return
        for pid, _ in own_children():
            if pid not in spared:
                os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def kill_own_child(leader: int) -> None:
    """KILL the group of `leader` if that is a child of ours, as orphans are; any other number may be reused."""
    if leader > 0:
        try:
            os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            signal_group(leader, signal.SIGKILL)  # `reap_orphans` reaps it
        except OSError:
            pass
