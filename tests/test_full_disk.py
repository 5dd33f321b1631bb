"""A supervisor whose own folder has no room: it never starts what it can't note, and never loses an end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq import supervisor
from jobq.engine.remains import Supervision
from jobq.engine.task import Key
from tests.conftest import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for very little."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "none", folder], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as f:
        try:
            while f.write(b"x" * 512):
                continue
        except OSError:
            return


class Peer:
    """A supervisor, talked to as a worker does."""

    def __init__(self, folder: Path, elsewhere: Path) -> None:
        self.elsewhere = elsewhere
        (elsewhere / "env.json").write_text(json.dumps(dict(os.environ)))
        command = [sys.executable, "-I", "-S", supervisor.__file__, str(folder), "0", "0"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert "hello" in self.hear()

    def hear(self) -> dict[str, object]:
        assert self.process.stdout is not None
        message: dict[str, object] = json.loads(self.process.stdout.readline())
        return message

    def give(self, job_id: int, command: str) -> None:
        job = {
            "id": job_id, "n": 1, "command": command, "cwd": str(self.elsewhere), "umask": 0o22, "set": {}, "timeout": None,
            "env": str(self.elsewhere / "env.json"), "log": str(self.elsewhere / f"{job_id}.log"), "grace": 1, "log_max": 1 << 20,
            "once": False,
        }  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        self.process.stdin.flush()


def test_what_can_not_be_noted_is_not_started(small: Path, tmp_path: Path) -> None:
    peer = Peer(small, tmp_path)
    fill(small)
    peer.give(1, "echo x > ran")
    end = peer.hear()
    assert (end["outcome"], end["counted"]) == ("spawn_error", False)
    assert not (tmp_path / "ran").exists()
    (small / "filler").unlink()
    peer.give(2, "echo x > ran")
    assert peer.hear()["status"] == 0
    peer.process.communicate(timeout=20)


def test_an_end_that_there_is_no_room_for_is_told_and_kept(small: Path, tmp_path: Path) -> None:
    peer = Peer(small, tmp_path)
    peer.give(1, "echo x > ran; while ! [ -e go ]; do sleep 0.02; done; exit 7")
    ends = Supervision(str(small), "0")
    wait_until(lambda: "pid" in ends.events(Key(1, 1)) and (tmp_path / "ran").exists())
    with (small / "0.ends").open("ab") as f:
        f.write(b"\n" * (4090 - f.tell()))  # so that the end needs another page
    fill(small)
    (tmp_path / "go").touch()
    end = peer.hear()
    assert (end["outcome"], end["status"]) == ("exit", 7)
    assert peer.process.stdin is not None
    peer.process.stdin.close()  # the worker dies before it has recorded that
    assert "end" not in ends.events(Key(1, 1))
    assert ends.lock_if_dead() is None
    (small / "filler").unlink()
    peer.process.stdin = None
    peer.process.communicate(timeout=20)
    assert peer.process.returncode == 0
    assert ends.events(Key(1, 1))["end"]["status"] == 7
