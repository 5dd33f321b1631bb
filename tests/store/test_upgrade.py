"""An upgrade of jobq under a process that has a store open."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import Cli

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from jobq import Queue

queue = Queue(sys.argv[1])
print(queue.add("true").id, flush=True)
input()
spec = queue.job(2).spec
print(spec.backoff, spec.jitter, spec.retry_on, dict(spec.labels), spec.log_max, spec.slots, spec.timeout)
"""


def copied(folder: Path) -> Path:
    """Return a copy of jobq in a folder."""
    return Path(shutil.copytree(ROOT / "jobq", folder / "jobq", ignore=shutil.ignore_patterns("__pycache__")))


def test_a_job_of_any_options_is_read_when_the_files_of_jobq_are_gone(cli: Cli) -> None:
    package = copied(cli.cwd / "lib")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(cli.store)],
        env=cli.env | {"PYTHONPATH": str(package.parent)}, cwd=cli.cwd, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    package.rename(cli.cwd / "moved")
    words = "--backoff const:1 --jitter 5% --retry-on 1,SIGKILL --label a=b --log-max 1M --slots 2 --timeout 1m true"
    assert cli.id(*words.split()) == 2
    out, err = process.communicate("\n", timeout=60)
    assert out == "const:1 5% 1,SIGKILL {'a': 'b'} 1048576 2 60.0\n", err


def test_a_list_in_the_middle_of_an_upgrade_does_not_call_the_store_damaged(cli: Cli) -> None:
    cli.id("--backoff", "const:1", "true")
    package = copied(cli.cwd / "lib")
    policies = package / "options" / "policies.py"
    policies.write_text(policies.read_text().replace("BACKOFF", "OTHER_NAME"))
    done = subprocess.run(
        [sys.executable, "-m", "jobq", "list"],
        env=cli.env | {"PYTHONPATH": str(package.parent)}, cwd=package.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 75, done.stderr
    assert "jobq's own files can't be read" in done.stderr
    assert "try again" in done.stderr
