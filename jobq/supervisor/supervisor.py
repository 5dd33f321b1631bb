"""The loop of a supervisor, and a job from its start to its end."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import sys
import time

from jobq.supervisor import PROTOCOL
from jobq.supervisor.channel import Channel
from jobq.supervisor.ends import Ends, line_of
from jobq.supervisor.logs import Log, Logs
from jobq.supervisor.spawn import Spawner, spawn_error
from jobq.supervisor.tree import Process, become_subreaper, kill_all, kill_children, send, signal_group, survivors
from jobq.system import boot_time

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

LEFTOVER_GRACE = 2.0  # seconds from TERM to KILL for what outlives the job's main process
ROUND = 0.02  # seconds between two looks for survivors


class Stop:
    """Why and until when the job is being ended."""

    def __init__(self, outcome: str, grace: float, counted: bool) -> None:
        self.outcome = outcome
        self.counted = counted  # uses up a retry
        self.kill_at = time.monotonic() + grace


class Spawned:
    """The job's main process and what is known of it."""

    def __init__(self, job: dict[str, Any], pid: int, log: Log) -> None:
        self.id, self.n = job["id"], job["n"]
        self.pid = pid
        self.log = log
        self.started = time.monotonic()
        timeout = job.get("timeout")
        self.timeout_at = None if timeout is None else self.started + timeout
        self.grace: float = job.get("grace", 10.0)
        self.stop: Stop | None = None


class Supervisor:
    """One slot."""

    def __init__(self, folder: str, slot: str, bound: bool) -> None:
        """Raises OSError."""
        self.bound = bound
        self.leaving = False  # told by a signal to end the job and go
        lock = os.open(f"{folder}/{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            os.write(lock, b"%d\n" % os.getpid())
        except OSError:
            pass  # a full disk: only a quicker way to notice our end is lost
        self.ends = Ends(f"{folder}/{slot}.ends")
        self.channel = Channel(f"{folder}/{slot}.ctl", self.ends)
        self.spawner = Spawner()
        self.logs = Logs()

    # -- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run jobs until the worker hangs up or a signal says to go."""
        self.channel.tell(line_of({"hello": PROTOCOL, "pid": os.getpid()}))
        while not self.leaving:
            job = self.next_job()
            if job is None:
                break
            self.run(job)
        self.channel.tell_ends()
        self.ends.save_rest()

    def next_job(self) -> dict[str, Any] | None:
        """The next job, or None when there will be no more."""
        while (job := self.channel.take_job()) is None:
            self.channel.tell_ends()
            if self.channel.hung_up or self.leaving:
                return None
            self.channel.wait(None)
        if job["first"]:
            self.logs.forget()
            self.ends.recorded()
            self.channel.told_at = time.monotonic()
        return job

    # -- one job -----------------------------------------------------------------------------------

    def run(self, job: dict[str, Any]) -> None:
        """Start it, see it through, report."""
        begun, clock = time.time(), boot_time()
        key = {"id": job["id"], "n": job["n"], "claim": job["claim"]}
        start = {"event": "start", **key, "at": begun, "boot_s": clock, "boot": job.get("boot")}
        if not self.ends.save(line_of(start)) or (job["once"] and not self.ends.sync()):
            error = {"outcome": "spawn_error", "error": "no room to note the start", "counted": False}
            self.channel.report({**key, **error})
            return
        if self.channel.worker_is_gone():
            self.channel.not_started(job)
            return
        log = -1
        try:
            log = self.logs.open(job["log"])
            pid = self.spawner.spawn(job)
        except (OSError, ValueError) as e:
            if log >= 0:
                os.close(log)
            self.channel.report({**key, **spawn_error(e, job)})
            return
        spawned = Spawned(job, pid, Log(job["log"], log, job["log_max"]))
        self.ends.save(line_of({"event": "pid", **key, "pid": pid, "from": clock, "to": boot_time()}))
        self.watch(spawned)
        end = self.collect(spawned)
        ended_at = begun + (time.monotonic() - spawned.started)
        self.channel.report({**key, **end, "started_at": begun, "ended_at": ended_at, **self.logs.close(spawned.log)})

    def watch(self, job: Spawned) -> None:
        """Return when the main process has ended, or when its time after TERM is over."""
        while not self.has_ended(job.pid):
            now = time.monotonic()
            self.carry_out_orders(job)
            if job.stop is None:
                if job.timeout_at is not None and now >= job.timeout_at:
                    self.begin_stop(job, "timeout", job.grace)
                elif self.leaving:
                    self.begin_stop(job, "interrupted", min(job.grace, LEFTOVER_GRACE))
                elif self.channel.hung_up and self.bound:
                    self.begin_stop(job, "interrupted", min(job.grace, LEFTOVER_GRACE), counted=False)
            if job.stop is not None and now >= job.stop.kill_at:
                return
            if now >= job.log.look_at:
                job.log.trim()
            if now >= self.channel.tell_at:
                self.channel.tell_ends()
            wake_at = min(job.log.look_at, self.channel.tell_at)
            deadline = job.timeout_at if job.stop is None else job.stop.kill_at
            self.channel.wait((wake_at if deadline is None else min(deadline, wake_at)) - time.monotonic())

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

    def carry_out_orders(self, job: Spawned) -> None:
        """Those for this attempt and those behind it; orders for others are late."""
        while (words := self.channel.take_order()) is not None:
            self.carry_out(words, job)

    def carry_out(self, words: list[str], job: Spawned) -> None:
        """One of them."""
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
                self.channel.wait(0)  # it may be in the pipe still
                self.channel.give_back(lambda waiting: [str(waiting["id"]), str(waiting["n"])] == [job_id, n])
            case ["return"]:
                self.channel.wait(0)
                self.channel.give_back(lambda _waiting: True)

    def collect(self, job: Spawned) -> dict[str, Any]:
        """End what is left of the tree, reap the main process; how it ended.

        The main process stays unreaped until its group has been signalled: till then nobody else can have its number.
        """
        has_ended = os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if has_ended:
            signal_group(job.pid, signal.SIGTERM)
            signal_group(job.pid, signal.SIGCONT)
        else:
            signal_group(job.pid, signal.SIGKILL)
        _, status, usage = os.wait4(job.pid, 0)
        self.end_leftovers(job)
        end: dict[str, Any] = {"user_s": round(usage.ru_utime, 6), "system_s": round(usage.ru_stime, 6)}
        if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            # Else it is our own: until its execve(2), the job has borrowed our memory (vfork(2)).
            end["max_rss_kib"] = usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss // 1024
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
            if time.monotonic() < kill_at:
                for process in left - told:
                    send(process, signal.SIGTERM)
                    send(process, signal.SIGCONT)
                told |= left
                self.channel.wait(ROUND)
            elif left and kill_all(left) == left:
                self.leaving = True  # it is another user's, and will be nobody's: the next job gets a fresh supervisor
                return
            elif kill_children():
                self.channel.wait(ROUND)


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
