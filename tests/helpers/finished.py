"""Jobs that are added and finished without processes, at a given time."""

from __future__ import annotations

from jobq.job import Ending, Outcome, Spec
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store.store import Store
from jobq.store.transaction import Add

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
DAY = 86_400.0


def later(days: float) -> Moment:
    return Moment(NOW.wall + days * DAY, NOW.boot + days * DAY, "boot")


def add(store: Store, *commands: str) -> list[int]:
    spec = Spec("/", store.save_environment({"A": "1"}), retries=0)
    return list(store.append(Add(spec, commands), NOW.wall))


def run(store: Store, job_id: int, status: int, now: Moment = NOW) -> None:
    end(store, job_id, status=status, now=now)


def end(store: Store, *ids: int, status: int = 0, now: Moment = NOW) -> None:
    """Claim these jobs, and end them with this exit status for good."""
    store.read()
    with store.transaction(now.wall) as changes:
        for job_id in ids:
            job = lifecycle.claim(changes.jobs[job_id], now, owner="w1", supervisor="w1/0")
            changes.put(job)
            used = job._replace(retries_used=job.spec.retries)
            changes.put(lifecycle.finish(used, Ending(Outcome.EXIT, status=status, started_at=1.0), now, 0.5))
