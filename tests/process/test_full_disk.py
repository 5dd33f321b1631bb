"""A supervisor whose folder is full: it starts no job that it can't record, and loses no end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq.engine.task import Key
from tests.conftest import wait_until
from tests.helpers.disk import fill
from tests.helpers.processes import Peer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a filesystem of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", folder], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_job_whose_start_can_not_be_recorded_is_not_started(small: Path, tmp_path: Path) -> None:
    peer = Peer(small, tmp_path)
    fill(small)
    peer.give(1, "echo x > ran")
    end = peer.hear()
    assert (end["outcome"], end["counted"]) == ("spawn_error", False)
    assert not (tmp_path / "ran").exists()
    (small / "filler").unlink()
    peer.give(2, "echo x > ran")
    assert peer.hear()["status"] == 0
    peer.leave()


def test_an_end_that_does_not_fit_on_the_disk_is_reported_and_kept(small: Path, tmp_path: Path) -> None:
    peer = Peer(small, tmp_path)
    peer.give(1, "echo x > ran; while ! [ -e go ]; do sleep 0.02; done; exit 7")
    ends = peer.supervision
    wait_until(lambda: "pid" in ends.events(Key(1, 1)) and (tmp_path / "ran").exists())
    with (small / "0.ends").open("ab") as f:
        f.write(b"\n" * (4090 - f.tell()))  # so that the end needs another page
    fill(small)
    (tmp_path / "go").touch()
    end = peer.hear()
    assert (end["outcome"], end["status"]) == ("exit", 7)
    peer.hang_up()  # the worker dies before it has recorded the end
    assert "end" not in ends.events(Key(1, 1))
    assert ends.lock_if_dead() is None
    (small / "filler").unlink()
    peer.leave()
    assert ends.events(Key(1, 1))["end"]["status"] == 7
