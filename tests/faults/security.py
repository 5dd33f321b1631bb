"""Security: the rules of the store and of text that comes from jobs, and attacks on them.

Cases S1 to S20 check the rules; 40 to 46 attack them: names that look like paths, links and FIFOs planted under every
name of the store by the user and by another one, every umask, marked secrets, foreign files.
"""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from jobq import clock
from jobq.command import BadRecord
from jobq.engine.local.caller import NAMES
from jobq.engine.local.evidence import kill_leftovers
from jobq.errors import JobqError, NotFound, StoreForbidden, UsageError
from jobq.moment import Moment
from jobq.options import values
from jobq.store import compaction
from jobq.store.records import job_record, read_job
from jobq.supervisor import tree
from tests.conftest import Cli, command, wait_until
from tests.faults import strace
from tests.faults.case import ROOT, Bench, Figures, case, need_linux
from tests.faults.seed import Seed
from tests.helpers.processes import is_alive

OF_CHILD = {f"workers/w*/{name}" for name in NAMES}  # Python itself opens them, in the private folder of the worker
SUBJECT = "security"
T = TypeVar("T")
NOBODY = 65534
PATIENCE = 10.0  # seconds; a command that takes longer hangs
WAIT = "while ! [ -e go ]; do sleep 0.02; done"


def run(cli: Cli, *words: str, limit: float = PATIENCE) -> tuple[int | None, str]:
    """Run jobq; return its exit code and output.

    After `limit` seconds it gets SIGTERM and SIGINT, as from ^C twice. If it does not end then, it and its supervisors are
    killed, and the exit code is None.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "jobq", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=cli.env, cwd=cli.cwd, start_new_session=True, text=True, errors="replace",
    )  # fmt: skip
    for patience in (limit, PATIENCE):
        with suppress(subprocess.TimeoutExpired):
            said = process.communicate(timeout=patience)[0]
            return process.returncode, said
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)  # a second TERM might merge with the first
    end(process.pid, cli.store)
    return None, process.communicate()[0]


def end(pid: int, store: Path) -> None:
    """Kill the process and the supervisors of its store."""
    pids = [pid]
    for lock in (store / "workers").glob("*/*.lock"):
        with suppress(OSError, ValueError):
            pids.append(int(lock.read_text(encoding="utf-8")))
    for each in pids:
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def drained(cli: Cli) -> None:
    """Let a worker run all jobs."""
    code, said = run(cli, "worker", "--drain", limit=60)
    assert code in {0, 1}, said


def everything(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield the folder and everything in it, at any depth."""
    yield folder, folder.lstat()
    for place, folders, files in os.walk(folder):  # os.walk raises nothing if a file is renamed meanwhile
        for name in folders + files:
            path = Path(place, name)
            with suppress(FileNotFoundError):
                yield path, path.lstat()


# -- the store's own files ----------------------------------------------------------------------------------------------


@case(
    "store-writable-by-others",
    "S2",
    SUBJECT,
    "a store that others can write to is refused, with any mode; one that they can only read is not",
)
def modes_of_the_root(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    cli.queue.add("true", env=cli.env)
    for mode in range(0o700, 0o1000, 1 if bench.full else 3):
        cli.store.chmod(mode)
        refused, said = False, ""
        try:
            cli.queue.jobs()
        except StoreForbidden as e:
            refused, said = True, e.hint
        figures.n += 1
        figures.check(refused == bool(mode & 0o022), f"mode {mode:04o}: {'refused' if refused else 'accepted'}")
        figures.check(not refused or said == f"chmod 700 {cli.store}", f"mode {mode:04o}: hint {said!r}")
    cli.store.chmod(0o700)
    return figures


@case(
    "store-open-flags",
    "S3",
    SUBJECT,
    "every open in the store: follows no link, is closed on exec, truncates no file",
)
def opens(bench: Bench) -> Figures:
    need_linux()
    figures, cli = Figures(), bench.cli()
    (bench.folder / "tasks.py").write_text("def f(): return 1\n")
    uses = [
        ["add", "echo x"],
        ["call", "--cwd", str(bench.folder), "tasks:f"],
        ["worker", "--drain"],
        ["show", "1-2"],
        ["log", "1"],
        ["rm", "1"],
    ]
    for number, words in enumerate(uses):
        trace = bench.folder / f"trace.{number}"
        strace.trace(strace.jobq(*words), trace, cli.env, calls=("open", "openat"))
        for call in strace.read(trace):
            figures.n += check_open(call.text, str(cli.store), " ".join(words), figures)
    figures.bad = sorted(set(figures.bad))
    return figures


OPEN = re.compile(r'(?:AT_FDCWD(?:<[^>]*>)?|\d+<([^>]*)>), "([^"]*)", ([A-Z_|]+).* = \d+<')


def check_open(text: str, store: str, who: str, figures: Figures) -> int:
    """Check one successful openat(2); return 1 if it was in the store, else 0."""
    found = OPEN.match(text)
    if found is None:
        return 0
    folder, name, flags = found[1] or "", found[2], set(found[3].split("|"))
    path = name if name.startswith("/") else f"{folder}/{name}"
    if not path.startswith(f"{store}/"):
        return 0
    short = re.sub(r"[0-9a-f]{12,}", "*", path.removeprefix(f"{store}/"))
    if short in OF_CHILD and "O_RDWR" not in flags and "O_WRONLY" not in flags:
        return 1  # the interpreter opens its script: in a folder that only the user can write to
    where = f"{short}, opened by '{who}' with {'|'.join(sorted(flags))}"
    removed = re.fullmatch(r"workers/\.\w\*", short)  # shutil.rmtree checks that it has opened the file that it saw
    figures.check("O_NOFOLLOW" in flags or "O_DIRECTORY" in flags or removed, f"follows links: {where}")
    figures.check("O_CLOEXEC" in flags or short.endswith(".log"), f"stays open in children: {where}")
    figures.check("O_TRUNC" not in flags or "O_EXCL" in flags, f"truncates: {where}")
    return 1


@case(
    "store-in-shared-folder",
    "S4",
    SUBJECT,
    "a folder that others can write to, without the sticky bit, is refused as the place of a store",
)
def shared_places(bench: Bench) -> Figures:
    figures = Figures()
    for mode, fine in ((0o1777, True), (0o777, False), (0o773, False), (0o755, True)):
        shared = bench.folder / f"{mode:o}"
        shared.mkdir()
        shared.chmod(mode)
        for name in ("store", "deep/er/store") if bench.full else ("store",):
            cli = Cli(shared / name, bench.folder)
            cli.env = {**bench.cli().env, "JOBQ_STORE": str(shared / name)}
            code, said = run(cli, "add", "true")
            figures.n += 1
            figures.check(code == (0 if fine or "/" in name else 77), f"mode {mode:04o}, {name}: exit {code}: {said}")
        cli.env["JOBQ_STORE"] = str(shared)
        if mode & 0o022:
            code, said = run(cli, "add", "true")
            figures.n += 1
            figures.check(code == 77, f"mode {mode:04o} as the store itself: exit {code}: {said}")
    return figures


@case(
    "names-invalid",
    "S6",
    SUBJECT,
    "names: only 1 to 128 printable characters, no number, range, '@...' or '-...', are accepted, and found again",
)
def names(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    pieces = [
        "a",
        "7",
        "-",
        "@",
        " ",
        "\t",
        "\n",
        "\x1b",
        "\0",
        "é",
        "e\u0301",
        "日",
        "\u202e",
        "\ud800",
        "٣",
        "/",
        "..",
        "%s",
        "{}",
        "*",
        "\U000e0041",
        "x" * 127,
    ]
    for _ in range(bench.size(3_000, 100_000)):
        text = "".join(bench.dice.choices(pieces, k=bench.dice.randint(0, 4)))
        figures.n += 1
        try:
            name = values.parse_name(text)
        except UsageError:
            continue
        figures.check(0 < len(name) <= 128 and name.isprintable(), f"{text!r} is accepted")
        figures.check(not name.replace("-", "").isdecimal() and name[0] not in "@-", f"{text!r} is accepted")
        figures.check(unicodedata.is_normalized("NFC", name), f"{text!r} is kept as {name!r}")
    for text in ("e\u0301", "é", "日本", "../../x", "%s{}*", "a b"):
        job = cli.queue.add("true", name=text, env=cli.env).job
        figures.n += 1
        figures.check(
            unicodedata.is_normalized("NFC", job.spec.name or ""), f"{text!r} from Python is kept as {job.spec.name!r}"
        )
        with suppress(NotFound):
            figures.check(cli.queue.named(unicodedata.normalize("NFC", text)).id == job.id, f"{text!r} is not found")
        cli.queue.cancel([job.id])
    return figures


@case(
    "environment-capture",
    "S8",
    SUBJECT,
    "the environment is captured once, without the variables that change at each prompt; its file is read-only",
)
def captured_environment(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    for number in range(bench.size(3, 30)):
        cli.env |= {
            "PWD": f"/{number}",
            "OLDPWD": f"/{number}",
            "SHLVL": str(number),
            "_": str(number),
            "JOBQ_JOB_ID": str(number),
        }
        code, said = run(cli, "add", "env")
        figures.check(code == 0, said)
        figures.n += 1
    files = list((cli.store / "env").iterdir())
    figures.check(len(files) == 1, f"{len(files)} files for one environment")
    figures.check(all(stat.S_IMODE(path.stat().st_mode) == 0o400 for path in files), "the file can be changed")
    drained(cli)
    seen = dict(
        line.partition("=")[::2]
        for line in Path(cli.queue.store.logs.path(1, 1)).read_text(encoding="utf-8").splitlines()
    )
    figures.check(seen["JOBQ_JOB_ID"] == "1" and "OLDPWD" not in seen, f"the job sees {seen}")
    return figures


# -- text ---------------------------------------------------------------------------------------------------------------------

HOSTILE = "\x1b]0;PWNED\x07\x1b[2J\x9b31m\u202egnp\x7f\U000e0041[/][link=x]y[/link]"
OWN = re.compile(  # what jobq itself writes: colours, the cursor, the title and the progress of the tab
    r"\x1b\[[0-9;]*m|\x1b\[\?25[hl]|\x1b\[[0-9]*[AK]|\x1b\[J|\r|\x1b\[2[23];2t|\x1b\]2;jobq \d+/\d+\x07|\x1b\]9;4;\d;\d+\x07"
)


@case(
    "hostile-text",
    "S9",
    SUBJECT,
    "hostile text in every place that a terminal shows: characters that reach it unescaped",
)
def hostile_text(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    hidden = os.fsdecode(HOSTILE.replace("/", "|").encode())  # for use as one file name
    place = bench.folder / hidden
    place.mkdir()
    (bench.folder / "tasks.py").write_text(f"def f(x): raise ValueError({HOSTILE!r})\n")
    cli.queue.add(["printf", "%s", HOSTILE], cwd=str(place), env=cli.env, retries=0)
    cli.queue.call("tasks:f", [HOSTILE], cwd=str(bench.folder), env=cli.env, retries=0)
    cli.queue.add([f"./{hidden}", "x"], cwd=str(place), env=cli.env, retries=0)
    looks = [["worker", "--drain"], ["show", "1-3"], ["list", "--all"], ["log", "2"], ["cancel", HOSTILE], ["log", "1"]]
    looks += [
        [],
        ["run", "--cwd", str(place), "false", HOSTILE],
        ["list", "--" + HOSTILE],
        ["requeue", "1", HOSTILE],
        ["doctor"],
        [HOSTILE],
    ]
    looks += [
        ["add", "--cwd", f"/{hidden}", "true"],
        ["add", "--name", HOSTILE, "true"],
        ["--store", f"/dev/null/{hidden}", "list"],
        ["wait", "1"],
    ]
    where = bench.cli(f"store{hidden}")  # its path is in many messages
    where.id("--retries", "0", "exit 3")
    where("worker", "--drain", code=1)
    where("add", "-n", "x", "true")
    in_it = [["list"], ["show"], ["show", "1"], ["doctor"], [], ["add", "-n", "x", "true"], ["--store", str(where.store), "add", "true"],
             ["--store", str(where.store), "requeue", "1"], ["log", "2"], ["rm", "99"], ["--store", f"{where.store}/none", "list"],
             ["add", "--from", str(where.store), "x"], ["list", "--state", HOSTILE]]  # fmt: skip
    for words in in_it if bench.full else in_it[-7:]:
        figures.n += 1
        check_shown(figures, words, on_terminal(where, *words))
    (where.store / "journal.jsonl").chmod(0o666)
    (where.store / "journal.hint").write_bytes(b"x")
    (where.store / "journal.jsonl").write_bytes(b"x")
    for words in (["list"], ["add", "true"], ["doctor"], ["worker", "--drain"]):
        figures.n += 1
        check_shown(figures, words, on_terminal(where, *words))
    for words in looks if bench.full else looks[:6]:
        if words == ["doctor"]:
            (cli.store / hidden).touch(0o600)
        figures.n += 1
        check_shown(figures, words, on_terminal(cli, *words))
    return figures


def check_shown(figures: Figures, words: list[str], screen: str) -> None:
    """Complain if the screen has control characters that jobq does not use itself, or a traceback."""
    shown = OWN.sub("", screen)
    raw = {char for char in shown if not char.isprintable() and char not in "\n\t"}
    figures.check(not raw, f"jobq {' '.join(words)!r}: {sorted(raw)} in {shown[:300]!r}")
    figures.check(
        "Traceback" not in shown or words[:1] in (["show"], ["log"]), f"jobq {' '.join(words)!r}: {shown[-300:]!r}"
    )


def on_terminal(cli: Cli, *words: str) -> str:
    """Run the command in its own terminal; return its output."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(cli.cwd)
        os.execve(
            sys.executable,
            command(words),
            cli.env | {"TERM": "xterm-256color", "COLUMNS": "300"},
        )
    data = b""
    with suppress(OSError):
        while more := os.read(fd, 1 << 16):
            data += more
    os.waitpid(pid, 0)
    os.close(fd)
    return data.decode("utf-8", "replace").replace("\ufffd", "")


@case("code-from-store", "S11", SUBJECT, "no pickle, no eval, nothing imported by a name that the store holds")
def nothing_is_evaluated(bench: Bench) -> Figures:
    figures = Figures()
    forbidden = {"pickle", "marshal", "shelve", "yaml", "dill", "runpy"}
    for path in sorted((ROOT / "jobq").rglob("*.py")):
        figures.n += 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            figures.check(not names & forbidden, f"{path.name} imports {names & forbidden}")
            figures.check(called not in {"eval", "exec", "compile"}, f"{path.name} calls {called}")
            if called == "__import__":
                told_by = {name.id for name in ast.walk(node) if isinstance(name, ast.Name)} - {"__import__", "sys"}
                figures.check(not told_by, f"{path.name} imports the module that {told_by} names")
            if "importlib" in names:
                figures.check(path.name == "child.py", f"{path.name} imports by name")
    cli = bench.cli()
    record = job_record(cli.queue.call("json:dumps", [1], env=cli.env).job)
    for function in (
        "os",
        "os:system;x",
        "../../x:f",
        "a:b(c)",
        "a b:c",
        ":f",
        "a:",
        "²:f",
        "a:f\u202e",
        "a:\u200bf",
        "a..b:é f",
        "a:f\n",
        "__import__('os'):x",
        ".a:f",
        "1a:f",
    ):
        figures.n += 1
        with suppress(BadRecord):
            read_job(json.loads(json.dumps(record).replace("json:dumps", json.dumps(function)[1:-1])))
            figures.bad.append(f"the store may name {function!r}")
        with suppress(UsageError):
            cli.queue.call(function, env=cli.env)
            figures.bad.append(f"a call of {function!r} is accepted")
    return figures


# -- what is touched outside ------------------------------------------------------------------------------------------------


@case("pid-reused", "S15", SUBJECT, "a pid that another process has now is never signalled: by start ticks and mark")
def reused_numbers(bench: Bench) -> Figures:
    need_linux()
    figures = Figures()
    for _ in range(bench.size(3, 25)):
        stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
        try:
            found = tree.read_stat(stranger.pid)
            assert found is not None
            ticks = found[1]
            for wrong in (ticks - 1, ticks + 5, 0):
                tree.send((stranger.pid, wrong), signal.SIGKILL)
                figures.n += 1
            # Nothing has these marks, so no process may be killed.
            for mark in (1 << 60, 1 << 60 | 1):
                figures.check(kill_leftovers(mark), "kill_leftovers waits for it")
                figures.n += 1
            figures.check(is_alive(stranger.pid), "a stranger was killed")
            tree.send((stranger.pid, ticks), signal.SIGKILL)
            figures.check(stranger.wait(PATIENCE) == -signal.SIGKILL, "the right process is not killed")
        finally:
            stranger.kill()
            stranger.wait()
    return figures


@case(
    "network-access",
    "S17",
    SUBJECT,
    "no network, no listening socket, no program but Python, the supervisor and the job",
)
def no_network(bench: Bench) -> Figures:
    need_linux()
    figures, cli = Figures(), bench.cli()
    trace = bench.folder / "trace"
    calls = ("socket", "connect", "bind", "listen", "accept", "execve")
    (bench.folder / ".jobq.toml").write_text("shell = '/bin/false'\n")
    for words in (["add", "true"], ["worker", "--drain"], ["list", "--all"], ["doctor"]):
        done = strace.trace(strace.jobq(*words), trace, cli.env, calls=calls)
        figures.check(done.returncode == 0, f"{words}: {done.stderr}")
        for call in strace.read(trace):
            figures.n += 1
            inet = "AF_INET" in call.text
            figures.check(
                not inet and call.name not in {"bind", "listen", "accept"}, f"{words}: {call.name}({call.text}"
            )
            if call.name == "execve":
                fine = call.text.startswith(
                    (
                        '"/bin/sh", ["/bin/sh", "-c", "true"]',
                        f'"{sys.executable}"',
                        f'"{os.path.realpath(sys.executable)}"',
                    )
                )
                figures.check(fine, f"{words}: runs {call.text[:200]}")
    return figures


@case("scope-documented", "S18", SUBJECT, "the README names what is out of scope")
def scope_is_told(_bench: Bench) -> Figures:
    told = "A process of the same user can always write to the files" in " ".join(
        (ROOT / "README.md").read_text(encoding="utf-8").split()
    )
    return Figures(n=1, bad=[] if told else ["the README does not say that the same user can write to the files"])


@case("dependency-floors", "S19", SUBJECT, "dependencies have a floor; a lock library has the floor that it needs")
def dependency_floors(_bench: Bench) -> Figures:
    figures = Figures()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for wanted in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        figures.n += 1
        figures.check(">=" in wanted, f"{wanted} has no floor")
        if wanted.startswith("filelock"):
            figures.check(wanted == "filelock>=4.2.5", f"{wanted} is below 4.2.5")
    return figures


@case(
    "secrets-in-crash-report",
    "S20",
    SUBJECT,
    "a crash, with and without JOBQ_DEBUG: values of the environment in the output",
)
def crashes(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    cli.env |= {"API_KEY": "mark-of-a-secret", "PLAIN": "mark-of-a-value"}
    crash = (
        "import sys; from jobq import __main__, environ; from jobq.store.reading import StoreReader; from jobq.store.store import Store\n"
        "def fail(*_):\n    kept = environ.environment()\n    raise RuntimeError(len(kept))\n"
        "Store.append = StoreReader.read = fail; sys.argv[0] = 'jobq'; __main__.main()"
    )
    for words in (["add", "true"], ["list"], []):
        for debug in ("", "1"):
            done = subprocess.run(
                [sys.executable, "-c", crash, *words],
                env=cli.env | {"JOBQ_DEBUG": debug},
                capture_output=True,
                text=True,
                check=False,
            )
            said = done.stdout + done.stderr
            figures.n += 1
            figures.check("mark-of" not in said, f"jobq {words}, JOBQ_DEBUG={debug}: {said}")
            figures.check(("RuntimeError" in said, "Traceback" in said) == (True, bool(debug)), f"jobq {words}: {said}")
        if not bench.full:
            break
    return figures


# -- attacks ------------------------------------------------------------------------------------------------------------------

PATHS = [
    "../../x",
    "/etc/passwd",
    "..",
    ".",
    "a/../../../b",
    "CON",
    "x" * 255,
    "x" * 128,
    "~root",
    "$HOME/x",
    "`touch x`",
    "a\0b",
    "%2e%2e%2f",
    "C:\\x",
]


@case(
    "path-traversal", "40", SUBJECT, "paths as name, queue, function, variable, handle, store: files outside the store"
)
def traversal(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    work = bench.folder / "work"
    work.mkdir()
    for text in PATHS:
        for asked in ({"name": text}, {"queue": text}, {"env": cli.env | {text: text}}):
            with suppress(JobqError):
                cli.queue.add("true", **{"cwd": str(work), "env": cli.env, "retries": 0, **asked})  # type: ignore[arg-type]
            figures.n += 1
        for look in (
            cli.queue.named,
            lambda text: cli.queue.call(text, env=cli.env),
            lambda text: cli.queue.call(f"{text}:f", env=cli.env),
        ):
            with suppress(JobqError):
                look(text)
            figures.n += 1
    drained(cli)
    for text in PATHS[:6] if bench.full else PATHS[:1]:
        figures.check(run(cli, "log", text)[0] in {0, 1, 2}, f"log {text}")
        figures.n += 1
    outside = {str(path) for path, _ in everything(bench.folder)} - {str(path) for path, _ in everything(cli.store)}
    figures.check(outside == {str(bench.folder), str(work)}, f"outside: {outside}")
    inside = [path for path, _ in everything(cli.store) if re.search(r"passwd|CON|xxx|root|%", path.name)]
    figures.check(not inside, f"names became files: {inside}")
    return figures


class Plant(NamedTuple):
    """A link, FIFO or directory in the place of a file of the store."""

    name: str  # below the store; {} is the digest of the environment, {day} today
    kind: str
    stranger: bool  # planted by another user

    def __str__(self) -> str:
        return f"{self.kind} as {self.name} by {'another user' if self.stranger else 'the user'}"


FILES = [
    "store.lock",
    "journal.jsonl",
    "journal.hint",
    "compact.lock",
    "journal.next",
    "env/{}.json",
    "finished/{day}.jsonl",
]
FILES += ["runs/0/1.1.log", "runs/0/1.1.result.json", "runs/0/1.1.result.json.tmp"]
FOLDERS = ["env", "finished", "runs", "runs/0", "workers", "quarantine"]
KINDS = ["symlink", "fifo", "hard link", "directory"]
SEEN_BY_TESTS = {"store.lock", "journal.jsonl", "journal.hint"}  # ordinary tests plant every kind there, as the user


@case(
    "planted-files",
    "41",
    SUBJECT,
    "link, FIFO or directory in the place of every path of the store: followed, changed, hangs",
)
def planted(bench: Bench) -> Figures:
    plants = [
        Plant(name, kind, stranger)
        for name in [*FILES, *FOLDERS] for kind in KINDS for stranger in (False, True)
        if not (name in FOLDERS and kind in {"hard link", "directory"})
    ]  # fmt: skip
    if os.geteuid() != 0:
        plants = [plant for plant in plants if not plant.stranger]
    if not bench.full:
        names = {"env/{}.json", "runs/0/1.1.log", "runs", "finished/{day}.jsonl"}
        plants = [p for p in plants if not p.stranger and p.name in names and p.kind != "directory"]
    figures = Figures()
    for number, plant in enumerate(plants):
        figures.n += 1
        grow(bench, bench.folder / str(number), plant, figures)
    figures.note = f"{len(FILES)} files and {len(FOLDERS)} folders"
    return figures


def grow(bench: Bench, folder: Path, plant: Plant, figures: Figures) -> None:
    """Plant it in a store with one waiting job, then use the store in every way."""
    folder.mkdir()
    cli = bench.cli(f"{folder.name}/store")
    cli.cwd = folder
    (folder / "tasks.py").write_text("def f(): print('said'); return 1\n")
    cli.queue.call("tasks:f", cwd=str(folder), env=cli.env, retries=0)
    victim, garden = folder / "victim", folder / "garden"
    victim.write_text("mine")
    victim.chmod(0o644)
    garden.mkdir(mode=0o755)
    lay(cli.store, plant, victim, garden)
    before = victim.stat()
    uses = [["worker", "--drain"], ["add", "true"], ["list", "--all"], ["rm", "1"], ["doctor", "--accept-loss"]]
    for words in uses if bench.full else uses[:1]:
        code, said = run(cli, *words, limit=3.0)
        figures.check(code is not None, f"{plant}: {words[0]} hangs")
        figures.check(
            code not in {70, -6, -11} and "Traceback" not in said, f"{plant}: {words[0]}: exit {code}: {said[-300:]}"
        )
    with suppress(JobqError, OSError):
        compaction.compact(str(cli.store), clock.now())
    after = victim.stat()
    figures.check(victim.read_text(encoding="utf-8") == "mine", f"{plant}: the victim was written to")
    figures.check(
        (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid), f"{plant}: the victim's mode was changed"
    )
    figures.check(
        not list(garden.iterdir()), f"{plant}: files were made in another folder: {[p.name for p in garden.iterdir()]}"
    )


def lay(store: Path, plant: Plant, victim: Path, garden: Path) -> None:
    """Put the plant at the path. Another user can do it because the folder is open to all meanwhile."""
    digest = next((store / "env").iterdir()).stem
    path = store / plant.name.format(digest, day=time.strftime("%Y-%m-%d", time.gmtime()))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.chmod(0o777)
    parent = os.open(path.parent, os.O_RDONLY)
    pid = os.fork()
    if pid == 0:
        if plant.stranger:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        target = garden if plant.name in FOLDERS else victim
        try:
            match plant.kind:
                case "symlink":
                    os.symlink(target, path.name, dir_fd=parent)
                case "fifo":
                    os.mkfifo(path.name, 0o666, dir_fd=parent)
                case "hard link":
                    os.link(target, path.name, dst_dir_fd=parent)
                case "directory":
                    os.mkdir(path.name, 0o777, dir_fd=parent)
        finally:
            os._exit(0)  # if the system forbids it, nothing is planted
    os.waitpid(pid, 0)
    os.close(parent)
    path.parent.chmod(0o700)


@case(
    "umask-modes",
    "42",
    SUBJECT,
    "umask 000, 022, 077, 0777 when the store is made, when jobs are added, when they run: wrong modes",
)
def umasks(bench: Bench) -> Figures:
    figures = Figures()
    masks = [0o000, 0o022, 0o077, 0o777]
    pairs = [(a, w) for a in masks for w in masks] if bench.full else [(0o000, 0o000), (0o777, 0o777)]
    for adding, working in pairs:
        run_under(bench.cli(f"{adding:o}-{working:o}/store"), adding, working, figures)
    return figures


WANTED = {
    "N.ctl",
    "N.ends",
    "N.err",
    "N.lock",
    "bell",
    "lock",
    "N.1.log",
    "N.1.result.json",
    "journal.hint",
    "store.lock",
    "env",
}


def run_under(cli: Cli, adding: int, working: int, figures: Figures) -> None:
    """Check the mode of every file while one job runs, and another has left its result."""
    cli.cwd = cli.store.parent
    cli.cwd.mkdir()
    (cli.cwd / "tasks.py").write_text("def f(): return 1\n")
    under(adding, lambda: make_jobs(cli))
    worker = under(working, lambda: cli.start("worker", "-j", "2"))
    wait_until(lambda: list(cli.store.glob("runs/*/*.result.json")) and (cli.cwd / "began").exists())
    kinds = set()
    for path, status in everything(cli.store):
        sealed = path.parent.name == "env"
        expected = 0o700 if stat.S_ISDIR(status.st_mode) else 0o400 if sealed else 0o600
        mode = stat.S_IMODE(status.st_mode)
        figures.n += 1
        figures.check(
            mode == expected, f"umask {adding:03o}, {working:03o}: {path.relative_to(cli.store)} has {mode:04o}"
        )
        kinds.add("env" if sealed else re.sub(r"^\d+", "N", path.name))
    figures.check(kinds >= WANTED, f"missing: {WANTED - kinds}")
    (cli.cwd / "go").touch()
    worker.send_signal(signal.SIGTERM)
    worker.wait(30)


def make_jobs(cli: Cli) -> None:
    """Add a job that goes on, and a call."""
    cli("add", "--retries", "0", f"(umask 0; : > began); {WAIT}")
    cli("call", "tasks:f")


def under(mask: int, do: Callable[[], T]) -> T:
    """Call `do` under this umask; return its result."""
    before = os.umask(mask)
    try:
        return do()
    finally:
        os.umask(before)


@case(
    "secrets-leaked",
    "43",
    SUBJECT,
    "20 marked secrets in the environment: printed, stored outside env/, left after rm or retention",
)
def secrets(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    marks = [f"mark{number:02d}{bench.dice.randrange(1 << 64):016x}" for number in range(20)]
    names = ["API_KEY", "github_token", "DB_PASSWORD", "MY_SECRET", "AWS_CRED", "authorization", "PLAIN"]
    cli.env |= {f"{names[n % 7]}_{n}": mark for n, mark in enumerate(marks)}
    (bench.folder / "tasks.py").write_text(
        "import os\ndef f():\n    secrets = dict(os.environ)\n    raise ValueError(len(secrets))\n"
    )
    said = []
    adds = [
        ["add", "--env", "EXTRA_TOKEN=" + marks[0] + "x", "exit 3"],
        ["call", "tasks:f"],
        ["add", "-r", "0", "--", "./missing", "x"],
    ]
    looks = [
        ["worker", "--drain"],
        ["show", "1-3"],
        ["show", "1-3", "--json"],
        ["log", "2"],
        ["list", "--all"],
        ["list", "--json"],
        ["doctor"],
        [],
    ]
    for words in [*adds, *(looks if bench.full else looks[:4])]:
        code, output = run(cli, *words, limit=60)
        figures.check(code in {0, 1}, f"{words}: exit {code}: {output[-200:]}")
        said.append((" ".join(words), output))
    for what, output in said:
        figures.n += 1
        figures.check(not any(mark in output for mark in marks), f"printed by {what}")
    compaction.compact(str(cli.store), clock.now())  # moves finished jobs into their files
    figures.n += 1
    figures.check(holders(cli.store, marks) == {"env"}, f"stored in {holders(cli.store, marks)}")
    cli.queue.remove([1])
    code, output = run(cli, "rm", "2-3")
    figures.check(code == 0, output)
    figures.n += 1
    figures.check(not holders(cli.store, marks), f"after rm of all, still in {holders(cli.store, marks)}")
    for days in (0, 9):
        compaction.compact(str(cli.store), days_later(days))
        left = holders(cli.store, marks)
        figures.n += 1
        figures.check(not left, f"after all jobs were removed, and {days} days, still in {left}")
    return figures


def days_later(days: float) -> Moment:
    """Return the moment so many days from now, on both clocks."""
    now = clock.now()
    return now._replace(wall=now.wall + days * 86_400, boot=now.boot + days * 86_400)


def holders(store: Path, marks: list[str]) -> set[str]:
    """Return the top folders, or files, of the store that hold any of the marks."""
    found = set()
    for path, status in everything(store):
        if stat.S_ISREG(status.st_mode) and any(mark.encode() in path.read_bytes() for mark in marks):
            found.add(path.relative_to(store).parts[0])
    return found


@case(
    "foreign-files",
    "46",
    SUBJECT,
    "foreign files in every folder of the store: changed, removed, not listed by doctor; list takes longer",
)
def foreign_files(bench: Bench) -> Figures:
    figures, cli = Figures(), bench.cli()
    cli.queue.add("true", env=cli.env)
    drained(cli)
    compaction.compact(str(cli.store), clock.now())
    cli.queue.add("true", env=cli.env)
    quick = listing_time(cli, bench.size(3, 15))
    folders = [
        cli.store,
        *(cli.store / name for name in ("env", "runs", "runs/0", "finished", "workers", "quarantine")),
    ]
    plants = [plant for folder in folders for plant in litter(folder, bench.size(20, 10_000 // len(folders)))]
    before = {path: path.lstat() for path in plants}
    slow = listing_time(cli, bench.size(3, 15))
    drained(cli)
    code, told = run(cli, "doctor")
    for days in (0, 9):
        try:
            compaction.compact(str(cli.store), days_later(days))
        except OSError as e:
            figures.bad.append(f"compaction fails after {days} days: {e}")
    figures.check(code in {0, 65}, f"doctor exits with {code}")
    figures.check(cli.queue.jobs() == [], "a job did not run")
    for path, status in before.items():
        figures.n += 1
        name = path.relative_to(cli.store)
        figures.check(
            os.path.lexists(path) and path.lstat().st_mtime == status.st_mtime, f"{name} was removed or changed"
        )
        if not path.name.startswith("many") and path.name != "thesis":
            figures.check(path.name in told, f"doctor does not list {name}")
    figures.check(slow < 1.5 * quick + 0.05, f"list takes {slow * 1000:.0f} instead of {quick * 1000:.0f} ms")
    figures.note = f"list takes {slow * 1000:.0f} ms with them, {quick * 1000:.0f} ms without"
    return figures


def litter(folder: Path, many: int) -> list[Path]:
    """Make files as editors, file systems and people leave them; return their paths."""
    folder.mkdir(mode=0o700, exist_ok=True)
    left = [folder / name for name in ("work.txt~", ".nfs0001", "readme.json", ".#lock", "1.notes", "w1")]
    for path in left:
        path.touch(0o600)
    for name in ("review", ".git"):
        (folder / name).mkdir(mode=0o700)
        (folder / name / "thesis").touch(0o600)
        left += [folder / name, folder / name / "thesis"]
    os.mkfifo(folder / "pipe", 0o600)
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(folder, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
    (folder / "socket").chmod(0o600)
    crowd = [folder / f"many{number}" for number in range(many)]
    for path in crowd:
        path.touch(0o600)
    left += [folder / "pipe", folder / "socket", *crowd]
    old = time.time() - 30 * 86400
    for path in left:
        os.utime(path, (old, old), follow_symlinks=False)
    return left


def listing_time(cli: Cli, times: int) -> float:
    """Return the seconds of the whole list command, the least of several."""
    took = []
    for _ in range(times):
        since = time.monotonic()
        code, said = run(cli, "list")
        assert code == 0, said
        took.append(time.monotonic() - since)
    return min(took)


SEEDS = [
    Seed(harness="store-writable-by-others", fault="a store that the group can write to is accepted", file="store/folder.py", old="if mode & 0o022:", new="if mode & 0o002:", caught_by="store-writable-by-others"),
    Seed(harness="planted-files", fault="links are followed", file="system.py", old="flags | os.O_NOFOLLOW | os.O_NONBLOCK", new="flags | os.O_NONBLOCK", caught_by="tests/commands/test_bad_input.py::test_a_link_fifo_or_folder_in_place_of_a_store_file_is_never_used"),
    Seed(harness="umask-modes", fault="files that every user can read", file="store/folder.py", old="PRIVATE_FILE = 0o600", new="PRIVATE_FILE = 0o644", caught_by="umask-modes"),
    Seed(harness="umask-modes", fault="the umask sets the mode of folders", file="store/folder.py", old="    os.mkdir(path, PRIVATE_DIR)\n    os.chmod(path, PRIVATE_DIR)\n", new="    os.mkdir(path)\n", caught_by="umask-modes"),
    Seed(harness="hostile-text", fault="text is printed unescaped", file="views/text.py", old='return text.translate(SHOWN)', new="return text", caught_by="hostile-text"),
    Seed(harness="pid-reused", fault="a pid is signalled though another process has it now", file="supervisor/tree.py", old="if stat is None or stat[1] != started:", new="if stat is None:", caught_by="pid-reused"),
    Seed(harness="environment-capture", fault="variables that change at each prompt are captured", file="store/environment.py", old='frozenset({"PWD", "OLDPWD", "SHLVL", "_"})', new='frozenset({"PWD", "SHLVL", "_"})', caught_by="environment-capture"),
    Seed(harness="code-from-store", fault="the store may name any function", file="command.py", old="named = names_function(function) or could_be_stored(function)", new='named = ":" in function', caught_by="code-from-store"),
    Seed(harness="secrets-leaked", fault="an edit leaves the environment that it has replaced", file="changes.py", old="            _forget_unused(store, {*environments, *environments.values()})", new="            pass", caught_by="tests/commands/test_queue_commands.py::test_an_edit_leaves_no_secret_that_it_has_replaced"),
    Seed(harness="random-kills-history", fault="of two edits at once, one is lost", file="changes.py", old="if variables and job.spec.env not in environments:", new="if False:", caught_by="tests/commands/test_queue_commands.py::test_edits_of_one_environment_at_a_time_are_all_kept"),
    Seed(harness="secrets-leaked", fault="rm leaves the environment of the last job that named it", file="changes.py", old="    _forget_unused(store, {job.spec.env for job in done.jobs})\n", new="", caught_by="secrets-leaked"),
    Seed(harness="secrets-leaked", fault="values are shown", file="views/detail.py", old='f"{len(queue.environment_of(job))} variables', new='f"{queue.environment_of(job)} variables', caught_by="tests/commands/test_bad_input.py::test_secrets_stay_in_the_environment_files"),
]  # fmt: skip
