"""A warm process: it calls one function after the other, and imports their modules once.

Loaded by `child.py --host`, so the same holds as there: standard library only, oldest Python 3.7. A supervisor starts
it, and hands over a batch of calls on descriptor 0: a line of JSON for the batch, then the line of each job, as the
worker has sent it. Which call runs, and how each has ended, stands in a file (supervisor/calls.py says how); a line on
descriptor 3 says that the batch is over, or stopped. A call ends with the status that `child.py` alone would exit with;
what ends the process ends the call. A call that leaves something behind that others would notice (threads, processes,
another directory, variables, umask, output, handlers of signals) is the last one: the process exits.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys

from . import traces
from .batch import FULL, KEEPING, OVER, REPLIES, Calls, out_of_the_way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RLIMIT_LOCKS = 10  # linux/resource.h; see supervisor/mark.py
MOST_INLINE = 512  # characters of a result that goes back with the reply, and into no file
MOST_CALLS = 10_000  # until the process is replaced
LOOK_EVERY = 64  # calls between two looks at the memory
MORE_MEMORY = 64 << 20  # bytes beside twice those after the first calls
OURS = ("JOBQ_JOB_ID", "JOBQ_JOB_ATTEMPT", "JOBQ_JOB_NAME", "JOBQ_JOB_FILES", "JOBQ_JOB_MARK")
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


class Host:
    """The process. `child` is the module that calls functions."""

    def __init__(self, child: Any, termination: Any) -> None:
        self.child = child
        self.termination = termination
        self.requests = os.fdopen(out_of_the_way(os.dup(0)), "rb")  # not inherited (PEP 446)
        self.told = out_of_the_way(os.dup(3))
        self.pipe = traces.file_of(self.told)
        os.close(3)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        self.pid = os.getpid()
        self.hard = resource.getrlimit(RLIMIT_LOCKS)[1] if sys.platform == "linux" else 0
        self.calls: Any = None  # the file
        self.known: dict[tuple[str, str | None], Any] = {}
        self.modules: dict[str, int] = {}  # files that this call has imported -> when they were changed
        self.files: dict[str, int] = {}  # ... and all that were
        self.outputs = sys.stdout, sys.stderr
        self.path = ""  # of the output
        self.output = out_of_the_way(os.dup(1))
        self.written = traces.file_of(self.output)
        self.worn: dict[str, str | None] = {}  # the variables of the call
        self.before = traces.state()
        self.variables = traces.environment()
        self.used = resource.getrusage(resource.RUSAGE_SELF)
        self.made = 0
        self.least_memory = 0

    def serve(self) -> None:
        """Make calls until there are no more, or this process should be replaced."""
        while True:
            lines = [self.requests.readline()]
            if lines[0]:
                head = json.loads(lines[0])
                lines += [self.requests.readline() for _ in range(head["calls"])]
            if not lines[-1].endswith(b"\n"):
                return  # the supervisor has hung up
            goes_on = self.make_calls(head, lines[1:])
            if traces.file_of(self.told) == self.pipe:  # else a function has closed it; the supervisor looks, too
                try:
                    os.write(self.told, b"\n")
                except OSError:  # the supervisor is dead
                    return
            if not goes_on:
                return

    def make_calls(self, head: dict[str, Any], lines: list[bytes]) -> bool:
        """Make the calls of a batch. Return False if the process must not make another one."""
        if self.calls is None:
            self.calls = Calls(head["file"], self.child.MAY_BE_MENDED)
        self.calls.batch, self.calls.end = head["batch"], REPLIES
        self.path = head["output"]
        if head["is_new"]:
            try:
                self.write_to(os.open(self.path, LOG_FLAGS))
            except FileNotFoundError:  # the supervisor has made it the log of the first call already
                self.write_to(os.open(json.loads(lines[0])["log"], LOG_FLAGS))
        last, is_last = -1, False
        for index, line in enumerate(lines):
            job = json.loads(line)
            self.put_on(job)
            if not self.calls.begin(index):
                break
            last = index
            reply = self.call(job["call"])
            self.calls.check()
            is_last = "replaced" in reply
            goes_on = not is_last and self.keep_output(reply, index, job["log"])
            if not goes_on and reply["log_bytes"]:
                reply["left"] = True
            self.calls.reply(reply)
            if not goes_on or self.calls.end > FULL:
                break
        self.calls.note(last, OVER)
        return not is_last

    def call(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make one call, and return the reply. What ends the process is told by its end."""
        function = asked["function"]
        result = self.child.ResultFile(asked["result"], function)
        try:
            text, status = self.child.outcome(function, asked["call"], self.find)
            traces.wait_for_threads(self.before)
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
        if status:
            reply["file"] = asked["result"]  # that says why
        result.close()
        self.flush()
        traces.restore_limits(self.before)  # what follows writes files
        before, self.used = self.used, resource.getrusage(resource.RUSAGE_SELF)
        reply["status"] = status
        reply["user_s"] = round(self.used.ru_utime - before.ru_utime, 6)
        reply["system_s"] = round(self.used.ru_stime - before.ru_stime, 6)
        reply["log_bytes"] = os.fstat(self.output).st_size if traces.file_of(self.output) == self.written else 0
        if self.modules:
            reply["modules"], self.modules = self.modules, {}
        why = self.why_last()
        if why:
            reply["replaced"] = why
        return reply

    def keep_output(self, reply: dict[str, Any], index: int, log: str) -> bool:
        """Move what the call has printed to its log. Return False if that is for the supervisor, as no call follows."""
        if not reply["log_bytes"]:
            return bool(self.calls.limit() > index + 1)
        self.calls.note(index, KEEPING)
        if self.calls.limit() <= index + 1:
            return False
        try:
            os.rename(self.path, log)
            output = os.open(self.path, LOG_FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError:
            return False
        os.fchmod(output, 0o600)
        self.write_to(output)
        return True

    def write_to(self, output: int) -> None:
        """Write to this descriptor from now on."""
        os.dup2(output, 1)
        os.dup2(output, 2)
        if traces.file_of(self.output) == self.written:
            os.close(self.output)  # else a function has, and has opened a file of its own
        self.output = out_of_the_way(output)
        self.written = traces.file_of(self.output)
        self.before = traces.state()

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
                self.modules[file] = self.files[file] = traces.changed_at(file)
            self.before, self.variables = traces.state(), traces.environment()
        return self.known[key]

    def put_on(self, job: dict[str, Any]) -> None:
        """Take on the mark and the variables of the job of this call."""
        if self.hard:
            try:
                resource.setrlimit(RLIMIT_LOCKS, (job["mark"], self.hard))
            except (OSError, ValueError):
                pass
        for name in OURS:
            value = job["set"].get(name)
            if value == self.worn.get(name, ""):
                continue
            self.worn[name] = value
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.variables = traces.environment()
        sys.argv[:] = [job["call"]["function"]]

    # -- after it --------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write all output of the call to its log, and take back the streams that it has replaced."""
        streams: list[Any] = [getattr(sys, "stdout", None), getattr(sys, "stderr", None), *self.outputs]
        for stream in streams:
            try:
                stream.flush()
            except Exception:
                pass
        sys.stdout, sys.stderr = self.outputs
        traces.flush_c()

    def why_last(self) -> str:
        """Return why the call is the last one of this process; "" if it is not."""
        now = traces.state()
        if now != self.before:
            return "it changed " + next(name for name, old, new in zip(traces.KEPT, self.before, now) if old != new)
        if traces.environment() != self.variables:
            return "it changed the environment"
        if not all(map(traces.is_open, self.outputs)):
            return "it closed its output"
        if any(traces.changed_at(path) != at for path, at in self.files.items()):
            return "a module that it has imported was changed"
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            return "it left processes"
        except ChildProcessError:
            pass
        self.made += 1
        if self.made >= MOST_CALLS:
            return "it has made %d calls" % self.made
        if self.made % LOOK_EVERY == 1:
            memory = traces.memory_in_use()
            self.least_memory = min(self.least_memory, memory) if self.least_memory else memory
            if memory > 2 * self.least_memory + MORE_MEMORY:
                return "it uses %d MiB of memory" % (memory >> 20)
        return ""


def serve(child: Any, termination: Any) -> None:
    """Be a warm process until there is no more to do."""
    traces.adopt_orphans()
    Host(child, termination).serve()
