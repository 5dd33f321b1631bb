"""Permissions and programs that are broken under a worker and then mended: its work goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jobq
from jobq.job import State
from tests.conftest import Cli, wait_until

WITHOUT_POWERS = [
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-dac_override,-dac_read_search",
]


def start_worker(cli: Cli, *python: str) -> tuple[subprocess.Popen[str], Path]:
    """Start a worker that obeys file modes, even as root; return it and the file of its output."""
    powers = WITHOUT_POWERS if os.geteuid() == 0 else []
    said = cli.cwd / "said"
    with said.open("w") as f:
        command = [*powers, *(python or (sys.executable,)), "-m", "jobq", "worker", "-j", "1"]
        worker = subprocess.Popen(command, env=cli.env, cwd=cli.cwd, stdout=f, stderr=f, text=True)
    cli.started.append(worker)
    wait_until(cli.queue.workers.all)
    return worker, said


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv")
@pytest.mark.parametrize("place", ["", "runs", "workers", "journal.jsonl"])
def test_a_worker_goes_on_when_its_permissions_are_restored(cli: Cli, place: str) -> None:
    cli("run", "true")
    worker, said = start_worker(cli)
    path = cli.store / place
    mode = path.stat().st_mode & 0o777
    path.chmod(0)
    try:
        wait_until(lambda: "Permission denied" in said.read_text() or place in {"runs", "journal.jsonl"})
    finally:
        path.chmod(mode)
    assert cli.queue.wait(cli.id("true"), timeout=20).state is State.SUCCEEDED
    assert worker.poll() is None


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root needs setpriv")
def test_a_python_that_can_not_be_started_is_reported_and_tried_again(cli: Cli, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--copies", "--without-pip", tmp_path / "own"], check=True)
    python = tmp_path / "own" / "bin" / "python"
    cli.env["PYTHONPATH"] = os.pathsep.join([str(Path(jobq.__file__).parent.parent), *filter(None, sys.path)])
    worker, said = start_worker(cli, str(python))
    python.chmod(0o600)
    job_id = cli.id("true")
    wait_until(lambda: f"no supervisor can be started: {python}: Permission denied" in said.read_text())
    python.chmod(0o700)
    assert cli.queue.wait(job_id, timeout=20).state is State.SUCCEEDED
    worker.send_signal(signal.SIGINT)
    assert worker.wait(20) == 0
