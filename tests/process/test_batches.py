"""Batches: a slot gets several short jobs at once; none waits behind a long one, none loses an attempt."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobq.engine.local.evidence import TORN, SupervisorFiles, determine_ending
from jobq.engine.task import Key, Trace
from jobq.job import Attempt, Job, Outcome, State
from jobq.supervisor.endings import line_of
from jobq.views.logs import Printer, Tail, print_log
from jobq.worker.batching import Width
from tests.conftest import Cli, wait_until
from tests.helpers.processes import Peer, supervisors

WAITS = "echo x > began; while ! [ -e go ]; do sleep 0.02; done"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    folder = tmp_path / "slot"
    folder.mkdir()
    found = Peer(folder, tmp_path)
    yield found
    (tmp_path / "go").touch()
    found.leave()


def began(peer: Peer) -> bool:
    return (peer.elsewhere / "began").exists()


def test_a_batch_runs_in_order_and_every_end_is_reported(peer: Peer) -> None:
    peer.give(1, *(f"echo {n} >> order; exit {n}" for n in range(1, 6)))
    assert [(end["id"], end["status"]) for end in (peer.hear() for _ in range(5))] == [(n, n) for n in range(1, 6)]
    assert (peer.elsewhere / "order").read_text() == "1\n2\n3\n4\n5\n"


def test_the_end_of_one_job_is_reported_while_the_next_still_runs(peer: Peer) -> None:
    peer.give(1, "exit 3", WAITS)
    assert peer.hear()["status"] == 3
    assert not (peer.elsewhere / "go").exists()


def test_waiting_jobs_are_given_back_on_request(peer: Peer) -> None:
    peer.give(1, WAITS, "echo 2 > two", "echo 3 > three", "echo 4 > four")
    wait_until(lambda: began(peer))
    assert peer.supervision.order("cancel 3 1")
    back = peer.hear()
    assert (back["event"], back["id"]) == ("not_started", 3)
    assert peer.supervision.order("return")
    assert [(m["event"], m["id"]) for m in (peer.hear(), peer.hear())] == [("not_started", 2), ("not_started", 4)]
    (peer.elsewhere / "go").touch()
    end = peer.hear()
    assert (end["event"], end["id"]) == ("end", 1)
    peer.give(5, "exit 5")
    assert peer.hear()["status"] == 5
    assert not {"two", "three", "four"} & set(os.listdir(peer.elsewhere))


def test_jobs_that_wait_when_the_worker_dies_are_recorded_at_once_and_never_started(peer: Peer) -> None:
    peer.give(1, WAITS, "echo 2 > two", "echo 3 > three")
    wait_until(lambda: began(peer))
    peer.hang_up()
    for job_id in (2, 3):
        noted = wait_until(lambda job_id=job_id: peer.supervision.events(Key(job_id, 1)))
        assert noted["not_started"]["claim"] == 1.0
    assert "end" not in peer.supervision.events(Key(1, 1))
    (peer.elsewhere / "go").touch()
    peer.leave()
    assert peer.supervision.events(Key(1, 1))["end"]["status"] == 0
    assert not (peer.elsewhere / "two").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit(2)")
def test_a_supervisor_that_can_record_nothing_starts_nothing_and_leaves_when_told(peer: Peer) -> None:
    """As with a full disk, which may stay full: it keeps nothing that needs room."""
    limit = resource.prlimit(peer.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(peer.process.pid, resource.RLIMIT_FSIZE, (0, limit[1]))
    peer.give(1, "echo one > one")
    end = peer.hear()
    assert (end["outcome"], end["error"], end["counted"]) == ("spawn_error", "the start can't be recorded", False)
    peer.leave()
    assert not (peer.elsewhere / "one").exists()


def test_an_error_message_is_short_even_if_a_word_is_long(peer: Peer) -> None:
    """A message about a job must never fill the pipe."""
    peer.give(1, ["x" * 100_000, "y"])
    end = peer.hear()
    assert (end["outcome"], end["status"]) == ("spawn_error", 127)
    assert len(str(end["error"])) < 300


def test_a_torn_line_belongs_to_the_job_that_it_names(tmp_path: Path) -> None:
    """Jobs that only waited behind it do not count as started."""
    start = line_of({"event": "start", "id": 1, "n": 1, "claim": 1.0, "at": 1.0})
    cases: list[tuple[bytes, dict[str, object]]] = [
        (b'{"event":"pid","id":1,"n":1,"cl', {}),
        (b'{"event":"st', {TORN: {}}),
    ]
    for torn, others in cases:
        (tmp_path / "0.ends").write_bytes(start + torn)
        supervision = SupervisorFiles(str(tmp_path), "0")
        assert supervision.events(Key(1, 1)).keys() == {"start", TORN}
        assert supervision.events(Key(2, 1)) == others


def test_records_of_an_earlier_claim_do_not_count_for_a_later_one(tmp_path: Path) -> None:
    """The first claim could not start; the second one of the same attempt only waited when its supervisor died."""
    earlier = {"id": 1, "n": 1, "claim": 1.0}
    (tmp_path / "0.ends").write_bytes(
        line_of({"event": "start", **earlier, "at": 1.0})
        + line_of({"event": "end", **earlier, "outcome": "spawn_error", "counted": False})
    )
    supervision = SupervisorFiles(str(tmp_path), "0")
    for claim, expected in ((1.0, Outcome.SPAWN_ERROR), (2.0, Outcome.INTERRUPTED)):
        ending = determine_ending(supervision, Trace(Key(1, 1), Attempt(1, "w", "w/0", claim), 1, ""), lock=0)
        assert ending is not None
        assert (ending.outcome, ending.counted) == (expected, False)


def add_batchable(cli: Cli, *more: str) -> list[Job]:
    """Add many short jobs, so that the worker forms batches, with `more` in their middle; return the jobs of `more`."""
    lines = ["true"] * 300
    lines[200:200] = more
    cli("add", "--from", "-", "--retries", "1", stdin="\n".join(lines) + "\n")
    return [job for job in cli.queue.jobs() if job.command in more]


def test_short_jobs_do_not_wait_for_a_long_one(cli: Cli) -> None:
    (long,) = add_batchable(cli, WAITS)
    cli.worker("-j", "1")
    cli.worker("-j", "1")
    wait_until(lambda: [job.id for job in cli.queue.jobs()] == [long.id])
    (cli.cwd / "go").touch()
    cli("wait", str(long.id))
    assert all(job.retries_used == 0 and len(job.attempts) == 1 for job in cli.queue.finished())


@pytest.mark.parametrize("victim", ["worker", "supervisor"])
def test_a_death_in_the_middle_of_a_batch_costs_no_other_job_an_attempt(cli: Cli, victim: str) -> None:
    (long,) = add_batchable(cli, WAITS)
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    if victim == "worker":
        worker.kill()
    else:
        (pid,) = supervisors(cli.store)
        os.kill(pid, signal.SIGKILL)
    cli.worker("-j", "2")
    wait_until(lambda: {job.id for job in cli.queue.jobs()} <= {long.id})
    (cli.cwd / "go").touch()
    done = cli.queue.wait(long.id, 60)
    assert done.state is State.SUCCEEDED
    assert len(done.attempts) == (1 if victim == "worker" else 2)
    others = [job for job in cli.queue.finished() if job.id != long.id]
    assert len(others) == 300
    assert all(len(job.attempts) == 1 and job.state is State.SUCCEEDED for job in others)


def test_a_stop_hands_back_the_jobs_that_wait_in_a_batch(cli: Cli) -> None:
    (long,) = add_batchable(cli, WAITS)
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    worker.send_signal(signal.SIGTERM)
    wait_until(lambda: [job.id for job in cli.queue.jobs() if job.state is State.RUNNING] == [long.id])
    (cli.cwd / "go").touch()
    worker.communicate(timeout=30)
    left = cli.queue.jobs()
    assert left
    assert {job.state for job in left} == {State.QUEUED}
    cli("worker", "--drain")
    assert len(list(cli.queue.finished())) == 301


def test_a_job_without_output_passes_its_log_file_to_the_next_job(peer: Peer) -> None:
    peer.give(1, "true", "true", "echo three", "true", "exit 5", "echo six", "true")
    sizes = [peer.hear()["log_bytes"] for _ in range(7)]
    assert sizes == [0, 0, 6, 0, 0, 4, 0]
    logs = {path.name: path.read_text() for path in peer.elsewhere.glob("*.log")}
    assert logs == {"3.log": "three\n", "6.log": "six\n", "7.log": ""}


def test_a_log_that_another_process_can_write_to_is_not_passed_on(peer: Peer, tmp_path: Path) -> None:
    """A process outside the job's tree has the log open."""
    peer.give(1, WAITS, "echo two")
    wait_until(lambda: began(peer))
    with open(tmp_path / "1.log", "a", encoding="ascii") as kept:
        (tmp_path / "go").touch()
        assert [peer.hear()["id"], peer.hear()["id"]] == [1, 2]
        kept.write("late\n")
    assert (tmp_path / "1.log").read_text() == "late\n"
    assert (tmp_path / "2.log").read_text() == "two\n"


def test_a_reader_is_never_shown_the_output_of_another_job(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "1.log").touch()
    tail, printer = Tail(str(tmp_path / "1.log")), Printer(raw=True)
    assert not tail.pump(printer)
    (tmp_path / "1.log").rename(tmp_path / "2.log")
    (tmp_path / "2.log").write_text("of the second job\n")
    assert not tail.pump(printer)
    tail.close()
    print_log(str(tmp_path / "2.log"), printer, None)
    assert capfd.readouterr().out == "of the second job\n"


def test_each_of_many_jobs_has_its_own_output(cli: Cli) -> None:
    commands = ["true" if n % 3 else f"echo {n}" for n in range(1, 301)]
    cli("add", "--from", "-", "--retries", "1", stdin="\n".join(commands) + "\n")
    cli("worker", "--drain", "-j", "2")
    queue = cli.queue
    for job in queue.finished():
        log = Path(queue.store.logs.path(job.id, 1))
        assert (log.read_text() if log.exists() else "") == ("" if job.id % 3 else f"{job.id}\n")
        (attempt,) = job.attempts
        assert attempt.ending is not None
        assert attempt.ending.log_bytes == (0 if job.id % 3 else len(str(job.id)) + 1)
    without = [n for n in range(1, 301) if not Path(queue.store.logs.path(n, 1)).exists()]
    batches: dict[tuple[float, str], list[int]] = {}
    for job in sorted(queue.finished(), key=lambda job: job.id):
        batches.setdefault((job.attempts[0].claimed_at, job.attempts[0].supervisor), []).append(job.id)
    passed_on = [n for batch in batches.values() for n in batch[:-1] if n % 3]
    assert without == sorted(passed_on) != []  # their number depends on the speed of the machine
    assert cli("log", str(without[0])).stdout == ""
    assert "no output" in cli("show", str(without[0])).stdout


def test_a_worker_uses_fewer_slots_while_resources_are_short() -> None:
    width = Width(16)
    for slots in (8, 4, 2, 1, 1):
        width.narrow(100.0)
        assert width.slots == slots
    for boot, slots in ((109.0, 1), (110.0, 2), (119.0, 2), (120.0, 4), (130.0, 8), (140.0, 16), (150.0, 16)):
        width.widen(boot)
        assert width.slots == slots
