"""Attempts without a supervisor of ours: those of dead workers, whose own go on, and those of dead supervisors."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from jobq.engine.local.evidence import STUCK_AFTER, SupervisorFiles, determine_ending, recorded_ending
from jobq.engine.task import Ended, Key, Trace

LOOK = 0.3  # seconds after which a look at the dead leaves the rest of them to the next one: others wait, too
LONGEST_PAUSE = 5.0  # seconds between two looks at what does not die


class Dead:
    """An attempt whose supervisor is dead; it is over when nothing of it is left."""

    def __init__(self, supervision: SupervisorFiles, key: Key) -> None:
        self.supervision = supervision
        self.key = key
        self.since = self.again_at = time.monotonic()  # when it is to be looked at
        self.given_up = False  # a person does not want to wait until nothing of it is left

    @property
    def is_stuck(self) -> bool:
        """Whether it has been looked at in vain for long."""
        return time.monotonic() >= self.since + STUCK_AFTER


class Held(NamedTuple):
    """The lock of a dead supervisor, kept."""

    supervision: SupervisorFiles
    lock: int


class Adopted:
    """The supervisor of a dead worker, busy with one attempt. `fd` is readable when it ends (-1: ask the lock)."""

    def __init__(self, supervision: SupervisorFiles, key: Key) -> None:
        self.supervision = supervision
        self.key = key
        self.started = False  # is known to have been
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
    """Those that one worker answers for. `traces` are those of all its attempts."""

    def __init__(self, traces: dict[Key, Trace]) -> None:
        self._traces = traces
        self._adopted: dict[Key, Adopted] = {}
        self._dead: list[Dead] = []
        self._locks: dict[Key, Held] = {}  # of dead supervisors, until what they did is recorded

    def adopt(self, supervision: SupervisorFiles, key: Key) -> Adopted:
        """Answer for an attempt whose supervisor goes on; its `fd` is for the caller to watch."""
        adopted = Adopted(supervision, key)
        self._adopted[key] = adopted
        try:
            ours = adopted.fd >= 0 and supervision.is_alive()
        except OSError:
            ours = False
        if adopted.fd >= 0 and not ours:  # it has ended meanwhile, and the handle may be a stranger's; or who knows
            adopted.close()
        return adopted

    def bury(self, supervision: SupervisorFiles, keys: Iterable[Key]) -> None:
        """A supervisor has died with these."""
        self._dead += [Dead(supervision, key) for key in keys]

    def settled(self) -> list[Ended]:
        """Those that turn out to be over, told once; what is left of their processes is killed.

        What can't be looked at now, for want of descriptors perhaps, is looked at again.
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
        """How it ended, if it is over; what is needed of it until that is recorded is kept."""
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
        """How it ended although its supervisor lives: it only waited behind another job when its worker died."""
        if adopted.started:
            return None
        recorded = adopted.supervision.events(adopted.key)
        ending = recorded_ending(recorded, self._traces[adopted.key].attempt)
        if ending is None:
            adopted.started = "pid" in recorded and "not_started" not in recorded
            return None
        return Ended(adopted.key, ending)

    def recorded(self, key: Key) -> None:
        """Its end is durable: what was kept for it can go."""
        held = self._locks.pop(key, None)
        if held is not None and held not in self._locks.values():
            os.close(held.lock)

    @property
    def busy(self) -> int:
        """How many take a slot; those that can't be ended for long do not."""
        return len(self._adopted) + sum(not dead.is_stuck for dead in self._dead)

    @property
    def keys(self) -> list[Key]:
        """All of them."""
        return list(self._adopted) + [dead.key for dead in self._dead]

    @property
    def look_at(self) -> float:
        """When `settled` may find something that nothing tells of (monotonic)."""
        return min((dead.again_at for dead in self._dead), default=float("inf"))

    def troubles(self) -> list[str]:
        """Those that can't be ended for long, a sentence each."""
        return [may_still_run(dead.key.job_id, "supervisor") for dead in self._dead if dead.is_stuck]

    def give_up(self, key: Key) -> None:
        """A person has cancelled it, and does not want to wait for what can't be ended."""
        for dead in self._dead:
            if dead.key == key:
                dead.given_up = dead.is_stuck

    def order(self, key: Key, text: str) -> bool:
        """Give an order to the supervisor of one of them; whether it has one."""
        return key in self._adopted and self._adopted[key].supervision.order(text)

    def order_all(self, text: str) -> None:
        """Give an order to every supervisor that goes on."""
        for adopted in self._adopted.values():
            adopted.supervision.order(text)

    def keep_going(self) -> None:
        """Continue supervisors that were stopped."""
        for adopted in self._adopted.values():
            adopted.supervision.keep_going()

    def close(self) -> None:
        """Release the locks."""
        for held in set(self._locks.values()):
            os.close(held.lock)


def may_still_run(job_id: int, who: str) -> str:
    """That nobody can prove an attempt to be over, and what to do about it; `who` of it has died."""
    return f"job {job_id}: its {who} died, and something of it may still run; 'jobq cancel {job_id}' gives it up"


def runs_elsewhere(job_id: int) -> str:
    """Return the sentence for a job that was running when this store was copied from another one."""
    return f"job {job_id} belongs to the store that this one was copied from; 'jobq cancel {job_id}' gives it up here"
