"""The traces of a call in a warm process: all that it might leave behind for the next one.

Standard library only, oldest Python 3.7, as for host.py.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
KEPT = (
    "the working directory", "the umask", "its user", "its limits", "signal handlers", "the signal mask", "a timer",
    "its output", "the number of threads", "the threads",
)  # fmt: skip
NAMES = ("AS", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
LIMITS = [getattr(resource, "RLIMIT_" + name) for name in NAMES if hasattr(resource, "RLIMIT_" + name)]
MOMENT = 0.005  # seconds that a thread may take to be gone
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

getsignal: Callable[[int], Any] = sys.modules["_signal"].getsignal  # without the enums of `signal`
getitimer: Callable[[int], tuple[float, float]] = sys.modules["_signal"].getitimer
count_threads: Callable[[], int] = sys.modules["_thread"]._count  # those that `threading` does not know, too
pthread_sigmask: Callable[[int, tuple[int, ...]], set[int]] = sys.modules["_signal"].pthread_sigmask


def state() -> tuple[Any, ...]:
    """Return what a call must leave as it was; the names of the parts are KEPT."""
    mask = os.umask(0)
    os.umask(mask)
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""
    user = os.geteuid(), os.getegid()
    limits = [resource.getrlimit(limit) for limit in LIMITS]
    handlers = [getsignal(number) for number in SIGNALS]
    blocked, timer = pthread_sigmask(signal.SIG_BLOCK, ()), getitimer(signal.ITIMER_REAL) != (0.0, 0.0)
    return cwd, mask, user, limits, handlers, blocked, timer, (file_of(1), file_of(2)), count_threads(), threads()


def restore_limits(before: tuple[Any, ...]) -> None:
    """Set the limits of that state again, as far as that is allowed."""
    for limit, was in zip(LIMITS, before[KEPT.index("its limits")]):  # noqa: B905  # Python 3.7
        if resource.getrlimit(limit) != was:
            try:
                resource.setrlimit(limit, was)
            except (OSError, ValueError):
                pass


def is_open(stream: Any) -> bool:
    """Return True if a stream can be written to."""
    try:
        return not stream.closed
    except Exception:  # it was detached from its file
        return False


def environment() -> Any:
    """Return a copy of the variables; in the form that costs least, if this Python has it."""
    data = getattr(os.environ, "_data", None)
    return dict(data if isinstance(data, dict) else os.environ)


def file_of(fd: int) -> tuple[int, int] | None:
    """Return device and inode of an open file; None if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def changed_at(path: str) -> int:
    """Return when a file was last changed, in nanoseconds; 0 if it is gone."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def memory_in_use() -> int:
    """Return the resident bytes of this process; 0 if they are not known."""
    try:
        with open("/proc/self/statm", "rb") as f:
            return int(f.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def threads() -> set[int]:
    """Return the threads of this process that Python knows, but for the main one: a call may import `threading`."""
    threading: Any = sys.modules.get("threading")
    if not hasattr(threading, "enumerate"):
        return set()
    return {thread.ident for thread in threading.enumerate()} - {threading.main_thread().ident}


def wait_for_threads(before: tuple[Any, ...]) -> None:
    """Wait for the threads that a call has started since that state, but for daemons: as Python does at its exit."""
    threading: Any = sys.modules.get("threading")
    if not hasattr(threading, "enumerate"):
        return
    main = threading.main_thread()
    for thread in threading.enumerate():
        if thread.ident not in before[-1] and not thread.daemon and thread is not main:
            thread.join()
    until = monotonic() + MOMENT
    while count_threads() > before[-2] and threads() == before[-1] and monotonic() < until:
        sleep(MOMENT / 10)  # one that was joined may still be counted


def c_library() -> Any:
    """Return the functions of the C library; None if this Python can't call them."""
    try:
        import ctypes  # noqa: PLC0415  # where it is missing, all else works

        return ctypes.CDLL(None)
    except Exception:
        return None


C = c_library()  # now: later, a module of the user could hide what it needs


def flush_c() -> None:
    """Write the output that C code has buffered."""
    if C is not None:
        C.fflush(None)


def adopt_orphans() -> None:
    """Let processes that a call leaves behind become children of this process: so it sees them (prctl(2))."""
    if C is not None and sys.platform == "linux":
        C.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
