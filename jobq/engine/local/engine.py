"""The local engine: one supervisor process for each slot, started when first needed.

The worker reserves a slot, records its claim, then submits. Endings come over the supervisor's pipe; from its file if
it has died; and from the lock and the file of an adopted supervisor, which a dead worker had started.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Sequence

from jobq.command import Record
from jobq.engine.local.adoption import Adopted, Orphans
from jobq.engine.local.evidence import SupervisorFiles, ending_from
from jobq.engine.local.slots import LEAVE_S, LOADED_STAMP, Slot, script_stamp
from jobq.engine.task import NOT_STARTED, Ended, Key, Task, Trace
from jobq.errors import EngineBroken
from jobq.moment import Moment
from jobq.supervisor import PROTOCOL, tree
from jobq.supervisor.messages import RETURN_ORDER, STOPPING_ORDER, cancel_order, read_order, stop_order, suspend_order
from jobq.typed import NamedTuple

LATE = 0.1  # seconds that jobs wait behind one that was thought to be short before they are asked back
START_PAUSE = 1.0  # seconds before a supervisor that could not start is tried again
MOST_FAILED_STARTS = 10  # in a row
CHANGED = ("jobq was changed under this worker", "start the worker again")


class Unsent(NamedTuple):
    """A slot with unsent tasks; the selector reports when its input can take more."""

    slot: Slot


class LocalEngine:
    """All running attempts of one worker: the `Runner` of this machine."""

    outlives = True

    def __init__(self, folder: str, *, bound: bool = False, stdin: int | None = None) -> None:
        """`folder`: the worker's own; `bound`: jobs end with the worker and do not outlive it; `stdin`: see `Slot`."""
        self._folder = folder
        self._bound, self._stdin = bound, stdin
        self._slots: list[Slot] = []
        self._idle: list[Slot] = []
        self._started = self._failed_starts = 0
        self._start_again_at = float("-inf")
        self._no_start = ""  # why the latest start of a supervisor failed
        tree.become_subreaper()  # processes that a killed supervisor leaves become our children
        self._ended: list[Ended] = []
        self._selector = selectors.DefaultSelector()
        self._traces: dict[Key, Trace] = {}
        self._orphans = Orphans(self._traces)

    # -- slots -----------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        """The number of attempts that take a slot, adopted ones included; those behind another, or stuck, do not."""
        ours = sum(bool(slot.keys) and slot.stuck is None for slot in self._slots)
        return ours + self._orphans.busy

    def troubles(self) -> list[str]:
        """Return what hinders the engine, a sentence for each trouble."""
        said = [self._no_start] if self._no_start else []
        said += [f"job {slot.keys[0].job_id} can't be ended: {slot.stuck}" for slot in self._slots if slot.stuck]
        return said + self._orphans.troubles()

    def reserve(self, count: int) -> list[str]:
        """Return the names of up to `count` idle slots that can take jobs; start missing ones, for later.

        A slot is idle as soon as its jobs have ended: the caller must record those endings before it gives the slot
        more, or with that. A start that fails for lack of processes or descriptors is tried again after a while.
        """
        missing = count - len(self._idle) - sum(not slot.ready for slot in self._slots)
        if missing > 0 and time.monotonic() >= self._start_again_at:
            try:
                for _ in range(missing):
                    slot = Slot(self._folder, self._started, bound=self._bound, stdin=self._stdin)
                    self._started += 1
                    self._selector.register(slot.stdout, selectors.EVENT_READ, slot)
                    self._slots.append(slot)
                self._no_start = ""
            except OSError as e:
                self._start_again_at = time.monotonic() + START_PAUSE
                self._no_start = f"no supervisor can be started: {e.filename or self._folder}: {e.strerror}"
        return [slot.name for slot in self._idle[:count]]

    def narrow(self, most: int) -> None:
        """Keep at most `most` supervisors, as far as idle ones can exit: each is one more process."""
        for _ in range(sum(not slot.leaving for slot in self._slots) - most):
            if self._idle:
                self._idle.pop().hang_up()  # it is removed once it has exited

    def submit(self, handle: str, tasks: Sequence[Task]) -> None:
        """Give the reserved slot jobs to run, one after the other. Every failure comes back as their ending."""
        slot = next(slot for slot in self._idle if slot.name == handle)
        self._idle.remove(slot)
        self._traces.update({task.trace.key: task.trace for task in tasks})
        slot.give(list(tasks))
        if slot.unsent:
            self._selector.register(slot.stdin, selectors.EVENT_WRITE, Unsent(slot))

    def withdraw(self, key: Key) -> None:
        """Report as not started a claimed attempt that could not be submitted."""
        self._ended.append(Ended(key, NOT_STARTED))

    # -- what comes back -----------------------------------------------------------------------------

    def watch(self, fd: int) -> None:
        """Let `wait` also return when this descriptor is readable."""
        self._selector.register(fd, selectors.EVENT_READ, None)

    def unwatch(self, fd: int) -> None:
        """Undo `watch`; the descriptor may be closed already."""
        self._selector.unregister(fd)

    def wait(self, timeout: float | None) -> list[int]:
        """Sleep until something happens, at most `timeout` seconds. Return the watched descriptors that can be read."""
        ready = []
        for key, _events in self._selector.select(timeout):
            match key.data:
                case Slot() as slot:
                    self._hear(slot)
                case Unsent(slot):
                    if slot.send():
                        self._stop_sending(slot)
                case Adopted() as adopted:
                    self._selector.unregister(adopted.fd)
                    adopted.close()  # `ended` determines its ending
                case _:
                    ready.append(key.fd)
        return ready

    def ended(self) -> list[Ended]:
        """Return the attempts that have ended, again in each call until they are `recorded`."""
        self._ended += self._orphans.settled()
        tree.reap_orphans({slot.process.pid for slot in self._slots})
        return list(self._ended)

    def recorded(self, ended: Sequence[Ended]) -> None:
        """Forget these attempts, and release what was kept for them: their endings are durable."""
        keys = {end.key for end in ended}
        self._ended = [end for end in self._ended if end.key not in keys]
        for key in keys:
            self._traces.pop(key, None)
            self._orphans.recorded(key)

    def _stop_sending(self, slot: Slot) -> None:
        try:
            self._selector.unregister(slot.stdin)
        except (KeyError, ValueError):
            pass  # it took all at once, or is unregistered already

    def _hear(self, slot: Slot) -> None:
        messages = slot.hear()
        if messages is None:
            self._bury(slot)
            return
        for message in messages:
            self._understand(slot, message)

    def _understand(self, slot: Slot, message: Record) -> None:
        if "hello" in message:
            if message["hello"] != PROTOCOL:
                raise EngineBroken(*CHANGED)
            slot.ready = True
            self._failed_starts = 0
            self._idle.append(slot)
            return
        key = Key(message.get("id", 0), message.get("n", 0))
        if message.get("event") == "stuck":
            slot.stuck = (
                f"process {', '.join(map(str, message['pids']))} does not die" if key in slot.keys[:1] else None
            )
        elif key in slot.keys:
            slot.stuck = None
            slot.keys.remove(key)
            slot.heard_at = time.monotonic()
            self._ended.append(Ended(key, NOT_STARTED if message["event"] == "not_started" else ending_from(message)))
            if not slot.keys:
                self._idle.append(slot)

    def _bury(self, slot: Slot) -> None:
        """Remove a supervisor that has died. If it had jobs, its file tells what became of them."""
        self._selector.unregister(slot.stdout)
        self._stop_sending(slot)
        slot.bury()
        self._slots.remove(slot)
        if slot in self._idle:
            self._idle.remove(slot)
        if not slot.keys:
            if not slot.ready:
                if script_stamp() != LOADED_STAMP:
                    raise EngineBroken(*CHANGED)
                self._failed_starts += 1
                self._start_again_at = time.monotonic() + START_PAUSE
                if self._failed_starts >= MOST_FAILED_STARTS:
                    raise EngineBroken(f"a supervisor could not start: {slot.why()}")
            return
        self._orphans.bury(slot.supervision, slot.keys)  # `ended` returns them, and kills what is left
        for key in slot.keys:  # without /proc: by the recorded pid, if that is our child now
            try:
                leader = slot.supervision.events(key).get("pid", {}).get("pid", 0)
            except OSError:
                continue
            if leader not in {other.process.pid for other in self._slots}:
                tree.kill_own_child(leader)

    def trace(self, key: Key) -> Trace | None:
        """Return the trace of an attempt of this worker, or None."""
        return self._traces.get(key)

    # -- attempts of dead workers --------------------------------------------------------------------

    def adopt(self, trace: Trace) -> None:
        """Answer for a running attempt from now on."""
        self._traces[trace.key] = trace
        workers = os.path.dirname(self._folder)
        adopted = self._orphans.adopt(SupervisorFiles.named(workers, trace.attempt.supervisor), trace.key)
        if adopted.fd >= 0:
            self._selector.register(adopted.fd, selectors.EVENT_READ, adopted)

    # -- orders ------------------------------------------------------------------------------------

    def cancel(self, key: Key) -> bool:
        """End the attempt: TERM, its grace, KILL; it comes back as cancelled. Return True if the order was given.

        The caller may repeat it: an attempt of a dead supervisor is given up once it is stuck.
        """
        self._orphans.give_up(key)
        return self._order(key, cancel_order(*key))

    def stop(self, key: Key, grace: float) -> bool:
        """End the attempt because the worker stops; `grace` seconds from TERM to KILL. Return True if ordered."""
        if self._order(key, stop_order(*key, grace)):
            return True
        for slot in self._slots:
            if key in slot.keys:
                slot.process.terminate()  # its FIFO is gone, perhaps with the store: by TERM it ends the job and exits
                return True
        return False

    def suspend(self, key: Key, *, suspend: bool) -> bool:
        """Stop the processes of the attempt (SIGSTOP), or let them go on. Return True if the order was given."""
        return self._order(key, suspend_order(*key, suspend=suspend))

    def mark_read(self, key: Key, end: int, *, stderr: bool = False) -> None:
        """Let the supervisor drop the log before the offset `end`. A lost order does no harm: the next one follows."""
        self._order(key, read_order(*key, end, stderr=stderr))

    def recall(self, late: float = 0.0) -> bool:
        """Ask slots where no job has ended for `late` seconds to return waiting jobs. Return True if any was asked."""
        now = time.monotonic()
        slots = [slot for slot in self._slots if len(slot.keys) > 1 and not slot.asked_back]
        slots = [slot for slot in slots if now >= slot.heard_at + late]
        for slot in slots:
            slot.asked_back = slot.supervision.order(RETURN_ORDER)
            slot.heard_at = now
        return bool(slots)

    def _order(self, key: Key, text: str) -> bool:
        if self._orphans.order(key, text):
            return True
        return any(key in slot.keys and slot.supervision.order(text) for slot in self._slots)

    def running(self) -> list[Key]:
        """Return the attempts that run, those behind them, and those of dead supervisors not known to be over."""
        ours = [key for slot in self._slots for key in slot.keys]
        return ours + self._orphans.keys

    def tend(self, now: Moment) -> float:  # noqa: ARG002
        """Continue suspended supervisors: they hold the time limits of their jobs. Return the seconds until `recall`
        or `ended` may have something to do."""
        for slot in self._slots:
            slot.keep_going()
        self._orphans.keep_going()
        times = [slot.heard_at + LATE for slot in self._slots if len(slot.keys) > 1 and not slot.asked_back]
        soonest = min([*times, self._orphans.look_at])
        return max(0.0, soonest - time.monotonic()) if soonest < float("inf") else soonest

    def announce_stop(self) -> None:
        """Tell the supervisors that this worker was asked to stop: they and their jobs may have got the same signal."""
        for slot in self._slots:
            if slot.keys:
                slot.supervision.order(STOPPING_ORDER)
        self._orphans.order_all(STOPPING_ORDER)

    def close(self) -> None:
        """Hang up on the supervisors: idle ones exit, busy ones finish their job by themselves."""
        for slot in self._slots:
            slot.hang_up()
        until = time.monotonic() + LEAVE_S
        for slot in self._slots:
            slot.let_go(until)
        self._selector.close()
        self._orphans.close()
