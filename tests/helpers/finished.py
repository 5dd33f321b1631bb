"""Jobs that are added and finished without processes, at a given time."""

from __future__ import annotations

from jobq.job import Ending, Moment, Outcome, Spec
from jobq.rules import lifecycle
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.helpers.changes import update

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
DAY = 86_400.0


def later(days: float) -> Moment:
    return Moment(NOW.wall + days * DAY, NOW.boot + days * DAY, "boot")


def add(store: Store, *commands: str) -> list[int]:
    spec = Spec("/", store.save_environment({"A": "1"}), retries=0)
    return list(store.append(Add(spec, commands), NOW.wall))


def run(store: Store, job_id: int, status: int, now: Moment = NOW) -> None:
    claim = lifecycle.claim(store.read().jobs[job_id], now, owner="w1", supervisor="w1/0")
    update(store, lambda _: [claim], now.wall)
    end = Ending(Outcome.EXIT, status=status, started_at=1.0)
    update(store, lambda state: [lifecycle.finish(state.jobs[job_id], end, now, 0.5)], now.wall)
