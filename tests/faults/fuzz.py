"""Fuzz every parser of stored data and of words: it reads any input, or raises its documented error.

There are three kinds of input: noise; records of a real store with a changed value and a right checksum, as a later
version or an attacker may write them; and words as a person may type them. A parser raises no other exception and takes
at most two seconds of processor time. Input that a command line accepts can be read back by every command.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from jobq import cli
from jobq.__main__ import outcome
from jobq.api import Queue
from jobq.command import Call, Record
from jobq.commands.call import parse
from jobq.durations import duration
from jobq.engine.local import evidence
from jobq.engine.task import Key, Trace
from jobq.errors import JobqError, StoreDamaged, StoreError, UsageError
from jobq.job import Attempt, Ending, Outcome
from jobq.options.request import call_command
from jobq.options.selectors import Wanted
from jobq.options.table import OPTIONS
from jobq.rules import lifecycle
from jobq.store import check, environment
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT, Hint
from jobq.store.journal import decode_line, encode_line, parse_lines
from jobq.store.records import attempt_record, read_attempt
from jobq.store.repair import repair
from jobq.store.store import Store
from jobq.store.transaction import Add
from jobq.supervisor.endings import line_of
from tests.faults.case import Bench, Figures, case
from tests.faults.case import environment as environment_of
from tests.faults.crash_states import without_syncs
from tests.faults.damage import NOW, Kept, small_store, view
from tests.faults.seed import Seed
from tests.helpers.changes import update

T = TypeVar("T")
LONGEST = 2.0  # seconds of processor time
ESCAPES = ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\nb"]
DEEP: list[Any] = json.loads("[" * 300 + "]" * 300)
ODD = st.sampled_from([
    0, -1, True, 1e300, -1e300, 1e15, 2**31, 2**63, 10**400, "", "a/../../x", "\0", "running", [], {}, [[]], None, "\ud800", DEEP,
    *ESCAPES,
])  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
WORDS = (
    st.text(max_size=30)
    | st.text("0123456789.smhdw-+@~ _e:=", max_size=30)
    | st.sampled_from(["9" * 5000, "٣", "²", "-" * 300])
)


class Fuzz:
    """Tries a parser with examples; any exception that is not documented is bad."""

    def __init__(self, bench: Bench, figures: Figures) -> None:
        self.bench = bench
        self.figures = figures

    def __call__(
        self,
        name: str,
        examples: st.SearchStrategy[T],
        parser: Callable[[T], object],
        *documented: type[Exception],
        quick: int = 60,
        full: int = 5000,
    ) -> None:
        """Fuzz one parser."""

        @seed(0)
        @settings(
            max_examples=self.bench.size(quick, full),
            deadline=None,
            database=None,
            report_multiple_bugs=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if self.bench.full else [Phase.generate],
        )
        @given(examples)
        def try_one(example: T) -> None:
            self.figures.n += 1
            begun = time.thread_time()
            try:
                parser(example)
            except documented:
                pass
            assert time.thread_time() - begun < LONGEST, "it takes too long"

        try:
            try_one()
        except Exception as e:  # any other exception is not documented
            for one in getattr(e, "exceptions", [e]):
                example = " ".join(" ".join(getattr(one, "__notes__", [])).split())
                at = traceback.extract_tb(one.__traceback__)[-1]
                where = f"{Path(at.filename).name}:{at.lineno}"
                self.figures.bad.append(f"{name}: {type(one).__name__} in {where}: {one}: {example:.300}")


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the paths to all values in a record."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, child in inner for place in places(child, (*path, key)))]


@st.composite
def altered(draw: st.DrawFn, records: list[Record]) -> list[Record]:
    """Draw the records with one or two values changed or removed."""
    result = copy.deepcopy(records)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([place for place in places(result) if len(place) > 1]))
        target: Any = result
        for key in way:
            target = target[key]
        if draw(st.booleans()) and isinstance(target, dict):
            del target[last]
        else:
            target[last] = copy.deepcopy(draw(JSON))
        if any(not isinstance(record, dict) or not record for record in result):
            return copy.deepcopy(records)
    return result


def records_of(data: bytes) -> list[Record]:
    """Return the records of a file's lines, without their checksums."""
    records = [decode_line(line) for line in data.splitlines()]
    for record in records:
        del record["crc"]
    return records


def lines_of(records: list[Record]) -> bytes:
    """Encode the records as lines: the inverse of `records_of`."""
    return b"".join(map(encode_line, records))


class Victim:
    """A small store; each example replaces one of its files."""

    def __init__(self, folder: Path) -> None:
        self.kept: Kept = small_store(folder / "store")
        self.copy = folder / "copy"
        self.turn = itertools.cycle(READING)
        store = Store(str(self.kept.path))
        (self.call,) = store.append(Add(self.kept.spec, [Call("m:f", (1,), {}, "/bin/python3")]), NOW.wall)
        update(
            store, lambda state: [lifecycle.claim(state.jobs[self.call], NOW, owner="w1", supervisor="w1/0")], NOW.wall
        )
        ending = Ending(Outcome.EXIT, 0, started_at=NOW.wall, ended_at=NOW.wall + 1)
        update(store, lambda state: [lifecycle.finish(state.jobs[self.call], ending, NOW, 0.0)], NOW.wall)
        (running,) = store.append(Add(self.kept.spec, ["runs"]), NOW.wall)
        update(
            store, lambda state: [lifecycle.claim(state.jobs[running], NOW, owner="w1", supervisor="w1/0")], NOW.wall
        )
        store.close()
        result = self.kept.path / "runs" / "0" / f"{self.call}.1.result.json"
        result.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        result.touch(0o600)
        (self.kept.path / "workers").mkdir(mode=0o700)

    def with_file(self, name: str, data: bytes, *, hint: bool = False) -> Path:
        """Make a copy of the store where this file holds `data`; the copy has no hint unless `hint` is true."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kept.path, self.copy)
        if not hint:
            (self.copy / HINT).unlink()
        (self.copy / name).chmod(0o600)
        (self.copy / name).write_bytes(data)
        return self.copy

    def use(self, path: Path) -> None:
        """Read the store, add to it, repair it; each may raise a StoreError, and must not crash."""
        for step in (
            view,
            lambda store: list(check.problems(store)),
            self._add,
            lambda store: repair(store, NOW.wall),
            view,
        ):
            store = Store(str(path))
            try:
                step(store)
            except StoreError:
                pass
            finally:
                store.close()
            if step is view:
                self.look(path)

    def look(self, path: Path) -> None:
        """Run two of the reading commands: they must not crash, nor print terminal sequences from the store."""
        for words in (next(self.turn), next(self.turn)):  # in turn: all of them take two seconds
            if complaint := read_by(path, words):
                raise AssertionError(complaint)

    def log(self, content: bytes) -> None:
        """Try the result file of a Python function whose job has succeeded."""
        self.use(self.with_file(f"runs/0/{self.call}.1.result.json", content, hint=True))

    def _add(self, store: Store) -> None:
        store.append(Add(self.kept.spec, ["more"]), NOW.wall)

    def journal(self, records: list[Record]) -> None:
        """Try a changed journal with right checksums; then the same lines behind a torn one."""
        data = lines_of(records)
        self.use(self.with_file(JOURNAL, data))
        parse_lines(b"torn\n" + data, 0, 0)

    def hint(self, numbers: list[int]) -> None:
        """Try a hint that is wrong, but has a right checksum."""
        self.use(self.with_file(HINT, Hint(*numbers).encode(), hint=True))

    def finished(self, records: list[Record]) -> None:
        """Try a changed finished day of the same length."""
        (day,) = (self.kept.path / "finished").iterdir()
        size = day.stat().st_size
        self.use(self.with_file(f"finished/{day.name}", lines_of(records).ljust(size, b"\n")))


READING = [
    [], ["list", "--all"], ["list", "--all", "--json"], ["show", "1-99"], ["show", "--json", "1-99"], ["log", "1"], ["log", "@"],
    ["wait", "1", "--timeout", "0.01"], ["list", "@failed"], ["doctor"],
]  # fmt: skip


FINE = {0, 1, 2, 65, 77, 78, 124, 125}


def read_by(path: Path, words: list[str]) -> str:
    """Run the command in this process; return what is wrong with its exit code or output, or ""."""
    cli.app.registered_commands.clear()  # jobq adds its one command there, in each call
    with mock.patch.object(evidence, "kill_leftovers", lambda *_: True), captured() as said:
        code = outcome(["--store", str(path), *words])
        printed = said()
    return complaint(words, code, printed)


@contextlib.contextmanager
def captured() -> Iterator[Callable[[], bytes]]:
    """Catch what this process prints by its descriptors; the function returns it."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as f:
        kept = {fd: os.dup(fd) for fd in (1, 2)}
        try:
            for fd in kept:
                os.dup2(f.fileno(), fd)
            yield lambda: os.pread(f.fileno(), 1 << 24, 0)
        finally:
            for fd, old in kept.items():
                os.dup2(old, fd)
                os.close(old)


def complaint(words: list[str], code: object, said: bytes) -> str:
    """Return what is wrong with this exit code or output, or ""."""
    if code not in FINE or b"Traceback" in said:
        return f"{words}: exit {code}: {said[-300:]!r}"
    return f"{words}: prints ESC: {said!r:.300}" if b"\x1b" in said else ""


def ends(folder: Path, records: list[Record]) -> None:
    """Try the records of a dead supervisor: the attempt must get an ending that can be stored."""
    (folder / "0.ends").write_bytes(b"".join(map(line_of, records)))
    with mock.patch.object(evidence, "kill_leftovers", lambda *_: True):
        trace = Trace(Key(1, 1), Attempt(1, "w", "w/0", 1.0), 1, "/")
        ending = evidence.determine_ending(evidence.SupervisorFiles(str(folder), "0"), trace, 0)
    assert ending is not None
    attempt = Attempt(1, "w", "w/0", 1.0, ending=ending)
    assert read_attempt(json.loads(json.dumps(attempt_record(attempt)))) == attempt, "the recorded ending can't be read"


def lock_file(folder: Path, data: bytes) -> None:
    """Try the lock file of a supervisor, which holds its pid."""
    (folder / "0.lock").write_bytes(data)
    pid = evidence.SupervisorFiles(str(folder), "0").pid()
    assert pid is None or 0 < pid < 1 << 31


def environment_file(store: Store, data: bytes) -> None:
    """Try an environment file with this content; its name is the right digest."""
    digest = hashlib.sha256(data).hexdigest()
    path = Path(store.path, environment.ENV, f"{digest}.json")
    path.write_bytes(data)
    path.chmod(0o400)
    try:
        loaded = store.load_environment(digest)
        assert all(isinstance(word, str) for pair in loaded.items() for word in pair), (
            f"this is not an environment: {loaded}"
        )
    finally:
        path.unlink()


def take_call(words: list[str]) -> None:
    """Parse the arguments as `jobq call` does, up to the call that the journal would hold."""
    args, kwargs = parse(words)
    call_command("m:f", args, kwargs, "/usr/bin/python3")


@case("fuzz-stored-files", "57", "store", "fuzz of all stored files: crashes, slow parsers")
def fuzz_of_files(bench: Bench) -> Figures:
    figures = Figures()
    fuzz = Fuzz(bench, figures)
    victim = Victim(bench.folder)
    (day,) = (victim.kept.path / "finished").iterdir()
    key: Record = {"id": 1, "n": 1}
    noted: list[Record] = [
        {"event": "start", **key, "at": 1.0, "boot_s": 1.0, "boot": "boot"},
        {"event": "pid", **key, "pid": 7, "from": 1.0, "to": 1.0},
        {"event": "end", **key, "outcome": "exit", "status": 0, "started_at": 1.0, "ended_at": 2.0},
    ]
    store = Store(str(victim.kept.path))
    with without_syncs():
        fuzz(
            "journal, noise",
            st.binary(max_size=300),
            lambda data: victim.use(victim.with_file(JOURNAL, data)),
            full=500,
        )
        fuzz("journal, altered", altered(records_of(victim.kept.journal)), victim.journal, full=3000)
        fuzz("hint, altered", st.lists(st.integers(0, 2000), min_size=5, max_size=5), victim.hint, quick=30, full=500)
        fuzz("finished day, altered", altered(records_of(day.read_bytes())), victim.finished, quick=30, full=1500)
        fuzz("ends, noise", st.binary(max_size=300), (bench.folder / "0.ends").write_bytes)
        fuzz("ends, altered", altered(noted), lambda records: ends(bench.folder, records))
        fuzz(
            "lock",
            st.binary(max_size=30) | st.integers().map(lambda n: b"%d\n" % n),
            lambda data: lock_file(bench.folder, data),
        )
        results = JSON.map(lambda value: json.dumps({"result": value}).encode()) | st.builds(
            lambda *texts: json.dumps(
                {"error": dict(zip(("type", "message", "traceback"), texts, strict=True))}
            ).encode(),
            *[st.text(max_size=8) | st.sampled_from(ESCAPES)] * 3,
        )
        deep = st.sampled_from([b'{"result":' + b"[" * n + b"]" * n + b"}" for n in (200, 900, 2000, 100_000)])
        fuzz("result", st.binary(max_size=60) | results | deep, victim.log, quick=30, full=500)
        fuzz(
            "environment",
            st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"A":' + b"1" * 5000 + b"}"]),
            lambda data: environment_file(store, data),
            StoreDamaged,
        )
    store.close()
    with without_syncs():
        everywhere(bench, victim, figures)
    return figures


TEXTS = ["\0", "a/../../x", "\ud800", *ESCAPES]
NUMBERS = [1e300, -1e300, 1e15, -1e15, 2**63, -1, True]
OTHERS: list[object] = [{}, DEEP, None]


def everywhere(bench: Bench, victim: Victim, figures: Figures) -> None:
    """Change each value of the journal in turn, and read it: in this process, and a sample in real ones."""
    records = records_of(victim.kept.journal)
    spots = {
        tuple("*" if type(key) is int else key for key in place): place for place in places(records) if len(place) > 1
    }
    for place in spots.values():
        value: Any = functools.reduce(lambda inner, key: inner[key], place, records)  # type: ignore[call-overload]
        for other in (TEXTS if isinstance(value, str) else NUMBERS if isinstance(value, int | float) else []) + OTHERS:
            changed: Any = copy.deepcopy(records)
            functools.reduce(lambda inner, key: inner[key], place[:-1], changed)[place[-1]] = copy.deepcopy(other)
            path = victim.with_file(JOURNAL, lines_of(changed))
            for words in (["show", "1-99"], next(victim.turn)):
                figures.n += 1
                if wrong := read_by(path, words):
                    figures.bad.append(f"{other!r:.40} at {place}: {wrong}")
            if bench.dice.random() < bench.size(1, 20) / 100:
                figures.n += 1
                words = next(
                    words for words in victim.turn if words[:1] != ["wait"]
                )  # wait may signal a pid that the store names
                done = subprocess.run(
                    [sys.executable, "-m", "jobq", *words], env=environment_of(path), capture_output=True, check=False
                )
                if wrong := complaint(words, done.returncode, done.stdout + done.stderr):
                    figures.bad.append(f"{other!r:.40} at {place}: a process: {wrong}")


@case("fuzz-command-words", "57b", "command line", "fuzz of the words of commands: crashes, slow parsers")
def fuzz_of_words(bench: Bench) -> Figures:
    figures = Figures()
    fuzz = Fuzz(bench, figures)
    for reader in (duration, *(option.parse for option in OPTIONS)):
        fuzz(reader.__name__, WORDS, reader, JobqError)
    queue = Queue(str(small_store(bench.folder / "store").path))
    fuzz("handles", st.lists(WORDS, max_size=3), lambda words: queue.select(Wanted(words)), JobqError)
    fuzz(
        "arguments of a call",
        st.lists(WORDS | WORDS.map(":=".__add__) | JSON.map(str).map("a:=".__add__), max_size=3),
        take_call,
        UsageError,
    )
    queue.store.close()
    with without_syncs(), tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        fuzz(
            "add from Python",
            st.text(max_size=20) | st.lists(st.text(max_size=9), max_size=3),
            lambda words: Queue(f"{folder}/store").add(words, cwd="/"),
            UsageError,
            quick=40,
            full=400,
        )
    for depth in range(1, sys.getrecursionlimit() + 50, bench.size(16, 3)):
        nested(figures, bench.folder / "nested", depth)
    return figures


def nested(figures: Figures, path: Path, depth: int) -> None:
    """Add a call with an argument of this depth: it is refused, or every reader can read it."""
    queue = Queue(str(path))
    figures.n += 1
    try:
        args, kwargs = parse([":=" + "[" * depth + "]" * depth])
        queue.call("m:f", args, kwargs, cwd="/")
    except UsageError:
        return
    except (RecursionError, JobqError) as e:
        figures.bad.append(f"an argument of depth {depth} is not refused, but raises {type(e).__name__}: {e}")
    finally:
        queue.store.close()
    try:
        below(60, lambda: view(Store(str(path))))
    except JobqError as e:
        figures.bad.append(f"an argument of depth {depth} is accepted, and can't be read: {e}")
    shutil.rmtree(path, ignore_errors=True)


def below(frames: int, look: Callable[[], object]) -> object:
    """Call `look` so many frames deeper in the stack."""
    return below(frames - 1, look) if frames else look()


SEEDS = [
    Seed(harness="fuzz", fault="a time that no calendar has is read", file="store/records.py", old="TIME = Rule(NUMBER, _between(-3e10, 2.5e11))", new="TIME = Rule(NUMBER)", caught_by="fuzz-stored-files"),
    Seed(harness="fuzz", fault="a name of a folder is not checked", file="options/values.py",
         old="WORD = Rule((str,), WORD_CHARACTERS.issuperset)", new="WORD = Rule((str,))", caught_by="fuzz-stored-files"),
    Seed(harness="fuzz", fault="what a supervisor recorded is not checked", file="engine/local/evidence.py", old="            if not _fits(record):", new="            if False:", caught_by="fuzz-stored-files"),
    Seed(harness="versions", fault='the keys of a later version are dropped by compaction', file='store/snapshot.py', old='"jobs": count, **later.end}', new='"jobs": count}', caught_by="tests/store/test_versions.py"),
    Seed(harness="versions", fault='the format of a later version is lowered', file='store/journal.py', old='later = self if self.format > FORMAT else self._replace(', new='later = self._replace(', caught_by="tests/store/test_versions.py"),
    Seed(harness="planted-files", fault="a log is opened in a way that blocks", file="views/logs.py", old="self._fd = open_checked(self._path, os.O_RDONLY)", new="self._fd = os.open(self._path, os.O_RDONLY)", caught_by="tests/store/test_planted.py"),
    Seed(harness="planted-files", fault="any hard link is trusted", file="system.py", old="return not status.st_mode & 0o077 and folder.st_uid == os.geteuid() and not folder.st_mode & 0o022", new="return True", caught_by="tests/store/test_planted.py"),
    Seed(harness="crash-states", fault="an environment that can't be read again is accepted", file="store/environment.py", old="if stored > MAX_LINE or", new="if", caught_by="tests/commands/test_bounds.py"),
    Seed(harness="fuzz", fault="a parser that lets RecursionError out", file="store/journal.py",
         old="    except (ValueError, RecursionError) as e:\n        raise BadLine", new="    except ValueError as e:\n        raise BadLine",
         caught_by="tests/store/test_journal.py"),
    Seed(harness="fuzz", fault="arguments that are nested too deeply end in RecursionError", file="commands/call.py",
         old="        return json.loads(text)\n    except (ValueError, RecursionError) as e:", new="        return json.loads(text)\n    except ValueError as e:", caught_by="tests/python/test_call.py"),
    Seed(harness="fuzz", fault="a duration that ends in ValueError", file="durations.py", old="    except (KeyError, ValueError):\n        raise UsageError(f\"{text!r} is not a duration",
         new="    except KeyError:\n        raise UsageError(f\"{text!r} is not a duration", caught_by="fuzz-command-words"),
]  # fmt: skip
