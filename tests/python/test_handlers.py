"""Handlers, handles of jobs, and what a function may raise, as Python code uses them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import functools
import json
import re
import subprocess
import sys
import threading
import venv
from pathlib import Path
from typing import Any

import pytest

from jobq import Fail, Handler, JobHandle, Queue, Retry, Snooze, current_job, handler
from jobq.errors import CallFailed, NotFound, Refused, UsageError, WaitTimeout
from jobq.job import State
from jobq.python.inside import HANDLERS
from tests.conftest import Cli, wait_until


@dataclasses.dataclass
class Email:
    to: str
    day: datetime.date = datetime.date(2026, 12, 24)


@handler("test-send", retries=5, timeout="2m", priority="high")
def send(mail: Email, copies: int = 1) -> list[Email]:
    """Send it."""
    return [mail] * copies


@handler
def double(n: int) -> int:
    return 2 * n


def plain(key: str, delay: int = 0) -> str:
    return f"{key} {delay}"


def twice(function: Any) -> Any:
    return functools.wraps(function)(lambda *args: [function(*args)] * 2)


doubled = twice(plain)


class Tools:
    @staticmethod
    def build(x: int) -> int:
        return x

    def method(self) -> None: ...


def drain(cli: Cli, code: int | None = 0) -> None:
    cli("worker", "--drain", code=code)


@pytest.fixture
def here(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("JOBQ_STORE", str(cli.store))
    return cli


# -- handlers --------------------------------------------------------------------------------------


def test_a_plain_call_runs_inline(here: Cli) -> None:
    assert double(4) == 8
    assert send(Email("a@b.c"), 2) == [Email("a@b.c")] * 2
    assert send.__doc__ == "Send it."
    assert send.__name__ == "send"
    assert repr(send) == "<handler test-send>"
    assert HANDLERS["test-send"] is send
    assert not here.queue.exists()


def test_enqueue_makes_a_job_and_its_result_has_the_class_of_the_annotation(here: Cli) -> None:
    job = send.enqueue(Email("a@b.c"), copies=2)
    assert repr(job) == f"<job {job.id}: queued>"
    spec = job.job.spec
    assert (spec.retries, spec.timeout, spec.priority, spec.isolation) == (5, 120.0, 10, "warm")
    assert here.queue.call(plain, ["k"]).cancel().job.spec.isolation == "process"
    assert job.job.call is not None
    assert job.job.call.args == ({"to": "a@b.c", "day": "2026-12-24"},)
    with pytest.raises(Refused, match="no result yet"):
        _ = job.result
    drain(here)
    assert job.state is State.QUEUED, "attributes look at nothing"
    assert job.refresh().state is State.SUCCEEDED
    assert job.result == [Email("a@b.c")] * 2
    assert (job.finished, job.exit_code, len(job.attempts)) == (True, 0, 1)


def test_using_takes_options_that_never_mix_with_arguments(here: Cli) -> None:
    keyed = handler(plain).using(key="welcome:42", delay="1m", queue="mail")
    job = keyed.enqueue("k", delay=3)
    assert (job.job.spec.key, job.job.spec.delay, job.job.spec.queue) == ("welcome:42", 60.0, "mail")
    assert keyed.enqueue("k", delay=3) == job, "the key keeps it from being added twice"
    other = send.using(retries=0)
    assert (other.options["retries"], send.options["retries"]) == (0, 5)


def test_options_may_be_values_of_python(here: Cli) -> None:
    at = datetime.datetime(2096, 12, 24, 18, tzinfo=datetime.UTC)
    job = double.using(at=at, timeout=datetime.timedelta(minutes=2)).enqueue(1)
    assert (job.job.spec.at, job.job.spec.timeout) == (at.timestamp(), 120.0)
    with pytest.raises(UsageError, match="a job has no option retires"):
        double.using(retires=2).enqueue(1)  # type: ignore[call-arg]


def test_a_handler_goes_to_the_store_that_it_names(here: Cli, tmp_path: Path) -> None:
    job = double.using(store=tmp_path / "other").enqueue(1)
    assert Queue(str(tmp_path / "other")).get(job.id) == job
    assert double.using(store=Queue(str(tmp_path / "other"))).enqueue(1).id == job.id + 1
    assert not here.queue.exists()


@pytest.mark.parametrize("wrong", [lambda: send.enqueue("x"), lambda: double.enqueue("x"), lambda: double.enqueue(*[])])  # type: ignore[arg-type]
def test_arguments_that_do_not_fit_are_refused_when_enqueued(here: Cli, wrong: Any) -> None:
    with pytest.raises(UsageError, match="does not take these arguments"):
        wrong()
    assert not here.queue.exists()


def test_handler_refuses_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="takes a function or a name"):
        handler(7)  # type: ignore[call-overload]


# -- Queue.call ------------------------------------------------------------------------------------


def test_functions_handlers_and_names_can_be_called(here: Cli) -> None:
    queue = here.queue
    jobs = [
        queue.call(plain, ["k"], {"delay": 1}), queue.call(double, [2]), queue.call("test-send", [Email("x")]),
        queue.call(Tools.build, [3]), queue.call(f"{__name__}:plain", ["s"]), queue.call(json.dumps, [[1]]),
        queue.call(datetime.date.fromisoformat, ["2026-12-24"]),
    ]  # fmt: skip
    assert [job.job.spec.retries for job in jobs[:3]] == [3, 3, 5]
    drain(here)
    results = [job.refresh().result for job in jobs]
    assert results == ["k 1", 4, [Email("x")], 3, "s 0", "[1]", "2026-12-24"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (lambda: None, "inside another function"),
        (Tools().method, "belongs to an object"),
        (f"{__name__}:missing", "has no missing"),
        (f"{__name__}:Email.to", "has no Email.to"),
        (f"{__name__}:__name__", "can't be called"),
        ("no colon", "does not name a function"),
        ([].append, "belongs to an object"),
    ],
)
def test_what_no_job_can_find_is_refused(here: Cli, target: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        here.queue.call(target)
    assert not here.queue.exists()


def test_a_check_can_be_left_out(here: Cli) -> None:
    job = here.queue.call(double, ["x"], check=False, retries=0)
    drain(here, code=1)
    assert job.refresh().state is State.FAILED
    with pytest.raises(CallFailed, match="must be a whole number"):
        _ = job.result


def test_a_script_enqueues_its_own_functions(here: Cli) -> None:
    (here.cwd / "my-script.py").write_text(
        "from jobq import handler\n@handler(retries=0)\ndef f(n: int) -> int: return n + 1\n"
        "if __name__ == '__main__':\n    print(f.enqueue(1).id)"
    )
    other = here.cwd / "elsewhere"
    other.mkdir()
    script = [sys.executable, "../my-script.py"]
    done = subprocess.run(script, cwd=other, env=here.env, capture_output=True, text=True, check=True)
    drain(here)
    assert here.queue.get(int(done.stdout)).result == 2


def test_a_module_is_found_where_it_was_imported_from(here: Cli) -> None:
    place = here.cwd / "library"
    (place / "pack").mkdir(parents=True)
    (place / "pack" / "__init__.py").write_text("")
    (place / "pack" / "tasks.py").write_text("def f(): return __name__")
    code = f"import sys; sys.path.insert(0, {str(place)!r})\nimport pack.tasks\nfrom jobq import Queue\nprint(Queue().call(pack.tasks.f).id)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here.cwd, env=here.env, capture_output=True, text=True, check=True
    )
    drain(here)
    assert here.queue.get(int(done.stdout)).result == "pack.tasks"


# -- handles ---------------------------------------------------------------------------------------


def test_a_handle_waits_cancels_and_requeues(here: Cli) -> None:
    queue = here.queue
    job = queue.add("exit 3", retries=0, name="three")
    assert queue.get("three") == job
    assert hash(queue.get(job.id)) == hash(job)
    with pytest.raises(WaitTimeout):
        job.wait(timeout=0)
    assert job.cancel().state is State.CANCELLED
    with pytest.raises(Refused, match="it can't be cancelled"):
        job.cancel()
    assert job.requeue().state is State.QUEUED
    drain(here, code=1)
    assert job.wait(timeout=5).exit_code == 3
    assert job.ending is not None
    assert job.ending.status == 3
    with pytest.raises(Refused, match="is a command"):
        _ = job.result
    queue.remove([job.id])
    with pytest.raises(NotFound):
        job.refresh()
    with pytest.raises(NotFound):
        queue.get("three")


def test_a_handle_can_be_awaited(here: Cli) -> None:
    jobs = [double.enqueue(n) for n in range(3)]

    async def everything() -> list[JobHandle[int]]:
        worker = asyncio.create_task(asyncio.to_thread(drain, here))
        async with asyncio.timeout(30):
            done = [await job for job in jobs]
        await worker
        return done

    assert [job.result for job in asyncio.run(everything())] == [0, 2, 4]

    async def too_long() -> None:
        async with asyncio.timeout(0.01):
            await here.queue.add("true")

    with pytest.raises(TimeoutError):
        asyncio.run(too_long())


def test_an_awaited_job_is_recovered_if_its_worker_dies(here: Cli) -> None:
    job = here.queue.add("until [ -e go ]; do sleep 0.01; done", cwd=str(here.cwd))
    worker = here.start("worker")

    async def wait() -> State:
        waiting = asyncio.ensure_future(job)
        while job.state is not State.RUNNING:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.2)  # so that the first check for dead workers is over: it is the second that counts
        worker.kill()
        worker.wait()
        (here.cwd / "go").touch()
        async with asyncio.timeout(30):
            return (await waiting).state

    assert asyncio.run(wait()) is State.SUCCEEDED


def test_a_queue_serves_many_threads(here: Cli) -> None:
    queue, ids, errors = here.queue, list[int](), list[BaseException]()

    def add() -> None:
        try:
            for _ in range(10):
                job = queue.add("true")
                assert queue.get(job.id) == job
                ids.append(job.id)
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(ids) == list(range(1, 81))


# -- what a function may raise, in an environment without jobq ---------------------------------------

TASKS = """
import os, datetime
from jobq import Fail, Handler, Retry, Snooze, current_job, handler

class Broken(OSError): pass

@handler(retries=5)
def fails(): raise Fail("the card was refused")
def retries(after=None):
    job = current_job()
    if job.attempt < 3:
        raise Retry("not yet", after=after)
    return [job.id, job.attempt, job.name]
def snoozes(times):
    job = current_job()
    if job.attempt <= times:
        raise Snooze(datetime.timedelta(milliseconds=1), "no data")
    return job.attempt
def raises(kind):
    raise {"broken": Broken, "value": ValueError, "key": KeyError}[kind]("why")
def enqueues():
    fails.enqueue()
"""


@pytest.fixture
def bare(here: Cli, tmp_path: Path) -> Cli:
    """Jobs run by a Python that has no jobq."""
    venv.create(tmp_path / "env", with_pip=False)
    here.env["VIRTUAL_ENV"] = str(tmp_path / "env")
    (here.cwd / "tasks.py").write_text(TASKS)
    return here


def run(cli: Cli, *words: str) -> JobHandle[Any]:
    job_id = int(cli("call", "--backoff", "const:0", *words).stdout)
    drain(cli, code=None)
    return cli.queue.get(job_id)


def test_fail_is_not_retried(bare: Cli) -> None:
    job = run(bare, "tasks:fails")
    assert (job.state, len(job.attempts), job.exit_code) == (State.FAILED, 1, 1)
    assert "not retried: exit 1: the card was refused" in bare("show", str(job.id)).stdout
    assert "the card was refused" in bare("list", "--all").stdout
    with pytest.raises(CallFailed, match="the card was refused"):
        _ = job.result


def test_retry_asks_for_another_attempt(bare: Cli) -> None:
    job = run(bare, "-n", "again", "-r", "2", "tasks:retries")
    assert job.result == [job.id, 3, "again"]
    assert run(bare, "-r", "1", "tasks:retries").state is State.FAILED
    later = bare.queue.get(int(bare("call", "-r", "1", "--retry-on", "75", "tasks:retries", "after:=1000").stdout))
    bare.start("worker")
    wait_until(lambda: later.refresh().attempts and later.state is State.QUEUED)
    assert later.job.due is not None, "it asked itself, whatever --retry-on says"
    assert "retry 1/1 in" in bare("list").stdout


def test_snooze_uses_no_retry_and_is_no_failure(bare: Cli) -> None:
    job = run(bare, "-r", "0", "tasks:snoozes", ":=4")
    assert (job.result, len(job.attempts), job.job.retries_used) == (5, 5, 0)
    (bare.cwd / "tasks.py").write_text(TASKS.replace("milliseconds=1", "hours=3"))
    waiting = bare.queue.get(int(bare("call", "tasks:snoozes", ":=1").stdout))
    bare.start("worker")
    wait_until(lambda: waiting.refresh().attempts and waiting.state is State.QUEUED)
    assert re.search(r"snoozed: no data; again in (3h00m|2h59m)", bare("list").stdout)
    assert "Traceback" not in bare("log", str(waiting.id)).stdout


@pytest.mark.parametrize(
    ("option", "kind", "attempts"),
    [
        (["--retry-on", "OSError"], "broken", 3),  # a class of it
        (["--retry-on", "tasks.Broken"], "broken", 3),
        (["--retry-on", "OSError"], "value", 1),
        (["--retry-on", "OSError,1"], "value", 1),
        (["--no-retry-on", "ValueError"], "value", 1),
        (["--no-retry-on", "LookupError,75"], "key", 1),
        (["--no-retry-on", "LookupError"], "value", 3),
    ],
)
def test_exceptions_decide_about_retries(bare: Cli, option: list[str], kind: str, attempts: int) -> None:
    assert len(run(bare, "-r", "2", *option, "tasks:raises", kind).attempts) == attempts


def test_nothing_can_be_enqueued_there(bare: Cli) -> None:
    job = run(bare, "-r", "0", "tasks:enqueues")
    with pytest.raises(CallFailed, match="jobq is not installed in this environment"):
        _ = job.result


def test_outside_of_a_job_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOBQ_JOB_ID", "JOBQ_JOB_FILES"):
        monkeypatch.delenv(name, raising=False)
    job = current_job()
    assert (job.id, job.attempt, repr(job)) == (None, 1, "<no job>")
    job.progress(0.5, "half")
    assert job.step("fetch", lambda: 5) == 5
    with job.step("load") as step:
        assert not step.done


def test_a_step_is_named_once_in_each_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQ_JOB_FILES", str(tmp_path / "7"))
    monkeypatch.setenv("JOBQ_JOB_ID", "7")
    for attempt in ("1", "2", "3"):
        monkeypatch.setenv("JOBQ_JOB_ATTEMPT", attempt)
        assert current_job().step("get", int, 5) == 5
        with pytest.raises(ValueError, match="get was run in this attempt already"):
            current_job().step("get", int, 5)


def test_a_wish_is_no_success_whatever_its_exit_code(bare: Cli) -> None:
    assert run(bare, "--success-codes", "0,1,75", "-r", "0", "tasks:fails").state is State.FAILED
    assert len(run(bare, "--success-codes", "0,1,75", "tasks:snoozes", ":=1").attempts) == 2


def test_the_exception_stands_in_every_list(bare: Cli) -> None:
    job = run(bare, "-r", "0", "tasks:raises", "value")
    assert "exit 1: ValueError: why" in bare("list", "--all").stdout
    assert job.ending is not None
    assert job.ending.error == "ValueError: why"


@pytest.mark.parametrize("after", ["NaN", "1e999", "1" + "0" * 400, "-1", '"x"'])
def test_a_result_file_that_is_none_of_ours_is_passed_over(here: Cli, after: str) -> None:
    (here.cwd / "m.py").write_text(
        "import os\ndef f():\n    path = os.environ['JOBQ_JOB_FILES'] + '.1.result.json'\n"
        f'    open(path, \'w\').write(\'{{"retry": true, "counted": false, "after": {after}, "error": {{"type": "x", "message": ""}}}}\')\n'
        "    os.chmod(path, 0o600); os._exit(75)\n"
    )
    job = here.queue.call("m:f", retries=0, cwd=str(here.cwd))
    drain(here, code=1)
    assert (job.refresh().exit_code, len(job.attempts)) == (75, 1)


def test_another_name_of_a_function_is_found(here: Cli) -> None:
    job = here.queue.call(doubled, [3])
    assert job.job.call is not None
    assert job.job.call.function.endswith(":doubled")


def test_a_script_that_enqueues_at_its_top_level_is_told(here: Cli) -> None:
    (here.cwd / "top.py").write_text("from jobq import Queue\ndef f(): return 1\nQueue().call(f, retries=0)\n")
    subprocess.run([sys.executable, "top.py"], cwd=here.cwd, env=here.env, capture_output=True, check=True)
    drain(here, code=1)
    assert "if __name__ == '__main__':" in here("show", "1").stdout
    assert here.queue.jobs() == []


def test_exceptions_carry_what_they_ask_for() -> None:
    assert (Retry(after=3).after, str(Retry())) == (3, "it asked for another attempt")
    assert (Snooze(60).after, str(Snooze(60, "why"))) == (60, "why")
    assert issubclass(Fail, Exception)
    assert (Snooze(datetime.timedelta(minutes=1)).after, Retry(after=1e30).after) == (60, 1e9)
    for wrong in ("10m", "60", -1, float("nan"), None, [1]):
        with pytest.raises(ValueError, match="a time is given in seconds"):
            Snooze(wrong)  # type: ignore[arg-type]
    assert isinstance(double, Handler)


def test_a_handler_that_waits_for_a_time_is_called_from_the_command_line(cli: Cli) -> None:
    (cli.cwd / "late.py").write_text(
        "from datetime import datetime\nfrom jobq import handler\n"
        "@handler('over', at='2001-01-01')\ndef over(): pass\n"
        "@handler('later', at=datetime(2040, 1, 1))\ndef later(): pass\n"
    )
    assert "the time of --at is over" in cli("call", "late:over").stderr
    assert "the time of --at is over" not in cli("call", "late:later").stderr


def test_functions_and_handlers_are_scheduled(here: Cli) -> None:
    queue = here.queue
    assert queue.schedule("h", "@every 1s", double, [4], zone="UTC", labels={"a": "b"}).spec.isolation == "warm"
    queue.schedule("f", "0 3 * * *", plain, ["x"], overlap="allow")
    queue.schedule("c", "@daily", "make backup")
    assert [str(one.command)[:11] for one in queue.schedules.all()] == ["make backup", "Call(functi", "Call(functi"]
    here.start("worker")
    fired = wait_until(lambda: list(queue.finished()))
    assert (queue.get(fired[0].id).result, fired[0].spec.labels) == (8, (("a", "b"), ("schedule", "h")))
    with pytest.raises(UsageError, match="copies is"):
        queue.schedule("bad", "@daily", send, [{"to": "x"}, "many"])
    with pytest.raises(Refused, match="there is a schedule c already"):
        queue.schedule("c", "@daily", ["true"])
    before = queue.schedules.get("h")
    queue.schedule("h", "@every 1s", double, [], {"n": 5}, zone="UTC", replace=True)
    after = queue.schedules.get("h")
    assert (after.command.kwargs, after.start, after.fired >= before.fired) == ({"n": 5}, before.start, True)  # type: ignore[union-attr]
    queue.schedule("h", "@daily", double, [6], replace=True)
    assert (queue.schedules.get("h").when, queue.schedules.get("h").fired) == ("@daily", 0)


def test_a_handle_knows_what_its_job_has_printed(here: Cli) -> None:
    job = here.queue.add("echo first $JOBQ_JOB_ATTEMPT; exit 3", retries=1, backoff="const:0")
    assert job.log() == ""
    drain(here, code=1)
    assert (job.refresh().log(), job.log(1)) == ("first 2\n", "first 1\n")
    long = here.queue.add("head -c 300000 /dev/zero | tr '\\0' x; echo end", log_max=65536)
    fifo = here.queue.add("rm $JOBQ_JOB_FILES.1.log; mkfifo -m 600 $JOBQ_JOB_FILES.1.log")
    drain(here)
    assert set(long.refresh().log()) == set("xend\n"), "what was dropped is no text"
    assert long.log().endswith("xend\n")
    assert fifo.refresh().log() == "", "nobody waits for what is no log"
    Path(here.queue.store.logs.path(fifo.id, 1)).unlink()
