"""Python functions as jobs: their interpreter, their JSON arguments and results, and every kind of failure."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import jobq
from jobq.errors import CallFailed, Refused, UsageError
from jobq.job import Job, State
from tests.conftest import Cli

TASKS = """
import os, sys, json, schedule, errors, job, select

class Odd(Exception):
    pass

class Box:
    @staticmethod
    def build(x): return {"x": x}

def report(year, *more, draft=False, title="none"):
    print("printed")
    return {"year": year, "more": more, "draft": draft, "title": title, "module": schedule.WHERE, "cwd": os.getcwd()}

def fail(message): raise Odd(message)
def leave(): os._exit(3)
def quit(): sys.exit(4)
def odd(): return [object()]
def infinite(): return float("inf")
def deep(): return [[None]]
async def later(): return "later"
def which(): return [sys.executable, list(sys.version_info[:2])]
not_a_function = 7
"""


@pytest.fixture
def tasks(cli: Cli) -> Cli:
    (cli.cwd / "tasks.py").write_text(TASKS)
    for name in ("schedule", "errors", "job"):
        (cli.cwd / f"{name}.py").write_text("WHERE = 'mine'")  # named like modules of jobq
    (cli.cwd / "broken.py").write_text("import no_such_module_at_all")
    return cli


def run(cli: Cli, *words: str) -> Job:
    job_id = int(cli("call", "--no-check", "--retries", "0", *words).stdout)
    cli("worker", "--drain", code=None)
    return cli.queue.job(job_id)


def test_arguments_and_result_are_json(tasks: Cli) -> None:
    job = run(tasks, "tasks:report", "2026", ":=[1, null]", "title=a=b", "draft:=true")
    assert job.state is State.SUCCEEDED
    assert tasks.queue.result(job.id) == {
        "year": "2026", "more": [[1, None]], "draft": True, "title": "a=b", "module": "mine", "cwd": str(tasks.cwd),
    }  # fmt: skip
    assert tasks("log", str(job.id)).stdout == "printed\n"
    shown = tasks("show", str(job.id)).stdout
    assert 'tasks:report("2026", [1, null], title="a=b", draft=true)' in shown
    assert '"module": "mine"' in shown
    command = json.loads(tasks("show", "--json").stdout)["jobs"][0]["command"]
    assert command["call"] == "tasks:report"
    assert command["kwargs"] == {"title": "a=b", "draft": True}


@pytest.mark.parametrize(
    ("function", "code", "says"),
    [
        ("tasks:fail", 1, "tasks.Odd: why"),
        ("tasks:leave", 3, ""),
        ("tasks:quit", 4, ""),
        ("tasks:odd", 1, "tasks:odd has run, but its result is not JSON: the result[0] is an object"),
        ("tasks:infinite", 1, "its result is not JSON"),
        (
            "tasks:deep",
            127,
            "tasks:deep does not take these arguments: deep() takes 0 positional arguments but 1 was given",
        ),
        ("tasks:missing", 127, "tasks has no missing"),
        ("tasks:not_a_function", 127, "can't be called"),
        ("no.such:thing", 127, "there is no module no for"),
        ("broken:thing", 1, "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
    ],
)
def test_the_error_of_a_function_is_kept_and_shown(tasks: Cli, function: str, code: int, says: str) -> None:
    job = run(tasks, function, *(["why"] if function in {"tasks:fail", "tasks:deep"} else []))
    assert (job.state, job.exit_code) == (State.FAILED, code)
    assert says in tasks("show", str(job.id)).stdout
    with pytest.raises(CallFailed) as failure:
        tasks.queue.result(job.id)
    assert says in str(failure.value)
    if function == "tasks:fail":
        assert failure.value.error is not None
        assert failure.value.error["traceback"].startswith("Traceback")
        assert "child.py" not in failure.value.error["traceback"]
        assert "raise Odd(message)" in tasks("log", str(job.id)).stdout


def test_a_missing_function_is_not_retried_and_a_failing_one_is(tasks: Cli) -> None:
    tasks("call", "--no-check", "--retries", "1", "tasks:missing")
    tasks("call", "--retries", "1", "tasks:fail", "x")
    tasks("worker", "--drain", code=1)
    assert [len(tasks.queue.job(n).attempts) for n in (1, 2)] == [1, 2]


def test_a_call_leaves_no_compiled_files_in_the_store(tasks: Cli) -> None:
    tasks.env.pop("PYTHONDONTWRITEBYTECODE", None)
    (tasks.cwd / "typed.py").write_text(
        "from jobq import current_job\ndef f(x: int): return [x, current_job().attempt]"
    )
    tasks.start("worker")
    for isolation in ("process", "warm"):
        job_id = int(tasks("call", "--isolation", isolation, "--python", sys.executable, "typed:f", "1").stdout)
        tasks.queue.wait(job_id, timeout=30)
        assert tasks.queue.result(job_id) == [1, 1]
    assert list(tasks.store.rglob("*.pyc")) == []
    assert "healthy" in tasks("doctor").stdout


def test_methods_and_coroutines_can_be_called(tasks: Cli) -> None:
    assert tasks.queue.result(run(tasks, "tasks:Box.build", ":=5").id) == {"x": 5}
    assert tasks.queue.result(run(tasks, "tasks:later").id) == "later"


def test_a_function_runs_in_the_environment_in_use_which_needs_no_jobq(tasks: Cli, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    assert subprocess.run([python, "-c", "import typer"], capture_output=True, check=False).returncode
    tasks.env["VIRTUAL_ENV"] = str(tmp_path / "env")
    assert tasks.queue.result(run(tasks, "tasks:which").id)[0] == str(python)
    del tasks.env["VIRTUAL_ENV"]
    assert tasks.queue.result(run(tasks, "--python", str(python), "tasks:which").id)[0] == str(python)


def test_an_environment_in_a_cache_is_not_used(tmp_path: Path) -> None:
    def chosen(folder: Path, **variables: str) -> str:
        environ = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(PACKAGE.parent), **variables}
        command: list[str | Path] = [
            folder / "bin" / "python",
            "-c",
            "from jobq.environ import interpreter; print(interpreter())",
        ]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.strip()

    (tmp_path / "cache" / "archive").mkdir(parents=True)
    for folder in (tmp_path / "project", tmp_path / "cache" / "archive" / "tool"):
        venv.create(folder, with_pip=False)
        (folder / "CACHEDIR.TAG").touch()  # as `uv venv` does anywhere
    project, tool = tmp_path / "project", tmp_path / "cache" / "archive" / "tool"
    assert chosen(project) == f"{project}/bin/python"
    assert chosen(tool) == f"{tool}/bin/python"
    (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    assert chosen(project) == f"{project}/bin/python"
    for variables in ({}, {"VIRTUAL_ENV": str(tool)}):
        assert not chosen(tool, **variables).startswith(str(tmp_path))
    assert chosen(tool, VIRTUAL_ENV=str(project)) == f"{project}/bin/python"


def test_a_python_that_is_too_old_is_reported_and_not_retried(tasks: Cli) -> None:
    for python in [path for version in ("2.7", "3.6") for path in PYENV.glob(f"{version}.*/bin/python")]:
        assert "needs Python 3.7" in tasks("call", "--python", str(python), "tasks:which", code=2).stderr.replace(
            "need P", "needs P"
        )
        job_id = int(tasks("call", "--no-check", "--python", str(python), "tasks:which").stdout)
        tasks("worker", "--drain", code=1)
        assert "need Python 3.7 or newer" in tasks("log", str(job_id)).stdout
        assert len(tasks.queue.job(job_id).attempts) == 1


PACKAGE = Path(jobq.__file__).parent
PYENV = Path.home() / ".pyenv" / "versions"
OLDER = [path for version in ("3.7", "3.8", "3.9", "3.10") for path in PYENV.glob(f"{version}.*/bin/python")]


@pytest.mark.parametrize("python", OLDER or [None])
def test_an_older_python_runs_functions(tasks: Cli, python: Path | None) -> None:
    if python is None:
        pytest.skip("no older Python is installed")
    result = tasks.queue.result(run(tasks, "--python", str(python), "tasks:which").id)
    assert result[1] == [int(part) for part in python.parent.parent.name.split(".")[:2]]
    assert run(tasks, "--python", str(python), "tasks:fail", "x").exit_code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["no-colon"], "has no handler no-colon"),
        (["os:system; x"], "does not name a function"),
        (["m:f", "a:=nope"], "is not JSON"),
        (["m:f", ":=" + "[" * 100_000], "is not JSON"),
        (["m:f", "a=1", "2"], "comes after a named argument"),
        (["m:f", "a=1", "a=2"], "given twice"),
        (["--python", "no-such-python", "m:f"], "no-such-python"),
        (["m:f", "x" * 131_050], "bytes long"),
    ],
)
def test_bad_calls_are_refused_when_added(cli: Cli, words: list[str], says: str) -> None:
    assert says in cli("call", *words, code=2).stderr
    assert cli.queue.jobs() == []


def test_functions_can_be_called_from_python(tasks: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tasks.cwd)
    job = tasks.queue.call("tasks:report", [1], {"title": "é"}, priority=5)
    with pytest.raises(Refused, match="no result yet"):
        tasks.queue.result(job.id)
    tasks("worker", "--drain")
    assert tasks.queue.result(job.id)["title"] == "é"
    assert tasks.queue.wait(job).spec.priority == 5
    spec = tasks.queue.add("true", priority="high", timeout="10m").job.spec
    assert (spec.priority, spec.retries, spec.timeout) == (10, 3, 600.0)
    for function, args in ((len, []), ("tasks:report", "abc")):
        with pytest.raises(UsageError):
            tasks.queue.call(function, args)
    with pytest.raises(Refused, match="is a command"):
        tasks.queue.result(tasks.queue.add("true").id)
    for no_json in ([object()], [float("nan")]):
        with pytest.raises(UsageError, match="not JSON"):
            tasks.queue.call("tasks:report", no_json)
    with pytest.raises(UsageError, match="must be text"):
        tasks.queue.call("tasks:report", [], {1: 2})  # type: ignore[dict-item]


def test_a_result_is_removed_with_its_job(tasks: Cli) -> None:
    job = run(tasks, "tasks:deep")
    path = Path(tasks.queue.store.logs.result_path(job.id, 1))
    assert path.stat().st_mode & 0o777 == 0o600
    tasks("rm", str(job.id))
    assert not path.exists()


def test_the_child_needs_nothing_but_an_old_standard_library() -> None:
    source = (PACKAGE / "python/child.py").read_text()
    compile(source, "child.py", "exec", dont_inherit=True)
    assert "import jobq" not in source
    assert "from jobq" not in source
