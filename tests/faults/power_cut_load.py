"""The load of the power cuts: one client of a store, until it is killed.

`python -m tests.faults.power_cut_load ROLE STORE NOTES`. NOTES lies outside of the file system that is cut. Each client
appends a line to it when a change is acknowledged; the jobs append their starts:

    added ID RETRIES QUEUE      start ID ATTEMPT STORE      ended ID STATE      cancelled ID
    removing ID                 removed ID                  missing ID (it was waiting, and was not found)
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

BACKLOG = 12  # jobs that may wait: those left at a cut must run before its verdict
WORK, LATER = "default", "later"  # queues; no worker serves the second: its jobs wait to be cancelled
PAUSE = 0.01  # seconds between two checks
ENDS = ("exit 0", "sleep 0.3", "exit 126", "sleep 0.1", "exit 0")  # 126 is never retried


class Notes:
    """The file of the notes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def add(self, *lines: str) -> None:
        """Append the lines in one write: no reader sees half of them."""
        os.write(self._fd, "".join(f"{line}\n" for line in lines).encode())

    def command(self, turn: int) -> str:
        """Return the command of a job that notes its start."""
        note = 'echo "start $JOBQ_JOB_ID $JOBQ_JOB_ATTEMPT $JOBQ_STORE"'
        return f"{note} >> {shlex.quote(self.path)}; {ENDS[turn % len(ENDS)]}"


def waiting(queue: Queue, name: str) -> list[Job]:
    """Return the jobs that are queued there."""
    return [job for job in queue.jobs() if job.spec.queue == name and job.state is State.QUEUED]


def turns(queue: Queue) -> Iterator[int]:
    """Yield 0, 1, 2 ..., each when there is room for another job."""
    for turn in itertools.count():
        while len(waiting(queue, WORK)) >= BACKLOG:
            time.sleep(PAUSE)
        yield turn


def adder(queue: Queue, notes: Notes) -> None:
    """Add one to three jobs at once; two turns share one new environment."""
    for turn in turns(queue):
        name, retries = LATER if turn % 3 == 0 else WORK, int(turn % 8 == 7)  # a retry costs each verdict a second
        env = {"TURN": f"{os.getpid()}.{turn // 2}"}
        commands = [notes.command(turn)] * (1 + turn % 3)
        make_spec = partial(queue.spec, queue=name, retries=retries, env=env)
        ids = queue.add_many(commands, make_spec)
        notes.add(*(f"added {job_id} {retries} {name}" for job_id in ids))


def commander(queue: Queue, notes: Notes) -> None:
    """Add jobs with the real command, and wait for their ends with it."""

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
    """Cancel jobs that no worker serves, and now and then one that a worker serves."""
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
    """Note the ends of jobs, and remove every fourth of these jobs."""
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
    """Compact the store again and again."""
    while True:
        compaction.compact(queue.store.path, clock.now())
        time.sleep(20 * PAUSE)  # not too often: its syncs hide missing syncs of others


ROLES: dict[str, Callable[[Queue, Notes], None]] = {
    role.__name__: role for role in (adder, commander, canceller, observer, compactor)
}

if __name__ == "__main__":
    ROLES[sys.argv[1]](Queue(sys.argv[2]), Notes(sys.argv[3]))
