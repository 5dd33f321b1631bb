"""Output above the limit: its beginning and end are kept; the rest takes no disk space and is counted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Cli, wait_until

CAP = 256 << 10
LINES = "i=0; while [ $i -lt 60 ]; do seq -f 'line %.0f' $((i * 1000)) $((i * 1000 + 999)); i=$((i + 1)); done"


def log_of(cli: Cli, job_id: int) -> Path:
    return cli.store / f"runs/0/{job_id}.1.log"


@pytest.fixture
def holes(tmp_path: Path) -> None:
    """Skip the test if files can't have holes here."""
    probe = tmp_path / "probe"
    with probe.open("wb") as f:
        f.truncate(1 << 20)
        if probe.stat().st_blocks:
            pytest.skip("this filesystem has no holes")


@pytest.mark.usefixtures("holes")
def test_beginning_and_end_of_long_output_are_kept(cli: Cli) -> None:
    job = cli.id("--log-max", "256k", f"{LINES}; printf 'the end'")
    cli("worker", "--drain")
    log = log_of(cli, job)
    shown = cli("log", str(job))
    data = log.read_bytes()
    assert log.stat().st_blocks * 512 <= CAP + 8192
    assert len(data) == sum(len(f"line {n}\n") for n in range(60_000)) + len("the end")
    assert shown.stdout.startswith("line 0\nline 1\n")
    assert shown.stdout.endswith("line 59999\nthe end")
    assert "\0" not in shown.stdout
    ending = cli.queue.job(job).ending
    assert ending is not None
    assert ending.log_bytes == len(data)
    assert ending.log_dropped == len(data) - len(shown.stdout) > 0
    assert "were dropped here" in shown.stderr
    assert " dropped)" in cli("show", str(job)).stdout


@pytest.mark.usefixtures("holes")
def test_the_tail_starts_after_the_dropped_part(cli: Cli) -> None:
    job = cli.id("--log-max", "256k", LINES)
    cli("worker", "--drain")
    assert cli("log", "--tail", "2", str(job)).stdout == "line 59998\nline 59999\n"
    lines = cli("log", "--tail", "1000000", str(job)).stdout.splitlines()
    assert lines[-1] == "line 59999"
    assert 1_000 < len(lines) < 59_000


@pytest.mark.usefixtures("holes")
def test_a_running_job_is_capped_while_it_writes(cli: Cli, tmp_path: Path) -> None:
    """A reader that follows the log gets a message about the part that it missed."""
    go = tmp_path / "go"
    os.mkfifo(go)
    job = cli.id("--log-max", "256k", f"{LINES}; cat {go}; echo over")
    cli.worker()
    log = log_of(cli, job)
    wait_until(lambda: log.exists() and log.stat().st_size > 2 * CAP and log.stat().st_blocks * 512 <= CAP + 8192)
    follower = cli.start("log", "-f", str(job))
    go.write_text("more\n")
    said, errors = follower.communicate(timeout=30)
    assert said.endswith("more\nover\n")
    assert "\0" not in said
    assert "were dropped here" in errors


def test_short_output_is_kept_whole(cli: Cli) -> None:
    job = cli.id("--log-max", "64k", "head -c 65536 /dev/zero; printf x")
    cli("worker", "--drain")
    assert log_of(cli, job).read_bytes() == b"\0" * 65536 + b"x"
    assert cli("log", str(job)).stdout == "\0" * 65536 + "x"


@pytest.mark.parametrize("size", ["10k", "x", "-1", "1e30", "nan", ""])
def test_impossible_sizes_are_refused(cli: Cli, size: str) -> None:
    assert "--log-max" in cli("add", "--log-max", size, "true", code=2).stderr
