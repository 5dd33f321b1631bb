"""The queues that live workers serve, and the words for one that none serves. Light, as `jobq add` imports it."""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_QUEUE = "default"
HOOKS = "@hooks"  # the queue of hooks (rules/hooks.py), which every worker serves; no other can have such a name
MOST_NAMED = 4  # queues that a sentence names


class LiveWorker:
    """One live worker, as it describes itself."""

    def __init__(
        self,
        token: str,
        *,
        queues: Sequence[str] | None = None,
        slots: int = 0,
        pid: int = 0,
        since: float = 0.0,
        stopping: bool = False,
        suspended: bool = False,
    ) -> None:
        """`queues` None: all. `slots`, `pid`, `since` (wall clock) 0: not known. `stopping`: it takes no more jobs.

        `suspended`: ^Z or SIGSTOP has stopped its process, until SIGCONT.
        """
        self.token = token
        self.queues = queues
        self.slots = slots
        self.pid = pid
        self.since = since
        self.stopping = stopping
        self.suspended = suspended

    @property
    def takes_jobs(self) -> bool:
        """True unless it is leaving, or does nothing until it is continued."""
        return not self.stopping and not self.suspended

    def serves(self, queue: str) -> bool:
        """Return True if it takes jobs of this queue, or took them before it was asked to stop."""
        return self.queues is None or queue in self.queues or queue == HOOKS


ALL_QUEUES = "*"


def why_paused(queue: str, pauses: Mapping[str, str]) -> str:
    """Return why nothing of the queue is started, by the reasons of paused queues; "" if it is not paused."""
    name = queue if queue in pauses else ALL_QUEUES
    if name not in pauses:
        return ""
    what = "all queues are paused" if name == ALL_QUEUES else f"queue {name} is paused"
    return f"{what}: {pauses[name]}" if pauses[name] else what


def paused_note(queue: str, pauses: Mapping[str, str]) -> str:
    """Return what `why_paused` does, and the command that helps."""
    why = why_paused(queue, pauses)
    if not why:
        return ""
    one = queue != ALL_QUEUES and queue in pauses
    return f"{why}; 'jobq resume {queue}' starts it again" if one else f"{why}; 'jobq resume' starts them again"


def unserved_note(queue: str, workers: Sequence[LiveWorker]) -> str:
    """Return what `why_unserved` does, and the command that helps, unless it is named there."""
    why = why_unserved(queue, workers)
    if not why or why.endswith(("?", "continues it")):
        return why
    return f"{why}; 'jobq worker' starts {'another' if why.endswith('stopping') else 'one'}"


def why_unserved(queue: str, workers: Sequence[LiveWorker]) -> str:
    """Return why none of these live workers will take a job of the queue; "" if one will."""
    if not workers:
        return "no worker is running"
    its_own = [worker for worker in workers if worker.serves(queue)]
    if any(worker.takes_jobs for worker in its_own):
        return ""
    if suspended := [worker for worker in its_own if worker.suspended]:
        who = "the only worker is" if len(workers) == 1 else f"{len(suspended)} of {len(workers)} workers are"
        return f"{who} suspended, as by ^Z; 'fg' or 'kill -CONT {suspended[0].pid}' continues it"
    if its_own and all(worker.stopping for worker in workers):
        return "the only worker is stopping" if len(workers) == 1 else f"all {len(workers)} workers are stopping"
    if its_own:
        who = "the only worker" if len(its_own) == 1 else f"all {len(its_own)} workers"
        return f"{who} for queue {queue} {'is' if len(its_own) == 1 else 'are'} stopping"
    served = sorted({name for worker in workers for name in worker.queues or ()})
    for name in served:
        if is_near(queue, name):
            return f"no worker serves queue {queue}; did you mean {name}?"
    more = ", ..." if len(served) > MOST_NAMED else ""
    return f"no worker serves queue {queue} (workers: {', '.join(served[:MOST_NAMED])}{more})"


def why_too_wide(slots: int, queue: str, workers: Sequence[LiveWorker], used: Mapping[str, int]) -> str:
    """Return why a job waits for the slots that it takes, by those that jobs use of each worker; "" if it fits."""
    free = [(w.slots - used.get(w.token, 0), w.slots) for w in workers if w.takes_jobs and w.slots and w.serves(queue)]
    if not free or any(left >= min(slots, own) for left, own in free):
        return ""
    most = max(own for _, own in free)
    what = f"needs {slots} slots" if slots <= most else f"needs all {most} slots of a worker"
    return f"{what}, {max(0, *(left for left, _ in free))} free"


def is_near(one: str, other: str) -> bool:
    """Return True if two names differ by one typing error: a letter more, less, wrong or swapped, or by case."""
    if one.lower() == other.lower():
        return True
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1])
