"""The load under which the power is cut: one client of a store, until it is killed.

`python -m tests.faults.power_cut_load ROLE STORE NOTES`. Each client appends to NOTES, which lies outside of the file
system that is cut, a line once something is acknowledged; the jobs note their starts there themselves:

    added ID RETRIES QUEUE      start ID ATTEMPT STORE      ended ID STATE      cancelled ID
    removing ID                 removed ID                  missing ID (was waiting, and is not found)
"""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

from jobq import clock
from jobq.api import Queue
from jobq.errors import NotFound
from jobq.job import Job, State
from jobq.store import compaction

BACKLOG = 12  # jobs that may wait: what is left at a cut has to be run before its verdict
WORK, LATER = "default", "later"  # queues; nobody works for the second: what is in there waits to be cancelled
PAUSE = 0.01  # seconds between two looks
ENDS = ("exit 0", "sleep 0.3", "exit 126", "sleep 0.1", "exit 0")  # 126 is never retried


class Notes:
    """What is known to have happened."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, *lines: str) -> None:
        """In one write: nobody reads half of it."""
        os.write(self._fd, "".join(f"{line}\n" for line in lines).encode())

    def command(self, turn: int) -> str:
        """A job that notes its start."""
        note = 'echo "start $JOBQ_JOB_ID $JOBQ_JOB_ATTEMPT $JOBQ_STORE"'
        return f"{note} >> {shlex.quote(self.path)}; {ENDS[turn % len(ENDS)]}"


def waiting(queue: Queue, name: str) -> list[Job]:
    """The jobs that are queued there."""
    return [job for job in queue.jobs() if job.spec.queue == name and job.state is State.QUEUED]


def turns(queue: Queue) -> Iterator[int]:
    """0, 1, 2 ..., each when there is room for another job."""
    for turn in itertools.count():
        while len(waiting(queue, WORK)) >= BACKLOG:
            time.sleep(PAUSE)
        yield turn


def adder(queue: Queue, notes: Notes) -> None:
    """Adds one to three jobs at once, every other time with an environment of their own."""
    for turn in turns(queue):
        name, retries = LATER if turn % 3 == 0 else WORK, int(turn % 8 == 7)  # a retry costs each verdict a second
        env = {"TURN": f"{os.getpid()}.{turn // 2}"}
        commands = [notes.command(turn)] * (1 + turn % 3)
        make_spec = partial(queue.spec, queue=name, retries=retries, env=env)
        ids = queue.add_many(commands, make_spec)
        notes.add(*(f"added {job_id} {retries} {name}" for job_id in ids))


def commander(queue: Queue, notes: Notes) -> None:
    """The same by the real commands, which wait for the end, too."""

    def jobq(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobq", *words]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    for _ in turns(queue):
        added = jobq("add", "--retries", "0", notes.command(0))
        added.check_returncode()
        notes.add(f"added {int(added.stdout)} 0 {WORK}")
        if jobq("wait", "--timeout", "20", added.stdout.strip()).returncode == 0:
            notes.add(f"ended {int(added.stdout)} {State.SUCCEEDED}")


def canceller(queue: Queue, notes: Notes) -> None:
    """Cancels what nobody works for, and now and then what somebody does."""
    for turn in itertools.count():
        chosen = waiting(queue, LATER)[3:4] or waiting(queue, WORK)[-1 : -1 if turn % 4 else None]
        for job in chosen:
            try:
                changed = queue.cancel([job.id]).jobs
            except NotFound:
                notes.add(f"missing {job.id}")
                continue
            if [after.state for after in changed] == [State.CANCELLED]:
                notes.add(f"cancelled {job.id}")
        time.sleep(PAUSE)


def observer(queue: Queue, notes: Notes) -> None:
    """Notes the ends that it sees, and removes every fourth of these jobs."""
    seen = 0
    ended: set[int] = set()
    while True:
        for job in list(queue.store.read().by_id.values()):
            if job.state.final and job.id not in ended:
                ended.add(job.id)
                notes.add(f"ended {job.id} {job.state}")
                seen += 1
                if seen % 4 == 0:
                    notes.add(f"removing {job.id}")
                    queue.remove([job.id])
                    notes.add(f"removed {job.id}")
        time.sleep(PAUSE)


def compactor(queue: Queue, _notes: Notes) -> None:
    """Gives the journal a fresh start, again and again."""
    while True:
        compaction.compact(queue.store.path, clock.now())
        time.sleep(20 * PAUSE)  # a sync of its own covers up what others forget


ROLES: dict[str, Callable[[Queue, Notes], None]] = {
    role.__name__: role for role in (adder, commander, canceller, observer, compactor)
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](Queue(sys.argv[2]), Notes(sys.argv[3]))
