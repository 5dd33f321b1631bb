"""Rules of order, sharing and retries, checked in what `jobq show --json` tells of every job, and in nothing else.

Times are those that supervisors have recorded of processes: `started_at` and `ended_at` of attempts. The times of a
job's history may be a little too early, as a worker reads its clock before it waits for the store, but never too late.
So an event that was there before a process started has no later time than that start.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

Record = dict[str, Any]
FINAL = {"succeed": "succeeded", "fail": "failed", "cancel": "cancelled", "skip": "skipped", "expire": "expired"}
AGAIN = {"add", "requeue", "rearm"}  # events that begin a round
ROUNDING = 0.002  # seconds: two times to the millisecond


class Expected(NamedTuple):
    """The end that a job has to have: its state, the exit statuses of its last round, the job that it is skipped for.

    A lost attempt may stand in the place of any that did not succeed, or come before one that did.
    """

    state: str = "succeeded"
    statuses: tuple[int, ...] = (0,)
    because_of: int | None = None


class Run(NamedTuple):
    """One process of a job: an attempt that has started."""

    id: int
    n: int
    start: float
    end: float
    needs: dict[str, int]
    given: dict[str, list[int]]
    lost: bool


def seconds(text: str) -> float:
    """Return the seconds since 1970 of a time in JSON."""
    return datetime.fromisoformat(text).timestamp()


def runs_of(job: Record) -> list[Run]:
    """Return the processes of a job, those of lost attempts included."""
    return [
        Run(
            *(job["id"], a["n"], seconds(a["started_at"]), seconds(a["ended_at"])),
            *(job["needs"], a["given"], a["outcome"] == "lost"),
        )
        for a in job["attempts"]
        if a["started_at"] is not None and a["ended_at"] is not None
    ]


def broken(jobs: Collection[Record], counts: Mapping[str, int], expected: Mapping[int, Expected]) -> list[str]:
    """Return a sentence for everything that breaks a rule. `counts`: how much there is of each resource."""
    return [
        *out_of_order(jobs),
        *overlaps(jobs),
        *too_much(jobs, counts),
        *wrongly_skipped(jobs),
        *wrong_retries(jobs),
        *unexpected(jobs, expected),
    ]


# -- parents ------------------------------------------------------------------------------------------


def out_of_order(jobs: Collection[Record]) -> Iterator[str]:
    """Yield the processes that started before a parent had ended as asked."""
    by_id = {job["id"]: job for job in jobs}
    for job in jobs:
        asked = [(parent, kind) for kind in ("after", "after_any", "after_fail") for parent in job[kind]]
        for run in runs_of(job):
            for parent, kind in asked:
                state = state_at(by_id[parent], run.start)
                if not fits(kind, state):
                    yield f"job {run.id} (attempt {run.n}) started when its parent {parent} was {state} ({kind})"
                if any(other.start <= run.start < other.end for other in runs_of(by_id[parent])):
                    yield f"job {run.id} (attempt {run.n}) started while its parent {parent} ran"


def state_at(job: Record, at: float) -> str:
    """Return the final state of a job at a time, or "unfinished"."""
    events = [step["event"] for step in job["history"] if seconds(step["at"]) <= at]
    return FINAL.get(events[-1], "unfinished") if events else "unfinished"


def fits(kind: str, state: str) -> bool:
    """Return True if a parent in this state lets a job start that asks for it in this way."""
    if kind == "after":
        return state == "succeeded"
    return state != "unfinished" and (kind == "after_any" or state != "succeeded")


# -- locks and resources ------------------------------------------------------------------------------


def overlaps(jobs: Collection[Record]) -> Iterator[str]:
    """Yield the processes that ran while another one held the same lock, or was of the same job."""
    held: dict[str, list[Run]] = {}
    for job in jobs:
        for name in [f"lock {lock}" for lock in job["locks"]] + [f"job {job['id']}"]:
            held.setdefault(name, []).extend(runs_of(job))
    for name, runs in held.items():
        longest: Run | None = None
        for run in sorted(runs, key=lambda run: (run.start, run.end)):
            if longest is not None and run.start < longest.end:
                yield f"{name}: job {run.id} (attempt {run.n}) started while job {longest.id} ({longest.n}) ran"
            if longest is None or run.end > longest.end:
                longest = run


def too_much(jobs: Collection[Record], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield the starts at which more of a resource was in use than there is, and indices that are wrong or not alone."""
    runs = [run for job in jobs for run in runs_of(job)]
    for run in runs:
        at_once = [other for other in runs if other.start <= run.start < other.end or other is run]
        for name, need in run.needs.items():
            mine = run.given.get(name, [])
            if len(set(mine)) != need or not set(mine) <= set(range(counts[name])):
                yield f"job {run.id} (attempt {run.n}) needs {name}={need} of {counts[name]} and was given {mine}"
            if (total := sum(other.needs.get(name, 0) for other in at_once)) > counts[name]:
                yield f"when job {run.id} started, {total} {name} of {counts[name]} were in use"
            for other in at_once:
                if other is not run and (shared := set(mine) & set(other.given.get(name, []))):
                    yield f"jobs {run.id} and {other.id} had {name} {sorted(shared)} at once"


# -- rounds -------------------------------------------------------------------------------------------


def rounds(job: Record) -> list[list[str]]:
    """Return the events of a job by round: each begins with an add, a requeue, or a parent's requeue."""
    found: list[list[str]] = []
    for step in job["history"]:
        if step["event"] in AGAIN:
            found.append([])
        found[-1].append(step["event"])
    return found


def wrongly_skipped(jobs: Collection[Record]) -> Iterator[str]:
    """Yield the jobs that were skipped after a start in the same round, or name no failure of an ancestor."""
    by_id = {job["id"]: job for job in jobs}
    for job in jobs:
        yield from (
            f"job {job['id']} was claimed and then skipped: {events}"
            for events in rounds(job)
            if "skip" in events and "claim" in events
        )
        if job["state"] == "skipped":
            cause = by_id.get(job["skipped_for"])
            if cause is None or cause["state"] in {"skipped", "queued", "running"}:
                yield f"job {job['id']} was skipped for {cause and cause['id']}, which is no job that ended by itself"
            elif cause["id"] not in ancestors(job, by_id):
                yield f"job {job['id']} was skipped for {cause['id']}, which it is not after"
        elif job["skipped_for"] is not None:
            yield f"job {job['id']} is {job['state']} and names {job['skipped_for']}"


def ancestors(job: Record, by_id: Mapping[int, Record]) -> set[int]:
    """Return the ids of all jobs that a job is after, directly or through others."""
    found: set[int] = set()
    todo = [job]
    while todo:
        one = todo.pop()
        new = {*one["after"], *one["after_any"], *one["after_fail"]} - found
        found |= new
        todo += [by_id[parent] for parent in new]
    return found


def wrong_retries(jobs: Collection[Record]) -> Iterator[str]:
    """Yield the rounds with more attempts than were asked for, and attempts that came before their backoff was over.

    The backoff of a lost attempt counts from when its supervisor was found dead, which is earlier than `ended_at`.
    """
    for job in jobs:
        for events in rounds(job):
            if events.count("retry") > job["retries"]:
                yield f"job {job['id']} was retried {events.count('retry')} times of {job['retries']}"
            if events.count("claim") > 1 + events.count("retry") + events.count("hand back"):
                yield f"job {job['id']} was claimed again without a reason: {events}"
        begins = begins_of(job)
        for before, run in pairwise(runs_of(job)):
            again = any(before.end <= at <= run.start for at in begins)
            if not again and not before.lost and run.start < before.end + delay_of(job) - ROUNDING:
                yield f"job {job['id']}: attempt {run.n} started {run.start - before.end:.3f} s after {before.n} had ended"


def begins_of(job: Record) -> list[float]:
    """Return the times when rounds of a job began."""
    return [seconds(step["at"]) for step in job["history"] if step["event"] in AGAIN]


def delay_of(job: Record) -> float:
    """Return the seconds of a constant backoff; 0 for others."""
    kind, _, text = job["backoff"].partition(":")
    return float(text) if kind == "const" else 0.0


# -- ends ---------------------------------------------------------------------------------------------


def unexpected(jobs: Collection[Record], expected: Mapping[int, Expected]) -> Iterator[str]:
    """Yield the jobs that did not end as expected, and those that are missing."""
    yield from (f"job {job_id} is missing" for job_id in expected.keys() - {job["id"] for job in jobs})
    for job in jobs:
        want = expected[job["id"]]
        if (job["state"], job["skipped_for"]) != (want.state, want.because_of):
            yield f"job {job['id']} is {job['state']} ({job['skipped_for']}), not {want.state} ({want.because_of})"
        last = [attempt for attempt in job["attempts"] if seconds(attempt["claimed_at"]) >= begins_of(job)[-1]]
        lost = sum(attempt["outcome"] == "lost" for attempt in last)
        seen = [attempt["status"] for attempt in last if attempt["outcome"] != "lost"]
        if not (is_part(seen, want.statuses) if lost else tuple(seen) == want.statuses):
            yield f"job {job['id']} exited with {seen} ({lost} lost), not with {want.statuses}"
        elif want.state == "succeeded" and tuple(seen[-1:]) != want.statuses[-1:]:
            yield f"job {job['id']} succeeded without an exit with {want.statuses[-1]}: {seen} ({lost} lost)"


def is_part(seen: list[int], whole: tuple[int, ...]) -> bool:
    """Return True if `whole` with some of its elements left out is `seen`."""
    rest = iter(whole)
    return all(status in rest for status in seen)
