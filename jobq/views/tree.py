"""Jobs as a tree: each stands below a job that it is after."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.job import Job
from jobq.rules.dependencies import parents_of

DEEPEST = 20  # levels that are indented


def tree_of(jobs: Sequence[Job]) -> tuple[list[Job], dict[int, str]]:
    """Return the jobs in the order of their tree, and what to print before the command of each.

    A job that is after several stands below the last one of them; its note names the others as long as it waits.
    """
    known = {job.id: job for job in jobs}
    children: dict[int, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.id):
        parent = max((p for p in parents_of(job.spec) if p in known and p != job.id), default=0)
        children.setdefault(parent, []).append(job)
    order: list[Job] = []
    prefixes: dict[int, str] = {}
    todo = [(job, "", "") for job in reversed(children.get(0, []))]
    while todo:
        job, prefix, below = todo.pop()
        if job.id in prefixes:
            continue
        order.append(job)
        prefixes[job.id] = prefix
        own = children.get(job.id, [])
        for child in reversed(own):
            last = child is own[-1]
            deep = len(below) >= 3 * DEEPEST
            todo.append(
                (child, below + ("└─ " if last else "├─ "), below if deep else below + ("   " if last else "│  "))
            )
    rest = [job for job in jobs if job.id not in prefixes]  # an edit may have left a circle among finished jobs
    return order + rest, prefixes
