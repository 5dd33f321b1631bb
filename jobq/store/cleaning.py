"""Removing what nothing needs any more: files of old days, logs of jobs that are gone, captured environments."""

from __future__ import annotations

from collections.abc import Collection

from jobq.rules.hooks import is_hook
from jobq.store import environment, filing, finished
from jobq.store.journal import Header
from jobq.store.retention import Retention
from jobq.store.store import Store

TRIES = 3  # to do something that a compaction may interrupt
BATCH = 1000  # jobs that are removed under the lock at once
ABANDONED = 86_400.0  # seconds after which nobody still writes a half-written file


def forget_old_days(store: Store, header: Header) -> bool:
    """Remove the files that no longer count, and the logs of jobs that only they hold; False if there were none."""
    root = store.root
    over = {day: size for day, size in filing.days_on_disk(root).items() if day not in header.finished}
    if not over:
        return False
    store.read()
    archive = store.archive()
    wanted = {job_id for day in header.finished for job_id in archive.ids(day)} | store.state.jobs.keys()
    old = finished.Archive(root, over, lambda _day: True)
    for day in over:
        store.logs.remove(old.ids(day) - wanted)  # wanted: requeued since, or finished again later
        filing.forget(root, day)
    store.logs.remove_empty_folders(min(wanted, default=store.state.next_id - 1))
    return True


def keep_last(store: Store, most: int, at: float) -> None:
    """Remove finished jobs, but for the last `most`, which hooks are none of, and open failures. `at`: wall clock.

    Raises as `transaction`.
    """
    state = store.read()
    recent = sorted(
        (job for job in state.jobs.values() if job.state.final),
        key=lambda job: (job.finished_at or 0.0, job.id),
        reverse=True,
    )
    old: list[int] = []
    for ended in recent:
        if most <= 0 and not ended.is_open_failure:
            old.append(ended.id)
        most -= not is_hook(ended)
    old += store.archive().beyond(max(0, most), {*state.jobs, *state.removed})
    for start in range(0, len(old), BATCH):
        gone = set()
        with store.transaction(at) as changes:
            for job_id in old[start : start + BATCH]:
                job = changes.state.jobs.get(job_id)
                if job is not None and (not job.state.final or job.is_open_failure):
                    continue  # it was requeued meanwhile
                if job_id not in changes.state.removed:
                    changes.remove(job_id)
                    gone.add(job_id)
        store.logs.remove(gone)


def thin_out(store: Store, keep: Retention, at: float) -> None:
    """Remove the finished jobs and the output that are more than may be kept. Raises as `transaction`."""
    if keep.jobs is not None:
        keep_last(store, keep.jobs, at)
    if keep.log_bytes is not None:
        store.logs.shrink(keep.log_bytes, lambda: {job.id for job in store.read().unfinished()})


def forget_environments(store: Store, digests: Collection[str]) -> None:
    """Remove at once the environments in `digests` that no job names any more: they may hold secrets.

    It reads the finished jobs only if no job in the journal names them. An add checks again under the lock.
    """
    for _ in range(TRIES):
        store.read()
        generation = store.journal.header.generation
        left = set(digests) - store.state.environments()
        left -= store.archive().naming(left, store.state.removed)
        if not left:
            return
        with store.lock:
            store.settle_tail()
            store.read()
            if store.journal.header.generation == generation:  # else jobs have left the journal: look there again
                environment.forget(store.root, left - store.state.environments())
                return


def clean_environments(store: Store, wall: float) -> None:
    """Remove the captured environments that no job names. An add checks under the lock that its own is still there."""
    store.read()
    old = store.archive().environments(store.state.removed)
    with store.lock:
        store.settle_tail()
        store.read()
        named = old | store.state.environments()
        environment.clean(store.root, named, wall - ABANDONED)
