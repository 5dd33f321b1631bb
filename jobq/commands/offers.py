"""The words that a shell offers at a TAB: `jobq completion --jobs`, --queues, --labels, --schedules.

Without typer, for speed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from jobq.errors import JobqError
from jobq.rules.hooks import is_hook
from jobq.settings.places import store_path
from jobq.store.state import StoreState
from jobq.store.store import Store
from jobq.views.console import out

MOST = 200  # words of a kind
PLAIN = re.compile(r"[\w.,:%+=/-]+").fullmatch  # words that no shell takes apart


def jobs(state: StoreState) -> Iterable[str]:
    """Return the names and ids of the jobs, the latest first, unfinished ones before those that finished lately."""
    known = sorted((job for job in state.jobs.values() if not is_hook(job)), key=lambda job: (job.state.final, -job.id))
    return (word for job in known for word in (job.spec.name, str(job.id)) if word)


def queues(state: StoreState) -> Iterable[str]:
    """Return the names of the queues."""
    return sorted({job.spec.queue for job in state.unfinished() if not is_hook(job)} | {*filter(None, state.queues)})


def labels(state: StoreState) -> Iterable[str]:
    """Return the labels of the jobs, as they are typed."""
    return sorted({f"{name}={value}" for job in state.jobs.values() for name, value in job.spec.labels})


def schedules(state: StoreState) -> Iterable[str]:
    """Return the names of the schedules."""
    return sorted(state.schedules)


OFFERS: dict[str, Callable[[StoreState], Iterable[str]]] = {
    "--jobs": jobs,
    "--queues": queues,
    "--labels": labels,
    "--schedules": schedules,
}


def offer(words: Sequence[str]) -> bool:
    """Print what the words ask for; return False if they are others. A store that can't be read holds nothing."""
    if len(words) != 2 or words[1] not in OFFERS:
        return False
    try:
        found = [*filter(PLAIN, OFFERS[words[1]](Store(store_path(None)).read()))]
    except (JobqError, OSError):
        found = []
    if found:
        out(*dict.fromkeys(found[:MOST]))
    return True
