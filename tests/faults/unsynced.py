"""Syncs that failed in another process, bytes that were never synced, and files that are deleted under a writer.

The first cases take the crash states of `crash_states.py` after commands that died or failed at a chosen call: the next
command can't know how much of their data has reached the disk. The last case stops real writers right before they write,
and deletes or replaces their lock or their journal.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobq import clock
from jobq.api import Queue
from jobq.errors import JobqError
from jobq.store import check, compaction
from tests.conftest import wait_until
from tests.faults import strace
from tests.faults.case import Bench, Figures, case, environment, need_linux, need_tool
from tests.faults.crash_states import COMPACT, ORDERED, WEAK, Chapter, Exam, Recorder, without_syncs
from tests.faults.seed import Seed

SYNC_FAILS = "fdatasync:error=EIO:when=1"
NAME_SYNC_FAILS = "fsync:error=EIO:when="
CUT_FAILS = "ftruncate:error=EIO"
NOT_SAVED = 74


def follow_all(bench: Bench, chapters: list[Chapter]) -> Figures:
    """Examine the crash states of all chapters; return the figures."""
    figures = Figures()
    exam = Exam(bench, figures)
    with without_syncs():
        for chapter in chapters:
            exam.follow(chapter, limit=bench.size(60, 400))
    figures.note = f"{len(chapters)} traces; {exam.states[ORDERED]} states of an ordered disk, {exam.states[WEAK]} more of a weak one"
    return figures


class Lives:
    """Makes recorders, each with its own store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def begin(self, *, settled: bool = True) -> Recorder:
        """Return a recorder; with `settled`, its store holds one job, else there is no store."""
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir()
        recorder = Recorder(folder)
        if settled:
            recorder.jobq("", "add", "true")
        return recorder


# -- syncs that fail ---------------------------------------------------------------------------------------


def after_failed_syncs(lives: Lives) -> Iterator[Chapter]:
    """Record adds after data that other commands could not sync."""
    life = lives.begin()
    died = life.jobq("", "add", "true", kill_at="fdatasync")
    failed = life.jobq("", "add", "true", after=died, faults=[SYNC_FAILS], code=NOT_SAVED)
    yield life.jobq("add after an add that could not sync what a dead writer left", "add", "true", after=failed)

    life = lives.begin()
    died = life.jobq("", "add", "true", kill_at="fdatasync")
    failed = life.jobq("", "list", after=died, faults=[SYNC_FAILS])
    yield life.jobq("add after a list could not sync what a dead writer left", "add", "true", after=failed)

    life = lives.begin()
    died = life.jobq("", "add", "true", kill_at="fdatasync")
    (life.store / "journal.hint").unlink()
    failed = life.jobq("", "add", "true", after=died, faults=[SYNC_FAILS], code=NOT_SAVED)
    yield life.jobq("the same without a hint", "add", "true", after=failed)

    life = lives.begin()
    failed = life.jobq("", "add", "true", faults=[SYNC_FAILS, CUT_FAILS], code=NOT_SAVED)
    yield life.jobq("add after an add whose sync and whose undo failed", "add", "true", after=failed)

    life = lives.begin()
    failed = life.record("", sys.executable, "-c", COMPACT, str(life.store), faults=[NAME_SYNC_FAILS + "2"], code=1)
    yield life.jobq("add after a compaction whose last sync failed", "add", "true", after=failed)


def after_unsynced_names(lives: Lives, most: int) -> Iterator[Chapter]:
    """Record adds after the first add of a store died at a sync of a directory, or that sync failed."""
    for has_store in (False, True):
        for number in range(1, most + 1):
            for fault, code in ((f"{NAME_SYNC_FAILS}{number}", NOT_SAVED), (f"fsync:signal=KILL:when={number}", -9)):
                life = lives.begin(settled=False)
                if has_store:
                    life.python("", "import sys; from jobq.store.store import Store; Store(sys.argv[1]).read_settled()")
                try:
                    failed = life.jobq("", "add", "true", faults=[fault], code=code)
                except subprocess.CalledProcessError as e:
                    if e.returncode in {0, 77}:  # there are fewer syncs, or even the folder could not be made
                        continue
                    raise
                yield life.jobq(f"add after {fault} of the first one", "add", "true", after=failed)


@case("crash-states-sync-error", "6b", "store", "crash states after syncs that failed or never came")
def failed_syncs(bench: Bench) -> Figures:
    need_linux()
    need_tool("strace")
    lives = Lives(bench.folder)
    return follow_all(bench, [*after_failed_syncs(lives), *after_unsynced_names(lives, bench.size(2, 12))])


@case("crash-states-after-read", "6c", "store", "crash states after a command read what a dead writer left")
def seen(bench: Bench) -> Figures:
    need_linux()
    need_tool("strace")
    lives = Lives(bench.folder)
    chapters = []
    for words, code in ((("list", "--json"), 0), (("show", "1"), 0), (("wait", "1"), 125), ((), 0)):
        life = lives.begin()
        died = life.jobq("", "cancel", "1", kill_at="fdatasync")
        chapters.append(life.jobq(f"jobq {' '.join(words)}", *words, after=died, code=code))
    return follow_all(bench, chapters)


@case("sync-error-undo-fails", "4c", "store", "a sync fails, and the written bytes can't be cut off")
def undoing_fails(bench: Bench) -> Figures:
    """No command sees a refused job, and the next add does not keep it."""
    figures = Figures()
    cli = bench.cli()
    kept = [cli.id("true")]
    for words in [("true",), ("--name", "day", "x" * 9000), ("--name", "night", "true")] * bench.size(1, 5):
        faults = [word for fault in (SYNC_FAILS, CUT_FAILS) for word in ("-e", f"inject={fault}")]
        done = strace.trace(strace.jobq("add", *words), bench.folder / "trace", cli.env, *faults)
        figures.n += 1
        figures.check((done.returncode, done.stdout) == (NOT_SAVED, ""), f"exit {done.returncode}, {done.stdout!r}")
        listed = sorted(job["id"] for job in json.loads(cli("list", "--json").stdout)["jobs"])
        figures.check(listed == kept, f"acknowledged: {kept}, list shows {listed}")
        kept.append(cli.id("true"))
    ids = [job.id for job in cli.queue.jobs()]
    figures.check(ids == kept, f"acknowledged: {kept}, there are: {ids}")
    figures.bad += list(check.problems(cli.queue.store))
    return figures


# -- files that are deleted or replaced ---------------------------------------------------------------------------------------

# The real command, stopped within the lock: when it writes to the journal, or at the last sync of a new journal.
HELD = """
import os, sys, time
inside, go = sys.argv.pop(1), sys.argv.pop(1)
def hold(name, file, number):
    real = getattr(os, name)
    def held(fd, *args):
        nonlocal number
        if os.readlink(f"/proc/self/fd/{fd}").endswith(file):
            number -= 1
            if number == 0:
                open(inside, "w").close()
                while not os.path.exists(go):
                    time.sleep(0.002)
        return real(fd, *args)
    setattr(os, name, held)
hold("pwrite", "/journal.jsonl", 1)
hold("fdatasync", "/journal.next", 2 if sys.argv[1] == "compact" else 1)
if sys.argv[1] == "compact":
    from jobq import clock
    from jobq.store import compaction
    sys.exit(not compaction.compact(os.environ["JOBQ_STORE"], clock.now()))
from jobq.__main__ import main
main()
"""
WRITERS = {  # on a store with two jobs, the second cancelled
    "add": ("add", "true"),
    "add a name": ("add", "--name", "day", "true"),
    "cancel": ("cancel", "1"),
    "requeue": ("requeue", "2"),
    "compaction": ("compact",),
    "repair": ("doctor", "--accept-loss"),
    "reading": ("list",),
}


def delete(path: Path) -> None:
    path.unlink()


def replace(path: Path) -> None:
    """Replace the file with a copy, as a restored backup does."""
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)


class Held:
    """A writer that is stopped inside the lock, and its result."""

    def __init__(self, bench: Bench, writer: str, name: str) -> None:
        self.store = bench.folder / name / "store"
        self.store.parent.mkdir()
        self._inside, self._go = (self.store.parent / word for word in ("inside", "go"))
        self.trace = self.store.parent / "trace"
        queue = Queue(str(self.store))
        for _ in range(2):
            queue.add("true", cwd="/")
        queue.cancel([2])
        queue.store.save_environment(environment(self.store))
        if writer == "reading":  # it writes only if there is a job behind the hint
            hint = (self.store / "journal.hint").read_bytes()
            queue.add("true", cwd="/")
            (self.store / "journal.hint").write_bytes(hint)
        if writer == "repair":
            journal = bytearray((self.store / "journal.jsonl").read_bytes())
            journal[-3] ^= 1
            (self.store / "journal.jsonl").write_bytes(journal)
        queue.store.close()
        command = [sys.executable, "-c", HELD, str(self._inside), str(self._go), *WRITERS[writer]]
        self._process = self._start(command)
        wait_until(lambda: self._inside.exists() or self._process.poll() is not None)

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, env=environment(self.store), cwd="/", text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def let_go(self) -> tuple[int, str, str]:
        """Let the writer go on to its end; return exit code, stdout, stderr."""
        self._go.touch()
        said, errors = self._process.communicate(timeout=60)
        return self._process.returncode, said, errors

    @contextmanager
    def another(self, command: list[str]) -> Iterator[subprocess.Popen[str]]:
        """Start another command; enter the block when it has ended, or waits for a lock."""
        process = self._start(["strace", "-f", "-qq", "-e", "trace=flock", "-o", str(self.trace), *command])
        try:
            wait_until(lambda: process.poll() is not None or self._refusals() >= 3)
            yield process
        finally:
            process.communicate(timeout=60)

    def _refusals(self) -> int:
        return self.trace.read_text().count("EAGAIN") if self.trace.exists() else 0


def without_lock(bench: Bench, writer: str, do: Callable[[Path], None], figures: Figures) -> None:
    """Remove or replace the lock under `writer`, then start an add: all that both acknowledge must hold."""
    where = f"{writer}, store.lock {do.__name__}d"
    held = Held(bench, writer, where)
    do(held.store / "store.lock")
    with held.another(strace.jobq("add", "other")) as second:
        code, said, errors = held.let_go()
    told = {int(text) for text in (said, second.communicate()[0]) if text.strip().isdecimal()}
    figures.n += 1
    figures.check(code == 0, f"{where}: exit {code}: {errors[-200:]}")
    figures.check(second.returncode == 0, f"{where}: the other command exits with {second.returncode}")
    figures.bad += [f"{where}: {c}" for c in holds(held.store, writer, told)]
    expected = 2 if writer.startswith("add") else 1
    figures.check(len(told) == expected, f"{where}: {expected} jobs were added, with the ids {told}")


def without_journal(bench: Bench, writer: str, do: Callable[[Path], None], figures: Figures) -> None:
    """Remove or replace the journal under `writer`: the new journal must hold all that it acknowledges."""
    where = f"{writer}, journal.jsonl {do.__name__}d"
    held = Held(bench, writer, where)
    do(held.store / "journal.jsonl")
    code, said, errors = held.let_go()
    figures.n += 1
    figures.check(code in {0, 1, 65, 75}, f"{where}: exit {code}: {errors[-200:]}")
    figures.check("Traceback" not in errors, f"{where}: {errors[-200:]}")
    if do is delete:
        figures.check(code != 0 or writer == "reading", f"{where}: exit 0: {said}")
        return
    told = {int(said)} if said.strip().isdecimal() else set()
    if writer == "repair" and code:
        figures.check(code == 1, f"{where}: exit {code}: {errors[-200:]}")
        bench.cli(f"{where}/store")("doctor", "--accept-loss", code=None)
    figures.bad += [f"{where}: {c}" for c in holds(held.store, writer if not code or writer == "repair" else "", told)]


def holds(store: Path, writer: str, told: set[int]) -> Iterator[str]:
    """Yield what is wrong with the store after this command has succeeded; "" stands for one that has not."""
    queue = Queue(str(store))
    try:
        states = {job.id: str(job.state) for job in [*queue.jobs(), *queue.finished()]}
        yield from (f"job {job_id} was acknowledged and is lost" for job_id in told - states.keys())
        if (states.get(1) == "cancelled") != (writer == "cancel"):
            yield f"job 1 is {states.get(1)}"
        if (states.get(2) == "queued") != (writer in {"requeue", "repair"}):
            yield f"job 2 is {states.get(2)}"
        yield from check.problems(queue.store)
        new = queue.add("true", cwd="/")
        if new.id in states:
            yield f"id {new.id} is given twice"
        if not compaction.compact(str(store), clock.now()):
            yield "compaction gave up"
        yield from check.problems(queue.store)
    except JobqError as e:
        yield f"{type(e).__name__}: {e}"
    finally:
        queue.store.close()


@case("store-file-replaced", "54b", "store", "the lock or the journal is deleted or replaced while a writer is inside")
def files_that_go(bench: Bench) -> Figures:
    need_linux()
    need_tool("strace")
    figures = Figures()
    for writer in WRITERS:
        for do in (delete, replace):
            without_lock(bench, writer, do, figures)
            without_journal(bench, writer, do, figures)
    return figures


SEEDS = [
    Seed(
        harness="crash-states",
        fault="what a dead writer left is synced, but not written again",
        file="store/journal.py",
        old="                write_all(self.fd, lines, at)\n",
        new="                pass\n",
        caught_by="crash-states-sync-error",
    ),
    Seed(
        harness="crash-states",
        fault="without a hint, only what follows is written again",
        file="store/tail.py",
        old="return _settle(root, view.journal, hint, snapshot_end, cut=cut)",
        new="return _settle(root, view.journal, hint, hint.size, cut=cut)",
        caught_by="crash-states-sync-error",
    ),
    Seed(
        harness="crash-states",
        fault="a folder that already exists has its name not synced",
        file="store/folder.py",
        old="            except FileExistsError:\n                pass\n            os.fsync(self.fd)",
        new="                os.fsync(self.fd)\n            except FileExistsError:\n                pass\n            os.fstat(self.fd)",
        caught_by="crash-states-sync-error",
    ),
    Seed(
        harness="crash-states",
        fault="a command that finds the store does not sync its name",
        file="store/place.py",
        old="    sync_parents(path)\n",
        new="",
        caught_by="crash-states-sync-error",
    ),
    Seed(
        harness="crash-states",
        fault="what a dead writer left is shown before it is durable",
        file="store/tail.py",
        old="locked=True, hint=settle_tail(root, view, cut=cut))",
        new="locked=True, hint=settle_tail(root, view) if cut else None)",
        caught_by="crash-states-after-read",
    ),
    Seed(
        harness="disk",
        fault="bytes that can't be cut off stay as they are",
        file="store/writer.py",
        old='            write_all(fd, b"\\0", at)\n',
        new="            pass\n",
        caught_by="sync-error-undo-fails",
    ),
    Seed(
        harness="history",
        fault="only the file of the lock is locked, not the folder",
        file="store/lock.py",
        old="self.held = try_lock(self._folder.fd)",
        new="self.held = True",
        caught_by="store-file-replaced",
    ),
    Seed(
        harness="history",
        fault="only the file of compaction's lock is locked, not the folder",
        file="store/compaction.py",
        old="yield try_lock(fd) and try_lock(folder.fd)",
        new="yield try_lock(fd)",
        caught_by="tests/store/test_compaction.py",
    ),
    Seed(
        harness="history",
        fault="a change that went to a replaced journal is acknowledged",
        file="store/writer.py",
        old="    if not folder.holds(name, fd):\n",
        new="    if False:\n",
        caught_by="store-file-replaced",
    ),
    Seed(
        harness="history",
        fault="compaction replaces a journal that it has not read",
        file="store/compaction.py",
        old=" or not store.journal.is_current():",
        new=":",
        caught_by="store-file-replaced",
    ),
    Seed(
        harness="history",
        fault="repair replaces a journal that it has not read",
        file="store/repair.py",
        old='        if (root.read(JOURNAL) or b"") != data:\n',
        new="        if False:\n",
        caught_by="store-file-replaced",
    ),
]
