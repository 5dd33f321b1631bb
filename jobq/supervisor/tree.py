"""Trees of processes: what is alive of one, how it is signalled, how it is ended for good.

What differs between systems is here. On Linux, a subreaper (prctl(2)) gets whatever its descendants leave behind as its
own children, in whatever session they are; elsewhere only the job's process group can be seen.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import stat
import sys

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

KILL_BURST = 200  # rounds of killing between two looks at everything

BLIND = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})  # nothing is seen then, but may be there
Process = tuple[int, int]  # pid and start time in ticks, never reused together within a boot; (-pgid, 0): a group
SUBREAPING = False


def become_subreaper() -> None:
    """Orphans of the job become children of this process (Linux 3.4; prctl(2))."""
    global SUBREAPING  # noqa: PLW0603
    if sys.platform == "linux":
        try:
            import ctypes  # noqa: PLC0415

            SUBREAPING = ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
        except (ImportError, OSError, AttributeError):
            pass


@functools.cache
def proc_is_ours() -> bool:
    """Whether /proc is there and gives processes the numbers that we know them by, not those of another namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def pids() -> list[int]:
    """The numbers of all processes that can be seen. Raises OSError where too little is left to look."""
    if not proc_is_ours():
        return []
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError as e:
        if e.errno in BLIND:
            raise
        return []


def read_proc(pid: int, name: str) -> bytes:
    """A file of /proc/PID; empty if it can't be read. Raises OSError where too little is left to look."""
    try:
        with open(f"/proc/{pid}/{name}", "rb", buffering=0) as f:
            return f.read(1 << 22)
    except OSError as e:
        if e.errno in BLIND:
            raise
        return b""


def tree_of(leader: int) -> set[Process]:
    """The live processes of the job whose main process is `leader`; its group where that can't be seen."""
    found = descendants(os.getpid()) if SUBREAPING else None
    return {(-leader, 0)} if found is None else found


def may_be_filter(process: Process, log: os.stat_result) -> bool | None:
    """Whether the process has this file open, and a pipe or socket to read from; None if that pipe holds unread data.

    True where that can't be seen.
    """
    holds_log = has_pipe = unread = False
    folder = f"/proc/{process[0]}/fd"
    try:
        for name in os.listdir(folder):
            try:
                status = os.stat(f"{folder}/{name}")
            except OSError:
                continue
            holds_log |= os.path.samestat(status, log)
            has_pipe |= stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
            unread = unread or (stat.S_ISFIFO(status.st_mode) and holds_unread(f"{folder}/{name}"))
    except OSError:
        return process[0] < 0 or read_stat(process[0]) is not None
    return None if holds_log and unread else holds_log and has_pipe


def would_die_of_term(process: Process) -> bool:
    """Whether a TERM would end the process at once, so that it has heard none yet; False if that can't be seen."""
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


def holds_unread(pipe: str) -> bool:
    """Whether there is data in the pipe that nobody has read yet; False if that can't be seen."""
    import fcntl  # noqa: PLC0415  # hardly ever needed
    import termios  # noqa: PLC0415

    try:
        fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) != bytes(4)
    except OSError:
        return False
    finally:
        os.close(fd)


def survivors(leader: int) -> set[Process] | None:
    """What can be seen of the tree whose main process, `leader`, has been reaped; None if there is nothing left.

    Reaps what is dead of it. With a subreaper, only having no children means that nothing is left: what forks all the
    time may be missed by every look. Otherwise only the group can be seen; its number is not given away while it has
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
    """The direct children, unreaped dead ones too, by the quickest way there is (Linux)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
            pids = [int(word) for word in f.read().split()]
    except OSError:
        return set()
    stats = ((pid, read_stat(pid)) for pid in pids)
    return {(pid, stat[1]) for pid, stat in stats if stat is not None}


def signal_group(leader: int, number: int) -> bool:
    """Signal the group of an unreaped child; False if all of it is another user's by now, who alone may do that."""
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


def reap_children() -> bool:
    """Reap every dead child; whether live ones are left."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        if dead is None:
            return True
        os.waitpid(dead.si_pid, 0)


def descendants(*roots: int) -> set[Process] | None:
    """All live processes below these; None where the system does not tell (no /proc)."""
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
    """Parent, start time in ticks, and whether it is dead already (proc_pid_stat(5)); None if it does not exist."""
    if not proc_is_ours():
        return None
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[19]), fields[0] in {b"Z", b"X"}
    except (OSError, ValueError, IndexError):
        return None


def send(process: Process, number: int) -> bool:
    """Signal exactly this process, or nobody if it is gone and its number given away; False if we are not allowed to.

    What a job has started by sudo(8), or any set-user-ID program, only that user may signal.
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
    """KILL them; those that we are not allowed to. What they fork meanwhile is found by the next look."""
    return {process for process in parents_first(processes) if not send(process, signal.SIGKILL)}


def parents_first(processes: Collection[Process]) -> list[Process]:
    """Them by their age: a shell whose command ends before it has heard the signal would go on with the next one."""
    return sorted(processes, key=lambda process: (process[1], process[0]))


def kill_children(is_ours: Callable[[int], bool] = lambda _pid: True) -> bool:
    """KILL and reap what becomes a child of this process, without a pause: what forks all the time, and leaves its
    parents behind, must be caught between two forks. Whether any is left that `is_ours` and may be killed."""
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
                os.waitpid(pid, os.WNOHANG)  # what is not dead yet is seen again; what hangs must not hold us, too
            except ChildProcessError:
                pass
    return True


def reap_orphans(spared: Collection[int]) -> None:
    """Reap dead children that others have left to us, as a subreaper or as PID 1; not those that somebody waits for."""
    try:
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and dead.si_pid not in spared:
            os.waitpid(dead.si_pid, 0)
    except ChildProcessError:
        pass


def kill_own_child(leader: int) -> None:
    """KILL the group of a process that has come to us as a child; of nobody else, as only our own can be waited for."""
    if leader > 0:
        try:
            os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            signal_group(leader, signal.SIGKILL)  # `reap_orphans` reaps it
        except OSError:
            pass
