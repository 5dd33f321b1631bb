"""Missing or changed bytes: every truncation and every damaged byte of a small store, and SIGKILL during a recovery.

A store with every kind of line is made once. Then its files are cut off at every length, or each of their bytes is
replaced. The store is read as every command reads it, gets another job, and is repaired as by `jobq doctor
--accept-loss`. Each acknowledged change is there, or its loss is reported, with file and offset; wrong data is never shown.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from jobq.api import Queue
from jobq.command import Record
from jobq.engine.local import evidence
from jobq.engine.task import Key, Trace
from jobq.errors import JobqError, StoreDamaged
from jobq.job import Attempt, Ending, Job, Outcome, Spec
from jobq.moment import Moment
from jobq.rules import lifecycle
from jobq.store import check, compaction
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT
from jobq.store.journal import BadLine, decode_line
from jobq.store.repair import repair
from jobq.store.store import Store
from jobq.store.transaction import Add
from jobq.supervisor.endings import line_of
from tests.faults.case import Bench, Figures, case, need_linux, need_tool
from tests.faults.crash_states import without_syncs
from tests.faults.seed import Seed
from tests.faults.writes import Lab, Workload, five, jobq, no_umask
from tests.helpers.changes import update

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
ENVIRONMENT = {"A": "1"}
TAILS = (b"", b"\0" * 50, b'{"seq":7,"at', b"\n")  # the bytes that may follow a truncation


class Kept(NamedTuple):
    """A small store, and its content after each change."""

    path: Path
    journal: bytes
    ends: list[int]  # offsets where whole changes of the journal end, the snapshot first
    hints: list[bytes]  # the hint after each of them
    views: list[dict[int, Job]]  # all jobs after each of them
    next_ids: list[int]
    old_journal: bytes  # of the generation before
    spec: Spec


def view(store: Store) -> dict[int, Job]:
    """Return all jobs by id."""
    found = {job.id: job for job in store.read().unfinished()}
    return found | {job.id: job for job in store.finished_jobs()}


def small_store(path: Path) -> Kept:
    """Make a store of jobs that wait, run, have finished (once or twice) or were removed, in all kinds of lines."""
    store = Store(str(path))
    spec = Spec("/", store.save_environment(ENVIRONMENT), retries=0)

    def change(*changes: Callable[[Job], Job], job_id: int = 1) -> None:
        for move in changes:
            known = view(store)[job_id]
            update(store, lambda state, move=move, known=known: [move(state.jobs.get(job_id, known))], NOW.wall)  # type: ignore[misc]

    store.append(Add(spec, ["a", ("b", "2"), "c", "d"]), NOW.wall)
    change(claim, finish)
    change(cancel, job_id=2)
    compaction.compact(str(path), NOW)
    change(requeue, claim, finish)
    old_journal = (path / JOURNAL).read_bytes()
    compaction.compact(str(path), NOW)
    ends, hints, views, next_ids = [], [], [], []

    def note() -> None:
        views.append(view(store))
        ends.append(store.journal_size[0])
        hints.append((path / HINT).read_bytes())
        next_ids.append(store.state.next_id)

    note()
    change(requeue, job_id=2)
    note()
    change(claim, job_id=3)
    note()
    store.append(Add(spec, ["e", "f"]), NOW.wall)
    note()
    Queue(str(path)).remove([4])
    note()
    store.close()
    return Kept(path, (path / JOURNAL).read_bytes(), ends, hints, views, next_ids, old_journal, spec)


def claim(job: Job) -> Job:
    return lifecycle.claim(job, NOW, owner="w", supervisor="w/0")


def finish(job: Job) -> Job:
    return lifecycle.finish(job, Ending(Outcome.EXIT, status=1, started_at=1.0), NOW, 0.5)


def cancel(job: Job) -> Job:
    return lifecycle.cancel(job, NOW)


def requeue(job: Job) -> Job:
    return lifecycle.requeue(job, NOW)


def read(path: Path) -> dict[int, Job] | StoreDamaged:
    """Return all jobs, as every command reads them, or the error."""
    store = Store(str(path))
    try:
        return view(store)
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def add(kept: Kept, path: Path) -> int | StoreDamaged:
    """Add another job; return its id, or the error."""
    store = Store(str(path))
    try:
        return store.append(Add(kept.spec, ["more"]), NOW.wall)[0]
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def complaints_after_repair(
    path: Path, expected: dict[int, Job], added: int | StoreDamaged, next_id: int
) -> Iterator[str]:
    """Repair the store as `doctor --accept-loss` does, and yield what is wrong; the expected jobs must be unchanged."""
    store = Store(str(path))
    try:
        repair(store, NOW.wall)
        there = view(store)
        yield from check.problems(store)
        for job_id, job in expected.items():
            if there.get(job_id) != job:
                yield f"job {job_id} is not as it was"
        if isinstance(added, int) and added not in there:
            yield f"job {added} was acknowledged on the damaged store and is lost"
        if store.state.next_id < next_id:
            yield f"the next id fell from {next_id} to {store.state.next_id}"
    finally:
        store.close()


def caught(figures: Figures, where: str, complaints: Callable[..., Iterator[str]]) -> None:
    """Record the complaints; an exception is one, too."""
    figures.n += 1
    try:
        figures.bad += [f"{where}: {complaint}" for complaint in complaints()]
    except (JobqError, OSError, ValueError, TypeError, LookupError, RecursionError) as e:
        figures.bad.append(f"{where}: {type(e).__name__}: {e}")


# -- the end of the journal ----------------------------------------------------------------------------


@case("journal-tail-torn", "16", "store", "end of the journal torn at every byte")
def torn_tail(bench: Bench) -> Figures:
    figures = Figures()
    kept = small_store(bench.folder / "store")
    every = [(size, tail, at) for size in range(len(kept.journal)) for tail in TAILS for at in (None, 0, 1, -1)]
    copy = bench.folder / "copy"
    with without_syncs():
        shutil.copytree(kept.path, copy)
        for size, tail, hint in every if bench.full else bench.dice.sample(every, 500):
            where = f"{size} bytes and {tail!r}, hint {hint}"
            caught(figures, where, lambda size=size, tail=tail, hint=hint: torn(kept, copy, size, tail, hint))
    return figures


def torn(kept: Kept, copy: Path, size: int, tail: bytes, hint: int | None) -> Iterator[str]:
    """Cut the journal after `size` bytes and append the tail; the hint is that of change `hint` (None: lost)."""
    data = kept.journal[:size] + tail
    (copy / JOURNAL).write_bytes(data)
    (copy / HINT).unlink(missing_ok=True)
    if hint is not None:
        (copy / HINT).write_bytes(kept.hints[hint])
    whole = size + (tail == kept.journal[size : size + 1])
    levels = [i for i, end in enumerate(kept.ends) if end <= whole]
    lost = not levels or (hint is not None and whole < kept.ends[hint])
    found = read(copy)
    if lost:
        if not isinstance(found, StoreDamaged):
            yield "the loss is not reported"
        elif f"byte {found.offset}:" not in str(found) or found.offset > len(data):
            yield f"the offset of the loss is not reported: {found}"
    elif found != kept.views[levels[-1]]:
        yield f"found {found}"
    if (copy / JOURNAL).read_bytes() != data:
        yield "reading has written"
    added = add(kept, copy)
    if isinstance(added, StoreDamaged):
        if not lost:
            yield f"refused: {added}"
        if (copy / JOURNAL).read_bytes() != data:
            yield "a refused add has written"
    elif lost:
        yield from complaints_after_repair(copy, {}, added, 1)
    elif read(copy) != kept.views[levels[-1]] | {added: Job(added, kept.spec, "more", NOW.wall)}:
        yield "the next add changed other jobs"
    elif added != kept.next_ids[levels[-1]]:
        yield f"the next id is {added}"


@case("journal-tail-missing", "19", "store", "acknowledged end of the journal missing")
def missing_tail(bench: Bench) -> Figures:
    figures = Figures()
    kept = small_store(bench.folder / "store")
    journals = [kept.journal[:size] for size in range(len(kept.journal))]
    journals = [kept.old_journal, *(journals if bench.full else [kept.journal[:end] for end in kept.ends[:-1]])]
    with without_syncs():
        for data in journals:
            (kept.path / JOURNAL).write_bytes(data)
            caught(figures, f"{len(data)} bytes of {len(kept.journal)}", lambda data=data: missing(kept, data))
    (kept.path / JOURNAL).write_bytes(journals[-1])
    cli = bench.cli()
    for words in (["list"], ["add", "true"], ["worker", "--drain"], ["doctor"]):
        done = cli(*words, code=None)
        figures.check(
            done.returncode == 65 and "byte" in done.stderr, f"{words} exits with {done.returncode}: {done.stderr}"
        )
    figures.note = "reported by reading and by adding"
    return figures


def missing(kept: Kept, data: bytes) -> Iterator[str]:
    """Read and add with an older journal; both must report it."""
    if not isinstance(read(kept.path), StoreDamaged):
        yield "reading does not notice"
    if not isinstance(add(kept, kept.path), StoreDamaged):
        yield "adding does not notice"
    if (kept.path / JOURNAL).read_bytes() != data:
        yield "it was written to"


# -- one byte ----------------------------------------------------------------------------------------------


def damages(bench: Bench, path: Path, values: int) -> Iterator[tuple[int, int]]:
    """Replace every byte of the file, one after another, by `values` others; yield offset and new byte."""
    data = path.read_bytes()
    mode = path.stat().st_mode
    path.chmod(0o600)
    fd = os.open(path, os.O_RDWR)
    path.chmod(mode)
    try:
        for at, byte in enumerate(data):
            others = [value for value in range(256) if value not in {byte, byte ^ 1}]
            for value in [
                byte ^ 1,
                *bench.dice.sample(others, values - 1),
            ]:  # the first turns a digit into another digit
                os.pwrite(fd, bytes([value]), at)
                yield at, value
            os.pwrite(fd, bytes([byte]), at)
    finally:
        os.close(fd)


@case("journal-byte-damaged", "18", "store", "one byte of acknowledged data damaged")
def damaged_journal(bench: Bench) -> Figures:
    """Every reader reports file and offset of the line; `doctor --accept-loss` loses only the jobs of that line."""
    figures = Figures()
    kept = small_store(bench.folder / "store")
    flagged = 0
    lines = line_starts(kept.journal)
    for at, value in damages(bench, kept.path / JOURNAL, bench.size(3, 255)):
        figures.n += 1
        store = Store(str(kept.path))
        try:
            store.read()
            figures.bad.append(f"byte {at} = {value}: it is read as if nothing were wrong")
        except StoreDamaged as e:
            flagged += 1
            figures.check(e.offset in lines and e.offset <= at, f"byte {at} = {value}: the offset is wrong: {e}")
        except Exception as e:  # a user should see no other exception
            figures.bad.append(f"byte {at} = {value}: {type(e).__name__}: {e}")
        finally:
            store.close()
    figures.check((kept.path / JOURNAL).read_bytes() == kept.journal, "reading has written")
    repaired = range(0, len(kept.journal), bench.size(40, 1))
    last_bytes = [end - 1 for end in kept.ends]
    with without_syncs():
        for at in sorted({*repaired, *last_bytes}):
            caught(
                figures,
                f"byte {at}, then an add and a repair",
                lambda at=at: repaired_after(kept, bench.folder / "copy", at),
            )
    figures.note = f"{flagged} reported; {len({*repaired, *last_bytes})} repairs"
    return figures


def line_starts(data: bytes) -> dict[int, bytes]:
    """Return the lines by their offset."""
    lines, at = {}, 0
    for line in data.split(b"\n"):
        lines[at] = line
        at += len(line) + 1
    return lines


def named(line: bytes) -> set[int]:
    """Return the ids of the jobs that a line of the journal changes; none for a damaged line."""
    try:
        record = decode_line(line)
    except BadLine:
        return set()
    ids = {job["id"] for job in record.get("jobs", ()) if isinstance(job, dict)} if "specs" in record else set()
    for op in record.get("ops", ()):
        ids |= set(range(op["first"], op["first"] + len(op["commands"]))) if op["op"] == "add" else set()
        ids |= {op["id"]} if "id" in op else {op["job"]["id"]} if op["op"] == "put" else set()
    return ids


def repaired_after(kept: Kept, copy: Path, at: int) -> Iterator[str]:
    """Damage a byte, try to add a job, then repair the store; yield what is wrong."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(kept.path, copy)
    data = bytearray(kept.journal)
    data[at] ^= 0x04
    (copy / JOURNAL).write_bytes(data)
    lines = line_starts(kept.journal)
    start = max(offset for offset in lines if offset <= at)
    lost = named(lines[start])
    if kept.journal[at : at + 1] == b"\n":
        lost |= named(lines.get(at + 1, b""))
    added = add(kept, copy)
    expected = {job_id: job for job_id, job in kept.views[-1].items() if job_id not in lost}
    yield from complaints_after_repair(copy, expected, added, kept.next_ids[-1])


@case(
    "other-file-byte-damaged",
    "18b",
    "store",
    "one byte damaged in the hint, a finished day, an environment, a record of endings",
)
def damaged_side_files(bench: Bench) -> Figures:
    figures = Figures()
    kept = small_store(bench.folder / "store")
    truth = kept.views[-1]
    (day,) = (kept.path / "finished").iterdir()
    files: list[tuple[Path, Callable[[], Iterator[str]]]] = [
        (kept.path / HINT, lambda: damaged_hint(kept)),
        (day, lambda: damaged_day(kept, truth)),
        (kept.path / "env" / f"{kept.spec.env}.json", lambda: same(ENVIRONMENT, lambda: load_environment(kept))),
        *ends_files(bench.folder / "workers"),
    ]
    with without_syncs():
        for path, complaints in files:
            before = path.read_bytes()
            for at, value in damages(bench, path, bench.size(1, 12)):
                caught(figures, f"{path.name}, byte {at} = {value}", complaints)
            figures.check(path.read_bytes() == before, f"{path.name} was changed")
    figures.note = f"{len(files)} files"
    return figures


def same(truth: object, find: Callable[[], object]) -> Iterator[str]:
    """Complain unless the true value is found, or the damage is reported."""
    found = find()
    if found != truth and not isinstance(found, StoreDamaged):
        yield f"found {found!r:.200}"


def damaged_hint(kept: Kept) -> Iterator[str]:
    """Complain unless a damaged hint acts as a missing one: all jobs are read, and the next id is right."""
    yield from same(kept.views[-1], lambda: read(kept.path))
    hint = (kept.path / HINT).read_bytes()
    added = add(kept, kept.path)
    if added != kept.next_ids[-1]:
        yield f"the next id is {added}"
    os.truncate(kept.path / JOURNAL, len(kept.journal))
    with (kept.path / HINT).open("r+b") as file:
        file.write(hint)


def damaged_day(kept: Kept, truth: dict[int, Job]) -> Iterator[str]:
    """List the finished jobs, and find each of them by its id."""
    yield from same(truth, lambda: read(kept.path))
    store = Store(str(kept.path))
    store.read()
    for job_id in range(1, kept.next_ids[-1] + 1):
        try:
            found = store.find_all([job_id]).get(job_id)
        except StoreDamaged:
            continue
        if found != truth.get(job_id):
            yield f"looking for job {job_id} finds {f'it {found.state}, an old state' if found else 'nothing'}"
    store.close()


def load_environment(kept: Kept) -> object:
    """Return the captured environment, or the error."""
    store = Store(str(kept.path))
    try:
        return store.load_environment(kept.spec.env)
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def ends_files(folder: Path) -> Iterator[tuple[Path, Callable[[], Iterator[str]]]]:
    """Write the records of dead supervisors: one with an attempt that has ended, one with a running attempt."""
    key: Record = {"id": 1, "n": 1}
    start = line_of({"event": "start", **key, "at": 1.0, "boot_s": 1.0, "boot": "boot"})
    pid = line_of({"event": "pid", **key, "pid": 7, "from": 1.0, "to": 1.0})
    end = line_of({"event": "end", **key, "outcome": "exit", "status": 0})
    other = line_of({"event": "end", "id": 2, "n": 1, "outcome": "exit", "status": 1})
    folder.mkdir()
    for slot, data in (("ended", other + start + pid + end), ("running", start + pid)):
        path = folder / f"{slot}.ends"
        path.write_bytes(data)
        supervision = evidence.SupervisorFiles(str(folder), slot)
        truth = [Outcome.EXIT, Outcome.LOST] if slot == "ended" else [Outcome.LOST]
        yield path, partial(settled, supervision, truth)


def settled(supervision: evidence.SupervisorFiles, truth: list[Outcome]) -> Iterator[str]:
    """Complain unless a started attempt ends as it did, or as lost: one that counts as not started would run again."""
    trace = Trace(Key(1, 1), Attempt(1, "w", "w/0", 1.0), 1, "/")
    with mock.patch.object(evidence, "kill_leftovers", lambda *_: True):
        ending = evidence.determine_ending(supervision, trace, 0)
    if ending is None or ending.outcome not in truth or ending.status not in {0, None} or not ending.counted:
        yield f"it ends as {ending}"


# -- SIGKILL during a recovery -----------------------------------------------------------------------------


def left_behind(tail: bytes, *, hint: bool = True, unsettled: int = 0) -> Callable[[Path], None]:
    """Return a function that makes a store of a dead writer: `unsettled` changes behind the hint, then a tail."""

    def prepare(path: Path) -> None:
        five(path)
        known = (path / HINT).read_bytes()
        queue = Queue(str(path))
        for _ in range(unsettled):
            queue.add("true")
        queue.store.close()
        with (path / JOURNAL).open("ab") as journal:
            journal.write(tail)
        (path / HINT).write_bytes(known)
        if not hint:
            (path / HINT).unlink()

    return prepare


def half_a_transaction(path: Path) -> None:
    """Make a store whose last transaction has the first of its two lines, but not the second."""
    five(path)
    known, size = (path / HINT).read_bytes(), (path / JOURNAL).stat().st_size
    queue = Queue(str(path))
    queue.add_many(["x" * 100_000] * 4, queue.spec)
    queue.store.close()
    first = (path / JOURNAL).read_bytes()[size:].index(b"\n") + 1
    os.truncate(path / JOURNAL, size + first)
    (path / HINT).write_bytes(known)


def half_compacted(path: Path) -> None:
    """Make a store where one compaction died before its rename, and another after it, before the new hint."""
    five(path)
    known = (path / HINT).read_bytes()
    compaction.compact(str(path), NOW)
    (path / HINT).write_bytes(known)
    (path / "journal.next").write_bytes(b'{"jobq":"journal"')
    (path / "journal.next").chmod(0o600)


RECOVERIES = [  # the first three are the quick form
    ("a whole change, then half a line", left_behind(b'{"seq":', unsettled=2)),
    ("half a transaction", half_a_transaction),
    ("half a compaction", half_compacted),
    ("a whole change, then zeros, no hint", left_behind(b"\0" * 100, unsettled=1, hint=False)),
    ("half a line", left_behind(b'{"seq":9,"at":1,"ops":[{"op":"ad')),
    ("half a line, no hint", left_behind(b'{"seq":9,"at":1,"ops":[{"op":"ad', hint=False)),
    ("zeros", left_behind(b"\0" * 5000)),
    ("a newline, no hint", left_behind(b"\n", hint=False)),
]


@case("kill-during-recovery", "2", "store", "SIGKILL at each write of a recovery")
def kill_while_mending(bench: Bench) -> Figures:
    """Kill an add on a torn store at each of its calls; the next add must succeed."""
    need_linux()
    need_tool("strace")
    figures = Figures()
    lab = Lab(bench.folder, figures)
    with no_umask():
        for name, prepare in RECOVERIES if bench.full else RECOVERIES[:3]:
            workload = Workload(f"add after {name}", prepare, jobq("add", "true"), adds=1)
            before = lab.prepare(workload)
            points = [
                call for call in lab.points(workload) if bench.full or call.name not in {"openat", "close", "flock"}
            ]
            for call in points if bench.full else bench.dice.sample(points, 2):
                lab.disturb(workload, call, f"signal=KILL:when={call.index}", before)
    figures.note = f"{len(RECOVERIES)} torn stores" if bench.full else "a sample"
    return figures


SEEDS = [
    Seed(harness="damage", fault="compaction trusts its memory and drops a damaged journal", file="store/compaction.py",
         old="                store.journal.check_intact(known.upto)\n", new="", caught_by="tests/store/test_compaction.py"),
    Seed(harness="damage", fault="compaction writes the jobs of an older generation", file="store/compaction.py",
         old="                if store.journal.header != known.header:\n                    return False\n", new="",
         caught_by="tests/store/test_compaction.py"),
    Seed(harness="damage", fault="a torn line in the middle of a block ends the reading", file="store/view.py",
         old="            if upto == end:\n                return\n", new="            return\n", caught_by="tests/store/test_journal.py"),
    Seed(harness="damage", fault="no torn-tail repair", file="store/journal.py",
         old="            return Parsed(lines[:committed], end, seq, torn=bool(raw) or committed < len(lines))",
         new="            return Parsed(lines[:committed], end, seq, damage=(at, 'torn') if raw else None)", caught_by="journal-tail-torn"),
    Seed(harness="damage", fault="a torn line with a newline is damage", file="store/journal.py",
         old="            if _newer_transaction(rest, first_torn=last + 1 - (len(lines) - committed)):", new="            if True:", caught_by="journal-tail-torn"),
    Seed(harness="damage", fault='whole changes behind the hint are cut off', file='store/tail.py', old='            os.ftruncate(journal.fd, parsed.end)', new='            os.ftruncate(journal.fd, hint.size)', caught_by="tests/store/test_durability.py"),
    Seed(harness="damage", fault="no checksum", file="sealed.py",
         old="    return line[-CRC_BYTES:] == b',\"crc\":\"%08x\"}' % zlib.crc32(line[:-CRC_BYTES])",
         new="    return line[-CRC_BYTES:][:8] == b',\"crc\":\"'", caught_by="journal-byte-damaged"),
    Seed(harness="damage", fault="a gap in the numbers is not noticed", file="store/journal.py",
         old="or line[\"seq\"] != last + 1:", new="or line[\"seq\"] <= last:", caught_by="tests/store/test_journal.py"),
    Seed(harness="damage", fault="the hint is ignored", file="store/hint.py",
         old="        return Hint.decode(os.pread(fd, HINT_BYTES, 0)) or Hint.decode(os.pread(fd, HINT_BYTES, 0))", new="        return None", caught_by="journal-tail-missing"),
    Seed(harness="damage", fault="a journal of an older generation is accepted", file="store/view.py",
         old="            if hint is not None and hint.generation > journal.header.generation and journal.is_current():",
         new="            if False:", caught_by="journal-tail-missing"),
    Seed(harness="damage", fault="the hint has no checksum", file="store/hint.py", old="        if len(data) != HINT_BYTES or not is_whole(line):", new="        if len(data) != HINT_BYTES:", caught_by="other-file-byte-damaged"),
    Seed(harness="damage", fault="a changed environment is used", file="store/environment.py",
         old="    if sha256(data) != digest:", new="    if False:", caught_by="other-file-byte-damaged"),
    Seed(harness="damage", fault="a torn record of a start is not noticed", file="engine/local/evidence.py",
         old="                    recorded[TORN] = {}", new="                    pass", caught_by="other-file-byte-damaged"),
]  # fmt: skip
