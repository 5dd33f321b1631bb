"""Compaction in a worker's spare time: without a thread, after a failure, and when the worker can't wait for it."""

from __future__ import annotations

import threading

import pytest

from jobq import clock
from jobq.store import compaction
from jobq.store.store import Store
from jobq.worker.upkeep import PAUSE, Upkeep
from tests.helpers.finished import add


@pytest.fixture
def keeping(store: Store, monkeypatch: pytest.MonkeyPatch) -> Upkeep:
    """The upkeep of a store whose compaction is always worthwhile."""
    add(store, "true")
    monkeypatch.setattr(compaction, "is_worthwhile", lambda _store: True)
    return Upkeep(store)


def test_a_worker_in_a_hurry_does_not_wait_for_a_compaction(keeping: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, asked = threading.Event(), []
    monkeypatch.setattr(compaction, "compact", lambda *_args, **_kwargs: go_on.wait())
    keeping.look(clock.now(), idle=True)

    def in_a_hurry() -> bool:
        asked.append(True)
        return len(asked) > 2

    keeping.finish(in_a_hurry)
    assert len(asked) == 3
    go_on.set()
    keeping.finish(lambda: False)


@pytest.mark.parametrize("outcome", [False, OSError("broken")])
def test_a_compaction_that_failed_or_did_nothing_is_tried_again_after_a_pause(
    keeping: Upkeep, monkeypatch: pytest.MonkeyPatch, outcome: object
) -> None:
    tries = []

    def compact(*_args: object, **_kwargs: object) -> bool:
        tries.append(1)
        if isinstance(outcome, OSError):
            raise outcome
        return False

    monkeypatch.setattr(compaction, "compact", compact)
    now = clock.now()
    for later, count in ((0.0, 1), (PAUSE / 2, 1), (PAUSE + 60, 2)):
        keeping.look(now._replace(boot=now.boot + later), idle=True)
        keeping.finish(lambda: False)
        assert len(tries) == count


def test_a_compaction_is_put_off_when_no_thread_can_start(keeping: Upkeep, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    now = clock.now()
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Thread", Refused)
        keeping.look(now, idle=True)
    keeping.finish(lambda: False)
    made: list[int] = []
    monkeypatch.setattr(compaction, "compact", lambda *_args, **_kwargs: made.append(1) or True)  # type: ignore[func-returns-value]
    for later, count in ((PAUSE / 2, 0), (PAUSE, 1)):
        keeping.look(now._replace(boot=now.boot + later), idle=True)
        keeping.finish(lambda: False)
        assert len(made) == count
