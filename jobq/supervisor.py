"""The process that stands beside one job: starts it, watches it, ends its whole tree, and writes down how it went.

Run by path as `python -I -S supervisor.py FOLDER K BOUND`, standard library only, one for each slot of a worker, for
the worker's life. It knows processes and no store. In FOLDER (the worker's), K being the slot:

    K.lock   held for life: as long as it is held, the job that was started last may be running
    K.ctl    FIFO of orders: "cancel ID N", "stop ID N GRACE" (seconds), "return": what waits goes back
    K.ends   what happened, appended: start, pid, end, not_started; emptied when the worker has recorded it all

Standard input brings jobs, a JSON object a line: one, or as many short ones as take some milliseconds, so that nobody
has to wait between them. They run one after the other. The first of such a batch says so, and says thereby that the
ends of all before it are recorded. Standard output says hello once and takes the end of each job. When the worker dies,
input hangs up: the job goes on, its end goes to K.ends, those behind it are noted as not started, then this process
exits; BOUND "1" (`jobq run`) ends the job instead. Its own session keeps it out of the terminal's reach. On Linux it is
a child subreaper (prctl(2)), so that whatever the job leaves behind, in whatever session, becomes its child.

Every line of K.ends, and every message, is JSON that ends in the CRC-32 of what is before it, as in the journal.
Oldest Python: 3.11, the worker's own interpreter.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import select
import signal
import stat
import struct
import sys
import time
import zlib

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

PROTOCOL = 3
LEFTOVER_GRACE = 2.0  # seconds from TERM to KILL for what outlives the job's main process
KILL_BURST = 200  # rounds of killing between two looks at everything
LONGEST_POLL = 3600.0  # seconds; poll(2) takes no more than 24 days
TELL_EVERY = 0.02  # seconds that the end of a job may wait for those of the jobs behind it
ROUND = 0.02  # seconds between two looks for survivors
ENDS_LIMIT = 1 << 16  # bytes of K.ends that are kept although the worker has recorded them
ENCODER = json.JSONEncoder(separators=(",", ":"))
DECODER = json.JSONDecoder()
MOMENTARY = frozenset(
    {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
)  # the machine's trouble, not the job's: it is handed back uncounted
LOG_LOOK = 1.0  # seconds between two looks at how long the log has become
LOG_BLOCK = 1 << 12  # bytes: holes consist of whole ones
PLANTED = {errno.ELOOP, errno.EISDIR, errno.ENXIO}  # something else lies where a file of ours ought to be
BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW


def line_of(record: dict[str, Any]) -> bytes:
    """The record as a line with its checksum."""
    body = ENCODER.encode(record)[:-1].encode("ascii")
    return b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body))


class Stop:
    """Why and until when the job is being ended."""

    def __init__(self, outcome: str, grace: float, counted: bool) -> None:
        self.outcome = outcome
        self.counted = counted  # uses up a retry
        self.kill_at = time.monotonic() + grace


class CappedLog:
    """The output of a job that is not to grow without end: its beginning and its latest part are kept.

    What lies between is made a hole in the file, which takes no room and moves nothing: the job goes on appending.
    """

    def __init__(self, fd: int, most: int) -> None:
        self.fd = fd
        self.head = most // 4 // LOG_BLOCK * LOG_BLOCK
        self.tail = most - self.head
        self.hole_end = self.head
        self.dropped = 0
        self.look_at = time.monotonic() + LOG_LOOK

    def trim(self) -> None:
        """Drop what is too much by now. Where the system can't, the log grows."""
        self.look_at = time.monotonic() + LOG_LOOK
        size = os.fstat(self.fd).st_size
        if size < self.hole_end:
            self.hole_end = self.head  # the job has truncated it
        end = (size - self.tail) // LOG_BLOCK * LOG_BLOCK
        if end > self.hole_end and punch_hole(self.fd, self.hole_end, end - self.hole_end):
            self.dropped += end - self.hole_end
            self.hole_end = end

    def sizes(self) -> dict[str, int]:
        """Trimmed for the last time; its size, as the end of the job records it."""
        self.trim()
        return {"log_bytes": os.fstat(self.fd).st_size, "log_dropped": self.dropped}


class Spawned:
    """The job's main process and what is known of it."""

    def __init__(self, job: dict[str, Any], pid: int, log: CappedLog) -> None:
        self.id, self.n = job["id"], job["n"]
        self.pid = pid
        self.log_path: str = job["log"]
        self.log = log
        self.started = time.monotonic()
        timeout = job.get("timeout")
        self.timeout_at = None if timeout is None else self.started + timeout
        self.grace: float = job.get("grace", 10.0)
        self.stop: Stop | None = None


class Supervisor:
    """One slot."""

    def __init__(self, folder: str, slot: str, bound: bool) -> None:
        self.bound = bound
        self.hung_up = False
        self.leaving = False  # told by a signal to end the job and go
        self.unsaved: list[bytes] = []  # ends that the disk did not take
        self.untold = b""  # ends that the worker does not know of yet
        self.told_at = float("-inf")
        self.mend = b""  # what ends a line that may be torn
        self.empty_log: tuple[str, int] | None = None  # of the job before in this batch, which has said nothing
        self.waiting = b""  # input: jobs that have not begun
        self.orders = b""
        self.environments: dict[str, dict[str, str]] = {}
        lock = os.open(f"{folder}/{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            os.write(lock, b"%d\n" % os.getpid())
        except OSError:
            pass  # a full disk: only a quicker way to notice our end is lost
        self.ends = os.open(f"{folder}/{slot}.ends", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.mkfifo(f"{folder}/{slot}.ctl", 0o600)
        self.ctl = os.open(f"{folder}/{slot}.ctl", os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        self.woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.hang_up = select.poll()
        self.hang_up.register(0, 0)
        self.poll = select.poll()
        for fd in (0, self.ctl, self.woken):
            self.poll.register(fd, select.POLLIN)

    # -- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run jobs until the worker hangs up or a signal says to go."""
        self.tell(line_of({"hello": PROTOCOL, "pid": os.getpid()}))
        while not self.leaving:
            job = self.next_job()
            if job is None:
                break
            self.run(job)
        self.tell_ends()
        for line in self.unsaved:
            while not self.save(line):
                select.select([], [], [], 1.0)  # the only copy of a result: wait for room

    def next_job(self) -> dict[str, Any] | None:
        """The next job, or None when there will be no more."""
        while b"\n" not in self.waiting:
            self.tell_ends()
            if self.hung_up or self.leaving:
                return None
            self.wait(None)
        line, _, self.waiting = self.waiting.partition(b"\n")
        job: dict[str, Any] = DECODER.decode(line.decode("ascii"))
        if job["first"]:
            self.begin_batch()
        return job

    def begin_batch(self) -> None:
        """The worker has recorded all that was before."""
        if self.empty_log is not None:
            os.close(self.empty_log[1])
            self.empty_log = None
        self.unsaved.clear()
        self.told_at = time.monotonic()
        try:
            if os.fstat(self.ends).st_size > ENDS_LIMIT:
                os.ftruncate(self.ends, 0)
        except OSError:
            pass  # another time

    def wait(self, timeout: float | None) -> None:
        """Sleep until there is input, an order, a signal or the time is over (seconds); take it in."""
        for fd, events in self.poll.poll(None if timeout is None else min(max(timeout, 0.0), LONGEST_POLL) * 1000):
            if fd == 0:
                data = os.read(0, 1 << 16) if events & select.POLLIN else b""
                self.waiting += data
                if not data:
                    self.hung_up = True
                    self.poll.unregister(0)
                    self.give_back(lambda _job: True)
            elif fd == self.ctl:
                self.orders = (self.orders + os.read(self.ctl, 4096))[-8192:]
            else:
                os.read(self.woken, 4096)

    def give_back(self, chosen: Callable[[dict[str, Any]], bool]) -> None:
        """Those of the waiting jobs will not be started here: note it, tell it."""
        *lines, rest = self.waiting.split(b"\n")
        kept = b""
        for line in lines:
            job = json.loads(line)
            if chosen(job):
                self.not_started(job)
            else:
                kept += line + b"\n"
        self.waiting = kept + rest
        self.tell_ends()

    def not_started(self, job: dict[str, Any]) -> None:
        """Note that nothing was done for this claim of the attempt, and never will be."""
        line = line_of({"event": "not_started", "id": job["id"], "n": job["n"], "claim": job["claim"]})
        self.save(line)
        self.untold += line

    def tell_ends(self) -> None:
        """Let the worker know what it does not know yet."""
        self.told_at = time.monotonic()
        if self.untold:
            self.tell(self.untold)
            self.untold = b""

    def tell(self, line: bytes) -> None:
        """Send the worker a message; a dead one reads K.ends instead."""
        try:
            while line:
                line = line[os.write(1, line) :]
        except OSError:
            pass

    def save(self, line: bytes) -> bool:
        """Append to K.ends, whole or not at all."""
        try:
            before = os.fstat(self.ends).st_size
            if os.write(self.ends, self.mend + line) == len(self.mend + line):
                self.mend = b""
                return True
            os.ftruncate(self.ends, before)
        except OSError:
            self.mend = b"\n"  # something of it may be there
        return False

    def sync(self) -> bool:
        """Make K.ends durable: that a job which must never run twice has started is not forgotten in a power cut."""
        try:
            os.fsync(self.ends)
        except OSError:
            return False
        return True

    # -- one job -----------------------------------------------------------------------------------

    def run(self, job: dict[str, Any]) -> None:
        """Start it, see it through, report."""
        begun, clock = time.time(), time.clock_gettime(BOOT_CLOCK)
        key = {"id": job["id"], "n": job["n"], "claim": job["claim"]}
        started = self.save(line_of({"event": "start", **key, "at": begun, "boot_s": clock, "boot": job.get("boot")}))
        if not started or (job["once"] and not self.sync()):
            self.report({**key, "outcome": "spawn_error", "error": "no room to note the start", "counted": False})
            return
        if self.worker_is_gone():
            self.not_started(job)
            return
        log = -1
        try:
            log = self.open_log(job["log"])
            pid = self.spawn(job)
        except (OSError, ValueError) as e:
            if log >= 0:
                os.close(log)
            self.report({**key, **spawn_error(e, job)})
            return
        spawned = Spawned(job, pid, CappedLog(log, job["log_max"]))
        self.save(line_of({"event": "pid", **key, "pid": pid, "from": clock, "to": time.clock_gettime(BOOT_CLOCK)}))
        self.watch(spawned)
        end = self.collect(spawned)
        ended_at = begun + (time.monotonic() - spawned.started)
        self.report({**key, **end, "started_at": begun, "ended_at": ended_at, **self.close_log(spawned)})

    def open_log(self, path: str) -> int:
        """The log, made, for us to look at. Raises OSError.

        An empty file that is there already is renamed: that costs a tenth of a new one, and leaves no file behind for
        each job that says nothing.
        """
        if self.empty_log is not None:
            old, log = self.empty_log
            self.empty_log = None
            try:
                same = os.path.samestat(os.stat(old, follow_symlinks=False), os.fstat(log))
                if same and not os.path.lexists(path):
                    os.rename(old, path)
                    return log
            except OSError:
                pass
            os.close(log)
        return open_own(path, LOG_FLAGS | os.O_CREAT)

    def close_log(self, job: Spawned) -> dict[str, int]:
        """Its size. An empty one is kept for the next job of the batch, if really nobody can write to it any more."""
        sizes = job.log.sizes()
        if not sizes["log_bytes"] and is_open_nowhere_else(job.log.fd) and is_as_new(job.log.fd):
            self.empty_log = job.log_path, job.log.fd
        else:
            os.close(job.log.fd)
        return sizes

    def worker_is_gone(self) -> bool:
        """Whether input has hung up: a job that was still in the pipe must not start then."""
        if not self.hung_up:
            self.hung_up = any(events & (select.POLLHUP | select.POLLERR) for _, events in self.hang_up.poll(0))
        return self.hung_up

    def report(self, end: dict[str, Any]) -> None:
        """Write the end down; the worker is told soon."""
        line = line_of({"event": "end", **end})
        if not self.save(line):
            self.unsaved.append(line)
        self.untold += line
        if time.monotonic() >= self.told_at + TELL_EVERY:
            self.tell_ends()

    def spawn(self, job: dict[str, Any]) -> int:
        """The pid of the job, in its own session, directory, umask and environment. Raises OSError, ValueError."""
        environment = {**self.environment(job["env"]), **job["set"]}
        command = job["command"]
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        mask = os.umask(job["umask"])
        try:
            os.chdir(job["cwd"])
            environment["PWD"] = job["cwd"]
            program = find_program(argv[0], environment.get("PATH", "/usr/bin:/bin"))
            try:
                return spawn_in_session(program, argv, environment, job["log"])
            except OSError as e:
                if e.errno != errno.ENOEXEC:
                    raise
                # A script without "#!": execvp(3) and every shell run it by sh.
                return spawn_in_session("/bin/sh", ["/bin/sh", program, *argv[1:]], environment, job["log"])
        finally:
            os.umask(mask)
            os.chdir("/")

    def environment(self, path: str) -> dict[str, str]:
        """The captured environment in the file at `path`, which never changes."""
        if path not in self.environments:
            if len(self.environments) > 32:
                self.environments.clear()
            with open(open_own(path, os.O_RDONLY), encoding="ascii") as f:
                self.environments[path] = json.load(f)
        return self.environments[path]

    def watch(self, job: Spawned) -> None:
        """Return when the main process has ended, or when its time after TERM is over."""
        while not self.has_ended(job.pid):
            now = time.monotonic()
            self.take_orders(job)
            if job.stop is None:
                if job.timeout_at is not None and now >= job.timeout_at:
                    self.begin_stop(job, "timeout", job.grace)
                elif self.leaving:
                    self.begin_stop(job, "interrupted", min(job.grace, LEFTOVER_GRACE))
                elif self.hung_up and self.bound:
                    self.begin_stop(job, "interrupted", min(job.grace, LEFTOVER_GRACE), counted=False)
            if job.stop is not None and now >= job.stop.kill_at:
                return
            if now >= job.log.look_at:
                job.log.trim()
            if self.untold and now >= self.told_at + TELL_EVERY:
                self.tell_ends()
            wake_at = job.log.look_at
            if self.untold:
                wake_at = min(wake_at, self.told_at + TELL_EVERY)
            deadline = job.timeout_at if job.stop is None else job.stop.kill_at
            self.wait((wake_at if deadline is None else min(deadline, wake_at)) - time.monotonic())

    def has_ended(self, pid: int) -> bool:
        """Whether the main process is dead (it stays unreaped). Orphans of the job that died before are reaped."""
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if dead.si_pid == pid:
                return True
            os.waitpid(dead.si_pid, 0)
        return False

    def begin_stop(self, job: Spawned, outcome: str, grace: float, *, counted: bool = True) -> None:
        """TERM, and CONT so that a stopped job hears it; KILL after the grace."""
        job.stop = Stop(outcome, grace, counted)
        signal_group(job.pid, signal.SIGTERM)
        signal_group(job.pid, signal.SIGCONT)

    def take_orders(self, job: Spawned) -> None:
        """Carry out what has come by K.ctl for this attempt and those behind it; orders for others are late."""
        while b"\n" in self.orders:
            order, _, self.orders = self.orders.partition(b"\n")
            self.take_order(job, order.decode("ascii", "replace").split())

    def take_order(self, job: Spawned, words: list[str]) -> None:
        """Carry out one of them."""
        mine = words[1:3] == [str(job.id), str(job.n)]
        match words:
            case ["cancel", _, _] if mine:
                if job.stop is None:
                    self.begin_stop(job, "cancelled", job.grace)
            case ["stop", _, _, grace] if mine:
                seconds = float(grace)
                if job.stop is None:
                    self.begin_stop(job, "interrupted", seconds, counted=False)
                job.stop.kill_at = min(job.stop.kill_at, time.monotonic() + seconds)  # type: ignore[union-attr]
            case ["cancel" | "stop", job_id, n, *_]:
                self.wait(0)  # it may be in the pipe still
                self.give_back(lambda waiting: [str(waiting["id"]), str(waiting["n"])] == [job_id, n])
            case ["return"]:
                self.wait(0)
                self.give_back(lambda _waiting: True)

    def collect(self, job: Spawned) -> dict[str, Any]:
        """End what is left of the tree, reap the main process; how it ended.

        The main process stays unreaped until its group has been signalled: till then nobody else can have its number.
        """
        alone = os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if alone:
            signal_group(job.pid, signal.SIGTERM)
            signal_group(job.pid, signal.SIGCONT)
        else:
            signal_group(job.pid, signal.SIGKILL)
        _, status, usage = os.wait4(job.pid, 0)
        self.end_leftovers(job)
        end: dict[str, Any] = {
            "user_s": round(usage.ru_utime, 6),
            "system_s": round(usage.ru_stime, 6),
            "max_rss_kib": usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss // 1024,
        }
        code = os.waitstatus_to_exitcode(status)
        if job.stop is not None:
            # Even if it ends with success after TERM: it has not done all that it was asked.
            end["outcome"] = job.stop.outcome
            end["counted"] = job.stop.counted
        else:
            end["outcome"] = "exit" if code >= 0 else "signal"
        end["status" if code >= 0 else "signal"] = abs(code)
        return end

    def end_leftovers(self, job: Spawned) -> None:
        """TERM whatever of the tree outlives the main process, KILL it after a while, reap it all."""
        kill_at = time.monotonic() + LEFTOVER_GRACE
        if job.stop is not None:
            kill_at = min(kill_at, job.stop.kill_at)
        told: set[Process] = set()
        while (left := survivors(job.pid)) is not None:
            if time.monotonic() >= kill_at:
                kill_all(left)
                kill_children()
            else:
                for process in left - told:
                    send(process, signal.SIGTERM)
                    send(process, signal.SIGCONT)
                told |= left
                self.wait(ROUND)


def open_own(path: str, flags: int) -> int:
    """Open a plain file of ours with a single name, waiting for no FIFO and following no link. Raises OSError."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and status.st_uid == os.geteuid():
        os.set_blocking(fd, True)
        return fd
    os.close(fd)
    raise OSError(errno.ENXIO, "it is not a plain file of yours with a single name", path)


def spawn_error(error: OSError | ValueError, job: dict[str, Any]) -> dict[str, Any]:
    """The end of a job that could not be started; statuses as a shell's: 127 not found, else 126."""
    if isinstance(error, ValueError):
        return {"outcome": "spawn_error", "status": 126, "error": str(error)}
    number = error.errno or 0
    if number in MOMENTARY:
        return {"outcome": "spawn_error", "error": f"{error.strerror} ({str(error.filename)[:200]})", "counted": False}
    where = error.filename if isinstance(error.filename, str) else str(job["command"])
    if number == errno.ENOENT and not os.path.exists(job["log"]):
        where = job["log"]  # which was there a moment ago
    shown = where[:200]
    if where == job["log"] and number not in PLANTED:
        # Not the job's fault, and perhaps mended soon.
        return {"outcome": "spawn_error", "error": f"{shown}: {error.strerror}", "counted": False}
    if where == job["cwd"]:
        return {"outcome": "spawn_error", "status": 126, "error": f"working directory {shown}: {error.strerror}"}
    if number == errno.ENOENT:
        return {"outcome": "spawn_error", "status": 127, "error": f"{shown}: not found"}
    return {"outcome": "spawn_error", "status": 126, "error": f"{shown}: {error.strerror}"}


def find_program(name: str, path: str) -> str:
    """What execvp(3) would run, looked up in the job's PATH and directory. Raises OSError."""
    if "/" in name:
        return name
    denied = False
    for folder in path.split(":"):
        program = f"{folder or '.'}/{name}"
        if os.path.isfile(program):
            if os.access(program, os.X_OK):
                return program
            denied = True
    number = errno.EACCES if denied else errno.ENOENT
    raise OSError(number, os.strerror(number), name)


@functools.cache
def ignored_signals() -> list[int]:
    """Those that the job must not inherit: what is only caught is reset by execve(2) anyway."""
    return [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]


def spawn_in_session(program: str, argv: list[str], environment: dict[str, str], log: str) -> int:
    """posix_spawn(3): a session of its own, default signals, empty mask, no input, both outputs into the log.

    The job opens the log itself, so that it can be told from us by `is_open_nowhere_else`.
    """
    return os.posix_spawn(
        program,
        argv,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, LOG_FLAGS, 0),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=ignored_signals(),
    )


# -- process trees: what differs between systems ---------------------------------------------------

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
    """The live direct children, by the quickest way there is (Linux)."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
            pids = [int(word) for word in f.read().split()]
    except OSError:
        return set()
    stats = ((pid, read_stat(pid)) for pid in pids)
    return {(pid, stat[1]) for pid, stat in stats if stat is not None and not stat[2]}


def punch_hole(fd: int, at: int, length: int) -> bool:
    """Give back the room that these bytes take, with no other byte moved; whether the system could do it."""
    try:
        if sys.platform == "darwin":
            fcntl.fcntl(fd, 99, struct.pack("IIqq", 0, 0, at, length))  # F_PUNCHHOLE, fcntl(2)
            return True
        import ctypes  # noqa: PLC0415

        fallocate = ctypes.CDLL(None).fallocate
        fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_longlong, ctypes.c_longlong]
        return bool(fallocate(fd, 0x03, at, length) == 0)  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, fallocate(2)
    except (ImportError, OSError, AttributeError):
        return False


def is_open_nowhere_else(fd: int) -> bool:
    """Whether no other process has this file open; False where the system can't tell (F_SETLEASE, fcntl(2))."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except (OSError, AttributeError):
        return False
    return True


def is_as_new(fd: int) -> bool:
    """Whether the file is empty, has one name, and the mode that we made it with."""
    status = os.fstat(fd)
    return (status.st_size, status.st_nlink, stat.S_IMODE(status.st_mode)) == (0, 1, 0o600)


def signal_group(leader: int, number: int) -> None:
    """Signal the group of an unreaped child."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        pass


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
        names = os.listdir("/proc")
    except OSError:
        return None
    for name in names:
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            ppid, started, dead = stat
            children.setdefault(ppid, []).append(((int(name), started), dead))
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
    try:
        with open(f"/proc/{pid}/stat", "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
        return int(fields[1]), int(fields[19]), fields[0] in {b"Z", b"X"}
    except (OSError, ValueError, IndexError):
        return None


def send(process: Process, number: int) -> None:
    """Signal exactly this process, or nobody if it is gone and its number given away."""
    pid, started = process
    if pid < 0:
        signal_group(-pid, number)
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):
        handle = -1
    try:
        stat = read_stat(pid)
        if stat is None or stat[1] != started:
            return
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid, number)
    except OSError:
        pass
    finally:
        if handle >= 0:
            os.close(handle)


def kill_all(processes: set[Process]) -> None:
    """KILL them; what they fork meanwhile is found by the next look."""
    for process in processes:
        send(process, signal.SIGKILL)


def kill_children(spared: Collection[int] = ()) -> bool:
    """KILL and reap what becomes a child of this process, without a pause: what forks all the time, and leaves its
    parents behind, must be caught between two forks. Whether any is left that is not `spared`."""
    for _ in range(KILL_BURST):
        left = {process for process in own_children() if process[0] not in spared}
        if not left:
            return False
        kill_all(left)
        for pid, _ in left:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
    return True


def kill_own_child(leader: int) -> None:
    """KILL the group of a process that has come to us as a child; of nobody else, as only our own can be waited for."""
    if leader > 0:
        try:
            os.waitid(os.P_PID, leader, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            signal_group(leader, signal.SIGKILL)
            os.waitpid(leader, 0)
        except OSError:
            pass


def main() -> None:
    """Serve as the supervisor of one slot until there is nothing more to do."""
    folder, slot, bound = sys.argv[1:4]
    os.umask(0o077)
    os.chdir("/")
    become_subreaper()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # somebody opens a log on which we have a lease
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    supervisor = Supervisor(folder, slot, bound == "1")

    def leave(_number: int, _frame: object) -> None:
        supervisor.leaving = True

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    supervisor.serve()


if __name__ == "__main__":
    main()
