"""SIGKILL, or an error, at every call of a command that can change the disk: the change is made whole or not at all.

A workload is recorded once below strace to find its calls. Then it runs again for each call, with SIGKILL or an error at
that call, on a fresh copy of the same store. Afterwards no acknowledged change is missing, no refused one is stored, no
id is given twice, the store is sound, and the next add, drain and compaction work.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jobq import clock
from jobq.api import Queue
from jobq.errors import JobqError
from jobq.job import State
from jobq.store import check, compaction
from tests.conftest import wait_until
from tests.faults import strace
from tests.faults.case import Bench, Figures, case, environment
from tests.faults.seed import Seed
from tests.helpers.processes import marked, supervisors

EXIT_CODES = {0, 1, 2, 65, 74, 75, 77, 78, 124}  # 70 would be a bug
COMPACT = """
import sys
from jobq import clock
from jobq.errors import JobqError
from jobq.store import compaction
try:
    compaction.compact(sys.argv[1], clock.now())
except (JobqError, OSError) as e:
    sys.exit(f"not now: {e}")
"""
ERRORS = {  # the errors that each call may return; at other calls the process is only killed
    "openat": ("EMFILE", "EACCES", "EROFS"),
    "mkdir": ("ENOSPC", "EROFS"),
    "mkdirat": ("ENOSPC", "EROFS"),
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "ftruncate": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "renameat": ("EIO", "ENOSPC"),
    "unlink": ("EROFS", "EIO"),
    "unlinkat": ("EROFS", "EIO"),
    "rmdir": ("EROFS",),
    "flock": ("ENOLCK",),
    "fchmod": ("EROFS",),
    "fchmodat": ("EROFS",),
    "chmod": ("EROFS",),
    "mknodat": ("ENOSPC",),
    "mknod": ("ENOSPC",),
}
Fault = tuple[strace.Call, str]  # the call, and what happens there
PATIENCE_S = 4.0  # seconds; then a worker that waits for a lasting error to end is stopped
NEVER = "never"  # a state: the job must not exist


class Shown(NamedTuple):
    """The states of a store's jobs, and its next id."""

    states: dict[int, str]
    next_id: int


class Outcome(NamedTuple):
    """The result of the disturbed command."""

    code: int
    said: str
    errors: str
    killed: bool
    at_ack: bool  # the disturbed call prints the id
    twin: subprocess.CompletedProcess[str] | None = None  # the same command beside it, without a fault


Check = Callable[[Path, Outcome], Iterable[str]]


class Workload(NamedTuple):
    """A command on a store that `prepare` makes; `moved` is the job that it changes: id, state before and after."""

    name: str
    prepare: Callable[[Path], None]
    command: Callable[[Path], list[str]]
    adds: int = 0
    moved: tuple[int, str, str] | None = None
    works: bool = False  # is a worker
    has_twin: bool = False  # the same command runs beside it
    check: Check = lambda _store, _outcome: ()  # yields what else is wrong afterwards


# -- the stores before the command ------------------------------------------------------------------------


def shown(store: Path) -> Shown:
    """Return the jobs as a process that starts now sees them."""
    queue = Queue(str(store))
    states = {job.id: str(job.state) for job in queue.jobs()}
    states |= {job.id: str(job.state) for job in queue.finished()}
    next_id = queue.store.state.next_id
    queue.store.close()
    return Shown(states, next_id)


def nothing(store: Path) -> None:
    """Make no store."""


def five(store: Path) -> None:
    """Make a store of five jobs, two of them cancelled."""
    queue = Queue(str(store))
    for n in range(5):
        queue.add("true", name="night" if n == 2 else None)
    queue.cancel([2, 4])
    queue.store.save_environment(
        environment(store)
    )  # the environment of the commands: an add that finds it does not write it
    queue.store.close()


def second_generation(store: Path) -> None:
    """Make the store of five jobs, compact it (cancelled jobs are in `finished/` then), and add a job."""
    five(store)
    compaction.compact(str(store), clock.now())
    Queue(str(store)).add("true")


def no_hint(store: Path) -> None:
    """Make the store of five jobs, and remove its hint."""
    five(store)
    (store / "journal.hint").unlink()


def torn(store: Path) -> None:
    """Make the store of five jobs, with half a line at the end: its writer died."""
    five(store)
    with (store / "journal.jsonl").open("ab") as f:
        f.write(b'{"seq":9,"at":1,"ops":[{"op":"ad')


def unsettled(store: Path) -> None:
    """Make the store of five jobs, with a whole transaction behind the hint."""
    five(store)
    hint = (store / "journal.hint").read_bytes()
    Queue(str(store)).add("true")
    (store / "journal.hint").write_bytes(hint)


def work(store: Path) -> None:
    """Make a store of two jobs that note each of their runs, one of them with a retry."""
    queue = Queue(str(store))
    for retries in (0, 1):
        queue.add(f"echo $JOBQ_JOB_ID $JOBQ_JOB_ATTEMPT >> {store.parent}/runs", retries=retries)
    queue.store.close()


def jobq(*words: str) -> Callable[[Path], list[str]]:
    """Return a function that makes the command line of the real command."""
    return lambda _store: strace.jobq(*words)


def compact(store: Path) -> list[str]:
    """Return the command line of a compaction, as a worker makes it."""
    return [sys.executable, "-c", COMPACT, str(store)]


WORKLOADS = [
    Workload("init", nothing, jobq("add", "true"), adds=1),
    Workload("add", five, jobq("add", "true"), adds=1),
    Workload("add with another environment", five, jobq("add", "--env", "A=1", "true"), adds=1),
    Workload("add a name", five, jobq("add", "--name", "day", "true"), adds=1),
    Workload("add, hint lost", no_hint, jobq("add", "true"), adds=1),
    Workload("add, torn tail", torn, jobq("add", "true"), adds=1),
    Workload("add, unsettled tail", unsettled, jobq("add", "true"), adds=1),
    Workload("cancel", five, jobq("cancel", "1"), moved=(1, "queued", "cancelled")),
    Workload("requeue", five, jobq("requeue", "2"), moved=(2, "cancelled", "queued")),
    Workload("requeue an old one", second_generation, jobq("requeue", "2"), moved=(2, "cancelled", "queued")),
    Workload("rm", five, jobq("rm", "4"), moved=(4, "cancelled", NEVER)),
    Workload("rm an old one", second_generation, jobq("rm", "4"), moved=(4, "cancelled", NEVER)),
    Workload("compaction", five, compact),
    Workload("compaction again", second_generation, compact),
    Workload("worker", work, jobq("worker", "--drain", "-j", "2"), works=True),
]


# -- one fault --------------------------------------------------------------------------------------


class Lab:
    """Runs workloads with faults on copies of their stores."""

    def __init__(self, folder: Path, figures: Figures) -> None:
        self.store = folder / "store"
        self.template = folder / "template"
        self.runs = folder / "runs"
        self.recording = folder / "trace"
        self.figures = figures

    def prepare(self, workload: Workload) -> Shown:
        """Make the workload's store; return what it holds."""
        for path in (self.store, self.template):
            shutil.rmtree(path, ignore_errors=True)
        workload.prepare(self.store)
        before = shown(self.store) if self.store.exists() else Shown({}, 1)
        if self.store.exists():
            self.store.rename(self.template)
        return before

    def fresh(self) -> None:
        """Replace the store with a fresh copy of the workload's store."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.runs.unlink(missing_ok=True)
        if self.template.exists():
            shutil.copytree(self.template, self.store, copy_function=shutil.copy2)

    def points(self, workload: Workload) -> list[strace.Call]:
        """Return each call that touches the store or prints the acknowledgement, from a run without faults."""
        self.fresh()
        strace.trace(workload.command(self.store), self.recording, environment(self.store))
        found: dict[tuple[str, int], strace.Call] = {}
        for call in strace.read(self.recording):
            if str(self.store) in call.text or (call.name == "write" and call.text.startswith(("1<", "2<"))):
                found.setdefault((call.name, call.index), call)
        return sorted(found.values(), key=lambda call: (call.name, call.index))

    def disturb(self, workload: Workload, call: strace.Call, how: str, before: Shown) -> None:
        """Run the workload with this fault at this call, and check the store."""
        self.fresh()
        fault = f"{call.name}:{how}"
        said = []
        try:
            said = list(self.complaints(workload, self.run(workload, call, fault), before))
        except subprocess.TimeoutExpired:
            said = ["it hangs"]
        except (JobqError, AssertionError, OSError, ValueError) as e:
            said = [f"{type(e).__name__}: {e}"]
        finally:
            self.end_processes()
        self.figures.n += 1
        self.figures.bad += [f"{workload.name}, {fault}: {complaint}" for complaint in said]

    def run(self, workload: Workload, call: strace.Call, fault: str) -> Outcome:
        """Run the command with the fault at this call, and its twin beside it, below strace, too: it is as slow."""
        command, env = workload.command(self.store), environment(self.store)
        with ThreadPoolExecutor(1) as pool:
            twin = (
                pool.submit(strace.trace, command, self.recording.with_name("twin"), env) if workload.has_twin else None
            )
            done = strace.trace(
                command,
                self.recording,
                env,
                "-e",
                f"inject={fault}",
                patience=PATIENCE_S if workload.works else None,
            )
            killed = done.returncode in {-9, 137}
            at_ack = call.name == "write" and call.text.startswith(("1<", "2<"))
            beside = twin.result() if twin is not None else None
            return Outcome(done.returncode, done.stdout, done.stderr, killed, at_ack, beside)

    def end_processes(self) -> None:
        """Wait for the supervisors of a killed worker: they end by themselves, and end their jobs."""
        if self.store.exists():
            wait_until(lambda: not supervisors(self.store) and not marked(self.store))

    # -- the checks afterwards ----------------------------------------------------------------------

    def complaints(self, workload: Workload, outcome: Outcome, before: Shown) -> Iterator[str]:
        """Yield everything that is wrong after the fault."""
        if "Traceback" in outcome.errors:
            yield "traceback: " + outcome.errors.strip().rpartition("\n")[2]
        if "cannot open shared object file" in outcome.errors:
            pass  # Python itself could not be loaded: jobq has not begun
        elif not outcome.killed and outcome.code not in EXIT_CODES:
            yield f"exit code {outcome.code}: {outcome.errors[-200:]}"
        self.end_processes()
        after = shown(self.store)
        yield from self.changes(workload, outcome, before, after)
        yield from workload.check(self.store, outcome)
        yield from sound(self.store, after)
        if workload.works:
            yield from self.drained(before)
        compaction.compact(str(self.store), clock.now())
        missing = after.states.keys() - shown(self.store).states.keys()
        if missing:
            yield f"compaction lost {missing}"
        yield from problems(self.store)

    def changes(self, workload: Workload, outcome: Outcome, before: Shown, after: Shown) -> Iterator[str]:
        """Yield each difference between the acknowledged changes and the stored ones."""
        refused = not outcome.killed and outcome.code != 0 and not outcome.at_ack
        new = after.states.keys() - before.states.keys()
        acknowledged = {int(line) for line in outcome.said.splitlines() if line.isdecimal()} if workload.adds else set()
        gone = before.states.keys() - after.states.keys()
        if workload.moved is not None:
            job, old, moved = workload.moved
            state = after.states.get(job, NEVER)
            gone -= {job}
            if state not in {old, moved}:
                yield f"job {job} is {state}"
            if (outcome.code == 0 and state != moved) or (refused and state != old):
                yield f"exit code {outcome.code}, but job {job} is {state}: {outcome.errors[:120]}"
        if gone:
            yield f"lost: {gone}"
        if acknowledged - new:
            yield f"acknowledged and lost: {acknowledged - new}"
        if after.next_id < before.next_id:
            yield f"the next id fell from {before.next_id} to {after.next_id}"
        if len(new) > workload.adds or (outcome.code == 0 and not outcome.killed and len(new) != workload.adds):
            yield f"exit code {outcome.code}, but {len(new)} new jobs"
        if refused and new:
            yield f"refused ({outcome.code}), but stored: {outcome.errors[:160]}"

    def drained(self, before: Shown) -> Iterator[str]:
        """Drain the store with a second worker; no attempt may run twice, and no job without retries."""
        done = subprocess.run(
            [sys.executable, "-m", "jobq", "worker", "--drain"], env=environment(self.store),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode not in {0, 1} or "Traceback" in done.stderr:
            yield f"the next worker: exit {done.returncode} {done.stderr[-200:]}"
        for job, state in shown(self.store).states.items():
            if job in before.states and not State(state).final:
                yield f"job {job} is {state} after a drain"
        runs = Counter(self.runs.read_text().split("\n")[:-1] if self.runs.exists() else [])
        if runs and max(runs.values()) > 1:
            yield f"an attempt ran twice: {runs}"
        if sum(count for run, count in runs.items() if run.startswith("1 ")) > 1:
            yield f"a job without retries ran twice: {runs}"
        folders = [path.name for path in (self.store / "workers").glob("[!.]*")]
        if folders:
            yield f"folders of workers are left: {folders}"


def problems(store: Path) -> Iterator[str]:
    """Yield what `jobq doctor` would report."""
    queue = Queue(str(store))
    yield from (f"doctor: {problem}" for problem in check.problems(queue.store))
    queue.store.close()


def sound(store: Path, after: Shown) -> Iterator[str]:
    """Check the store, and add a job, which must get a new id."""
    if store.exists() and (store / "journal.jsonl").exists():
        yield from problems(store)
    queue = Queue(str(store))
    job = queue.add("true")
    queue.store.close()
    if job.id in after.states or job.id < after.next_id:
        yield f"id {job.id} is given twice"


def disturb_all(
    bench: Bench, hows: Callable[[strace.Call], list[str]], quick: int, workloads: Sequence[Workload] = WORKLOADS
) -> Figures:
    """Run every workload with every fault at every call; the quick form takes a sample."""
    figures = Figures()
    lab = Lab(bench.folder, figures)
    with no_umask():
        for workload in workloads if bench.full else [w for w in workloads if not w.works]:
            before = lab.prepare(workload)
            faults = [(call, how) for call in lab.points(workload) for how in hows(call)]
            if workload.works:  # its pipes never return these errors; for a full disk see disk-full-job-ends
                faults = [(call, how) for call, how in faults if call.name != "write" or "error" not in how]
            chosen = faults if bench.full else sample(bench, workload, faults, quick)
            for call, how in chosen:
                lab.disturb(workload, call, how, before)
    figures.note = f"{len(workloads)} commands" if bench.full else "a sample"
    return figures


def sample(bench: Bench, workload: Workload, faults: list[Fault], count: int) -> list[Fault]:
    """Choose some of the faults, one of them at the journal if that is written; if the store is new, only writes, but more of them."""
    if workload.prepare is nothing:
        writes = [fault for fault in faults if fault[0].name == "pwrite64"]
        return bench.dice.sample(writes, min(3 * count, len(writes)))
    at_journal = [fault for fault in faults if is_at_journal(*fault)]
    certain = [bench.dice.choice(at_journal)] if at_journal else []
    return [*certain, *bench.dice.sample(faults, min(count if certain else 1, len(faults)))]


def is_at_journal(call: strace.Call, how: str) -> bool:
    """Return True if the fault hits the write that makes the change; a kill between write and sync does not undo it."""
    name = re.match(r"\d+<[^>]*/(journal\.jsonl|journal\.next)[^>]*>", call.text)
    return name is not None and (call.name == "pwrite64" or (call.name == "fdatasync" and "KILL" not in how))


@contextlib.contextmanager
def no_umask() -> Iterator[None]:
    """Set a umask that lets copies keep their modes."""
    old = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(old)


@case(
    "kill-every-write",
    "1",
    "store",
    "SIGKILL at every write point of init, add, cancel, requeue, rm, compaction, worker",
)
def kill_at_every_write(bench: Bench) -> Figures:
    return disturb_all(bench, lambda call: [f"signal=KILL:when={call.index}"], quick=2)


@case("error-every-write", "3", "store", "an error at every write point, once and permanently")
def fail_every_write(bench: Bench) -> Figures:
    return disturb_all(
        bench,
        lambda call: [
            f"error={error}:when={call.index}{ever}"
            for at, error in enumerate(ERRORS.get(call.name, ()))
            for ever in (
                ("", "+") if at == 0 else ("",)
            )  # permanently, only the first error: which one makes no difference
        ],
        quick=2,
    )


SEEDS = [
    Seed(
        harness="kill-every-write",
        fault="acknowledged before it is written",
        file="commands/quick_add.py",
        old="            commit(root, journal, hint, lines, hint.next_id + 1)\n",
        new="            acknowledge(str(hint.next_id))\n            commit(root, journal, hint, lines, hint.next_id + 1)\n",
        caught_by="kill-every-write",
    ),
    Seed(
        harness="kill-every-write",
        fault="a new store is written in place",
        file="store/folder.py",
        old='temp = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"',
        new="temp = name",
        caught_by="kill-every-write",
    ),
    Seed(
        harness="error-every-write",
        fault="a failed write is ignored",
        file="store/writer.py",
        old="        raise NotSaved(path, e, undone=cut(fd, at)) from None",
        new="        return",
        caught_by="error-every-write",
    ),
    Seed(
        harness="error-every-write",
        fault="data whose sync failed stays in the journal",
        file="store/writer.py",
        old="raise SyncFailed(path, e, undone=cut(fd, at))",
        new="raise SyncFailed(path, e)",
        caught_by="error-every-write",
    ),
]
