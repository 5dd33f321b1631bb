"""A warm process: it calls one function after the other, and imports their modules once.

Loaded by `child.py --host`, so the same holds as there: standard library only, oldest Python 3.7. A supervisor starts
it, hands over one call at a time as a line of JSON on descriptor 0, and gets one line on descriptor 3 when it is over.
A call ends with the status that `child.py` alone would exit with; what ends the process ends the call. A call that
leaves something behind that others would notice (threads, processes, another directory, variables, umask, handlers of
signals) is the last one: the reply says so, and the process exits.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RLIMIT_LOCKS = 10  # linux/resource.h; see supervisor/mark.py
MOST_INLINE = 512  # characters of a result that goes back with the reply, and into no file
MOST_CALLS = 10_000  # until the process is replaced
LOOK_EVERY = 64  # calls between two looks at the memory
MORE_MEMORY = 64 << 20  # bytes beside twice those after the first calls
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD)
KEPT = ("the working directory", "the environment", "the umask", "signal handlers", "the signal mask", "the threads")
OURS = ("JOBQ_JOB_ID", "JOBQ_JOB_ATTEMPT", "JOBQ_JOB_NAME", "JOBQ_JOB_FILES", "JOBQ_JOB_MARK")


getsignal: Callable[[int], Any] = sys.modules["_signal"].getsignal  # without the enums of `signal`
pthread_sigmask: Callable[[int, tuple[int, ...]], set[int]] = sys.modules["_signal"].pthread_sigmask


class Host:
    """The process. `child` is the module that calls functions."""

    def __init__(self, child: Any, termination: Any) -> None:
        self.child = child
        self.termination = termination
        self.requests = os.fdopen(os.dup(0), "rb")  # not inherited (PEP 446)
        self.replies = os.dup(3)
        os.close(3)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self.pid = os.getpid()
        self.hard = resource.getrlimit(RLIMIT_LOCKS)[1] if sys.platform == "linux" else 0
        self.known: dict[tuple[str, str | None], Any] = {}
        self.modules: dict[str, int] = {}  # files that this call has imported -> when they were changed
        self.outputs = sys.stdout, sys.stderr
        self.before = self.state()
        self.calls = 0
        self.least_memory = 0
        self.flush_c = flusher()

    def serve(self) -> None:
        """Make calls until there are no more, or this process should be replaced."""
        for line in self.requests:
            request = json.loads(line)
            reply = self.call(request)
            self.reply(reply)
            if "last" in reply:
                break

    def reply(self, reply: dict[str, Any]) -> None:
        """Tell the supervisor how the call has ended."""
        os.write(self.replies, json.dumps(reply).encode("ascii") + b"\n")  # less than PIPE_BUF: at once

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make one call, and return the reply. What ends the process is told by its end."""
        function, call = request["function"], request["call"]
        self.put_on(request)
        began = resource.getrusage(resource.RUSAGE_SELF)
        result = self.child.ResultFile(request["result"], function)
        try:
            text, status = self.child.outcome(function, call, self.find)
            wait_for_threads(self.before[-1])
        except self.child.Terminated:
            self.termination.is_fatal = True
            raise
        if os.getpid() != self.pid:  # a child that was forked in the function returned from it
            os._exit(status)
        reply: dict[str, Any] = {}
        if status == 0 and len(text) <= MOST_INLINE:
            reply["result"] = text
        else:
            status = result.save(text, status)
            signal.signal(signal.SIGTERM, self.termination.handler)
        result.close()
        self.flush()
        used = resource.getrusage(resource.RUSAGE_SELF)
        reply["status"] = status
        reply["user_s"] = round(used.ru_utime - began.ru_utime, 6)
        reply["system_s"] = round(used.ru_stime - began.ru_stime, 6)
        if self.modules:
            reply["modules"], self.modules = self.modules, {}
        why = self.why_last()
        if why:
            reply["last"] = why
        return reply

    # -- before a call ---------------------------------------------------------------------------------

    def find(self, function: str, path: str | None) -> Any:
        """Return the function; its module is imported once, and what it changes then is no change by the call."""
        key = function, path
        if key not in self.known:
            module = function.partition(":")[0]
            is_new = module not in sys.modules
            self.known[key] = self.child.find(function, path)
            file = getattr(sys.modules.get(module), "__file__", None)
            if is_new and file:
                self.modules[file] = changed_at(file)
        self.before = self.state()
        return self.known[key]

    def put_on(self, request: dict[str, Any]) -> None:
        """Take on the mark, the variables and the log of the job of this call."""
        if self.hard:
            try:
                resource.setrlimit(RLIMIT_LOCKS, (request["mark"], self.hard))
            except (OSError, ValueError):
                pass
        for name in OURS:
            value = request["set"].get(name)
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if "log" in request:
            fd = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            os.close(fd)
        sys.argv[:] = [request["function"]]

    # -- after it --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write all output of the call to its log, and take back the streams that it has replaced."""
        for stream in {sys.stdout, sys.stderr, *self.outputs}:
            try:
                stream.flush()
            except Exception:
                pass
        sys.stdout, sys.stderr = self.outputs
        self.flush_c()

    def state(self) -> tuple[Any, ...]:
        """Return what a call must leave as it was; the names of the parts are KEPT."""
        mask = os.umask(0)
        os.umask(mask)
        try:
            cwd = os.getcwd()
        except OSError:
            cwd = ""
        handlers = [getsignal(number) for number in SIGNALS]
        return cwd, environment(), mask, handlers, pthread_sigmask(signal.SIG_BLOCK, ()), threads()

    def why_last(self) -> str:
        """Return why the call is the last one of this process; "" if it is not."""
        now = self.state()
        if now != self.before:
            return "it changed " + next(name for name, old, new in zip(KEPT, self.before, now) if old != new)
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return "it left processes"
        except ChildProcessError:
            pass
        self.calls += 1
        if self.calls >= MOST_CALLS:
            return "it has made %d calls" % self.calls
        if self.calls % LOOK_EVERY == 1:
            memory = memory_in_use()
            self.least_memory = min(self.least_memory, memory) if self.least_memory else memory
            if memory > 2 * self.least_memory + MORE_MEMORY:
                return "it uses %d MiB of memory" % (memory >> 20)
        return ""


def environment() -> Any:
    """Return a copy of the variables; in the form that costs least, if this Python has it."""
    data = getattr(os.environ, "_data", None)
    return dict(data if isinstance(data, dict) else os.environ)


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


def flusher() -> Callable[[], object]:
    """Return what writes the output that C code has buffered."""
    try:
        import ctypes

        flush = ctypes.CDLL(None).fflush
    except Exception:
        return bool
    return lambda: flush(None)


def serve(child: Any, termination: Any) -> None:
    """Be a warm process until there is no more to do."""
    Host(child, termination).serve()
