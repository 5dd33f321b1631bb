"""Sweeps go by age, and a clock may be wrong: a process whose half-made files are swept makes them again."""

from __future__ import annotations

import os
import time

import pytest

from jobq.errors import NotSaved
from jobq.store import environment, folder, presence, registration
from jobq.store.store import Store
from jobq.system import hold_new

YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize(("times", "fails"), [(1, False), (2, False), (99, True)])
def test_an_environment_is_saved_even_if_a_sweep_removes_it_half_made(
    store: Store, monkeypatch: pytest.MonkeyPatch, times: int, *, fails: bool
) -> None:
    root = store.root
    swept: list[int] = []

    def sync_and_sweep(fd: int) -> None:
        os.fsync(fd)
        if len(swept) < times:
            swept.append(fd)
            environment.clean(root, set(), time.time() + YEARS)

    monkeypatch.setattr(folder, "sync", sync_and_sweep)
    if fails:
        with pytest.raises(NotSaved):
            store.save_environment({"A": "1"})
        assert len(swept) == folder.MAKE_AGAIN
    else:
        assert store.load_environment(store.save_environment({"A": "1"})) == {"A": "1"}
    assert not [name for name in os.listdir(f"{store.path}/env") if name.startswith(".")]


@pytest.mark.parametrize(("times", "fails"), [(1, False), (2, False), (99, True)])
@pytest.mark.parametrize("locked", [False, True])
def test_a_worker_starts_even_if_a_sweep_removes_its_half_made_folder(
    store: Store, monkeypatch: pytest.MonkeyPatch, times: int, *, fails: bool, locked: bool
) -> None:
    root = store.root
    swept: list[str] = []

    def sweep_and_hold(path: str) -> int:
        held = hold_new(path) if locked else None
        if len(swept) < times:
            swept.append(path)
            registration.sweep(root, time.time() + YEARS)
        return hold_new(path) if held is None else held

    with monkeypatch.context() as patch:
        patch.setattr(registration, "hold_new", sweep_and_hold)
        if locked:  # the sweeper checked the lock just before
            patch.setattr(registration, "is_alive", lambda *_: False)
        if fails:
            with pytest.raises(NotSaved):
                registration.Registration(root)
            assert len(swept) == folder.MAKE_AGAIN
            return
        member = registration.Registration(root)
    assert presence.alive(root) == [member.token]
    member.leave(remove=True)
    assert presence.tokens(root) == []
