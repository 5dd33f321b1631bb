"""Functions like those of users: odd results, decorators, modules that hide others, exits, signals, full disks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jobq
from jobq.job import Job, Outcome, State
from jobq.python.results import LARGEST, result_of
from tests.conftest import Cli, wait_until
from tests.helpers.processes import is_alive, marked, pids_in


def write(cli: Cli, name: str, text: str) -> None:
    (cli.cwd / f"{name}.py").write_text(text, encoding="utf-8")


def run(cli: Cli, *calls: str, retries: int = 0) -> list[Job]:
    """Add a call for each line of words, drain the queue, and return the jobs."""
    ids = [int(cli("call", "--no-check", "--retries", str(retries), *call.split()).stdout) for call in calls]
    cli("worker", "--drain", "-j", "2", code=None)
    return [cli.queue.job(job_id) for job_id in ids]


def results(cli: Cli, *calls: str) -> list[object]:
    return [cli.queue.result(job.id) for job in run(cli, *calls)]


def error(cli: Cli, job: Job) -> dict[str, str]:
    found = result_of(job, len(job.attempts), cli.queue.store.logs)
    assert found is not None
    assert found.error is not None
    return found.error


# -- a function that has run is not retried ----------------------------------------------------------------------------

NO_JSON = {
    "an_object": ("[1, {'a': object()}]", 'the result[1]["a"] is an object, which is not JSON'),
    "a_complex": ("1j", "the result is a complex, which is not JSON"),
    "no_number": ("[float('nan')]", "not JSON"),
    "too_much": ("'x' * (17 << 20)", "the limit is 16777216"),
    "same_keys": ("{1: 'a', '1': 'b'}", "two of its keys are '1'"),
    "same_keys_below": ("[{None: 1, 'null': 2}]", "two of its keys are 'null'"),
    "a_tuple_key": ("{(1, 2): 3}", "a key of the result is [1, 2], which is not JSON"),
    "too_deep": ("functools.reduce(lambda x, _: [x], range(600), 1)", "more than 500 deep"),
    "far_too_deep": ("functools.reduce(lambda x, _: [x], range(100000), 1)", "is not JSON"),
    "itself": ("(lambda x: x.append(x) or x)([])", "is not JSON"),
    "a_long_number": ("(sys.set_int_max_str_digits(0), 10 ** 5000)[1]", "a number has 5001 digits"),
    "a_generator": ("(x for x in [1])", "a generator, whose code has not run"),
    "hostile": ("Hostile({1: 2})", "RuntimeError"),
}


def test_a_result_that_can_not_be_kept_fails_the_job_and_is_not_tried_again(cli: Cli) -> None:
    functions = [
        f"def {name}():\n    open('ran', 'a').write('{name}\\n')\n    return {value}"
        for name, (value, _) in NO_JSON.items()
    ]
    hostile = "class Hostile(dict):\n    def items(self): raise RuntimeError('no')"
    write(cli, "odd", "\n".join(["import datetime, functools, sys", hostile, *functions]))
    jobs = run(cli, *(f"odd:{name}" for name in NO_JSON), retries=2)
    assert sorted((cli.cwd / "ran").read_text().split()) == sorted(NO_JSON)
    listed = cli("list", "--all").stdout
    for job, (name, (_, why)) in zip(jobs, NO_JSON.items(), strict=True):
        assert (job.state, job.exit_code, len(job.attempts)) == (State.FAILED, 1, 1), name
        what = error(cli, job)
        assert why in what["type"] + what["message"], name
        assert f"not retried: exit 1: odd:{name} " in cli("show", str(job.id)).stdout
        assert f"odd:{name} has run" in listed or name == "a_generator"


def test_a_generator_function_has_not_run_at_all(cli: Cli) -> None:
    write(cli, "lazy", "def count():\n    open('ran', 'a')\n    yield 1\nasync def later():\n    yield 1")
    for job in run(cli, "lazy:count", "lazy:later", retries=2):
        assert (job.state, len(job.attempts)) == (State.FAILED, 1)
        assert "let it return a list" in error(cli, job)["message"]
    assert not (cli.cwd / "ran").exists()


def test_a_function_that_raises_is_retried_whatever_its_exit_code(cli: Cli) -> None:
    write(cli, "bad", "import sys\ndef type_error(): return len(3)\ndef leave(): sys.exit(65)")
    assert [len(job.attempts) for job in run(cli, "bad:type_error", "bad:leave", retries=1)] == [2, 2]


def test_keys_and_values_that_only_change_their_type_are_kept(cli: Cli) -> None:
    write(cli, "keys", "def f(): return {1: (1, 2), None: 10 ** 4000, 'u': '\\ud800'}")
    assert results(cli, "keys:f") == [{"1": [1, 2], "null": 10**4000, "u": "\ud800"}]


def test_a_huge_result_file_is_not_read(cli: Cli) -> None:
    write(cli, "m", "def f(): return 'x' * (2 << 20)")
    (job,) = run(cli, "m:f")
    assert f"result of 2.0 MiB: Queue().result({job.id})" in cli("show", str(job.id)).stdout
    assert len(cli.queue.result(job.id)) == 2 << 20
    path = cli.queue.store.logs.result_path(job.id, 1)
    os.truncate(path, LARGEST + 1)
    assert f"has {LARGEST + 1} bytes, more than any result" in cli("show", str(job.id)).stdout


# -- callables ---------------------------------------------------------------------------------------------------------

CALLABLES = """
import functools
from unittest import mock

def with_db(f):
    @functools.wraps(f)
    def inner(*args, **kwargs): return f("connection", *args, **kwargs)
    return inner

def loud(f):
    @functools.wraps(f)
    def inner(*args, verbose=False): return [verbose, *f(*args)]
    return inner

@with_db
def load(db, table): return [db, table]

@mock.patch("os.getlogin", return_value="me")
def who(x, login): return [x, login()]

@loud
def plain(x): return [x]

@functools.lru_cache
def cached(x): return [x]

def add(x, y, z=0): return [x, y, z]
part = functools.partial(add, "1", z="3")

class Adder:
    def __call__(self, x): return [x]
    @classmethod
    def make(cls, x): return [cls.__name__, x]
adder = Adder()

class Record(dict):
    def __init__(self, x): super().__init__(x=x)

class Later:
    async def __call__(self, x): return [x]
later = Later()

class Ready:
    def __await__(self):
        yield from ()
        return "ready"
def awaitable(): return Ready()
"""


def test_every_kind_of_callable_can_be_called(cli: Cli) -> None:
    write(cli, "c", CALLABLES)
    assert results(
        cli, "c:load t", "c:who t", "c:plain t verbose:=true", "c:cached t", "c:part 2", "c:adder x", "c:Adder.make x",
        "c:Record 7", "c:later x", "c:awaitable", "math:sqrt :=4",
    ) == [
        ["connection", "t"], ["t", "me"], [True, "t"], ["t"], ["1", "2", "3"], ["x"], ["Adder", "x"],
        {"x": "7"}, ["x"], "ready", 2.0,
    ]  # fmt: skip


@pytest.mark.parametrize("call", ["c:add 1", "c:add 1 2 q=3", "c:part 1 2 3", "c:Record", "c:later", "math:sqrt x"])
def test_wrong_arguments_are_reported_and_not_retried(cli: Cli, call: str) -> None:
    write(cli, "c", CALLABLES)
    (job,) = run(cli, call, retries=2)
    assert (job.exit_code, len(job.attempts)) == (127, 1)
    assert f"{call.split(maxsplit=1)[0]} does not take these arguments" in error(cli, job)["message"]


@pytest.mark.skipif(sys.getfilesystemencoding() != "utf-8", reason="Python finds no such file in this locale")
def test_names_may_have_letters_of_any_alphabet(cli: Cli) -> None:
    write(cli, "größe", "def zählen(x, ölstand): return [x, ölstand]")
    assert results(cli, "größe:zählen é ölstand=3") == [["é", "3"]]
    assert results(cli, "gr\u00f6\u00dfe:za\u0308hlen 1 o\u0308lstand:=2") == [["1", 2]]  # as some systems type it
    assert "größe:zählen" in cli("show").stdout


def test_a_function_of_main_is_refused(cli: Cli) -> None:
    write(cli, "work", "from jobq import Queue\ndef f(): return 1\nQueue().call('__main__:f')")
    told = cli("call", "__main__:f", code=2).stderr
    assert "another __main__" in told
    assert "name the script: SCRIPT:f" in told
    done = subprocess.run([sys.executable, "work.py"], cwd=cli.cwd, env=cli.env, capture_output=True, check=False)
    assert b"UsageError: __main__:f can't be called" in done.stderr
    assert cli.queue.jobs() == []


# -- modules -----------------------------------------------------------------------------------------------------------

HIDING = (
    "token", "ast", "inspect", "json", "traceback", "linecache", "tokenize", "enum", "types", "signal", "re", "keyword",
    "collections", "functools", "operator", "copyreg", "importlib_metadata", "asyncio", "contextlib", "string",
)  # fmt: skip
HIDDEN = f"""
import {", ".join(HIDING)}
def where(): return [getattr(m, "WHERE", None) for m in ({", ".join(HIDING)})]
def fail(): raise ValueError("why")
def no_json(): return {{1}}
def wrapped(): return 7
wrapped.__wrapped__ = where
if __name__ == "__main__": print(*where())
"""


@pytest.mark.parametrize("place", [".", "on_path"])
def test_a_user_module_hides_the_python_module_of_its_name_as_in_a_script(cli: Cli, place: str) -> None:
    (cli.cwd / "on_path").mkdir()
    for name in HIDING:
        (cli.cwd / place / f"{name}.py").write_text(f"WHERE = {name!r}")
    write(cli, "hidden", HIDDEN)
    python = str(cli.cwd / "bare" / "bin" / "python")  # no .pth file of setuptools loads modules in it
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", cli.cwd / "bare"], check=True)
    environ = cli.env | ({"PYTHONPATH": "on_path"} if place == "on_path" else {})
    plain = subprocess.run([python, "hidden.py"], cwd=cli.cwd, env=environ, capture_output=True, text=True, check=True)
    for name in ("where", "fail", "no_json", "wrapped"):
        cli.queue.call(f"hidden:{name}", python=python, cwd=str(cli.cwd), env=environ, retries=0)
    subprocess.run([sys.executable, "-P", "-m", "jobq", "worker", "--drain"], cwd=cli.cwd, env=cli.env, check=False)
    good, failed, odd, wrapped = (cli.queue.job(job_id) for job_id in (1, 2, 3, 4))
    assert cli.queue.result(wrapped) == 7
    assert cli.queue.result(good) == plain.stdout.split() == list(HIDING)
    assert error(cli, failed)["message"] == "why"
    assert 'in fail\n    def fail(): raise ValueError("why")' in error(cli, failed)["traceback"]
    assert "not JSON" in error(cli, odd)["message"]


def test_loaded_modules_stay_if_no_user_module_hides_them(cli: Cli) -> None:
    write(cli, "m", "import json, sys\ndef f(): return [sys.path[0], json is sys.modules['__main__'].json]")
    assert results(cli, "m:f") == [[str(cli.cwd), True]]


def test_a_safe_path_hides_nothing_and_still_finds_the_function(cli: Cli) -> None:
    write(cli, "m", "import string, helper\ndef f(): return [hasattr(string, 'digits'), helper.X]")
    write(cli, "string", "")
    (cli.cwd / "lib").mkdir()
    (cli.cwd / "lib" / "helper.py").write_text("X = 'on PYTHONPATH'")
    cli.env |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": f"{cli.cwd}/lib:{Path(jobq.__file__).parent.parent}"}
    assert results(cli, "m:f") == [[True, "on PYTHONPATH"]]


# -- exceptions and exit codes -----------------------------------------------------------------------------------------

ENDS = """
import os, sys
class Silent(Exception):
    def __str__(self): raise ValueError("no")
class Quits(Exception):
    def __str__(self): sys.exit(0)
def silent(): raise Silent
def quits(): raise Quits
def half(): raise ValueError("half \\ud800")
def huge(): raise ValueError("x" * (30 << 20))
def closed(): sys.stderr.close(); raise ValueError("why")
def no_two(): os.close(2); raise ValueError("why")
def none(): sys.stderr = None; raise ValueError("why")
def leave(code): sys.exit(code)
def gone(): os._exit(3)
def group(): raise ExceptionGroup("several", [ValueError("why"), TypeError("because")])
"""


def test_exceptions_that_can_not_be_printed_are_kept(cli: Cli) -> None:
    write(cli, "e", ENDS)
    names = ("silent", "quits", "half", "huge", "closed", "no_two", "none", "group")
    kinds = ("e.Silent", "e.Quits", *["ValueError"] * 5, "ExceptionGroup")
    for job, name, kind in zip(run(cli, *(f"e:{name}" for name in names)), names, kinds, strict=True):
        what = error(cli, job)
        assert (what["type"], job.exit_code) == (kind, 1)
        assert f"in {name}" in what["traceback"]
        assert len(json.dumps(what)) < 1 << 20
    assert error(cli, cli.queue.job(3))["message"] == "half \\ud800"
    assert "because" in error(cli, cli.queue.job(8))["traceback"]
    assert os.path.getsize(cli.queue.store.logs.path(4, 1)) < 2 << 20


def test_the_exit_code_that_a_function_chose_is_kept(cli: Cli) -> None:
    write(cli, "e", ENDS)
    calls = [f"e:leave :={code}" for code in ("0", "null", "5", "256", '"why"')] + ["e:gone"]
    jobs = run(cli, *calls)
    assert [job.exit_code for job in jobs] == [0, 0, 5, 1, 1, 3]
    assert cli.queue.result(jobs[0].id) is None
    assert error(cli, jobs[2])["type"] == "SystemExit"
    assert cli("log", str(jobs[2].id)).stdout == ""
    assert cli("log", str(jobs[4].id)).stdout == "why\n"


def test_a_forked_child_that_returns_leaves_no_result(cli: Cli) -> None:
    write(cli, "f", """
import os
def fork():
    pid = os.fork()
    if pid == 0:
        return "child"
    os.waitpid(pid, 0)
    return "parent"
def pool():
    import multiprocessing, signal
    codes = set()
    for _ in range(100):  # SIGTERM must not be lost before the child has begun
        process = multiprocessing.get_context("fork").Process(target=signal.pause)
        process.start()
        process.terminate()
        process.join()
        codes.add(process.exitcode)
    return list(codes)
""")  # fmt: skip
    assert results(cli, "f:fork", "f:pool") == ["parent", [-15]]


def test_a_function_that_uses_up_all_descriptors_is_not_lost(cli: Cli) -> None:
    write(cli, "f", """
import os
kept = []
def use_up():
    try:
        while True: kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError: return len(kept) > 10
def raises():
    while True: kept.append(os.open("/dev/null", os.O_RDONLY))
""")  # fmt: skip
    good, bad = run(cli, "f:use_up", "f:raises")
    assert cli.queue.result(good) is True
    assert error(cli, bad)["type"] == "OSError"


def test_a_result_that_is_too_large_for_a_file_is_reported_and_not_retried(cli: Cli) -> None:
    write(cli, "f", """
import resource
def f():
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    return "x" * 5000
""")  # fmt: skip
    (job,) = run(cli, "f:f", retries=1)
    assert len(job.attempts) == 1
    assert error(cli, job)["message"] == "f:f has run, but its result can't be saved: File too large"


# -- SIGTERM -----------------------------------------------------------------------------------------------------------

TERM = """
import asyncio, contextlib, os, signal, sys, time
def said(word):
    with open("said", "a") as f: f.write(word + "\\n")
@contextlib.contextmanager
def held():
    said(str(os.getpid()))
    print("begun")
    try: yield
    finally: said("let go")
def plain():
    with held():
        while True: time.sleep(0.01)
async def later():
    with held(): await asyncio.sleep(60)
def stubborn():
    try: plain()
    except SystemExit: return "done all the same"
def twice():
    try: plain()
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        said("to the end")
"""


@pytest.fixture
def held(cli: Cli) -> Cli:
    write(cli, "t", TERM)
    return cli


@pytest.mark.parametrize(
    ("name", "words"),
    [("plain", "let go"), ("later", "let go"), ("stubborn", "let go"), ("twice", "let go to the end")],
)
def test_a_cancelled_function_runs_its_cleanup(held: Cli, name: str, words: str) -> None:
    job_id = int(held("call", f"t:{name}").stdout)
    held.worker()
    pids_in(held.cwd / "said", 1)
    held("cancel", str(job_id))
    ending = held.queue.wait(job_id, timeout=30).ending
    assert ending is not None
    assert ending.outcome is Outcome.CANCELLED
    assert ending.signal == (None if name == "stubborn" else signal.SIGTERM)
    assert (held.cwd / "said").read_text().split(maxsplit=1)[1].split() == words.split()
    assert held("log", str(job_id)).stdout == "begun\n"


def test_a_sigterm_from_outside_is_recorded_as_a_signal(held: Cli) -> None:
    job_id = int(held("call", "--retries", "0", "t:plain").stdout)
    held.worker()
    os.kill(pids_in(held.cwd / "said", 1)[0], signal.SIGTERM)
    ending = held.queue.wait(job_id, timeout=30).ending
    assert ending is not None
    assert (ending.outcome, ending.signal) == (Outcome.SIGNAL, signal.SIGTERM)


# -- a full disk -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Cli]:
    """A store on a disk of 1 MiB, and a function that returns once the file `go` exists."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "none", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    cli = Cli(disk / "store", tmp_path)
    write(cli, "f", """
import os, time
def f():
    print("begun")  # a page of the log, with room for more
    with open("ran", "a") as f: f.write("%d\\n" % os.getpid())
    while not os.path.exists("go"): time.sleep(0.01)
    return "x" * 10000
""")  # fmt: skip
    yield cli
    cli.stop()
    subprocess.run(["umount", "--lazy", disk], check=True)


def return_into_a_full_disk(cli: Cli, *options: str) -> int:
    job_id = int(cli("call", *options, "f:f").stdout)
    cli.worker("-j", "1")
    pid = pids_in(cli.cwd / "ran", 1)[0]
    with (cli.store.parent / "filler").open("wb", buffering=0) as f:
        try:
            while f.write(b"x" * 512):
                continue
        except OSError:
            pass
    (cli.cwd / "go").touch()
    log = Path(cli.queue.store.logs.path(job_id, 1))
    wait_until(lambda: b"waits for room" in log.read_bytes() or not is_alive(pid))
    return job_id


def test_a_result_waits_for_room(small: Cli) -> None:
    job_id = return_into_a_full_disk(small)
    assert small.queue.job(job_id).state is State.RUNNING
    (small.store.parent / "filler").unlink()
    job = small.queue.wait(job_id, timeout=30)
    assert job.state is State.SUCCEEDED
    assert len(small.queue.result(job_id)) == 10000
    assert len((small.cwd / "ran").read_text().split()) == 1


def test_a_time_limit_ends_the_wait_for_room(small: Cli) -> None:
    job_id = return_into_a_full_disk(small, "--timeout", "3s", "--retries", "0")
    wait_until(lambda: not marked(small.store))
    (small.store.parent / "filler").unlink()
    job = small.queue.wait(job_id, timeout=30)
    assert job.ending is not None
    assert job.ending.outcome is Outcome.TIMEOUT


# -- jobq is changed under a worker ------------------------------------------------------------------------------------


@pytest.mark.parametrize("called_before", [True, False])
def test_calls_go_on_while_jobq_is_replaced(cli: Cli, called_before: bool) -> None:
    write(cli, "m", "def f(x): return x")
    shutil.copytree(Path(jobq.__file__).parent, cli.cwd / "lib" / "jobq")
    ours = cli.env.get("PYTHONPATH")
    cli.env["PYTHONPATH"] = str(cli.cwd / "lib")
    cli.worker("-j", "1")
    cli.env = {name: value for name, value in cli.env.items() if name != "PYTHONPATH"}
    cli.env |= {} if ours is None else {"PYTHONPATH": ours}
    first = int(cli("call", "m:f", "0").stdout) if called_before else cli.id("true")
    cli.queue.wait(first, timeout=30)
    (cli.cwd / "lib" / "jobq").rename(cli.cwd / "gone")
    ids = [int(cli("call", "m:f", f":={n}").stdout) for n in range(3)]
    assert [cli.queue.result(job.id) for job in cli.queue.wait_all(ids, timeout=30)] == [0, 1, 2]
    (copy,) = cli.store.glob("workers/*/child.py")
    copy.unlink()  # as a cleaner of old files does
    assert cli.queue.result(cli.queue.wait(int(cli("call", "m:f", "again").stdout), timeout=30)) == "again"


def test_calls_by_the_python_of_jobq_wait_while_it_is_gone(cli: Cli) -> None:
    write(cli, "m", "def f(x): return x")
    python = cli.cwd / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    environ = cli.env | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with (cli.cwd / "said").open("w") as said:
        command = [str(python), "-m", "jobq", "worker", "-j", "1"]
        worker = subprocess.Popen(command, cwd=cli.cwd, env=environ, text=True, stdout=said, stderr=said)
    cli.started.append(worker)
    before = cli.id("while ! [ -e go ]; do sleep 0.02; done")
    wait_until(lambda: cli.queue.job(before).state is State.RUNNING)
    late = int(cli("call", "--python", str(python), "m:f", "late").stdout)
    python.rename(cli.cwd / "aside")
    (cli.cwd / "go").touch()
    wait_until(lambda: f"{python}, the Python that runs jobq, was removed" in (cli.cwd / "said").read_text())
    assert (cli.queue.job(late).state, cli.queue.job(late).attempts) == (State.QUEUED, ())
    (cli.cwd / "aside").rename(python)
    assert cli.queue.result(cli.queue.wait(late, timeout=30)) == "late"
