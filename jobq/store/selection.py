"""Selected jobs, looked up in the whole store, finished ones included. Call `Store.read` first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from jobq.errors import NotFound
from jobq.job import Job
from jobq.options.selectors import (
    NO_FILTERS,
    Added,
    Filters,
    InQueue,
    InState,
    Labelled,
    Named,
    Range,
    Selected,
    Selector,
)
from jobq.rules.dependencies import parents_of
from jobq.rules.hooks import is_hook
from jobq.store.reading import StoreReader


def resolve(store: StoreReader, selectors: Sequence[Selector]) -> Selected:
    """Return the jobs that are selected, in their order, each once. Raises NotFound."""
    found = [(selector.is_one, list(_ids(store, selector))) for selector in selectors]
    named = chain.from_iterable(ids for is_one, ids in found if is_one)
    return Selected(list(dict.fromkeys(chain.from_iterable(ids for _, ids in found))), frozenset(named))


def narrowed(store: StoreReader, selected: Selected | None, filters: Filters) -> Selected:
    """Return those of the selected jobs (None: of all) that match. What a filter leaves out was not named itself."""
    if selected is None:
        jobs = chain(store.finished_jobs(), store.state.unfinished())
        return Selected(sorted(job.id for job in jobs if filters.match(job)), frozenset())
    if filters == NO_FILTERS:
        return selected
    found = store.find_all(selected.ids)
    ids = [job_id for job_id in selected.ids if job_id in found and filters.match(found[job_id])]
    return Selected(ids, selected.named & set(ids))


def _ids(store: StoreReader, selector: Selector) -> Iterable[int]:
    match selector:
        case Range(low, high, is_one):
            found = store.find_all(range(low, min(high, store.state.next_id - 1) + 1))
            if not found:
                raise NotFound(str(low) if is_one else f"in {low}-{high}")
            return found
        case Named(name):
            return [find_named(store, name).id]
        case Added(back):
            return [_added(store, back)]
        case InQueue(queue):
            return sorted(job.id for job in store.state.unfinished() if job.spec.queue == queue)
        case Labelled(label, value):
            wanted = Filters(labels=((label, value),))
            every = chain(store.finished_jobs(), store.state.unfinished())
            return sorted(job.id for job in every if wanted.match(job))
        case InState(states):
            is_final = any(state.final for state in states)
            jobs: Iterator[Job] = store.finished_jobs() if is_final else store.state.unfinished()
            return sorted(job.id for job in jobs if job.state in states)


def _added(store: StoreReader, back: int) -> int:
    """Return the job that was added last, or so many before that; hooks do not count. Raises NotFound."""
    job_id, left = store.state.next_id, back + 1
    while job_id > 1 and left:
        job_id -= 1
        job = store.find_all([job_id]).get(job_id)
        left -= job is None or not is_hook(job)
        if not left and job is not None:
            return job_id
    was = f": job {job_id} was removed" if not left else ": none was added yet" if back == 0 else ""
    raise NotFound(f"@{f'~{back}' if back else ''}{was}")


def find_all(store: StoreReader, job_ids: Sequence[int]) -> dict[int, Job]:
    """Return the jobs of these ids. Raises NotFound."""
    found = store.find_all(job_ids)
    for job_id in job_ids:
        if job_id not in found:
            raise NotFound(str(job_id))
    return found


def find_named(store: StoreReader, name: str) -> Job:
    """Return the unfinished job of that name, else the latest finished one. Raises NotFound."""
    import unicodedata  # noqa: PLC0415

    name = unicodedata.normalize("NFC", name)
    job = store.state.named(name)
    if job is not None and not job.state.final:
        return job
    for old in store.finished_jobs():
        if old.spec.name == name:
            return old
    raise NotFound(f"named {name}")


def with_ancestors(store: StoreReader, jobs: Iterable[Job]) -> list[Job]:
    """Return these jobs and all that they are after, directly or through others, by id."""
    found = {job.id: job for job in jobs}
    while missing := {p for job in found.values() for p in parents_of(job.spec)} - found.keys():
        known = store.find_all(missing)
        if not known:
            break
        found |= known
    return [found[job_id] for job_id in sorted(found)]


def open_failures(store: StoreReader, most: int) -> tuple[int, list[Job]]:
    """Return the number of open failures, and the last ones, the newest first."""
    state, archive = store.state, store.archive()
    here = sorted((job for job in state.jobs.values() if job.is_open_failure), key=_by_end, reverse=True)
    elsewhere = state.jobs.keys() | state.removed
    count, base = state.failures.count, state.failures.base
    if count is not None and base is not None:
        places = [place for place in reversed(base.last) if place.id not in elsewhere][: max(0, most - len(here))]
        found = [job for place in places if (job := archive.at(place)) is not None]
        if len(here) + len(found) >= min(most, count):
            return count, (here + found)[:most]
    base = archive.open_failures(elsewhere)  # the known places were dealt with: look for the others
    found = [job for place in reversed(base.last) if (job := archive.at(place)) is not None]
    return base.number + len(here), (here + found)[:most]


def _by_end(job: Job) -> tuple[float, int]:
    return (job.finished_at or 0.0, job.id)
