"""New stores: one that is filled with jobs that another one has had, in one step, and one for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from jobq.errors import Refused
from jobq.job import Job
from jobq.moment import Moment
from jobq.rules.uniqueness import to_keep
from jobq.store import compaction, filing, finished, presence
from jobq.store.contents import Tables
from jobq.store.hint import Hint
from jobq.store.records import format_of
from jobq.store.snapshot import snapshot_lines
from jobq.store.state import Later
from jobq.store.store import Store


def fill(store: Store, jobs: Sequence[Job], tables: Tables, next_id: int, now: Moment) -> None:
    """Put these jobs and tables into a store that has none, all or nothing. Raises Refused if it has some, NotSaved."""
    root = store.root
    with compaction.compacting(root) as alone:
        if not alone:
            raise Refused("the store is being compacted", "try again")
        with store.lock:
            store.settle_tail()
            state = store.read()
            header = store.journal.header
            if state.next_id > 1 or state.seq:
                raise Refused(f"{store.path} holds jobs by now", "import into a new store")
            leaving = sorted((job for job in jobs if job.state.final), key=lambda job: (job.finished_at or 0.0, job.id))
            files = filing.Filing(finished.Archive(root, {}, lambda _day: True))
            sizes = files.append(leaving, (), now.wall)
            tables = tables._replace(keys=[*tables.keys, *to_keep(leaving, now.wall)])
            formats = (format_of(job.spec) for job in leaving)  # they may be requeued, with all they ask for
            least = max([compaction.least_format_of(jobs, tables), *formats])
            # Two generations on, so that readers of the empty store read everything anew.
            after = header.followed_by(header.generation + 2, sizes, least)
            lines = snapshot_lines(jobs, tables, 0, next_id, None, Later([], {}))
            fd, size = compaction.write_generation(root, after, lines)
            os.close(fd)
            compaction.put_in_place(root, Hint(after.generation, size, 0, next_id, size))
    presence.notify(root)


@contextmanager
def temporary() -> Iterator[str]:
    """Give the path of an empty store that is removed at the end, with all that it holds."""
    import shutil  # noqa: PLC0415  # with tempfile, 4 ms that most commands do without
    import tempfile  # noqa: PLC0415

    path = tempfile.mkdtemp(prefix="jobq-")
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
