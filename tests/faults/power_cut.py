"""Power cuts under load: only what reached the disk at one instant is left, and nothing acknowledged is lost.

The store lies on a file system in an image file, on a loop device. The image lies on an xfs that can clone files. A
clone (FICLONE, ioctl_ficlone(2)) holds what the device held at one instant, in the middle of any write; it does not hold
what is only in the cache of the file system. Meanwhile adders, a canceller, an observer that removes jobs, two workers
and a compactor go on; they note the changes that are acknowledged outside of the image (`power_cut_load.py`). The clone
is mounted, as after the reboot, and everything noted before the clone must hold there. The reboot is another boot id: a
file is mounted over that of the kernel for the worker that runs the remaining jobs.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from jobq.api import Queue
from jobq.errors import JobqError
from jobq.job import Job, Outcome, State
from jobq.store import check
from tests.conftest import TIMEOUT, wait_until
from tests.faults.case import Bench, Figures, Skipped, case, environment, need_linux, need_root, need_tool
from tests.faults.power_cut_load import LATER, WORK
from tests.faults.seed import Seed

FICLONE = 0x40049409  # linux/fs.h
MIB = 1 << 20
ENOUGH = 1500  # bytes of notes between two cuts: dozens of changes and starts
OUTER = 4096  # MiB, sparse: room for the image and what a clone changes of it
CLIENTS = ("adder", "adder", "adder", "commander", "canceller", "observer", "compactor")
AS_AFTER_REBOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'


class Filesystem(NamedTuple):
    """A kind of file system for the store."""

    make: tuple[str, ...]
    size: int  # MiB
    options: tuple[str, ...]
    options_of_clone: tuple[str, ...] = ()  # extra options: the clone has the uuid of the live one


EXT4 = ("mkfs.ext4", "-q", "-F", "-J", "size=16")
LAZY_EXT4 = Filesystem(EXT4, 256, ("commit=300",))
PLAIN_EXT4 = Filesystem(EXT4, 256, ("commit=300", "noauto_da_alloc"))
XFS = Filesystem(("mkfs.xfs", "-q", "-f"), 512, (), ("nouuid",))
BTRFS = Filesystem(("mkfs.btrfs", "-q", "-f"), 512, ("commit=300",))


def format_image(image: Path, make: tuple[str, ...], size: int) -> None:
    """Make a file system in a sparse file of `size` MiB. Raises Skipped, CalledProcessError."""
    need_tool(make[0])
    with image.open("wb") as f:
        f.truncate(size * MIB)
    subprocess.run([*make, image], check=True, capture_output=True)


@contextmanager
def mounted(image: Path, at: Path, options: tuple[str, ...] = ()) -> Iterator[Path]:
    """Mount the file system in the image; unmount it on exit. Raises CalledProcessError."""
    at.mkdir(exist_ok=True)
    command = ["mount", "-o", ",".join(("loop", *options)), str(image), str(at)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@dataclass
class Checkpoint:
    """The changes that the notes acknowledge, and the starts of the jobs of one store."""

    store: str
    added: dict[int, tuple[int, str]] = field(default_factory=dict)  # id -> retries, queue
    final: dict[int, str] = field(default_factory=dict)  # id -> state
    leaving: set[int] = field(default_factory=set)  # their removal has begun
    removed: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)  # a cancel did not find them
    starts: Counter[int] = field(default_factory=Counter)
    operations: int = 0

    @classmethod
    def from_notes(cls, notes: bytes, store: Path) -> Checkpoint:
        """Read the notes; starts in other stores do not count."""
        known = cls(str(store))
        for line in notes.decode().splitlines():
            known.take(line.split(" ", 3))
        return known

    def take(self, note: list[str]) -> None:
        """Add one note, split into its words."""
        job_id = int(note[1])
        match note:
            case ["added", _, retries, queue]:
                self.added[job_id] = (int(retries), queue)
            case ["ended", _, state]:
                self.final[job_id] = state
            case ["cancelled", _]:
                self.final[job_id] = State.CANCELLED
            case ["removing", _]:
                self.leaving.add(job_id)
            case ["removed", _]:
                self.removed.add(job_id)
            case ["missing", _]:
                self.missing.add(job_id)
            case ["start", _, _, self.store]:
                self.starts[job_id] += 1
        self.operations += note[0] not in {"removing", "missing", "start"}


class Load:
    """The clients and workers of the live store."""

    def __init__(self, bench: Bench, store: Path) -> None:
        self.notes = bench.folder / "notes"
        self.store = store
        self._cli = bench.cli(str(store.relative_to(bench.folder)))
        self._cli("list")
        self._seen = 0
        self._clients: list[subprocess.Popen[bytes]] = []
        self._errors = (bench.folder / "errors").open("w+")
        options = {"stdout": subprocess.DEVNULL, "stderr": self._errors, "start_new_session": True}
        self._workers = [self._cli.start("worker", "-j", "2", "-q", WORK, **options) for _ in range(2)]
        for role in CLIENTS:
            command = [sys.executable, "-m", "tests.faults.power_cut_load", role, str(store), str(self.notes)]
            self._clients.append(
                subprocess.Popen(
                    command, env=environment(store), cwd=bench.folder, stderr=self._errors, start_new_session=True
                )
            )

    def go_on(self) -> None:
        """Return when the notes have grown by ENOUGH since the last call, or a process has ended."""
        wait_until(lambda: self.size() >= self._seen + ENOUGH or self.complaints())
        self._seen = self.size()

    def size(self) -> int:
        """Return the size of the notes in bytes."""
        return self.notes.stat().st_size if self.notes.exists() else 0

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop clients and workers, so that they take no processor time; continue them on exit."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for _, process in self._everyone():
            if process.poll() is None:
                os.killpg(process.pid, number)

    def _everyone(self) -> Iterator[tuple[str, subprocess.Popen[Any]]]:
        yield from zip(CLIENTS, self._clients, strict=True)
        yield from (("worker", worker) for worker in self._workers)

    def complaints(self) -> list[str]:
        """Return a complaint if clients or workers have ended: none of them should."""
        ended = [name for name, process in self._everyone() if process.poll() is not None]
        if not ended:
            return []
        self._errors.seek(0)
        return [f"ended: {', '.join(ended)}; the last lines of stderr: {self._errors.read()[-300:].strip()!r}"]

    def close(self) -> None:
        """End all clients and workers, so that none keeps the mount busy."""
        for client in self._clients:
            if client.poll() is None:
                os.killpg(client.pid, signal.SIGKILL)
            client.wait()
        self._cli.stop()
        self._errors.close()


class Scene:
    """The live file system with its load, and the power cuts."""

    def __init__(self, bench: Bench, kind: Filesystem, held: ExitStack) -> None:
        self.bench = bench
        self.kind = kind
        outer = bench.folder / "outer.img"
        format_image(outer, ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"), OUTER)
        try:
            self.disk = held.enter_context(mounted(outer, bench.folder / "disk"))
            self.image = self.disk / "live.img"
            format_image(self.image, kind.make, kind.size)
            live = held.enter_context(mounted(self.image, bench.folder / "live", kind.options))
        except subprocess.CalledProcessError as e:
            raise Skipped(f"{' '.join(map(str, e.cmd[:3]))}: {e.stderr.strip()[:200]!r}") from None
        self.load = Load(bench, live / "store")
        held.callback(self.load.close)
        self.boot_id = bench.folder / "boot_id"
        self.boot_id.write_text(f"{uuid.uuid4()}\n")

    def cut(self, number: int) -> tuple[Checkpoint, Path]:
        """Read the notes, then clone the image; return both."""
        clone = self.disk / f"{number}.img"
        with self.image.open("rb") as image, clone.open("wb") as copy:
            notes = self.load.notes.read_bytes()
            fcntl.ioctl(copy, FICLONE, image.fileno())
        return Checkpoint.from_notes(notes, self.load.store), clone

    def work_off(self, store: Path) -> str:
        """Run the remaining jobs of the store, as after a reboot; return what went wrong, or ""."""
        worker = [sys.executable, "-m", "jobq", "worker", "--drain", "-j", "4", "-q", WORK]
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", AS_AFTER_REBOOT, self.boot_id, *worker],
            env=environment(store), cwd=self.bench.folder, capture_output=True, text=True, timeout=2 * TIMEOUT, check=False,
        )  # fmt: skip
        return "" if done.returncode in {0, 1} else f"the worker exits with {done.returncode}: {done.stderr[-300:]}"


def verdict(scene: Scene, known: Checkpoint, store: Path) -> Iterator[str]:
    """Yield each complaint about the store after the cut, and about the run of its remaining jobs."""
    queue = Queue(str(store))
    try:
        yield from stored(known, queue)
        new = queue.add("true")
        if new.id <= max(known.added):
            yield f"id {new.id} was given before"
        if trouble := scene.work_off(store):
            yield trouble
        yield from worked_off(known, Checkpoint.from_notes(scene.load.notes.read_bytes(), store), queue)
        yield from check.problems(queue.store)
    except JobqError as e:
        yield f"{type(e).__name__}: {e}"
    finally:
        queue.store.close()


def stored(known: Checkpoint, queue: Queue) -> Iterator[str]:
    """Yield each acknowledged change that is missing or undone."""
    queue.store.read()
    found = queue.store.find_all(sorted(known.added))
    yield from (f"job {job_id} is lost" for job_id in known.added.keys() - found.keys() - known.leaving)
    yield from (f"job {job_id} was not found before it was removed" for job_id in known.missing - known.leaving)
    yield from (f"job {job_id} was removed, and exists again" for job_id in known.removed & found.keys())
    for job_id, state in known.final.items():
        if job_id in found and found[job_id].state != state:
            yield f"job {job_id} was {state}, and is {found[job_id].state}"
    for job_id, count in known.starts.items():
        if job_id in found and len(found[job_id].attempts) < count:
            yield f"job {job_id} was started {count} times, and has {len(found[job_id].attempts)} attempts"


def worked_off(known: Checkpoint, after: Checkpoint, queue: Queue) -> Iterator[str]:
    """Yield each job that ran and should not, or should and did not. `after` holds the starts since the cut."""
    queue.store.read()
    unfinished: list[Job] = [job for job in queue.jobs() if job.spec.queue != LATER]
    yield from (f"job {job.id} is {job.state}, although the worker has ended" for job in unfinished)
    for job in queue.store.find_all(sorted(known.added)).values():
        if job.attempts and (end := job.attempts[-1].ending) and end.outcome is Outcome.SPAWN_ERROR:
            yield f"job {job.id} can't be started: {end.error}"
    for job_id in after.starts:
        if job_id in known.final or job_id in known.removed:
            yield f"job {job_id} ran although it was {known.final.get(job_id, 'removed')}"
    for job_id, count in (known.starts + after.starts).items():
        retries = known.added.get(job_id, (1, WORK))[0]
        if count > 1 + retries:
            yield f"job {job_id} with {retries} retries was started {count} times"


def after_reboot(scene: Scene, known: Checkpoint, clone: Path) -> list[str]:
    """Mount the clone, and return each complaint about its store."""
    try:
        with mounted(clone, scene.bench.folder / clone.stem, scene.kind.options + scene.kind.options_of_clone) as at:
            return list(verdict(scene, known, at / "store"))
    except subprocess.CalledProcessError as e:
        return [f"the file system can't be mounted: {e.stderr}"]


def run(bench: Bench, kind: Filesystem) -> Figures:
    """Cut the power of the same live store again and again."""
    need_root()
    need_linux()
    need_tool("mkfs.xfs", "unshare", kind.make[0])
    figures = Figures()
    operations = 0
    with ExitStack() as held:
        scene = Scene(bench, kind, held)
        for number in range(bench.size(2, 50)):
            scene.load.go_on()
            time.sleep(bench.dice.uniform(0, 0.3))  # cut at a random moment
            known, clone = scene.cut(number)
            operations = known.operations
            with scene.load.frozen():
                figures.bad += [f"cut {number}: {c}" for c in after_reboot(scene, known, clone)]
            clone.unlink()
            figures.n += 1
        figures.bad += scene.load.complaints()
    figures.note = f"{operations} acknowledged operations"
    return figures


@case("power-cut-ext4", "5", "store", "power cut under load, ext4 commit=300")
def ext4(bench: Bench) -> Figures:
    """Data that is not synced stays in memory for five minutes."""
    return run(bench, LAZY_EXT4)


@case("power-cut-ext4-noauto", "5b", "store", "power cut under load, ext4 noauto_da_alloc", in_suite=False)
def ext4_without_help(bench: Bench) -> Figures:
    """The file system does not sync a file because it is renamed."""
    return run(bench, PLAIN_EXT4)


@case("power-cut-xfs", "5c", "store", "power cut under load, xfs", in_suite=False)
def xfs(bench: Bench) -> Figures:
    """Sizes of files reach the disk later than their names."""
    return run(bench, XFS)


@case("power-cut-btrfs", "5d", "store", "power cut under load, btrfs", in_suite=False)
def btrfs(bench: Bench) -> Figures:
    """A sync of one file does not save another."""
    return run(bench, BTRFS)


SEEDS = [
    Seed(
        harness="power-cut", fault="nothing is synced",
        file="system.py", old="        os.fdatasync(fd)\n        return\n", new="        return\n", caught_by="power-cut-ext4",
    ),
    Seed(
        harness="power-cut", fault="a change is acknowledged before it is synced",
        file="store/writer.py", old="    try:\n        sync(fd)\n    except OSError as e:\n        raise SyncFailed(path, e, undone=cut(fd, at)) from None\n",
        new="", caught_by="power-cut-ext4",
    ),
    Seed(
        harness="power-cut", fault="a captured environment is not synced before the job that names it",
        file="store/folder.py", old="            write_all(fd, data, 0)\n            sync(fd)\n", new="            write_all(fd, data, 0)\n", caught_by="power-cut-ext4-noauto",
    ),
    Seed(
        harness="power-cut", fault="a job that was running before the reboot runs again",
        file="engine/local/evidence.py", old='if "not_started" in recorded or (', new='if "not_started" in recorded or not same_boot or (', caught_by="power-cut-ext4",
    ),
]  # fmt: skip
