"""What a warm process looks at between two calls: all that one of them might leave behind for the next.

Standard library only, oldest Python 3.7, as for host.py.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
KEPT = ("the working directory", "the umask", "signal handlers", "the signal mask", "its output", "the threads")
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)

getsignal: Callable[[int], Any] = sys.modules["_signal"].getsignal  # without the enums of `signal`
pthread_sigmask: Callable[[int, tuple[int, ...]], set[int]] = sys.modules["_signal"].pthread_sigmask


def state() -> tuple[Any, ...]:
    """Return what a call must leave as it was; the names of the parts are KEPT."""
    mask = os.umask(0)
    os.umask(mask)
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""
    handlers = [getsignal(number) for number in SIGNALS]
    return cwd, mask, handlers, pthread_sigmask(signal.SIG_BLOCK, ()), (file_of(1), file_of(2)), threads()


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
    """Return the threads of this process that Python knows."""
    threading: Any = sys.modules.get("threading")
    return {thread.ident for thread in threading.enumerate()} if hasattr(threading, "enumerate") else set()


def wait_for_threads(before: set[int]) -> None:
    """Wait for the threads that a call has started, but for daemons: as Python does before it exits."""
    threading: Any = sys.modules.get("threading")
    if not hasattr(threading, "enumerate"):
        return
    main = threading.main_thread()
    for thread in threading.enumerate():
        if thread.ident not in before and not thread.daemon and thread is not main:
            thread.join()


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
