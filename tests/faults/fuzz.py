"""Every parser of what others have written, given anything: it reads it or refuses it by its documented error.

Bytes come in three kinds: noise; records of a real store with something else in some place, and a right checksum, as a
later version or a hostile hand may write them; and words as a person may type them. Nothing else is raised, nothing
takes longer than two seconds of processor time, and what was taken from a command line can be read back by everybody.
"""

from __future__ import annotations

import copy
import hashlib
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from jobq import asks
from jobq.api import Queue
from jobq.commands.call import parse
from jobq.engine import remains
from jobq.engine.task import Key, Trace
from jobq.errors import JobqError, StoreDamaged, StoreError, UsageError
from jobq.job import Attempt, Record
from jobq.request import call_command
from jobq.selection import select
from jobq.store import check, environment
from jobq.store.hint import HINT, Hint
from jobq.store.journal import JOURNAL, decode_line, encode_line, parse_lines
from jobq.store.repair import repair
from jobq.store.store import Store
from jobq.supervisor.ends import line_of
from tests.faults.case import Bench, Figures, case
from tests.faults.crash_states import without_syncs
from tests.faults.damage import NOW, Kept, small_store, view
from tests.faults.seed import Seed

T = TypeVar("T")
LONGEST = 2.0  # seconds of processor time
ODD = st.sampled_from([0, -1, True, 1e300, 2**63, 10**400, "", "../../x", [], {}, [[]], None, "\ud800"])
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
    """Tries a parser with so many examples; what it raises beside the documented is bad."""

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
        except Exception as e:  # whatever it is, it is not documented
            for one in getattr(e, "exceptions", [e]):
                example = " ".join(" ".join(getattr(one, "__notes__", [])).split())
                at = traceback.extract_tb(one.__traceback__)[-1]
                where = f"{Path(at.filename).name}:{at.lineno}"
                self.figures.bad.append(f"{name}: {type(one).__name__} in {where}: {one}: {example:.300}")


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The paths to everything in a record."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(place for key, child in inner for place in places(child, (*path, key)))]


@st.composite
def altered(draw: st.DrawFn, records: list[Record]) -> list[Record]:
    """The records with something else, or nothing, in one or two places."""
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
    """The lines of a file, without their checksums."""
    records = [decode_line(line) for line in data.splitlines()]
    for record in records:
        del record["crc"]
    return records


def lines_of(records: list[Record]) -> bytes:
    """The inverse."""
    return b"".join(map(encode_line, records))


class Victim:
    """A small store whose files are replaced."""

    def __init__(self, folder: Path) -> None:
        self.kept: Kept = small_store(folder / "store")
        self.copy = folder / "copy"

    def with_file(self, name: str, data: bytes, *, hint: bool = False) -> Path:
        """A copy with another file of that name, and without a hint unless that is what is tried."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kept.path, self.copy)
        if not hint:
            (self.copy / HINT).unlink()
        (self.copy / name).chmod(0o600)
        (self.copy / name).write_bytes(data)
        return self.copy

    def use(self, path: Path) -> None:
        """Read all of it, add to it, mend it: each may be refused, and must not crash."""
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

    def _add(self, store: Store) -> None:
        store.enqueue(self.kept.spec, ["more"], NOW.wall)

    def journal(self, records: list[Record]) -> None:
        """Altered, with right checksums; then the same behind a tear."""
        data = lines_of(records)
        self.use(self.with_file(JOURNAL, data))
        parse_lines(b"torn\n" + data, 0, 0)

    def hint(self, numbers: list[int]) -> None:
        """A hint that is wrong, but whole."""
        self.use(self.with_file(HINT, Hint(*numbers).encode(), hint=True))

    def finished(self, records: list[Record]) -> None:
        """A finished day of the length that counts."""
        (day,) = (self.kept.path / "finished").iterdir()
        size = day.stat().st_size
        self.use(self.with_file(f"finished/{day.name}", lines_of(records).ljust(size, b"\n")))


def ends(folder: Path, records: list[Record]) -> None:
    """What a supervisor has left."""
    (folder / "0.ends").write_bytes(b"".join(map(line_of, records)))
    with mock.patch.object(remains, "kill_leftovers", lambda *_: True):
        remains.settle(remains.Supervision(str(folder), "0"), Trace(Key(1, 1), Attempt(1, "w", "w/0", 1.0), 1, "/"), 0)


def environment_file(store: Store, data: bytes) -> None:
    """A file whose name tells what it holds, whatever that is."""
    digest = hashlib.sha256(data).hexdigest()
    path = Path(store.path, environment.ENV, f"{digest}.json")
    path.write_bytes(data)
    path.chmod(0o400)
    try:
        loaded = store.load_environment(digest)
        assert all(isinstance(word, str) for pair in loaded.items() for word in pair), (
            f"that is no environment: {loaded}"
        )
    finally:
        path.unlink()


def take_call(words: list[str]) -> None:
    """As `jobq call` does, up to the line of the journal, which everybody must be able to read."""
    args, kwargs = parse(words)
    call_command("m:f", args, kwargs, "/usr/bin/python3")


@case("57", "store", "fuzz of everything that is stored")
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
            "environment",
            st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"A":' + b"1" * 5000 + b"}"]),
            lambda data: environment_file(store, data),
            StoreDamaged,
        )
    store.close()
    return figures


@case("57b", "command line", "fuzz of words")
def fuzz_of_words(bench: Bench) -> Figures:
    figures = Figures()
    fuzz = Fuzz(bench, figures)
    for reader in (asks.duration, asks.positive_duration, asks.priority, asks.retries, asks.label, asks.variable):
        fuzz(reader.__name__, WORDS, reader, UsageError)
    queue = Queue(str(small_store(bench.folder / "store").path))
    fuzz("handles", st.lists(WORDS, max_size=3), lambda words: select(queue, words), JobqError)
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
    """A call with an argument of this depth is refused, or can be read wherever it is read from."""
    queue = Queue(str(path))
    figures.n += 1
    try:
        args, kwargs = parse([":=" + "[" * depth + "]" * depth])
        queue.call("m:f", args, kwargs, cwd="/")
    except UsageError:
        return
    except (RecursionError, JobqError) as e:
        figures.bad.append(f"an argument of depth {depth} is not refused, but: {type(e).__name__}: {e}")
    finally:
        queue.store.close()
    try:
        below(60, lambda: view(Store(str(path))))
    except JobqError as e:
        figures.bad.append(f"an argument of depth {depth} is taken, and can't be read: {e}")
    shutil.rmtree(path, ignore_errors=True)


def below(frames: int, look: Callable[[], object]) -> object:
    """Look from so much deeper in the stack."""
    return below(frames - 1, look) if frames else look()


SEEDS = [
    Seed("H", "a parser that lets RecursionError out", "store/journal.py",
         "    except (ValueError, RecursionError) as e:\n        raise BadLine", "    except ValueError as e:\n        raise BadLine",
         "tests/store/test_journal.py"),
    Seed("H", "arguments that are nested too deeply end in RecursionError", "commands/call.py",
         "    except (ValueError, RecursionError) as e:", "    except ValueError as e:", "57b"),
    Seed("H", "a duration that ends in ValueError", "asks.py", "    except (KeyError, ValueError):\n        raise UsageError(f\"{text!r} is not a duration",
         "    except KeyError:\n        raise UsageError(f\"{text!r} is not a duration", "57b"),
]  # fmt: skip
