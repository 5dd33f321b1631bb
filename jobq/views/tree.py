"""Jobs as a tree: each stands below a job that it is after."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.job import Job
from jobq.rules.dependencies import parents_of
from jobq.views.table import Frame

DEEPEST = 20  # levels that are indented


def tree_of(jobs: Sequence[Job]) -> tuple[list[Job], dict[int, Frame]]:
    """Return the jobs in the order of their tree, and what to print before and behind the command of each.

    A job that is after several stands below the last one of them, and names the others.
    """
    known = {job.id: job for job in jobs}
    children: dict[int, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        parent = max((p for p in parents_of(job.spec) if p in known and p != job.id), default=0)
        children.setdefault(parent, []).append(job)
    order: list[Job] = []
    frames: dict[int, Frame] = {}
    todo = [(job, "", "") for job in reversed(children.get(0, []))]
    while todo:
        job, prefix, below = todo.pop()
        if job.id in frames:
            continue
        order.append(job)
        also = sorted(parents_of(job.spec) - {max(parents_of(job.spec) & known.keys(), default=0)})
        frames[job.id] = Frame(prefix, f"  (also after {', '.join(map(str, also))})" if also else "")
        own = children.get(job.id, [])
        for child in reversed(own):
            last = child is own[-1]
            deep = len(below) >= 3 * DEEPEST
            todo.append(
                (child, below + ("└─ " if last else "├─ "), below if deep else below + ("   " if last else "│  "))
            )
    rest = [job for job in jobs if job.id not in frames]  # an edit may have left a circle among finished jobs
    return order + rest, frames
