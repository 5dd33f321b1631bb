"""Two make the same store at once."""

from __future__ import annotations

from pathlib import Path

from jobq.store.folder import Folder
from jobq.store.format import JOURNAL
from jobq.store.place import make_store
from jobq.store.store import Store


def test_a_store_that_another_one_has_made_meanwhile_is_used(tmp_path: Path) -> None:
    path = tmp_path / "store"
    other = Store(str(path))
    assert other.root.has(JOURNAL)
    other.read()
    folder = Folder.open(str(path))
    assert make_store(str(path), folder, 10.0) is folder, "the caller looked before the other one was done"
    again = Store(str(path))
    again.read()
    assert again.uuid == other.uuid
    folder.close()
