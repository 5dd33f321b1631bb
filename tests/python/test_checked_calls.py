"""`jobq call` and `jobq run --call`: what is refused when it is added, what is converted, and what is printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobq.job import State
from tests.conftest import Cli, command, wait_until
from tests.helpers.processes import is_alive

SHOP = '''
import dataclasses, datetime, enum, os, sys
from jobq import Fail, Retry, Snooze, current_job, handler

@dataclasses.dataclass
class Order:
    number: int
    day: datetime.date

class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"

@handler("send-order", retries=5, timeout="2m", retry_on=ConnectionError)
def send(order: Order, size: Size = Size.SMALL) -> Order:
    """Send an order.

    More of it.
    """
    return Order(order.number + 1, order.day)

@handler
def plain(x): return x

def add(a: int, b: int = 0) -> int: return a + b
def wait_for(path: str) -> str: return path
async def later(n: int) -> int: return n + 1
not_a_function = 7
'''


@pytest.fixture
def shop(cli: Cli) -> Cli:
    (cli.cwd / "shop.py").write_text(SHOP)
    return cli


def call(cli: Cli, *words: str) -> object:
    cli("call", *words)
    return cli.queue.jobs()[-1].call


def test_words_are_converted_by_annotations(shop: Cli) -> None:
    assert shop("call", "shop:add", "2", "b=3").stdout == "1\n"
    job = shop.queue.job(1)
    assert job.call is not None
    assert (job.call.args, job.call.kwargs) == (("2",), {"b": "3"}), "the check changes nothing"
    shop("worker", "--drain")
    assert shop("result", "1").stdout == "5\n"
    assert json.loads(shop("show", "1", "--json").stdout)["jobs"][0]["result"] == 5


def test_objects_become_what_the_annotation_says_and_go_back(shop: Cli) -> None:
    shop("call", "shop:send", ':={"number": "7", "day": "2026-12-24"}', "size=LARGE")
    shop("worker", "--drain")
    assert json.loads(shop("result").stdout) == {"number": 8, "day": "2026-12-24"}


def test_a_handler_gives_its_jobs_options_which_flags_override(shop: Cli) -> None:
    order = ':={"number": 7, "day": "2026-12-24"}'
    shop("call", "shop:send", order)
    shop("call", "--retries", "1", "shop:send", order)
    first, second = shop.queue.jobs()
    assert (first.spec.retries, first.spec.timeout, first.spec.retry_on) == (5, 120.0, "ConnectionError")
    assert (second.spec.retries, second.spec.timeout) == (1, 120.0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere:f"], "there is no module nowhere"),
        (["shop:missing"], "shop has no missing"),
        (["shop:snd"], "did you mean send?"),
        (["shop:not_a_function"], "can't be called"),
        (["shop:add"], "missing a required argument: 'a'"),
        (["shop:add", "1", "2", "3"], "too many positional arguments"),
        (["shop:add", "x"], 'a is "x", and must be a whole number'),
        (["shop:add", "1", "c=2"], "unexpected keyword argument 'c'"),
        (["shop:send", ':={"number": 7}'], "order lacks the field day of Order"),
        (["shop:send", ':={"number": 7, "day": "soon"}'], 'order.day is "soon", and must be a date'),
        (["shop:plain"], "missing a required argument"),
        (["broken:f"], "the import of broken:f fails: ValueError: no"),
        (["gone:f"], "ModuleNotFoundError"),
        (["./nowhere.py:f"], "there is no file"),
        (["no-such-handler"], "has no handler no-such-handler"),
        (["shop:add", "@nowhere.json"], "@FILE names a file of JSON; the text @nowhere.json is @@nowhere.json"),
        (["shop:add", "@shop.py"], "is not JSON"),
        (["shop:add", "a=1", "@list.json"], "comes after a named argument"),
        (["shop:add", "a=1", "@object.json"], "the argument a is given twice"),
        (["shop:add", "@number.json"], "write a list of arguments"),
        ([], "no function is given"),
        (["--no-check", "send-order"], "a handler, which only a check finds"),
    ],
)
def test_what_can_not_work_is_refused_and_nothing_is_added(shop: Cli, words: list[str], says: str) -> None:
    (shop.cwd / "broken.py").write_text("raise ValueError('no')")
    (shop.cwd / "gone.py").write_text("import no_such_module")
    for name, text in {"list": "[1]", "object": '{"a": 1}', "number": "5"}.items():
        (shop.cwd / f"{name}.json").write_text(text)
    told = shop("call", *words, code=2).stderr
    assert says in told
    assert told.startswith("error: ")
    assert not shop.queue.exists() or shop.queue.jobs() == []


def test_no_check_adds_it_all_the_same(shop: Cli) -> None:
    shop("call", "--no-check", "--retries", "3", "shop:add", "x")
    shop("worker", "--drain", code=1)
    job = shop.queue.job(1)
    assert (job.state, job.exit_code, len(job.attempts)) == (State.FAILED, 127, 1)
    assert 'a is "x", and must be a whole number' in shop("show", "1").stdout
    assert "failed" in shop("result", "1", code=1).stderr


def test_a_module_that_ends_the_process_or_hangs_is_added_with_a_note(shop: Cli) -> None:
    (shop.cwd / "ends.py").write_text("import os; os._exit(3)")
    assert "was not checked: its import ends the process" in shop("call", "ends:f").stderr
    assert len(shop.queue.jobs()) == 1


def test_a_module_that_prints_or_leaves_threads_does_not_disturb(shop: Cli) -> None:
    (shop.cwd / "loud.py").write_text(
        "import threading, time, sys, subprocess\nprint('hello'); print('x', file=sys.stderr)\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\nsubprocess.Popen(['sleep', '60'])\ndef f(x: int): return x"
    )
    done = shop("call", "loud:f", "1")
    assert done.stdout == "1\n"
    assert "hello" not in done.stderr


def test_arguments_come_from_a_file(shop: Cli) -> None:
    (shop.cwd / "a.json").write_text('{"a": 1, "b": 2}')
    (shop.cwd / "l.json").write_text("[1, 2]")
    assert call(shop, "shop:add", "@a.json") == call(shop, "shop:add", "a:=1", "b:=2")
    assert call(shop, "shop:add", "@a.json", "b:=5") == call(shop, "shop:add", "a:=1", "b:=5")
    assert call(shop, "shop:add", "@l.json") == call(shop, "shop:add", ":=1", ":=2")
    shop("call", "shop:wait_for", "@@at")
    job = shop.queue.jobs()[-1].call
    assert job is not None
    assert job.args == ("@at",)


def test_a_file_and_a_src_layout_are_found(shop: Cli) -> None:
    (shop.cwd / "my-script.py").write_text("import helper\ndef f(x): return [x, helper.Y, __name__]")
    (shop.cwd / "helper.py").write_text("Y = 'beside it'")
    (shop.cwd / "deep").mkdir()
    (shop.cwd / "deep" / "tool.py").write_text("import near\ndef f(): return near.Z")
    (shop.cwd / "deep" / "near.py").write_text("Z = 'near'")
    (shop.cwd / "src" / "package").mkdir(parents=True)
    (shop.cwd / "src" / "package" / "__init__.py").write_text("")
    (shop.cwd / "src" / "package" / "tasks.py").write_text("def f(): return 'in src'")
    shop("call", "./my-script.py:f", "1")
    shop("call", "deep/tool.py:f")
    shop("call", "package.tasks:f")
    shop("worker", "--drain")
    results = [json.loads(shop("result", str(n)).stdout) for n in (1, 2, 3)]
    assert results == [["1", "beside it", "my_script"], "near", "in src"]
    assert f"{shop.cwd}/my-script.py:f" in shop("show", "1").stdout
    (shop.cwd / "my-script.py").unlink()
    shop("again", "1")
    shop("worker", "--drain", code=1)
    assert "my_script was, is gone" in shop("show", "4").stdout


def test_the_directory_and_the_variables_of_the_job_count(shop: Cli, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "there.py").write_text("import os\nVALUE = os.environ['SAMPLE']\ndef f(): return VALUE")
    assert "no module there" in shop("call", "there:f", code=2).stderr
    shop("call", "--cwd", str(other), "--env", "SAMPLE=yes", "there:f")
    shop("worker", "--drain")
    assert json.loads(shop("result").stdout) == "yes"


def test_run_calls_a_function_here_and_now(shop: Cli) -> None:
    (shop.cwd / "talk.py").write_text(
        "import sys\nfrom jobq import handler\ndef f(n: int):\n    print('hello'); sys.exit(n)\n"
        "@handler\ndef reads(): print(sys.stdin.read().upper())\n"
    )
    together = subprocess.run(  # in one place, so that its streams are not kept apart
        command(("run", "--call", "talk:reads")),
        input=b"text",
        stdout=-1,
        stderr=-2,
        env=shop.env,
        cwd=shop.cwd,
        check=True,
    )
    assert together.stdout == b"TEXT\n"
    done = shop("run", "--call", "talk:f", "3", code=3)
    assert done.stdout == "hello\n"
    assert "must be a whole number" in shop("run", "--call", "talk:f", "x", code=2).stderr
    assert (
        "goes" in shop("run", "--call", code=2).stderr
        or "--call takes a function" in shop("run", "--call", code=2).stderr
    )
    assert "give --call, too" in shop("run", "--no-check", "true", code=2).stderr


def test_handlers_of_modules_are_listed(shop: Cli) -> None:
    listed = shop("call", "--list", "shop").stdout.splitlines()
    assert listed[0].split() == ["HANDLER", "FUNCTION"]
    assert listed[1].split("  ")[0] == "shop:plain(x)"
    assert "send-order(order: shop.Order, size: shop.Size" in listed[2]
    assert listed[2].endswith("Send an order.")
    (found, _) = json.loads(shop("call", "--list", "--json", "shop").stdout)["handlers"][::-1]
    assert found["name"] == "send-order"
    assert found["function"] == "shop:send"
    assert found["options"] == {"retries": 5, "timeout": "2m", "retry_on": "ConnectionError"}
    assert "import of nowhere fails" in shop("call", "--list", "nowhere", code=2).stderr


def test_handlers_of_installed_packages_are_known_by_name(shop: Cli) -> None:
    info = shop.cwd / "shop-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[jobq.handlers]\nadd-up = shop:add\nall = shop\nbad = shop:nope\n")
    shop.env["PYTHONPATH"] = str(shop.cwd)
    listed = shop("call", "--list").stdout
    assert "add-up(a: int" in listed
    assert "bad = shop:nope can't be loaded" in shop("call", "--list").stderr
    assert "did you mean add-up?" in shop("call", "add-u", code=2).stderr
    assert "send-order(" in listed
    shop("call", "add-up", "1", "2")
    shop("call", "send-order", ':={"number": 7, "day": "2026-12-24"}')
    first, second = shop.queue.jobs()
    assert first.call is not None and second.call is not None
    assert (first.call.function, second.call.function) == ("shop:add", "shop:send")
    assert second.spec.retries == 5
    shop("worker", "--drain")
    assert shop("result", "1").stdout == "3\n"


def test_result_tells_why_there_is_none(shop: Cli) -> None:
    shop("add", "true")
    shop("call", "shop:add", "1")
    assert "no result yet" in shop("result", "2", code=1).stderr
    assert "is a command" in shop("result", "1", code=1).stderr
    assert "there is no job 9" in shop("result", "9", code=1).stderr
    assert "selects 2 jobs" in shop("result", "1-2", code=2).stderr
    worker = shop.start("worker", "--drain")
    assert shop("result", "2", "--wait").stdout == "1\n"
    assert worker.wait(30) == 0


def test_a_python_that_is_none_is_refused(shop: Cli) -> None:
    assert "no-such-python" in shop("call", "--python", "no-such-python", "shop:add", "1", code=2).stderr
    assert "was not checked" in shop("call", "--python", "/bin/true", "shop:add", "1").stderr
    assert shop("call", "--python", sys.executable, "shop:add", "1").stdout == "2\n"


def test_the_hint_fits_the_mistake(shop: Cli) -> None:
    assert (
        "options of jobq go before the function" in shop("call", "shop:add", "1", "--retries", "0", "x", code=2).stderr
    )
    assert "a function is named as MODULE:FUNCTION, as in shop:main" in shop("call", "shop", code=2).stderr
    assert "hint" not in shop("call", "shop:nope", code=2).stderr


def test_lists_and_objects_may_be_text(shop: Cli) -> None:
    (shop.cwd / "m.py").write_text("def f(xs: list[int], d: dict[str, int], *, t: str): return [xs, d, t]")
    shop("call", "m:f", "[1, 2]", 'd={"a": 1}', "t=[1]")
    shop("worker", "--drain")
    assert json.loads(shop("result").stdout) == [[1, 2], {"a": 1}, "[1]"]


def test_the_check_leaves_nothing_behind_and_takes_calls_of_any_size(shop: Cli) -> None:
    (shop.cwd / "left.py").write_text(
        "import subprocess\nopen('pid', 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\ndef f(x): return len(x)"
    )
    (shop.cwd / "big.json").write_text(json.dumps(["x" * 131_000]))
    shop("call", "left:f", "@big.json")
    wait_until(lambda: not is_alive(int((shop.cwd / "pid").read_text())))


def test_wrong_options_of_a_handler_are_named(shop: Cli) -> None:
    (shop.cwd / "h.py").write_text(
        "import datetime\nfrom jobq import handler\n@handler(retires=3)\ndef f(): ...\n"
        "@handler(timeout=datetime.timedelta(seconds=5))\ndef g(): ...\n"
    )
    assert "a job has no option retires" in shop("call", "h:f", code=2).stderr
    assert "did you mean retries?" in shop("call", "h:f", code=2).stderr
    shop("call", "h:g")
    assert shop.queue.jobs()[-1].spec.timeout == 5


def test_modules_that_hide_those_of_python_do_not_hide_them_from_the_check(shop: Cli) -> None:
    for name in ("json", "uuid", "decimal"):
        (shop.cwd / f"{name}.py").write_text("")
    (shop.cwd / "p.py").write_text("import pathlib\ndef f(p: pathlib.Path, n: int = 1): return [str(p), n]")
    assert "must be a whole number" in shop("call", "p:f", "a", "x", code=2).stderr
    shop("call", "p:f", "a/b", "2")
    shop("worker", "--drain")
    assert json.loads(shop("result").stdout) == ["a/b", 2]


def test_a_call_is_checked_and_made_in_a_locale_without_its_characters(cli: Cli) -> None:
    folder = cli.cwd / "\u00fc"
    folder.mkdir()
    (folder / "mm.py").write_text("import os\ndef who(): return os.environ['XX']\n")
    bare: dict[str, str] = cli.env | {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "XX": "\u00fc\u20ac",
    }
    env = {name.encode(): value.encode() for name, value in bare.items()}
    for isolation in ("process", "warm"):
        for words in (["call", "--isolation", isolation, "./mm.py:who"], ["worker", "--drain"], ["result", "@"]):
            done = subprocess.run(command(words), env=env, cwd=folder, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
        text = json.loads(done.stdout)
        assert text.encode("ascii", "surrogateescape").decode() == "\u00fc\u20ac"


def test_a_function_ends_well_with_pythoninspect(cli: Cli) -> None:
    (cli.cwd / "count.py").write_text("def go(): open('count', 'a').write('x')\n")
    cli("call", "--env", "PYTHONINSPECT=1", "count:go")
    cli("worker", "--drain")
    assert (cli.cwd / "count").read_text() == "x"
