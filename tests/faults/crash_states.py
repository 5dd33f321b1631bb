"""Every state that a power cut may leave.

The system calls of real commands are recorded. Data that was not yet synced is lost, torn, zero-filled or reordered; each
resulting state is written out as a store, and must be a valid one.

After a failed sync the kernel takes the bytes for clean: a further sync does nothing for them unless they are written
again (fsyncgate; fsync(2), NOTES).

There are two models of a disk. *Ordered*, as ext4's journal: directory entries, modes and lengths reach the disk in
their order, and any sync saves all older ones, too; bytes arrive at any time. *Weak*, all that POSIX promises: a sync of
a file saves that file, a sync of a directory its entries, and any subset of the rest arrives. Every state must hold
exactly what the store held after some whole change, the last acknowledged one or a later one.

Job logs and workers' folders are left out: they hold nothing acknowledged.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from jobq import clock
from jobq.api import Queue
from jobq.errors import JobqError
from jobq.moment import Moment
from jobq.store import check, compaction
from jobq.store.store import Store
from tests.faults import strace
from tests.faults.case import Bench, Figures, case, environment, need_linux, need_tool
from tests.faults.seed import Seed

CALLS = (
    "mkdir", "mkdirat", "open", "openat", "write", "pwrite64", "ftruncate", "fsync", "fdatasync", "rename", "renameat", "renameat2",
    "link", "linkat", "unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat",
)  # fmt: skip
SECTOR = 512  # bytes that a disk writes as a unit
LEFT_OUT = {"runs", "workers"}
WEAK, ORDERED = "weak", "ordered"


# -- the calls of a command --------------------------------------------------------------------------


class Call(NamedTuple):
    """A system call that succeeded, or a sync that failed: it changes the effect of later ones."""

    pid: int
    name: str
    args: list[str]
    failed: bool = False


class Step(NamedTuple):
    """A change of the disk, or an output; paths are relative to the folder that holds the store."""

    kind: str  # make, write, cut, sync, lose, rename, remove, mode, say
    path: str = ""
    number: int = 0  # offset (-1: the end), length or mode; make: 1 for a directory; sync: 1 if it saves the mode, too
    data: bytes = b""
    to: str = ""


def calls_of(recording: Path) -> Iterator[Call]:
    """Read the calls in the order in which they returned. The recording is made with -xx: no text in it has a comma."""
    begun: dict[str, str] = {}
    with recording.open() as lines:
        for line in lines:
            pid, _, text = line.rstrip("\n").partition(" ")
            text = text.strip()
            if text.endswith("<unfinished ...>"):
                begun[pid] = text.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
                text = begun.pop(pid, "") + text[resumed.end() :]
            found = re.match(r"(\w+)\((.*)\)\s+= (-?)\d", text)
            if found and (not found[3] or found[1] in {"fsync", "fdatasync"}):
                yield Call(int(pid), found[1], found[2].split(", "), failed=bool(found[3]))


def text_of(arg: str) -> bytes:
    """Decode a string, or the path of a descriptor, that strace has written in hexadecimal."""
    inside = re.search(r"[\"<](.*)[\">]", arg)
    return bytes.fromhex(inside[1].replace("\\x", "")) if inside else b""


def path_of(folder: str, name: str = "") -> str:
    """Return the path of a descriptor, or of a name relative to one."""
    return os.path.normpath(os.path.join(os.fsdecode(text_of(folder)), os.fsdecode(text_of(name))))


def step_of(call: Call, main: int) -> Step | None:
    """Return the step that the call makes; None if it changes nothing."""
    args = call.args
    match call.name.removesuffix("at"), args:
        case "write", [fd, *_] if call.pid == main and fd.startswith(("1<", "2<")):
            return Step("say", data=text_of(args[1]))
        case "write", [fd, data, _]:
            return Step("write", path_of(fd), -1, text_of(data))
        case "pwrite64", [fd, data, _, at]:
            return Step("write", path_of(fd), int(at), text_of(data))
        case "ftruncate", [fd, size]:
            return Step("cut", path_of(fd), int(size))
        case (("fsync" | "fdatasync"), [fd]):
            return Step("lose" if call.failed else "sync", path_of(fd), call.name == "fsync")
        case "open", [folder, name, flags, *_] if "O_CREAT" in flags:
            return Step("make", path_of(folder, name))
        case "mkdir", [*folder, name, _]:
            return Step("make", path_of("".join(folder), name), 1)
        case "rename", [old, new]:
            return Step("rename", path_of("", old), to=path_of("", new))
        case (("rename" | "renameat2"), [folder, old, to_folder, new, *_]):
            return Step("rename", path_of(folder, old), to=path_of(to_folder, new))
        case "unlink", [folder, name, *_]:
            return Step("remove", path_of(folder, name))
        case (("unlink" | "rmdir"), [name]):
            return Step("remove", path_of("", name))
        case "fchmod", [fd, mode]:
            return Step("mode", path_of(fd), int(mode, 8))
        case "fchmod", [folder, name, mode, *_]:
            return Step("mode", path_of(folder, name), int(mode, 8))
        case "chmod", [name, mode]:
            return Step("mode", path_of("", name), int(mode, 8))
    return None


def steps_of(recording: Path, root: Path) -> Iterator[Step]:
    """Yield the changes of a recorded command below `root`, and its output."""
    main = None
    for call in calls_of(recording):
        main = main or call.pid
        step = step_of(call, main)
        if step is None:
            continue
        path, to = (os.path.relpath(p, root) if p else "" for p in (step.path, step.to))
        if step.kind == "say" or (not path.startswith("..") and not LEFT_OUT & set(path.split("/"))):
            yield step._replace(path=path, to=to)


# -- the disk ------------------------------------------------------------------------------------------


class Node:
    """A file or directory, as it is on the disk for certain."""

    def __init__(self, is_dir: bool, mode: int, data: bytes = b"") -> None:
        self.is_dir = is_dir
        self.mode = mode
        self.data = data
        self.entries: dict[str, Node] = {}


Files = dict[str, tuple[int, bytes | None]]  # path -> mode and content; None: a directory


class Image:
    """A state of a disk: changes on top of the nodes."""

    def __init__(self, root: Node) -> None:
        self.root = root
        self.modes: dict[Node, int] = {}
        self.datas: dict[Node, bytes] = {}
        self.folders: dict[Node, dict[str, Node]] = {}

    def data(self, node: Node) -> bytes:
        return self.datas.get(node, node.data)

    def folder(self, node: Node) -> dict[str, Node]:
        """Return the entries of the directory; the caller may change them."""
        return self.folders.setdefault(node, dict(node.entries))

    def settle(self) -> None:
        """Move the changes into the nodes: they are on the disk for certain."""
        for node, mode in self.modes.items():
            node.mode = mode
        for node, data in self.datas.items():
            node.data = data
        for node, entries in self.folders.items():
            node.entries = entries

    def files(self) -> Files:
        """Return all files and directories by path."""
        found: Files = {}
        todo = [(".", self.root)]
        for path, node in todo:
            found[path] = (self.modes.get(node, node.mode), None if node.is_dir else self.data(node))
            todo += [(f"{path}/{name}", child) for name, child in self.folders.get(node, node.entries).items()]
        return found


class Change:
    """A change that may not be on the disk yet; `ways` is the number of ways: 0 not at all, 1 whole, others torn."""

    metadata = True
    ways = 2
    lost = False  # a sync of it has failed: it may be on the disk or not, and a further sync does nothing for it

    def __init__(self, node: Node) -> None:
        self.node = node

    def apply(self, image: Image, way: int) -> None:
        raise NotImplementedError


class Entry(Change):
    """A name in a directory: it now means `child` (None: nothing), and the name `old` is removed."""

    def __init__(self, node: Node, name: str, child: Node | None, old: str = "") -> None:
        super().__init__(node)
        self.name, self.child, self.old = name, child, old

    def apply(self, image: Image, way: int) -> None:
        entries = image.folder(self.node)
        entries.pop(self.old, None)
        if self.child is None:
            entries.pop(self.name, None)
        else:
            entries[self.name] = self.child


class Mode(Change):
    """A new mode."""

    def __init__(self, node: Node, mode: int) -> None:
        super().__init__(node)
        self.mode = mode

    def apply(self, image: Image, way: int) -> None:
        image.modes[self.node] = self.mode


class Cut(Change):
    """A new length."""

    def __init__(self, node: Node, size: int) -> None:
        super().__init__(node)
        self.size = size

    def apply(self, image: Image, way: int) -> None:
        image.datas[self.node] = image.data(self.node)[: self.size].ljust(self.size, b"\0")


class Data(Change):
    """Written bytes: all arrive, only the length does, or only the bytes before or behind the start of a sector."""

    metadata = False

    def __init__(self, node: Node, at: int, data: bytes, tears: int, *, grows: bool) -> None:
        super().__init__(node)
        self.at, self.bytes, self.grows = at, data, grows
        inner = range(at // SECTOR * SECTOR + SECTOR, at + len(data), SECTOR)
        self.tears = inner if len(inner) <= tears else inner[:: -(-len(inner) // tears)]
        self.ways = 3 + 2 * len(self.tears)

    def reaches(self, start: int, end: float) -> bool:
        """Return True if some of the bytes lie between these offsets."""
        return self.at < end and start < self.at + len(self.bytes)

    def apply(self, image: Image, way: int) -> None:
        old, end = image.data(self.node), self.at + len(self.bytes)
        start = self.at
        if way == 2:
            start = end
        elif way > 2 and way % 2:
            end = self.tears[(way - 3) // 2]
        elif way > 2:
            start = self.tears[(way - 3) // 2]
        new = old.ljust(max(start, end), b"\0")
        image.datas[self.node] = new[:start] + self.bytes[start - self.at : end - self.at] + new[end:]


class Disk:
    """The disk after some steps: the nodes that are there for certain, and the pending changes."""

    def __init__(self, folder: Path, tears: int) -> None:
        self.root = Node(True, 0o700)
        self.paths = {".": self.root}  # as processes see it
        self.pending: list[Change] = []
        self.old = 0  # number of pending changes that are older than the last sync
        self.sizes: dict[Node, int] = {}  # bytes, of files that were written to
        self.tears = tears
        for path, (mode, data) in read_tree(folder).items():
            if path != ".":
                node = self.paths[path] = Node(data is None, mode, data or b"")
                self.paths[os.path.dirname(path) or "."].entries[os.path.basename(path)] = node

    def take(self, step: Step) -> None:
        """Apply the next step."""
        parent, name = self.paths.get(os.path.dirname(step.path) or "."), os.path.basename(step.path)
        node = self.paths.get(step.path)
        match step.kind:
            case "make" if node is None and parent is not None:
                node = self.paths[step.path] = Node(bool(step.number), 0o700 if step.number else 0o600)
                self.pending.append(Entry(parent, name, node))
            case "rename" if node is not None and parent is not None:
                self.paths[step.to] = self.paths.pop(step.path)
                self.pending.append(Entry(parent, os.path.basename(step.to), node, old=name))
            case "remove" if node is not None and parent is not None:
                del self.paths[step.path]
                self.pending.append(Entry(parent, name, None))
            case "mode" if node is not None:
                self.pending.append(Mode(node, step.number))
            case "cut" if node is not None:
                self._touch(node, step.number, float("inf"))
                self.sizes[node] = step.number
                self.pending.append(Cut(node, step.number))
            case "write" if node is not None:
                size = self.sizes.get(node, len(node.data))
                at = size if step.number < 0 else step.number
                self._touch(node, at, at + len(step.data))
                self.sizes[node] = max(size, at + len(step.data))
                self.pending.append(Data(node, at, step.data, self.tears, grows=self.sizes[node] > size))
            case "sync" if node is not None:
                self._sync(node, mode_too=bool(step.number))
            case "lose" if node is not None:
                for change in self._data_of(node):
                    change.lost = True

    def _data_of(self, node: Node) -> list[Data]:
        return [change for change in self.pending if change.node is node and isinstance(change, Data)]

    def _touch(self, node: Node, start: int, end: float) -> None:
        """Make lost bytes there pending again. (A kernel writes whole pages, but their size varies.)"""
        for change in self._data_of(node):
            if change.reaches(start, end):
                change.lost = False

    def _sync(self, node: Node, *, mode_too: bool) -> None:
        def saved(change: Change) -> bool:
            return change.node is node and not change.lost and (mode_too or not isinstance(change, Mode))

        image = Image(self.root)
        for change in self.pending:
            if saved(change):
                change.apply(image, 1)
        image.settle()
        self.pending = [change for change in self.pending if not saved(change)]
        self.old = len(self.pending)

    def image(self, ways: Sequence[int]) -> Files:
        """Return the disk if each pending change has arrived in this way."""
        image = Image(self.root)
        for change, way in zip(self.pending, ways, strict=True):
            if way:
                change.apply(image, way)
        return image.files()

    def seen(self) -> Files:
        """Return the disk as processes see it now: the state after SIGKILL of all of them."""
        return self.image([1] * len(self.pending))


def read_tree(folder: Path) -> Files:
    """Read directories and regular files, parents first."""
    found: Files = {}
    for path in sorted([folder, *folder.rglob("*")]):
        relative = os.path.relpath(path, folder)
        status = path.lstat()
        if LEFT_OUT & set(relative.split("/")) or stat.S_ISFIFO(status.st_mode):
            continue
        found[relative] = (stat.S_IMODE(status.st_mode), None if path.is_dir() else path.read_bytes())
    return found


def write_tree(folder: Path, files: Files) -> None:
    """Write the files, as `read_tree` reads them, in place of the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for path, (mode, data) in files.items():
        if data is None:
            (folder / path).mkdir(mode=mode)
        else:
            (folder / path).write_bytes(data)
            (folder / path).chmod(mode)


# -- the states ------------------------------------------------------------------------------------------


def weak(disk: Disk, limit: int, bench: Bench) -> Iterator[tuple[int, ...]]:
    """Yield ways for the pending changes to arrive: every combination if there are few, else the typical and a sample.

    Typical are none, all, all but one, and only one.
    """
    counts = [change.ways for change in disk.pending]
    total = 1
    for count in counts:
        total *= count
    if total <= limit:
        yield from itertools.product(*map(range, counts))
        return
    for default in (0, 1):
        ways = [default] * len(counts)
        yield tuple(ways)
        for i, count in enumerate(counts):
            yield from ((*ways[:i], way, *ways[i + 1 :]) for way in range(count) if way != default)
    for _ in range(limit):
        yield tuple(map(bench.dice.randrange, counts))


def ordered(disk: Disk, limit: int, bench: Bench) -> Iterator[tuple[int, ...]]:
    """Yield ways where names, modes and lengths arrive up to a point; bytes arrive freely, but after their length."""
    places = [i for i, change in enumerate(disk.pending) if change.metadata and i >= disk.old]
    for end in [*places, len(disk.pending)]:  # the first that has not arrived

        def way(i: int, change: Change, wanted: int, end: int = end) -> int:
            if change.metadata:
                return int(i < end)
            return 0 if isinstance(change, Data) and change.grows and i > end else wanted

        for wanted in (0, 1):
            yield tuple(way(i, change, wanted) for i, change in enumerate(disk.pending))
        for _ in range(limit // (len(places) + 1)):
            yield tuple(way(i, change, bench.dice.randrange(change.ways)) for i, change in enumerate(disk.pending))


# -- the checks of a state --------------------------------------------------------------------------------


class Examined(NamedTuple):
    """A state, as the store itself reads it."""

    view: str  # repr of all jobs, with all of their fields
    next_id: int
    complaints: list[str]


def view(store: Store) -> dict[int, object]:
    """Return all jobs by id."""
    state = store.read()
    found: dict[int, object] = {job.id: job for job in state.unfinished()}
    return found | {job.id: job for job in store.finished_jobs()}


def examine(path: Path, now: Moment) -> Examined:
    """Open the store and use it: doctor, environments, another job, a compaction."""
    complaints: list[str] = []
    there: dict[int, object] = {}
    next_id = 0
    try:
        queue = Queue(str(path))
        store = queue.store
        there = view(store)
        next_id = store.state.next_id
        complaints += check.problems(store)
        for job in queue.jobs():
            store.load_environment(job.spec.env)
        new = queue.add("true", cwd="/")
        if new.id < next_id or new.id in there:
            complaints.append(f"id {new.id} is given twice")
        if not compaction.compact(str(path), now):
            complaints.append("compaction gave up")
        if view(store) != there | {new.id: new.job}:
            complaints.append("an add and a compaction changed other jobs")
        complaints += check.problems(store)
        store.close()
    except (JobqError, OSError, ValueError, TypeError, LookupError) as e:
        complaints.append(f"{type(e).__name__}: {e}")
    return Examined(repr(there), next_id, complaints)


@contextlib.contextmanager
def without_syncs() -> Iterator[None]:
    """Replace syncs by nothing: the states are temporary, so waiting for the disk is useless."""
    with mock.patch("os.fsync"), mock.patch("os.fdatasync"):
        yield


class Chapter(NamedTuple):
    """A command, the disk before it, and its steps."""

    name: str
    before: Files
    steps: list[Step]


class Exam:
    """Examines the states of recorded commands, each different state once."""

    def __init__(self, bench: Bench, figures: Figures) -> None:
        self.bench = bench
        self.figures = figures
        self.store = bench.folder / "state"
        self.now = clock.now()
        self.known: dict[int, Examined] = {}
        self.states = {WEAK: 0, ORDERED: 0}

    def of(self, files: Files) -> Examined:
        """Examine this state, or return the earlier result."""
        digest = hash(frozenset(files.items()))
        if digest not in self.known:
            write_tree(self.store, files)
            self.known[digest] = examine(self.store / "store", self.now)
        return self.known[digest]

    def follow(self, chapter: Chapter, limit: int) -> None:
        """Apply the steps one by one, and examine the states that each may leave."""
        name = chapter.name
        write_tree(self.store, chapter.before)
        disk = Disk(self.store, tears=self.bench.size(6, 12))
        levels = [self.of(disk.seen())]  # the state after each whole change
        told = 0  # the index of the last acknowledged one
        for number, step in enumerate(chapter.steps):
            disk.take(step)
            if step.kind == "say":
                told = len(levels) - 1
                self._check_said(name, step.data, levels[told])
            elif (seen := self.of(disk.seen())).view != levels[-1].view:
                levels.append(seen)
            for model, choose in ((ORDERED, ordered), (WEAK, weak)):
                for ways in choose(disk, limit, self.bench):
                    self._judge(
                        f"{name}, after step {number} ({step.kind} {step.path})", model, disk, ways, levels[told:]
                    )

    def _judge(self, where: str, model: str, disk: Disk, ways: Sequence[int], allowed: Sequence[Examined]) -> None:
        before = len(self.known)
        found = self.of(disk.image(ways))
        if len(self.known) > before:
            self.states[model] += 1
            self.figures.n += 1
            if found.complaints:
                self.figures.bad.append(f"{where}, {model} disk, {ways}: {'; '.join(found.complaints)}")
        if found.complaints:
            return
        if all(found.view != level.view for level in allowed):
            self.figures.bad.append(
                f"{where}, {model} disk, {ways}: not the state after any change since the last acknowledged one"
            )
        elif found.next_id < allowed[0].next_id:
            self.figures.bad.append(f"{where}, {model} disk, {ways}: the next id fell to {found.next_id}")

    def _check_said(self, name: str, said: bytes, level: Examined) -> None:
        if said.strip().isdigit():
            self.figures.check(
                f"Job(id={int(said)}," in level.view, f"{name}: job {int(said)} was acknowledged before it was written"
            )


# -- the commands ------------------------------------------------------------------------------------------

COMPACT = "import sys; from jobq import clock; from jobq.store import compaction; compaction.compact(sys.argv[1], clock.now())"
# Adds a job while the snapshot is written: the job is copied behind the snapshot.
COMPACT_AND_ADD = """
import sys
from jobq import clock
from jobq.api import Queue
from jobq.store import compaction
write = compaction.write_generation
def write_and_add(*args):
    written = write(*args)
    print(Queue(sys.argv[1]).add("true").id, flush=True)
    return written
compaction.write_generation = write_and_add
compaction.compact(sys.argv[1], clock.now())
"""


class Recorder:
    """Runs commands on one store, and records their steps."""

    def __init__(self, folder: Path) -> None:
        self.recording = folder / "recording"
        self.root = folder / "root"
        self.root.mkdir(mode=0o700)
        self.store = self.root / "store"

    def record(
        self,
        name: str,
        *command: str,
        after: Chapter | None = None,
        kill_at: str = "",
        faults: Sequence[str] = (),
        code: int = 0,
    ) -> Chapter:
        """Run the command and record its steps; `after` another, whose steps may not all be on the disk.

        It must exit with `code`. With `faults` (in the syntax of strace), its output acknowledges nothing.
        """
        before = after.before if after else read_tree(self.root)
        injections = [*faults, *([f"{kill_at}:signal=KILL:when=1"] if kill_at else [])]
        # --seccomp-bpf stops at these calls only, but strace then does not inject signals.
        options = [word for fault in injections for word in ("-e", f"inject={fault}")] or ["--seccomp-bpf"]
        done = strace.trace(
            [*command], self.recording, environment(self.store), "-xx", "-s", "5000000", *options, calls=CALLS
        )
        if done.returncode != code and not kill_at:
            raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        steps = list(steps_of(self.recording, self.root))
        if faults:
            steps = [step for step in steps if step.kind != "say"]
        elif done.returncode == code:
            steps.append(Step("say"))
        return Chapter(name, before, [*(after.steps if after else []), *steps])

    def jobq(
        self,
        name: str,
        *words: str,
        after: Chapter | None = None,
        kill_at: str = "",
        faults: Sequence[str] = (),
        code: int = 0,
    ) -> Chapter:
        """Record the real command."""
        return self.record(name, *strace.jobq(*words), after=after, kill_at=kill_at, faults=faults, code=code)

    def python(self, name: str, code: str) -> Chapter:
        """Record a few lines of Python on the store."""
        return self.record(name, sys.executable, "-c", code, str(self.store))

    def tear(self) -> Chapter:
        """Record a writer that dies in the middle of a line."""
        before, journal = read_tree(self.root), self.store / "journal.jsonl"
        step = Step("write", "store/journal.jsonl", journal.stat().st_size, b'{"seq":' + b"9" * 600)
        with journal.open("ab") as file:
            file.write(step.data)
        return Chapter("tear", before, [step])


def record_life(recorder: Recorder, *, full: bool) -> Iterator[Chapter]:
    """Record one command after another on one store."""
    many = recorder.root.parent / "many"
    many.write_text("".join(f"echo {letter * (70_000 if full else 900)}\n" for letter in "abcd"))
    yield recorder.jobq("init", "add", "true")
    yield recorder.jobq("add of many", "add", "--retries", "0", "--from", str(many))
    died = recorder.jobq("", "add", "true", kill_at="fdatasync")
    yield recorder.jobq("cancel after an add that died before its sync", "cancel", "2-4", after=died)
    if full:
        yield recorder.jobq("worker", "worker", "--drain", "-j", "2")
    yield recorder.python("compaction, an add meanwhile", COMPACT_AND_ADD)
    died = recorder.record(
        "", sys.executable, "-c", COMPACT, str(recorder.store), faults=["fsync:signal=KILL:when=2"], code=-9
    )
    yield recorder.jobq("add after a compaction that died before its last sync", "add", "true", after=died)
    if full:
        yield recorder.jobq("add, another environment", "add", "--env", "A=1", "true")
        yield recorder.jobq("rm", "rm", "3")
        yield recorder.jobq("requeue", "requeue", "2")
        yield recorder.jobq("add, torn tail", "add", "--name", "night", "true", after=recorder.tear())
        yield recorder.python("compaction", COMPACT)


@case("crash-states", "6", "store", "crash states of real commands: wrong stores")
def crash_states(bench: Bench) -> Figures:
    need_linux()
    need_tool("strace")
    figures = Figures()
    exam = Exam(bench, figures)
    chapters = list(record_life(Recorder(bench.folder), full=bench.full))
    with without_syncs():
        for chapter in chapters:
            exam.follow(chapter, limit=bench.size(60, 400))
        if bench.full:
            everything = [step for chapter in chapters for step in chapter.steps]
            exam.follow(
                Chapter("all commands, with nothing settled between", chapters[0].before, everything), limit=150
            )
    figures.note = f"{len(chapters)} traces; {exam.states[ORDERED]} states of an ordered disk, {exam.states[WEAK]} more of a weak one"
    return figures


_APPEND = "        sync(fd)\n    except OSError as e:\n        raise SyncFailed("
_HINT = "        self.journal.append(data, hint.size)\n"
SEEDS = [
    Seed(harness="crash-states", fault="the journal is not synced", file="store/writer.py", old=_APPEND, new=_APPEND.replace("sync(fd)", "pass"), caught_by="crash-states"),
    Seed(harness="crash-states", fault="acknowledged before the sync", file="store/writer.py", old=_APPEND,
         new=_APPEND.replace("sync(fd)", "__import__('atexit').register(os.fdatasync, os.dup(fd))"), caught_by="crash-states"),
    Seed(harness="crash-states", fault='the hint is ahead of the sync', file='store/writer.py', old='    append(root, JOURNAL, journal, data, hint.size)\n', new='    write_hint(root, hint.after(hint.size + len(data), hint.seq + len(lines), next_id))\n    append(root, JOURNAL, journal, data, hint.size)\n', caught_by="crash-states"),
    Seed(harness="crash-states", fault='what a dead writer left is not synced', file='store/tail.py', old='        journal.renew(synced, parsed.end)\n', new='        pass\n', caught_by="crash-states"),
    Seed(harness="crash-states", fault='a rename by a dead writer is not synced', file='store/tail.py', old='        os.fsync(root.fd)\n', new='        pass\n', caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of the directory after compaction's rename", file="store/compaction.py",
         old="dst_dir_fd=root.fd)\n                os.fsync(root.fd)\n", new="dst_dir_fd=root.fd)\n", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of the new journal before its rename", file="store/compaction.py",
         old="from jobq.system import sync\n", new="from os import fstat as sync\n", caught_by="crash-states"),
    Seed(harness="crash-states", fault="what was added during the compaction is not synced", file="store/compaction.py",
         old="                sync(fd)\n                if not root.holds", new="                if not root.holds", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of finished jobs before they leave the journal", file="store/filing.py",
         old="                end += len(block)\n            sync(fd)\n", new="                end += len(block)\n", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of the names of finished days", file="store/filing.py",
         old="                os.fsync(folder.fd)\n", new="", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of a new file before its rename", file="store/folder.py",
         old="            write_all(fd, data, 0)\n            sync(fd)\n", new="            write_all(fd, data, 0)\n", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of the directory after a new file's rename", file="store/folder.py",
         old="            os.fsync(self.fd)\n        except OSError as e:\n", new="        except OSError as e:\n", caught_by="tests/store/test_durability.py"),
    Seed(harness="crash-states", fault="environments are not synced", file="store/environment.py",
         old="            folder.write_new(name, data)\n",
         new="            open(f'{folder.path}/{name}', 'wb').write(data)\n", caught_by="crash-states"),
    Seed(harness="crash-states", fault="no sync of the parent of a new subdirectory", file="store/folder.py",
         old="            os.fsync(self.fd)  # always", new="            # always", caught_by="crash-states"),
]  # fmt: skip
