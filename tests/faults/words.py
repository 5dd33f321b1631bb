"""Unusual words, names, numbers and places: they arrive unchanged, or an error refuses them.

hypothesis makes the arguments. Many jobs are added at once, and one worker runs them; it must survive all of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobq.errors import JobqError, UsageError
from jobq.job import Outcome, Spec, State
from jobq.rules import retry
from jobq.store.logs import Logs
from tests.conftest import Cli
from tests.faults.case import ROOT, Bench, Figures, case, environment, need_root
from tests.faults.seed import Seed
from tests.faults.supervision import as_user, start_worker

SUBJECT = "words"
NASTY = [
    "$(touch x)", "`touch x`", "; touch x", "&& touch x", "| touch x", "> x", "\n touch x", "%s%n{}{0}", "*", "?", "[a-z]", "~", "$HOME",
    "", " ", "'", '"', "\\", "-x", "--", "-rf", "a=b", "é☃\U0001f600", "\u202e", "\x1b[31m", "\x7f", "e\u0301", "#", "!!", "x" * 100_000,
]  # fmt: skip


def outputs(cli: Cli, job_id: int) -> bytes:
    """Return the log of the job's first attempt."""
    return Path(Logs(str(cli.store)).path(job_id, 1)).read_bytes()


@case(
    "command-not-startable",
    "37",
    SUBJECT,
    "commands that can't be started, for their words, variables or folder: neither refused nor spawn_error; dead workers",
)
def impossible(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    folder, gone, script = bench.folder / "work", bench.folder / "gone", bench.folder / "work" / "script"
    folder.mkdir()
    gone.mkdir()
    script.write_text("true")
    refused: dict[str, tuple[object, dict[str, object]]] = {
        "200 kB word": (["true", "x" * 200_000], {}),
        "200 kB line": (": " + "x" * 200_000, {}),
        "2 MB of words": (["true", *["x" * 100_000] * 20], {}),
        "NUL in a word": (["true", "a\0b"], {}),
        "NUL in a line": ("true\0", {}),
        "empty line": ("", {}),
        "no words": ([], {}),
        "empty program": (["", "x"], {}),
        "NUL in a folder": ("true", {"cwd": "a\0b"}),
        "missing folder": ("true", {"cwd": str(bench.folder / "missing")}),
        "NUL in a name": ("true", {"name": "a\0b"}),
        "a number for a word": (["echo", 1], {}),
        "bytes for a line": (b"true", {}),
        "nothing for a command": (None, {}),
        "half a character": (["echo", "\ud800"], {}),
        "a number for a variable": ("true", {"env": {"A": 1}}),
        "a list for variables": ("true", {"env": ["A"]}),
    }
    for what, (command, asked) in refused.items():
        figures.n += 1
        try:
            job = cli.queue.add(command, **{"cwd": str(folder), **asked}).job  # type: ignore[arg-type]
            figures.bad.append(f"{what}: accepted, as job {job.id}")
        except UsageError:
            continue
        except Exception as e:  # any other exception is not an answer for the user
            figures.bad.append(f"{what}: {type(e).__name__}: {str(e)[:100]}")
    started: dict[str, tuple[object, dict[str, object], int]] = {
        "not executable": ([str(script), "x"], {}, 126),
        "a folder": (["/", "x"], {}, 126),
        "missing": (["no-such-program", "x"], {}, 127),
        "folder gone": ("true", {"cwd": str(gone)}, 126),
        "more than the system takes": (
            ["true", *["x" * 120_000] * 8],
            {"env": {f"V{n}": "y" * 120_000 for n in range(12)}},
            126,
        ),
        "= in a variable's name": ("true", {"env": {"A=B": "x"}}, 126),
        "NUL in a variable": ("true", {"env": {"A": "x\0y"}}, 126),
        "variable without a name": ("true", {"env": {"": "x"}}, 126),
    }
    ids = {}
    for what, (words, asked, _) in started.items():
        figures.n += 1
        try:
            ids[what] = cli.queue.add(words, **{"cwd": str(folder), "retries": 2, **asked}).id  # type: ignore[arg-type]
        except UsageError:
            continue  # refusing it early is fine, too
    gone.rmdir()
    worker = start_worker(cli, "-j", "2")
    for what, job_id in ids.items():
        job = cli.queue.wait(job_id, timeout=60)
        found = (job.state, job.ending and job.ending.outcome, job.exit_code, len(job.attempts))
        expected = (State.FAILED, Outcome.SPAWN_ERROR, started[what][2], 1)
        figures.check(found == expected, f"{what}: {found}: {job.ending}")
    figures.check(cli.queue.wait(cli.queue.add("true").id, timeout=60).state is State.SUCCEEDED, "no job runs any more")
    figures.check(worker.poll() is None, "the worker died")
    figures.note = f"{len(refused)} refused, {len(ids)} of {len(started)} tried"
    return figures


def texts(count: int, strategy: st.SearchStrategy[list[str]]) -> list[list[str]]:
    """Return `count` lists of words that hypothesis makes."""
    found: list[list[str]] = []

    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(words: list[str]) -> None:
        found.append(words)

    collect()
    return found


WORD = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.binary().map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape")),
)


@case(
    "words-changed",
    "38",
    SUBJECT,
    "any words as arguments, any text as name: bytes that arrive changed, files that they create",
)
def quoting(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    folder = bench.folder / "work"
    folder.mkdir()
    many = [[], NASTY, *([word] for word in NASTY), *texts(bench.size(150, 3000), st.lists(WORD, max_size=6))]
    commands = [("printf", "%s\\0", "", *words) for words in many]
    ids = cli.queue.add_many(commands, lambda: cli.queue.spec(cwd=str(folder), env=cli.env))
    named = {}
    for number, words in enumerate(texts(bench.size(60, 1000), st.lists(WORD, min_size=1, max_size=1))):
        try:
            job = cli.queue.add('printf %s "$JOBQ_JOB_NAME"', name=f"{words[0]}.{number}", cwd=str(folder), env=cli.env)
            named[job.id] = f"{words[0]}.{number}"
        except JobqError:
            continue
    cli.start("worker", "--drain", "-j", "2", stdout=subprocess.DEVNULL).wait(300)
    for job_id, words in zip(ids, many, strict=True):
        figures.n += 1
        expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in ["", *words])
        figures.check(outputs(cli, job_id) == expected, f"{words!r:.200} arrives as {outputs(cli, job_id)[:200]!r}")
    for job_id, name in named.items():
        figures.n += 1
        said = outputs(cli, job_id).decode()
        figures.check(said == unicodedata.normalize("NFC", name), f"the name {name!r} arrives as {said!r}")
    figures.check(not list(folder.iterdir()), f"files that were created: {list(folder.iterdir())}")
    figures.note = f"{len(many)} argument lists, {len(named)} names"
    return figures


@case("backoff-bounds", "51", SUBJECT, "backoff: bounds of the jitter, the longest delay, any number of retries")
def backoffs(bench: Bench) -> Figures:
    figures, spec = Figures(), Spec("/", "")

    @settings(max_examples=bench.size(500, 20_000), database=None)
    @given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
    def within_bounds(n: int, roll: float) -> None:
        figures.n += 1
        plain, delay = retry.backoff(spec, n, 0.0), retry.backoff(spec, n, roll)
        expected = min(2.0 ** min(n - 1, 40), 3600.0)
        figures.check(plain == expected, f"retry {n}: {plain} s instead of {expected}")
        figures.check(plain <= delay <= plain * 1.1, f"retry {n}, roll {roll}: {delay} s of {plain}")
        figures.check(retry.backoff(spec, n + 1, roll) >= delay, f"retry {n + 1} comes sooner than retry {n}")

    within_bounds()
    for n in (0, -1, 1000, retry.MOST_ATTEMPTS, 10**18):
        figures.n += 1
        figures.check(0 < retry.backoff(spec, n, 0.999) <= 3960, f"retry {n}: {retry.backoff(spec, n, 0.999)} s")
    return figures


@case(
    "places-unusual",
    "60",
    SUBJECT,
    "package in an unusual, read-only folder; no home, or none that can be written to: exit 77, nothing in /tmp",
)
def places(bench: Bench) -> Figures:
    need_root()
    return as_user(bench, strange_places)


def strange_places(bench: Bench) -> Figures:
    """Run jobq as an ordinary user, with each of these homes and stores."""
    figures = Figures()
    site = bench.folder / "with space, ünïcödé, 100%s $HOME" / "site-packages"
    shutil.copytree(ROOT / "jobq", site / "jobq")
    for path in [*site.rglob("*"), site]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    temp = bench.folder / "tmp"
    temp.mkdir()
    (bench.folder / "tasks.py").write_text("def double(x): return 2 * x\n")
    usual = environment(bench.folder / "store") | {"PYTHONPATH": str(site), "TMPDIR": str(temp)}
    del usual["PYTHONDONTWRITEBYTECODE"]
    locked = bench.folder / "locked"
    locked.mkdir(mode=0o500)
    homes: dict[str, dict[str, str | None]] = {
        "as it should be": {},
        "no HOME": {"HOME": None, "JOBQ_STORE": None},
        "HOME is empty": {"HOME": "", "JOBQ_STORE": None},
        "HOME is missing": {"HOME": "/nonexistent/home", "JOBQ_STORE": None},
        "HOME can't be written to": {"HOME": str(locked), "JOBQ_STORE": None},
        "state directory can't be written to": {"XDG_STATE_HOME": str(locked), "JOBQ_STORE": None},
        "store can't be written to": {"JOBQ_STORE": str(locked / "store")},
        "store is empty text, HOME is missing": {"JOBQ_STORE": "", "HOME": "/nonexistent/home"},
    }
    if bench.full:
        homes["another language"] = {"LC_ALL": "C"}
    for what, change in homes.items():
        variables = {name: value for name, value in (usual | change).items() if value is not None}
        for words in (
            ["run", "--", "echo", "hello"],
            ["call", "tasks:double", "x:=2"],
            ["worker", "--drain"],
            ["list"],
            ["show"],
        ):
            done = subprocess.run(
                [sys.executable, "-m", "jobq", *words],
                env=variables, cwd=bench.folder, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            fine = "JOBQ_STORE" in variables and str(locked) not in variables["JOBQ_STORE"] and variables["JOBQ_STORE"]
            reads = words[0] in {"list", "show"}
            allowed = {0} if fine else {0, 1, 77} if reads else {77}
            figures.n += 1
            figures.check(
                done.returncode in allowed, f"{what}: {' '.join(words)}: exit {done.returncode}: {done.stderr[-200:]}"
            )
            figures.check("Traceback" not in done.stderr, f"{what}: {' '.join(words)}: {done.stderr[-200:]}")
            if done.returncode == 77:
                figures.check("hint:" in done.stderr, f"{what}: {' '.join(words)}: no hint: {done.stderr}")
            if fine and words[0] == "run":
                figures.check(done.stdout == "hello\n", f"{what}: {done}")
            if not bench.full and not fine:
                break  # in the quick form the first command is enough
    figures.check(not list(temp.iterdir()), f"in the temporary folder: {list(temp.iterdir())}")
    made = {path.name for path in bench.folder.iterdir()} - {
        "store",
        "tmp",
        "tasks.py",
        "locked",
        site.parent.name,
        "__pycache__",
    }
    figures.check(not made, f"files that were created elsewhere: {made}")
    return figures


SEEDS = [
    Seed(harness="backoff-bounds", fault="jitter cuts delays short", file="rules/policies.py", old="/ 100.0 * chance)", new="/ 100.0 * (2 * chance - 1))", caught_by="backoff-bounds"),
    Seed(harness="backoff-bounds", fault="delays double for ever", file="rules/policies.py", old="return min(seconds[0] * 2.0 ** min(n - 1, 1000), seconds[1])", new="return seconds[0] * 2.0 ** min(n - 1, 1000)", caught_by="backoff-bounds"),
    Seed(harness="words-changed", fault="arguments go through the shell", file="supervisor/spawn.py", old='argv = shell_argv(command) if isinstance(command, str) else list(command)', new='argv = shell_argv(command if isinstance(command, str) else " ".join(command))', caught_by="words-changed"),
    Seed(harness="places-unusual", fault="without a store, the temporary folder is used", file="environ.py", old='path = f"{state}/jobq" if state else', new='path = os.environ.get("TMPDIR", "/nonexistent") + "/jobq" if "TMPDIR" in os.environ else f"{state}/jobq" if state else', caught_by="places-unusual"),
    Seed(harness="acknowledgement-not-printed", fault="an id that can't be printed is an error", file="views/console.py", old="    except OutputFailed as e:\n        info(", new="    except ValueError as e:\n        info(", caught_by="tests/commands/test_bad_input.py::test_the_job_is_added_once_even_if_its_id_can_not_be_printed"),
]  # fmt: skip
