"""Orphaned attempts: those of dead workers, whose supervisors go on, and those of dead supervisors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from jobq.engine.local.evidence import STUCK_AFTER, SupervisorFiles, determine_ending, recorded_ending
from jobq.engine.task import Ended, Key, Trace
from jobq.typed import NamedTuple

LOOK = 0.3  # seconds that one check of dead attempts may take: the rest is left to the next one
LONGEST_PAUSE = 5.0  # seconds between two checks of what does not die


class Dead:
    """An attempt whose supervisor is dead. It is over when none of its processes is left."""

    def __init__(self, supervision: SupervisorFiles, key: Key) -> None:
        self.supervision = supervision
        self.key = key
        self.since = self.again_at = time.monotonic()  # when to check it again
        self.given_up = False  # a person has cancelled it: do not wait until none of its processes is left

    @property
    def is_stuck(self) -> bool:
        """True if it could not be ended for STUCK_AFTER seconds."""
        return time.monotonic() >= self.since + STUCK_AFTER


class Held(NamedTuple):
    """The lock of a dead supervisor, held until the ending of its attempt is recorded."""

    supervision: SupervisorFiles
    lock: int


class Adopted:
    """The supervisor of a dead worker, busy with one attempt. `fd` is readable when it ends (-1: check its lock)."""

    def __init__(self, supervision: SupervisorFiles, key: Key) -> None:
        self.supervision = supervision
        self.key = key
        self.started = False  # the attempt is known to have started
        self.fd = -1
        pid = supervision.pid()
        if pid is not None and hasattr(os, "pidfd_open"):
            try:
                self.fd = os.pidfd_open(pid)
            except OSError:
                self.fd = -1

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self.fd)
        self.fd = -1


class Orphans:
    """The orphaned attempts that one worker answers for. `traces` holds the traces of all its attempts."""

    def __init__(self, traces: dict[Key, Trace]) -> None:
        self._traces = traces
        self._adopted: dict[Key, Adopted] = {}
        self._dead: list[Dead] = []
        self._locks: dict[Key, Held] = {}  # of dead supervisors, until the endings are recorded

    def adopt(self, supervision: SupervisorFiles, key: Key) -> Adopted:
        """Answer for an attempt whose supervisor goes on. The caller watches the `fd` of what is returned."""
        adopted = Adopted(supervision, key)
        self._adopted[key] = adopted
        try:
            ours = adopted.fd >= 0 and supervision.is_alive()
        except OSError:
            ours = False
        if adopted.fd >= 0 and not ours:  # it has ended: the handle may be a stranger's; or its lock can't be checked
            adopted.close()
        return adopted

    def bury(self, supervision: SupervisorFiles, keys: Iterable[Key]) -> None:
        """Answer for the attempts of a supervisor that has died."""
        self._dead += [Dead(supervision, key) for key in keys]

    def settled(self) -> list[Ended]:
        """Return the attempts that are over by now, each once; kill what is left of their processes.

        An attempt that can't be checked now, perhaps for lack of descriptors, is checked again later.
        """
        over: list[Ended] = []
        for adopted in list(self._adopted.values()):
            try:
                ended = self._recorded_end(adopted)
                is_dead = ended is None and adopted.fd < 0 and not adopted.supervision.is_alive()
            except OSError:
                continue
            if ended is not None or is_dead:
                del self._adopted[adopted.key]
            if ended is not None:
                over.append(ended)
            elif is_dead:
                self.bury(adopted.supervision, [adopted.key])
        until = time.monotonic() + LOOK
        for dead in list(self._dead):
            now = time.monotonic()
            if now < dead.again_at or now >= until:
                continue
            try:
                ended = self._settle(dead)
            except OSError:
                ended = None
            if ended is not None:
                over.append(ended)
                self._dead.remove(dead)
            else:
                dead.again_at = time.monotonic() + min(LONGEST_PAUSE, now - dead.since)
        return over

    def _settle(self, dead: Dead) -> Ended | None:
        """Return how it ended, or None if it is not over. Keep its supervisor's lock until that is recorded."""
        supervision, key = dead.supervision, dead.key
        kept = next((held for held in self._locks.values() if held.supervision == supervision), None)
        lock = supervision.lock_if_dead() if kept is None else kept.lock
        if lock is None:
            return None
        ending = None
        try:
            ending = determine_ending(supervision, self._traces[key], lock, given_up=dead.given_up)
        finally:
            if ending is None and lock >= 0 and kept is None:
                os.close(lock)
        if ending is None:
            return None
        if lock >= 0:
            self._locks[key] = Held(supervision, lock)
        return Ended(key, ending)

    def _recorded_end(self, adopted: Adopted) -> Ended | None:
        """Return the ending of an attempt that only waited in a live supervisor when its worker died; else None."""
        if adopted.started:
            return None
        recorded = adopted.supervision.events(adopted.key)
        ending = recorded_ending(recorded, self._traces[adopted.key].attempt)
        if ending is None:
            adopted.started = "pid" in recorded and "not_started" not in recorded
            return None
        return Ended(adopted.key, ending)

    def recorded(self, key: Key) -> None:
        """Release the lock that was kept for it: its ending is durable."""
        held = self._locks.pop(key, None)
        if held is not None and held not in self._locks.values():
            os.close(held.lock)

    @property
    def busy(self) -> int:
        """The number of attempts that take a slot; stuck ones do not."""
        return len(self._adopted) + sum(not dead.is_stuck for dead in self._dead)

    @property
    def keys(self) -> list[Key]:
        """The keys of the orphaned attempts."""
        return list(self._adopted) + [dead.key for dead in self._dead]

    @property
    def look_at(self) -> float:
        """The time at which `settled` must check again, as no descriptor reports it (monotonic seconds)."""
        return min((dead.again_at for dead in self._dead), default=float("inf"))

    def troubles(self) -> list[str]:
        """Return a sentence for each attempt that is stuck."""
        return [may_still_run(dead.key.job_id, "supervisor") for dead in self._dead if dead.is_stuck]

    def give_up(self, key: Key) -> None:
        """Stop waiting for the attempt if it is stuck: a person has cancelled it."""
        for dead in self._dead:
            if dead.key == key:
                dead.given_up = dead.is_stuck

    def order(self, key: Key, text: str) -> bool:
        """Give an order to the supervisor of an adopted attempt. Return True if it was given."""
        return key in self._adopted and self._adopted[key].supervision.order(text)

    def order_all(self, text: str) -> None:
        """Give an order to every adopted supervisor."""
        for adopted in self._adopted.values():
            adopted.supervision.order(text)

    def keep_going(self) -> None:
        """Continue adopted supervisors that were stopped (SIGSTOP)."""
        for adopted in self._adopted.values():
            adopted.supervision.keep_going()

    def close(self) -> None:
        """Release the locks."""
        for held in set(self._locks.values()):
            os.close(held.lock)


def may_still_run(job_id: int, who: str) -> str:
    """Return the sentence about an attempt that nobody can prove to be over; its `who` has died."""
    return f"job {job_id}: its {who} died, and some of its processes may still run; 'jobq cancel {job_id}' gives it up"


def runs_elsewhere(job_id: int) -> str:
    """Return the sentence about a job that was running when this store was copied from another one."""
    return f"job {job_id} belongs to the store that this one was copied from; 'jobq cancel {job_id}' gives it up here"
