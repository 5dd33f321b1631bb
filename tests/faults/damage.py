"""Bytes that are gone or changed: every truncation and every damaged byte of a small store, and a death while mending.

A store of every kind of line is made once. Then its files are cut off at every length, or every byte of them is
replaced, and it is read as every command reads it, added to, and repaired as by `jobq doctor --accept-loss`. What was
acknowledged is there, or its loss is told, with file and offset; never is anything wrong shown in silence.
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
from jobq.engine.local import evidence
from jobq.engine.task import Key, Trace
from jobq.errors import JobqError, StoreDamaged
from jobq.job import Attempt, Ending, Job, Moment, Outcome, Record, Spec
from jobq.rules import lifecycle
from jobq.store import check, compaction
from jobq.store.format import JOURNAL
from jobq.store.hint import HINT
from jobq.store.journal import BadLine, decode_line
from jobq.store.repair import repair
from jobq.store.store import Store
from jobq.supervisor.endings import line_of
from tests.faults.case import Bench, Figures, case, need_linux, need_tool
from tests.faults.crash_states import without_syncs
from tests.faults.seed import Seed
from tests.faults.writes import Lab, Workload, five, jobq, no_umask

NOW = Moment(1_700_000_000.0, 5_000.0, "boot")
ENVIRONMENT = {"A": "1"}
TAILS = (b"", b"\0" * 50, b'{"seq":7,"at', b"\n")  # what may follow the place where a file was cut off


class Kept(NamedTuple):
    """A small store, and what it holds."""

    path: Path
    journal: bytes
    ends: list[int]  # of the whole changes of the journal, the snapshot's first
    hints: list[bytes]  # as it was then
    views: list[dict[int, Job]]  # all jobs then
    next_ids: list[int]
    old_journal: bytes  # of the generation before
    spec: Spec


def view(store: Store) -> dict[int, Job]:
    """Every job that there is."""
    found = {job.id: job for job in store.read().unfinished()}
    return found | {job.id: job for job in store.finished_jobs()}


def small_store(path: Path) -> Kept:
    """Jobs that wait, run, are finished (once, and twice), were removed; in a snapshot, a finished day, and lines."""
    store = Store(str(path))
    spec = Spec("/", store.save_environment(ENVIRONMENT), retries=0)

    def change(*changes: Callable[[Job], Job], job_id: int = 1) -> None:
        for move in changes:
            known = view(store)[job_id]
            store.update(lambda jobs, move=move, known=known: [move(jobs.by_id.get(job_id, known))], NOW.wall)  # type: ignore[misc]

    store.enqueue(spec, ["a", ("b", "2"), "c", "d"], NOW.wall)
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
        next_ids.append(store.jobs.next_id)

    note()
    change(requeue, job_id=2)
    note()
    change(claim, job_id=3)
    note()
    store.enqueue(spec, ["e", "f"], NOW.wall)
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
    """All jobs, as every command gets them, or why it does not."""
    store = Store(str(path))
    try:
        return view(store)
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def add(kept: Kept, path: Path) -> int | StoreDamaged:
    """The id of another job, or why there is none."""
    store = Store(str(path))
    try:
        return store.enqueue(kept.spec, ["more"], NOW.wall)[0]
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def complaints_after_repair(
    path: Path, expected: dict[int, Job], added: int | StoreDamaged, next_id: int
) -> Iterator[str]:
    """What is wrong with a store after `doctor --accept-loss`: these jobs must be as they were."""
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
        if store.jobs.next_id < next_id:
            yield f"the next id fell from {next_id} to {store.jobs.next_id}"
    finally:
        store.close()


def caught(figures: Figures, where: str, complaints: Callable[..., Iterator[str]]) -> None:
    """Note the complaints; an exception is one, too."""
    figures.n += 1
    try:
        figures.bad += [f"{where}: {complaint}" for complaint in complaints()]
    except (JobqError, OSError, ValueError, TypeError, LookupError, RecursionError) as e:
        figures.bad.append(f"{where}: {type(e).__name__}: {e}")


# -- the end of the journal ----------------------------------------------------------------------------


@case("16", "store", "torn tail at every byte")
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
    """The journal ends after `size` bytes, with a tail; the hint (None: lost) is as after that change."""
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
            yield "the loss is not told"
        elif f"byte {found.offset}:" not in str(found) or found.offset > len(data):
            yield f"where the loss is, is not told: {found}"
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


@case("19", "store", "acknowledged tail missing")
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
    figures.note = "flagged by reading and by adding"
    return figures


def missing(kept: Kept, data: bytes) -> Iterator[str]:
    """The journal is an older one."""
    if not isinstance(read(kept.path), StoreDamaged):
        yield "reading does not notice"
    if not isinstance(add(kept, kept.path), StoreDamaged):
        yield "adding does not notice"
    if (kept.path / JOURNAL).read_bytes() != data:
        yield "it was written to"


# -- one byte ----------------------------------------------------------------------------------------------


def damages(bench: Bench, path: Path, values: int) -> Iterator[tuple[int, int]]:
    """Every byte of the file is replaced, one after another, by so many others; where, and by what."""
    data = path.read_bytes()
    mode = path.stat().st_mode
    path.chmod(0o600)
    fd = os.open(path, os.O_RDWR)
    path.chmod(mode)
    try:
        for at, byte in enumerate(data):
            others = [value for value in range(256) if value not in {byte, byte ^ 1}]
            for value in [byte ^ 1, *bench.dice.sample(others, values - 1)]:  # the first makes a digit of a digit
                os.pwrite(fd, bytes([value]), at)
                yield at, value
            os.pwrite(fd, bytes([byte]), at)
    finally:
        os.close(fd)


@case("18", "store", "one byte of acknowledged data damaged")
def damaged_journal(bench: Bench) -> Figures:
    """Told with file and line, by everybody who reads; `doctor --accept-loss` loses what the line held, and no more."""
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
            figures.check(e.offset in lines and e.offset <= at, f"byte {at} = {value}: the place is wrong: {e}")
        except Exception as e:  # whatever it is, it is not what a user should see
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
    figures.note = f"{flagged} flagged; {len({*repaired, *last_bytes})} repairs"
    return figures


def line_starts(data: bytes) -> dict[int, bytes]:
    """The lines by their offset."""
    lines, at = {}, 0
    for line in data.split(b"\n"):
        lines[at] = line
        at += len(line) + 1
    return lines


def named(line: bytes) -> set[int]:
    """The jobs of which a line of the journal says something."""
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
    """A byte is damaged, somebody adds a job or is refused, and the damage is accepted."""
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


@case("18b", "store", "one byte damaged in the hint, a finished day, an environment, a record of ends")
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
    """What is found must be true, or the damage is told."""
    found = find()
    if found != truth and not isinstance(found, StoreDamaged):
        yield f"found {found!r:.200}"


def damaged_hint(kept: Kept) -> Iterator[str]:
    """It is as if there were none: all jobs are seen, and the next one gets the next id."""
    yield from same(kept.views[-1], lambda: read(kept.path))
    hint = (kept.path / HINT).read_bytes()
    added = add(kept, kept.path)
    if added != kept.next_ids[-1]:
        yield f"the next id is {added}"
    os.truncate(kept.path / JOURNAL, len(kept.journal))
    with (kept.path / HINT).open("r+b") as file:
        file.write(hint)


def damaged_day(kept: Kept, truth: dict[int, Job]) -> Iterator[str]:
    """Finished jobs are looked up one by one, and listed."""
    yield from same(truth, lambda: read(kept.path))
    store = Store(str(kept.path))
    store.read()
    for job_id in range(1, kept.next_ids[-1] + 1):
        try:
            found = store.find(job_id)
        except StoreDamaged:
            continue
        if found != truth.get(job_id):
            yield f"looking for job {job_id} finds {f'it {found.state}, as it once was' if found else 'nothing'}"
    store.close()


def load_environment(kept: Kept) -> object:
    """The captured environment, or why it can't be had."""
    store = Store(str(kept.path))
    try:
        return store.load_environment(kept.spec.env)
    except StoreDamaged as e:
        return e
    finally:
        store.close()


def ends_files(folder: Path) -> Iterator[tuple[Path, Callable[[], Iterator[str]]]]:
    """What dead supervisors have left: of an attempt that has ended, and of one that was running."""
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
    """A started attempt ends as it did, or as lost: never as one that was not started, which would run again."""
    trace = Trace(Key(1, 1), Attempt(1, "w", "w/0", 1.0), 1, "/")
    with mock.patch.object(evidence, "kill_leftovers", lambda *_: True):
        ending = evidence.determine_ending(supervision, trace, 0)
    if ending is None or ending.outcome not in truth or ending.status not in {0, None} or not ending.counted:
        yield f"it ends as {ending}"


# -- death while mending -----------------------------------------------------------------------------------


def left_behind(tail: bytes, *, hint: bool = True, unsettled: int = 0) -> Callable[[Path], None]:
    """A store whose last writer died: whole changes that the hint does not know, then a tail; perhaps no hint."""

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
    """The first of two lines is whole, the second is missing."""
    five(path)
    known, size = (path / HINT).read_bytes(), (path / JOURNAL).stat().st_size
    queue = Queue(str(path))
    queue.add_many(["x" * 100_000] * 4, queue.spec)
    queue.store.close()
    first = (path / JOURNAL).read_bytes()[size:].index(b"\n") + 1
    os.truncate(path / JOURNAL, size + first)
    (path / HINT).write_bytes(known)


def half_compacted(path: Path) -> None:
    """A compaction died before it renamed; another one has just renamed, and left no hint."""
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


@case("2", "store", "SIGKILL at each write of a recovery")
def kill_while_mending(bench: Bench) -> Figures:
    """An add (or a cancel) on a store that somebody left torn is killed at each call; the next one must find its way."""
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
    Seed("F", "compaction believes its memory and drops a damaged journal", "store/compaction.py",
         "                store.journal.check_intact(known.upto)\n", "", "tests/store/test_compaction.py"),
    Seed("F", "compaction writes what was known of an older generation", "store/compaction.py",
         "                if store.journal.header != known.header:\n                    return False\n", "",
         "tests/store/test_compaction.py"),
    Seed("F", "a torn line in the middle of what is read at once ends the reading", "store/view.py",
         "            if upto == end:\n                return\n", "            return\n", "tests/store/test_journal.py"),
    Seed("F", "no torn-tail repair", "store/journal.py",
         "            return Parsed(lines[:committed], end, seq, torn=bool(raw) or committed < len(lines))",
         "            return Parsed(lines[:committed], end, seq, damage=(at, 'torn') if raw else None)", "16"),
    Seed("F", "a torn line with a newline is damage", "store/journal.py",
         "            if _newer_transaction(rest, first_torn=last + 1 - (len(lines) - committed)):", "            if True:", "16"),
    Seed("F", "whole changes behind the hint are cut off", "store/store.py",
         "                os.ftruncate(journal.fd, parsed.end)", "                os.ftruncate(journal.fd, hint.size)", "2"),
    Seed("F", "no checksum", "sealed.py",
         "    return line[-CRC_BYTES:] == b',\"crc\":\"%08x\"}' % zlib.crc32(line[:-CRC_BYTES])",
         "    return line[-CRC_BYTES:][:8] == b',\"crc\":\"'", "18"),
    Seed("F", "a gap in the numbers is not noticed", "store/journal.py",
         "or line[\"seq\"] != last + 1:", "or line[\"seq\"] <= last:", "tests/store/test_journal.py"),
    Seed("F", "the hint is ignored", "store/hint.py",
         "        return Hint.decode(os.pread(fd, HINT_BYTES, 0)) or Hint.decode(os.pread(fd, HINT_BYTES, 0))", "        return None", "19"),
    Seed("F", "a journal of an older generation is taken", "store/view.py",
         "            if hint is not None and hint.generation > journal.header.generation and journal.is_current():",
         "            if False:", "19"),
    Seed("F", "the hint has no checksum", "store/hint.py", "        if len(data) != HINT_BYTES or not is_whole(line):", "        if len(data) != HINT_BYTES:", "18b"),
    Seed("F", "a changed environment is used", "store/environment.py",
         "    if sha256(data) != digest:", "    if False:", "18b"),
    Seed("F", "a torn record of a start is not seen", "engine/local/evidence.py",
         "                    recorded[TORN] = {}", "                    pass", "18b"),
]  # fmt: skip
