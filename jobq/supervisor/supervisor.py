"""The loop of a supervisor, and one job from its start to its end."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time

from jobq.supervisor import PROTOCOL
from jobq.supervisor.batch import Batch
from jobq.supervisor.channel import Channel
from jobq.supervisor.endings import UNRECORDED, Endings, line_of
from jobq.supervisor.host import Warm
from jobq.supervisor.logs import Logs
from jobq.supervisor.mark import wear
from jobq.supervisor.messages import Order, key_of
from jobq.supervisor.running import TOLD_TO_END, Running
from jobq.supervisor.spawn import Spawner, spawn_error, what_status_says
from jobq.supervisor.tree import (
    kill_all,
    kill_children,
    signal_group,
    survivors,
    tree_of,
    would_die_of_term,
)
from jobq.supervisor.verdict import verdict
from jobq.system import boot_time, hold_new, is_file_at

TYPE_CHECKING = False  # as in `typing`, which would take a third of the time to start
if TYPE_CHECKING:
    from typing import Any

    from jobq.supervisor.messages import JobMessage

ROUND = 0.02  # seconds between two checks for survivors
SLOW_ROUND = 1.0  # seconds between two checks of processes that can't die
TOGETHER = 0.5  # seconds within which worker, supervisor and job get a TERM that was sent to all of them


class Supervisor:
    """The supervisor of one slot."""

    def __init__(self, folder: str, slot: str, bound: bool) -> None:
        """Take the lock of the slot, and make its files. `bound`: the job ends with the worker. Raises OSError."""
        self.bound = bound
        self.leaving = False  # it must end its job and exit
        self.worker_stops = False  # it has reported that it was asked to stop
        self.worker_left_at: float | None = None  # when it reported that, or died (monotonic seconds)
        self.folder = folder
        self.lock_path = f"{folder}/{slot}.lock"
        self.lock = hold_new(self.lock_path)
        self.ends = Endings(f"{folder}/{slot}.ends")
        self.channel = Channel(f"{folder}/{slot}.ctl", self.ends)
        self.spawner = Spawner()
        self.logs = Logs()
        self.warm = Warm(self.spawner, self.channel, f"{folder}/{slot}")

    def mend(self) -> None:
        """Make the slot's files again if a cleaner of old files removed them: workers find and reach us by them."""
        if not self.channel.worker_is_gone() and not os.path.lexists(f"{self.folder}/lock"):
            return  # the worker makes its folder first: a job without a worker would be taken over by another one
        try:
            if not is_file_at(self.lock, self.lock_path):
                if not os.path.isdir(self.folder):
                    os.mkdir(self.folder, 0o700)
                old, self.lock = self.lock, hold_new(self.lock_path)
                os.close(old)
            self.channel.mend()
            self.ends.mend()
        except OSError:
            pass  # the next call tries again

    # -- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Run jobs until the worker hangs up or a signal ends the supervisor."""
        self.channel.tell(line_of({"hello": PROTOCOL, "pid": os.getpid()}))
        while not self.leaving:
            job = self.next_job()
            if job is None:
                break
            if job.get("call"):
                Batch(self, job).run()
            else:
                self.run(job)
        self.warm.retire()
        self.channel.give_back(lambda _job: True)
        self.ends.save_rest()

    def next_job(self) -> JobMessage | None:
        """Wait for the next job and return it; None if there will be no more."""
        while (job := self.channel.take_job()) is None:
            self.channel.send_endings()
            if self.channel.hung_up or self.leaving:
                return None
            self.channel.wait(self.warm.tend())
        if job["first"]:
            self.logs.forget()
            self.ends.recorded()
            self.channel.sent_at = time.monotonic()
        return job

    # -- one job -----------------------------------------------------------------------------------

    def run(self, job: JobMessage) -> None:
        """Start the job, watch it to its end, and report its ending."""
        begun, clock = time.time(), boot_time()
        key = key_of(job)
        start = {"event": "start", **key, "at": begun, "boot_s": clock, "boot": job.get("boot"), "mark": job["mark"]}
        is_recorded = self.ends.save(line_of(start))
        if not is_recorded or (job["once"] and not self.ends.sync()):
            self.channel.report({**key, **UNRECORDED}, kept=is_recorded)
            return
        if self.channel.worker_is_gone():
            self.channel.not_started(job)
            return
        log = None
        try:
            self.warm.retire()  # before the job has a log: a warm process may print at its exit
            log = self.logs.make(job)
            wear(job["mark"])
            pid = self.spawner.spawn(job)
        except (OSError, ValueError) as e:
            if log is not None:
                self.logs.close(log)
            self.channel.report({**key, **spawn_error(e, job)})
            return
        running = Running(job, pid, log)
        self.ends.save(line_of({"event": "pid", **key, "pid": pid, "from": clock, "to": boot_time()}))
        self.watch(running)
        self.finish(running, job, begun, clock)

    def finish(self, running: Running, job: JobMessage, begun: float, clock: float) -> None:
        """Report how a job that was watched has ended, once nothing is left of it.

        `begun`: wall clock; `clock`: seconds since this boot.
        """
        end = self.warm.end(running) or self.reap(running)
        if end.get("status"):
            end.update(verdict(job["result"]) if job["result"] else what_status_says(job, end))
        if self.warm.host is None:
            self.end_leftovers(running)
        # By the boot clock: it goes on while the machine sleeps, and nobody sets it, unlike the wall clock.
        ended_at = begun + (boot_time() - clock)
        sizes = self.warm.close_output(running.log) if job.get("call") else self.logs.close(running.log)
        self.channel.report({**key_of(job), **end, "started_at": begun, "ended_at": ended_at, **sizes})

    def watch(self, job: Running) -> None:
        """Return when the main process has ended, or when its grace after TERM is over."""
        while not self.warm.is_over(job) and not self.has_ended(job.pid):
            now = time.monotonic()
            self.carry_out_orders(job)
            self.watch_the_worker()
            if job.stop is None:
                if now >= job.timeout_at:
                    job.begin_stop("timeout", job.grace)
                elif job.is_idle():
                    job.begin_stop("idle_timeout", job.grace)
                elif self.leaving:
                    self.begin_shutdown(job)
                elif self.channel.hung_up and self.bound:
                    job.begin_stop("interrupted", job.grace, counted=False)
            if job.stop is not None and now >= job.stop.kill_at:
                return
            if now >= job.log.look_at:
                job.log.trim()
                self.mend()
                self.report_if_stuck(job, dying=job.is_dead_to_others())
            if now >= self.channel.send_at:
                self.channel.send_endings()
            wake_at = min(job.log.look_at, self.channel.send_at)
            self.channel.wait(min(job.deadline, wake_at) - time.monotonic())

    def begin_shutdown(self, job: Running) -> None:
        """End the job, as we got a TERM. If the worker got one, too, all processes did: systemd.kill(5), a shutdown.

        Then the job has had its own, and a second one might mean "now" to it.
        """
        told, deaf = self.worker_was_signalled(job), False
        until = time.monotonic() + TOGETHER
        while told and (deaf := any(map(would_die_of_term, tree_of(job.pid)))) and time.monotonic() < until:
            self.pause(job, ROUND)  # a process that has got it is dying
        job.begin_stop("interrupted", job.grace, counted=not told, heard=told and not deaf)

    def worker_was_signalled(self, job: Running) -> bool:
        """Return True if the worker has just been asked to stop as well, or has just died; wait a moment to know.

        An earlier stop has nothing to do with the signals that the job gets now.
        """
        until = time.monotonic() + TOGETHER
        while True:
            self.watch_the_worker()
            if self.worker_left_at is not None:
                return self.worker_left_at >= until - 2 * TOGETHER
            if time.monotonic() >= until:
                return False
            self.pause(job, ROUND)

    def watch_the_worker(self) -> None:
        """Record when the worker reported its stop, or died."""
        if self.worker_left_at is None and (self.worker_stops or self.channel.worker_is_gone()):
            self.worker_left_at = time.monotonic()

    def has_ended(self, pid: int) -> bool:
        """Return True if the main process is dead (it stays unreaped). Reap orphans of the job that died before it."""
        while (dead := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if dead.si_pid == pid:
                return True
            os.waitpid(dead.si_pid, 0)
        return False

    def carry_out_orders(self, job: Running) -> None:
        """Carry out the orders for this attempt and those behind it; orders for others come too late."""
        while (order := self.channel.take_order()) is not None:
            self.carry_out(order, job)

    def carry_out(self, order: Order, job: Running) -> None:
        """Carry out one order."""
        mine = (order.id, order.n) == (job.id, job.n)
        if order.kind == "cancel" and mine:
            if job.stop is None:
                job.begin_stop("cancelled", job.grace)
        elif order.kind == "stop" and mine:
            if job.stop is None:
                job.begin_stop("interrupted", order.number, counted=False)
            assert job.stop is not None
            job.stop.kill_at = min(job.stop.kill_at, time.monotonic() + order.number)
        elif order.kind in ("read", "read-errors") and mine:
            job.log.mark_read(int(order.number), stderr=order.kind == "read-errors")
        elif order.kind in ("suspend", "continue") and mine:
            job.suspend() if order.kind == "suspend" else job.go_on()
        elif order.kind in ("cancel", "stop"):
            self.channel.wait(0)  # it may be in the pipe still
            self.channel.give_back(lambda waiting: (waiting["id"], waiting["n"]) == (order.id, order.n))
        elif order.kind == "return":
            self.channel.wait(0)
            self.channel.give_back(lambda _waiting: True)
        elif order.kind == "stopping":
            self.worker_stops = True
            self.watch_the_worker()

    def pause(self, job: Running, seconds: float) -> None:
        """Sleep for at most `seconds`, longer if the job is stuck, and carry out the orders that arrive."""
        self.channel.wait(SLOW_ROUND if job.reported_stuck else seconds)
        self.carry_out_orders(job)
        if time.monotonic() >= self.channel.send_at:
            self.channel.send_endings()

    def reap(self, job: Running) -> dict[str, Any]:
        """Reap the main process; KILL its group first if it still runs. Return how it ended, and why.

        It stays unreaped as long as its group may be signalled: until then no other process can get its number.
        """
        while True:
            pid, status, usage = os.wait4(job.pid, os.WNOHANG)
            if pid:
                break
            signal_group(job.pid, signal.SIGKILL)
            self.report_if_stuck(job, dying=True)
            self.pause(job, ROUND)
        job.main_has_ended()
        end: dict[str, Any] = {"user_s": round(usage.ru_utime, 6), "system_s": round(usage.ru_stime, 6)}
        if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            # Else it is the supervisor's own: until its execve(2), the job shares that memory (vfork(2)).
            end["max_rss_kib"] = usage.ru_maxrss if sys.platform == "linux" else usage.ru_maxrss // 1024
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        end["status" if code >= 0 else "signal"] = abs(code)
        if job.stop is None and code in TOLD_TO_END and (self.worker_was_signalled(job) or self.leaving):
            # The job got a signal that was sent to all processes at once, a moment before the supervisor did.
            self.begin_shutdown(job)
        if job.stop is not None:
            # Even if it exits with 0 after TERM: its work may not be complete.
            return {**end, "outcome": job.stop.outcome, "counted": job.stop.counted}
        return {**end, "outcome": "exit" if code >= 0 else "signal"}

    def end_leftovers(self, job: Running) -> None:
        """Send TERM to the processes that outlive the main process, KILL them after a while, and reap them all."""
        while (left := survivors(job.pid)) is not None:
            if time.monotonic() < job.kill_at():
                job.terminate_leftovers(left)
            elif left and kill_all(left) == left:
                self.leaving = True  # another user's, which we may not kill: the next job gets a new supervisor
                return
            elif not kill_children():
                continue
            self.report_if_stuck(job, dying=time.monotonic() >= job.kill_at())
            self.pause(job, ROUND)

    def report_if_stuck(self, job: Running, *, dying: bool) -> None:
        """Report to the worker, once, that the end of the job may never come: one of its processes can't die."""
        if job.is_stuck(dying=dying):
            self.channel.tell(line_of({"event": "stuck", "id": job.id, "n": job.n, "pids": job.left()[:10]}))
