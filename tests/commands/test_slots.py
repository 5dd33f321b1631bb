"""`jobq slots`: the number of slots of a live worker."""

from __future__ import annotations

from jobq.job import State
from tests.conftest import Cli, wait_until

WAIT = "while ! [ -e go ]; do sleep 0.02; done # {}"


def running(cli: Cli) -> int:
    return sum(job.state is State.RUNNING for job in cli.queue.jobs())


def test_a_live_worker_gets_more_and_fewer_slots(cli: Cli) -> None:
    cli("add", WAIT, ":::", *map(str, range(8)))
    worker = cli.worker("-j", "2")
    wait_until(lambda: running(cli) == 2)
    told = cli("slots", "5").stderr
    assert f"the worker with pid {worker.pid} runs 5 jobs at once from now on" in told
    wait_until(lambda: running(cli) == 5)
    wait_until(lambda: cli("slots").stdout.startswith(f"pid {worker.pid}: 5 slots, all queues, since "))
    cli("slots", "1")
    wait_until(lambda: cli.queue.workers.all()[0].slots == 1)
    cli("cancel", "--wait", "1-5")
    wait_until(lambda: running(cli) == 1)
    (cli.cwd / "go").touch()
    cli.queue.wait_all([6, 7, 8], timeout=30)


def test_several_workers_and_none(cli: Cli) -> None:
    assert "no worker is running" in cli("slots", "2", code=1).stderr
    first, second = cli.worker("-j", "1"), cli.worker("-j", "1", "-q", "x")
    assert f"--pid {first.pid}" in cli("slots", "2", code=1).stderr
    cli("slots", "2", "--pid", str(second.pid))
    wait_until(lambda: sorted(worker.slots for worker in cli.queue.workers.all()) == [1, 2])
    assert "no worker has the pid 1" in cli("slots", "2", "--pid", "1", code=1).stderr
    cli("slots", "0", "--pid", str(second.pid), code=2)
