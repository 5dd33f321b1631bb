"""Process trees, killed workers and supervisors, timeouts, retries, output: the promises about running jobs.

The cases find every tree from outside, in /proc, by the environment that all its processes inherit; they do not use what
jobq knows of it. The worker runs as root or as an ordinary user, and without what a system may lack: /proc,
pidfd_open(2), child subreapers. Times are wall-clock times of one machine, exact to about 10 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

from jobq.engine.local.evidence import SupervisorFiles
from jobq.errors import WaitTimeout
from jobq.job import Job, Outcome, State
from jobq.rules.retry import backoff
from tests.conftest import Cli, wait_until
from tests.faults.case import ROOT, Bench, Figures, Run, Skipped, case, environment, need_linux, need_root, need_tool
from tests.faults.seed import Seed
from tests.helpers.jobs import MEMBERS, PATIENT, TREES
from tests.helpers.processes import is_alive
from tests.helpers.workers import tokens

SUBJECT = "supervision"
MAX_LOST = 3  # lost attempts; after them, the job counts as what kills its supervisors
LEFTOVER_GRACE = 2.0  # seconds from TERM to KILL, for leftovers and for the jobs of a worker that stops at once
GONE_FOR = 3  # checks in a row that must find nothing: one may miss a process that forks just then

# -- worlds that lack something: called in a child before it becomes the worker -----------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 1 << 18
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER = 38, 22, 36
PIDFD_OPEN = 434  # on every architecture
PRCTL = {"x86_64": 157, "aarch64": 167}


def must(result: int) -> None:
    """Check the result of a call of the C library. Raises OSError."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def without_proc() -> None:
    """Hide /proc behind an empty directory, for this process and its children only."""
    must(LIBC.unshare(CLONE_NEWNS))
    must(LIBC.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    must(LIBC.mount(b"none", b"/proc", b"tmpfs", 0, None))


def refuse(number: int, error: int, first_argument: int | None = None) -> None:
    """Make a system call fail with `error` in this process and its children, by seccomp(2)."""
    load, equal, give = 0x20, 0x15, 0x06  # BPF: load a word, jump if equal, return
    test = [(load, 0, 0, 0), (equal, 0, 1, number)]
    if first_argument is not None:
        test = [(load, 0, 0, 0), (equal, 0, 3, number), (load, 0, 0, 16), (equal, 0, 1, first_argument)]
    steps = [*test, (give, 0, 0, 0x00050000 | error), (give, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    must(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    must(LIBC.prctl(PR_SET_SECCOMP, 2, program, 0, 0))


def without_pidfd() -> None:
    """Make pidfd_open(2) fail, as before Linux 5.3."""
    refuse(PIDFD_OPEN, 38)


def without_subreaper() -> None:
    """Make prctl(2) refuse to set a child subreaper, as before Linux 3.4 or without ctypes."""
    refuse(PRCTL[os.uname().machine], 22, PR_SET_CHILD_SUBREAPER)


def without_anything() -> None:
    """Hide /proc, and make both calls fail."""
    without_proc()
    without_subreaper()
    without_pidfd()


World = Callable[[], object]


def start_worker(cli: Cli, *words: str, world: World | None = None, **options: object) -> subprocess.Popen[str]:
    """Start a worker in that world; return when it listens. Its output is thrown away by default."""
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
    before = set(tokens(cli.queue))
    process = cli.start("worker", *words, preexec_fn=world, **options)
    wait_until(lambda: set(tokens(cli.queue)) - before or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


INSIDE = """
import importlib, json, sys
from dataclasses import asdict
from pathlib import Path
from tests.faults.case import Bench
folder, full, module, function = sys.argv[1:]
bench = Bench(Path(folder), full=full == "True")
try:
    print(json.dumps(asdict(getattr(importlib.import_module(module), function)(bench))))
finally:
    bench.close()
"""


def reachable(paths: Iterable[str]) -> str:
    """Return shell lines that let every user reach these directories, in a new mount namespace."""
    hidden = {}
    for path in paths:
        above = [str(p) for p in reversed(Path(path).parents) if not p.stat().st_mode & 0o001]
        if above:
            hidden[path] = above[0]
    lines = ["mount -t tmpfs none /mnt"]
    for number, path in enumerate(hidden):
        lines += [f"mkdir /mnt/{number}", f"mount --bind {shlex.quote(path)} /mnt/{number}"]
    lines += [f"mount -t tmpfs -o mode=755 none {shlex.quote(top)}" for top in sorted(set(hidden.values()))]
    for number, path in enumerate(hidden):
        lines += [f"mkdir -p {shlex.quote(path)}", f"mount --bind /mnt/{number} {shlex.quote(path)}"]
    return "\n".join(lines)


def as_user(bench: Bench, function: Run) -> Figures:
    """Run a module's function as an ordinary user in its own folder; return its figures. Raises Skipped."""
    need_linux()
    need_root()
    need_tool("unshare", "setpriv", "mount")
    own = bench.folder / "own"
    own.mkdir(mode=0o755)
    bench.folder.chmod(0o755)
    os.chown(own, 65534, 65534)
    become = 'exec setpriv --reuid 65534 --regid 65534 --clear-groups -- "$@"'
    lines = f"set -e; umask 022\n{reachable([sys.base_prefix, sys.prefix, str(ROOT), str(own)])}\n{become}"
    command = ["unshare", "--mount", "sh", "-c", lines, "sh", sys.executable]
    probe = subprocess.run(
        [*command, "-c", "import rich, tests.conftest"],
        cwd="/",
        env=environment(own / "store"),
        check=False,
        capture_output=True,
    )
    if probe.returncode:
        raise Skipped(f"another user can't run this Python: {probe.stderr.decode().strip()[-100:]}")
    done = subprocess.run(
        [*command, "-c", INSIDE, str(own), str(bench.full), function.__module__, function.__name__],
        cwd="/", env=environment(own / "store"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        return Figures(n=1, bad=[f"as an ordinary user: {done.stderr[-2000:]}"])
    return Figures(**json.loads(done.stdout))


# -- trees, seen from outside ---------------------------------------------------------------------------------------------

Attempt = tuple[int, int]  # id and number


def trees(store: Path) -> dict[Attempt, set[int]]:
    """Return the live processes of every attempt of this store, by their environment."""
    found: dict[Attempt, set[int]] = {}
    wanted = b"JOBQ_STORE=%b" % os.fsencode(store)
    for name in os.listdir("/proc"):
        try:
            variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0") if name.isdecimal() else []
        except OSError:
            continue
        if wanted in variables and is_alive(int(name)):
            told = dict(v.split(b"=", 1) for v in variables if v.startswith((b"JOBQ_JOB_ID=", b"JOBQ_JOB_ATTEMPT=")))
            if len(told) == 2:
                found.setdefault((int(told[b"JOBQ_JOB_ID"]), int(told[b"JOBQ_JOB_ATTEMPT"])), set()).add(int(name))
    return found


def clear(store: Path) -> None:
    """Kill all processes that are left, until several checks find none; stop the fork chains by a file."""
    for script in store.parent.rglob("flee.sh"):
        script.with_name("enough").touch()
    clean = 0
    while clean < 2 * GONE_FOR:
        found = [pid for pids in trees(store).values() for pid in pids]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        clean = 0 if found else clean + 1


def supervisor_of(cli: Cli, job: Job) -> int:
    """Return the pid of the running job's supervisor."""
    pid = SupervisorFiles.named(f"{cli.store}/workers", job.attempts[-1].supervisor).pid()
    assert pid is not None
    return pid


CHAIN = "(setsid sh flee.sh &) ; sleep 300"
FLEE = "[ -e enough ] && exit; echo $$ >> pids; sleep 0.02; setsid sh flee.sh & exit 0"
STOPPED = "trap 'echo heard >> heard; exit 1' TERM; echo $$ >> pids; kill -STOP $$; while :; do sleep 1; done"
SHAPES = {name: tree for name, tree in TREES.items() if name not in {"plain", "stopped"}} | {
    "stopped": STOPPED,
    "chain": CHAIN,
}
SIZES = MEMBERS | {"chain": 3}
LEAVE_THEIR_SESSION = {"setsid", "orphan", "chain"}


@dataclass
class Try:
    """A tree, and the way to end it. Times are wall-clock seconds."""

    end: str
    shape: str
    folder: Path
    job_id: int = 0
    asked_at: float = 0.0  # when its end was requested or due
    over_at: float | None = None  # when its recorded end was first seen
    gone_at: float | None = None  # when its processes were first found to have ended, permanently
    clean: int = 0  # checks in a row that found no process
    complaints: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        return f"{self.shape}, {self.end}"

    def write(self) -> str:
        """Write the files of the tree; return its command."""
        self.folder.mkdir(parents=True)
        (self.folder / "tree.sh").write_text(SHAPES[self.shape])
        (self.folder / "flee.sh").write_text(FLEE)
        if self.end == "exit":
            return "sh ./tree.sh & while ! [ -e go ]; do sleep 0.02; done"
        return "exec sh ./tree.sh"

    def is_ready(self) -> bool:
        """Return True if all processes of the tree have started."""
        pids = self.folder / "pids"
        there = pids.read_text().split() if pids.exists() else []
        if self.shape == "stopped":
            return bool(there) and Path(f"/proc/{there[0]}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return len(there) >= SIZES[self.shape]

    def look(self, job: Job, alive: bool, exempt: bool) -> bool:
        """Record a check: the job, then whether processes of it live. Return True if the try is over."""
        now = time.time()
        if job.state.final and self.over_at is None:
            self.over_at = now
        if not alive:
            self.clean += 1
            self.gone_at = self.gone_at or now
            return job.state.final and self.clean >= GONE_FOR
        self.clean, self.gone_at = 0, None
        if job.state.final and not exempt:
            self.complaints.add(f"{self}: recorded as {job.state} while processes of it live")
        if self.over_at is not None and now > self.over_at + 1.0:
            if not exempt:
                self.complaints.add(f"{self}: survivors after 1 s")
            return True
        return False


def wait_until_ready(tries: list[Try]) -> None:
    """Wait until all of these trees are complete."""
    wait_until(lambda: all(tried.is_ready() for tried in tries))


# -- the matrix -------------------------------------------------------------------------------------------------------------

ENDS = {
    "exit": (State.SUCCEEDED, Outcome.EXIT),
    "cancel": (State.CANCELLED, Outcome.CANCELLED),
    "timeout": (State.FAILED, Outcome.TIMEOUT),
    "stop": (State.FAILED, Outcome.INTERRUPTED),
    "kill": (State.FAILED, Outcome.LOST),
}  # the way to end: state and outcome
TIMEOUT = 2.0  # seconds: enough to start the whole tree


def matrix(bench: Bench, world: World | None = None, exempt: Callable[[Try], bool] = lambda _try: False) -> Figures:
    """End every shape of tree in every way; trees that are `exempt` may survive in this world, as documented."""
    need_linux()
    need_tool("setsid", "nohup")
    cli = bench.cli()
    grace = LEFTOVER_GRACE if bench.full else 0.5
    figures = Figures(limit=LEFTOVER_GRACE + 1.0)
    survived = 0
    start_worker(cli, "-j", str((len(ENDS) - 1) * len(SHAPES)), "-q", "default", world=world)
    try:
        for turn in range(bench.size(1, 12)):
            tries = [Try(end, shape, bench.folder / f"{turn}-{end}-{shape}") for end in ENDS for shape in SHAPES]
            play(cli, tries, grace, world, exempt)
            for tried in tries:
                judge(figures, tried, cli.queue.job(tried.job_id))
                survived += exempt(tried) and tried.gone_at is None
            clear(cli.store)
    finally:
        clear(cli.store)
    figures.note = f"{len(SHAPES)} shapes, {len(ENDS)} ends, grace {grace:g} s (by itself and stop: 2 s)"
    if survived:
        figures.note += f"; {survived} that left their session survived, as 'jobq doctor' says they may"
    return figures


def play(cli: Cli, tries: list[Try], grace: float, world: World | None, exempt: Callable[[Try], bool]) -> None:
    """Start all trees side by side, end each in its way, and watch them until all tries are over."""
    queue = cli.queue
    stopping = start_worker(cli, "-j", str(len(SHAPES)), "-q", "stop", world=world)
    for tried in tries:
        tried.job_id = queue.add(
            tried.write(), cwd=str(tried.folder), retries=0, grace=grace,
            timeout=TIMEOUT if tried.end == "timeout" else None, queue="stop" if tried.end == "stop" else "default",
            env=cli.env,
        ).id  # fmt: skip
    wait_until_ready([tried for tried in tries if tried.end != "timeout"])
    by_end = {end: [tried for tried in tries if tried.end == end] for end in ENDS}
    for tried in by_end["exit"]:
        tried.asked_at = time.time()
        (tried.folder / "go").touch()
    for tried in by_end["kill"]:
        tried.asked_at = time.time()
        os.kill(supervisor_of(cli, queue.job(tried.job_id)), signal.SIGKILL)
    stopping.send_signal(signal.SIGTERM)
    stopping.send_signal(signal.SIGINT)  # a second TERM might merge with the first
    for tried in by_end["stop"]:
        tried.asked_at = time.time()
    queue.cancel([tried.job_id for tried in by_end["cancel"]])
    watch(cli, tries, exempt)


def watch(cli: Cli, tries: list[Try], exempt: Callable[[Try], bool]) -> None:
    """Check the jobs, then their processes, until all tries are over."""
    queue, left = cli.queue, list(tries)
    deadline = time.monotonic() + 30
    while left:
        jobs = queue.jobs_of([tried.job_id for tried in left])
        alive = trees(cli.store)
        left = [t for t, job in zip(left, jobs, strict=True) if not t.look(job, (t.job_id, 1) in alive, exempt(t))]
        if time.monotonic() > deadline:
            for tried in left:
                tried.complaints.add(f"{tried}: has not ended after 30 s")
            return


def judge(figures: Figures, tried: Try, job: Job) -> None:
    """Count the try: its complaints, its recorded end, and the seconds that it took."""
    figures.n += 1
    figures.bad += sorted(tried.complaints)
    ending = job.ending
    if ending is None:
        return
    figures.check((job.state, ending.outcome) == ENDS[tried.end], f"{tried}: recorded as {job.state}, {ending}")
    if tried.shape == "stopped" and tried.end != "kill" and (tried.folder / "pids").exists():
        figures.check((tried.folder / "heard").exists(), f"{tried}: it got no TERM, because no CONT followed")
    if tried.end == "cancel":
        tried.asked_at = job.cancel_asked_at or 0.0
    elif tried.end == "timeout":
        tried.asked_at = (ending.started_at or 0.0) + TIMEOUT
    if tried.gone_at is not None:
        figures.times.append(max(0.0, tried.gone_at - tried.asked_at))


@case("tree-survivors", "25", SUBJECT, "six shapes of tree, five ways to end: processes that survive")
def trees_end(bench: Bench) -> Figures:
    return matrix(bench)


@case("tree-survivors-without-proc", "25b", SUBJECT, "trees end without /proc: processes that survive")
def trees_end_without_proc(bench: Bench) -> Figures:
    need_root()
    return matrix(bench, without_proc, lambda tried: tried.shape in LEAVE_THEIR_SESSION)


@case("tree-survivors-without-pidfd", "25c", SUBJECT, "trees end without pidfd_open: processes that survive")
def trees_end_without_pidfd(bench: Bench) -> Figures:
    return matrix(bench, without_pidfd)


@case("tree-survivors-as-user", "25d", SUBJECT, "trees end as an ordinary user: processes that survive")
def trees_end_as_user(bench: Bench) -> Figures:
    return as_user(bench, matrix)


# -- deaths of workers and supervisors ----------------------------------------------------------------------------------


def patient(cli: Cli, folder: Path, count: int) -> list[int]:
    """Add jobs that note their start, go on when the file `go` exists, and note their end."""
    folder.mkdir()
    return [cli.queue.add(PATIENT.format(n), cwd=str(folder), env=cli.env, grace=0.5).id for n in range(count)]


def began(folder: Path, n: int) -> int:
    """Return how often that job was started."""
    note = folder / f"began.{n}"
    return len(note.read_text().split()) if note.exists() else 0


def killed(process: subprocess.Popen[str]) -> None:
    """Kill the process and reap it."""
    process.kill()
    process.wait()


@case(
    "worker-killed-adopted",
    "22",
    SUBJECT,
    "worker killed with 4 running jobs: adopted by a live worker, by a new one, or recorded after their end",
)
def worker_killed(bench: Bench) -> Figures:
    figures = Figures(limit=2.0)
    for turn in range(bench.size(1, 15)):
        for successor in ("alive", "new", "late"):
            take_over(bench, bench.folder / f"{turn}-{successor}", successor, figures)
    figures.note = "seconds until adopted, or until the ends are recorded"
    return figures


def take_over(bench: Bench, folder: Path, successor: str, figures: Figures) -> None:
    """Kill a worker; another is alive, starts at once, or starts after the jobs have ended. Cancel one of the four."""
    cli = bench.cli()
    ids = patient(cli, folder, 4)
    first = start_worker(cli, "-j", "4")
    wait_until(lambda: all(began(folder, n) for n in range(4)))
    second = start_worker(cli, "-j", "4") if successor == "alive" else None
    (old,) = {job.attempts[-1].owner for job in cli.queue.jobs_of(ids)}
    killed(first)
    if successor == "late":
        (folder / "go").touch()
        wait_until(lambda: not trees(cli.store))
        wait_until(
            lambda: (
                not any(
                    SupervisorFiles.named(f"{cli.store}/workers", j.attempts[-1].supervisor).is_alive()
                    for j in cli.queue.jobs_of(ids)
                )
            )
        )
    since = time.monotonic()
    second = second or cli.start("worker", "-j", "4")
    wait_until(lambda: all(job.state.final or job.attempts[-1].owner != old for job in cli.queue.jobs_of(ids)))
    figures.times.append(time.monotonic() - since)
    if successor != "late":
        cli.queue.cancel(ids[3:])
        wait_until(lambda: cli.queue.job(ids[3]).state.final)
        figures.check((ids[3], 1) not in trees(cli.store), f"{successor}: the cancelled job is still alive")
        (folder / "go").touch()
    jobs = cli.queue.wait_all(ids, timeout=30)
    expected = [State.SUCCEEDED] * 3 + [State.SUCCEEDED if successor == "late" else State.CANCELLED]
    figures.n += 4
    figures.check(
        [job.state for job in jobs] == expected, f"{successor}: the ends are {[str(job.ending) for job in jobs]}"
    )
    figures.check([began(folder, n) for n in range(4)] == [1] * 4, f"{successor}: a job ran twice")
    second.send_signal(signal.SIGTERM)
    figures.check(second.wait(30) == 0, f"{successor}: the second worker exits with {second.returncode}")


@case("supervisor-killed", "26", SUBJECT, "supervisor killed: the rest of its tree is killed before the job runs again")
def supervisor_killed(bench: Bench) -> Figures:
    need_linux()
    need_tool("flock", "setsid")
    cli, figures = bench.cli(), Figures(limit=2.0)
    start_worker(cli, "-j", str(2 * len(SHAPES)))
    # The whole tree of the first attempt holds a lock that the second attempt tries to take.
    guard = "exec 9>>held; flock -n 9 || echo x >> overlap; echo x >> starts; [ $JOBQ_JOB_ATTEMPT = 1 ] || exit 0; "
    try:
        for turn in range(bench.size(1, 12)):
            tries = [
                Try(f"kill{retries}", shape, bench.folder / f"{turn}-{shape}-{retries}")
                for shape in SHAPES
                for retries in (0, 1)
            ]
            for tried in tries:
                tried.job_id = cli.queue.add(
                    guard + tried.write(), cwd=str(tried.folder), retries=int(tried.end[-1]), env=cli.env
                ).id
            wait_until_ready(tries)
            for tried in tries:
                tried.asked_at = time.time()
                os.kill(supervisor_of(cli, cli.queue.job(tried.job_id)), signal.SIGKILL)
            watch(cli, tries, lambda _tried: False)
            for tried in tries:
                judge_lost(figures, tried, cli.queue.job(tried.job_id))
    finally:
        clear(cli.store)
    return figures


def judge_lost(figures: Figures, tried: Try, job: Job) -> None:
    """Check that the first attempt is lost, and that there is a second one only with a retry left."""
    retries = int(tried.end[-1])
    figures.n += 1
    figures.bad += sorted(tried.complaints)
    first = job.attempts[0].ending
    figures.check(first is not None and first.outcome is Outcome.LOST, f"{tried}: recorded as {first}")
    figures.check(job.state is (State.SUCCEEDED if retries else State.FAILED), f"{tried}: the job has {job.state}")
    starts = (tried.folder / "starts").read_text().count("x")
    figures.check(starts == 1 + retries, f"{tried}: started {starts} times with {retries} retries")
    figures.check(not (tried.folder / "overlap").exists(), f"{tried}: the second attempt ran beside the first one")
    if tried.gone_at is not None:
        figures.times.append(max(0.0, tried.gone_at - tried.asked_at))


@case(
    "job-kills-supervisor",
    "52",
    SUBJECT,
    "a job that kills its supervisor and its worker: it fails in the end, and the others go on",
)
def poison_pill(bench: Bench) -> Figures:
    need_linux()
    cli, figures = bench.cli(), Figures()
    pill = "echo x >> starts; read -r _ _ _ worker _ < /proc/$PPID/stat; kill -9 $worker $PPID; sleep 60"
    pills = [cli.queue.add(pill, cwd=str(bench.folder), retries=100, env=cli.env).id for _ in range(bench.size(1, 4))]
    others = [cli.queue.add("sleep 0.1; echo x >> others", cwd=str(bench.folder), env=cli.env).id for _ in range(8)]
    deaths = 0
    worker = start_worker(cli, "-j", "2")
    deadline = time.monotonic() + 120
    while not all(job.state.final for job in cli.queue.jobs_of(pills)) and time.monotonic() < deadline:
        if worker.poll() is not None:  # as a service manager starts it again
            deaths += 1
            worker = cli.start("worker", "-j", "2")
        time.sleep(0.02)
    for job in cli.queue.jobs_of(pills):
        figures.check(job.state is State.FAILED, f"pill {job.id} is {job.state} after {len(job.attempts)} attempts")
        figures.check(
            len(job.attempts) == MAX_LOST,
            f"pill {job.id}: {len(job.attempts)} attempts, at most {MAX_LOST} may be lost",
        )
    worker = worker if worker.poll() is None else cli.start("worker", "-j", "2")
    states = [job.state for job in cli.queue.wait_all(others, timeout=60)]
    figures.check(states == [State.SUCCEEDED] * 8, f"the others: {states}")
    figures.n = (bench.folder / "starts").read_text().count("x")
    figures.check(figures.n == MAX_LOST * len(pills), f"{figures.n} executions of {len(pills)} pills")
    figures.check(not trees(cli.store), f"left: {trees(cli.store)}")
    figures.note = f"{len(pills)} pills, {deaths} workers killed; executions of others {(bench.folder / 'others').read_text().count('x')} for 8 jobs"
    return figures


@case(
    "worker-signals-blocked",
    "49b",
    SUBJECT,
    "a worker that was started with its stop signals blocked: seconds until it has ended",
)
def blocked_signals(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures(limit=2.0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        worker = start_worker(cli, world=partial(signal.pthread_sigmask, signal.SIG_BLOCK, [number]))
        since = time.monotonic()
        worker.send_signal(number)
        figures.n += 1
        try:
            worker.wait(5)
            figures.times.append(time.monotonic() - since)
        except subprocess.TimeoutExpired:
            figures.bad.append(f"it does not react to {number.name}")
            killed(worker)
    return figures


# -- time -----------------------------------------------------------------------------------------------------------------


def since_boot() -> float:
    """Return the seconds since boot, as in /proc/uptime."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@case(
    "clock-jumps-timeout", "30", SUBJECT, "the wall clock jumps by an hour during a timeout of 1 s and a backoff of 1 s"
)
def clock_jumps(bench: Bench) -> Figures:
    need_linux()
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        raise Skipped("needs libfaketime")
    figures = Figures(limit=bench.size(10, 1) / 2)
    for turn in range(bench.size(1, 15)):
        for jump in ("+1h", "-1h"):
            jump_once(bench, f"{turn}{jump}", jump, libraries[0], figures)
    figures.note = (
        "distance from 1 s: of the kill, or (from 1.05 s) of the retry; all clocks but the wall clock are real"
    )
    return figures


def jump_once(bench: Bench, name: str, jump: str, library: Path, figures: Figures) -> None:
    """Run two jobs into their timeout, and one that fails once; meanwhile the clock of their worker jumps.

    No other process may use the store: the worker would wait for the lock with sleep(3), which fails below libfaketime.
    """
    cli, folder = bench.cli(f"store{name}"), bench.folder / name
    folder.mkdir()
    clock = folder / "clock"
    clock.write_text("+0")
    note = "read -r up _ < /proc/uptime; echo $up >> {}; "
    slow = {
        cli.queue.add(
            note.format(n) + "exec sleep 60", retries=0, timeout=1.0, grace=0.2, cwd=str(folder), env=cli.env
        ).id: folder / str(n)
        for n in range(2)
    }
    again = cli.queue.add(note.format("again") + "exit 1", retries=1, cwd=str(folder), env=cli.env).id
    notes = [*slow.values(), folder / "again"]
    fake = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
    }
    start_worker(cli, "-j", "3", "--drain", env=cli.env | fake)
    wait_until(lambda: all(note.exists() and note.read_text() for note in notes))
    wait_until(lambda: cli.queue.job(again).retries_used)  # the backoff has begun
    clock.write_text(jump)
    late = bench.size(10, 1) / 2  # seconds; other cases run beside the quick form, and may hold up everything
    left = dict(slow)
    while left:
        alive = trees(cli.store)
        for job_id in [job_id for job_id in left if (job_id, 1) not in alive]:
            took = since_boot() - float(left.pop(job_id).read_text())
            figures.n += 1
            figures.times.append(abs(took - 1.0))
            figures.check(-0.5 < took - 1.0 < late, f"{jump}: killed after {took:.2f} s instead of 1 s")
    wait_until(lambda: not trees(cli.store) and len((folder / "again").read_text().split()) == 2)
    first, second = map(float, (folder / "again").read_text().split())
    figures.n += 1
    figures.times.append(abs(second - first - 1.05))
    took = second - first
    figures.check(0.98 <= took <= 1.7 + late, f"{jump}: retried after {took:.2f} s instead of 1 to 1.1 s")
    outcomes = [job.ending and job.ending.outcome for job in cli.queue.wait_all([*slow, again], timeout=30)]
    figures.check(outcomes == [Outcome.TIMEOUT] * 2 + [Outcome.EXIT], f"{jump}: recorded as {outcomes}")


@case(
    "timeout-overrun",
    "31",
    SUBJECT,
    "timeouts: seconds that a job runs beyond its timeout, or beyond timeout and grace if it ignores TERM",
)
def timeouts(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures(limit=1.0)
    count, timeout, grace = bench.size(8, 400), 0.3, 0.3
    deaf = "trap '' TERM; while :; do sleep 60; done"
    ids = {
        cli.queue.add(["sleep 60", deaf][n % 2], retries=0, timeout=timeout, grace=grace, env=cli.env).id: n % 2
        for n in range(count)
    }
    start_worker(cli, "-j", "8")
    for job in cli.queue.wait_all(list(ids), timeout=120):
        figures.n += 1
        ending = job.ending
        assert ending is not None
        figures.check(ending.outcome is Outcome.TIMEOUT, f"job {job.id}: {ending}")
        over = (ending.ended_at or 0.0) - (ending.started_at or 0.0) - timeout - grace * ids[job.id]
        figures.times.append(over)
        figures.check(over > -0.01, f"job {job.id} was killed {-over:.3f} s too early")
    return figures


@case("retry-delay", "32", SUBJECT, "retries: seconds that a retry starts after the backoff and its longest jitter")
def retries(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures(limit=1.0)
    count, most = bench.size(12, 200), bench.size(1, 3)
    ids = [cli.queue.add("exit 1", retries=most, env=cli.env).id for _ in range(count)]
    start_worker(cli, "-j", "8")
    for job in cli.queue.wait_all(ids, timeout=120):
        endings = [attempt.ending for attempt in job.attempts if attempt.ending is not None]
        figures.check(len(endings) == 1 + most, f"job {job.id}: {len(endings)} attempts")
        for n, (before, after) in enumerate(pairwise(endings), 1):
            waited = (after.started_at or 0.0) - (before.ended_at or 0.0)
            figures.n += 1
            figures.check(waited >= backoff(job.spec, n, 0.0), f"job {job.id}: retry {n} after {waited:.3f} s")
            figures.times.append(max(0.0, waited - backoff(job.spec, n, 1.0)))
    return figures


@case(
    "daemon-keeps-output",
    "36",
    SUBJECT,
    "a daemon that keeps the output open: seconds until the end is recorded and the daemon has ended",
)
def daemon_keeps_output(bench: Bench) -> Figures:
    need_linux()
    need_tool("setsid")
    cli, figures = bench.cli(), Figures(limit=2.5)
    kinds = {"obedient": "sleep 60", "deaf": "sh -c 'trap \"\" TERM; sleep 60'"}
    start_worker(cli, "-j", "4")
    ids: dict[int, str] = {}
    for _ in range(bench.size(2, 40)):
        for kind, daemon in kinds.items():
            ids[cli.queue.add(f"(setsid {daemon} &); sleep 0.2; date +%s.%N", env=cli.env, retries=0).id] = kind
    obedient = []
    for job_id, kind in ids.items():
        job = cli.queue.wait(job_id, timeout=120)
        figures.check((job_id, 1) not in trees(cli.store), f"{kind}: alive after the end is recorded")
        figures.check(job.state is State.SUCCEEDED, f"{kind}: {job.ending}")
        took = (job.finished_at or 0.0) - float(Path(cli.queue.store.logs.path(job_id, 1)).read_text().split()[0])
        figures.n += 1
        figures.times.append(took)
        if kind == "obedient":
            obedient.append(took)
    figures.check(
        sorted(obedient)[len(obedient) // 2] < 0.5, f"the end of an obedient daemon is recorded after {obedient} s"
    )
    figures.note = f"daemons that obey TERM: at most {max(obedient) * 1000:.0f} ms; others get 2 s"
    return figures


# -- poor worlds ------------------------------------------------------------------------------------------------------------


@case(
    "platform-features-missing",
    "59",
    SUBJECT,
    "no /proc, no pidfd_open, no subreaper, no root: failures of jobs, timeouts, leftovers, cancel, adoption",
)
def poor_worlds(bench: Bench) -> Figures:
    need_linux()
    need_root()
    figures = poor(
        bench,
        [without_anything] if not bench.full else [without_anything, without_proc, without_pidfd, without_subreaper],
    )
    if bench.full:
        user = as_user(bench, poor_user)
        figures.n, figures.bad = figures.n + user.n, [*figures.bad, *user.bad]
    return figures


def poor_user(bench: Bench) -> Figures:
    """Run the worlds that an ordinary user can make."""
    return poor(bench, [without_pidfd, without_subreaper])


def poor(bench: Bench, worlds: Iterable[World]) -> Figures:
    """Run one round of everything in each world."""
    figures = Figures()
    for world in worlds:
        cli = bench.cli(f"store-{world.__name__}")
        folder = bench.folder / world.__name__
        try:
            ends = ordinary_day(cli, folder, world)
        finally:
            clear(cli.store)
        for what, (found, expected) in ends.items():
            figures.n += 1
            figures.check(found == expected, f"{world.__name__}: {what}: {found} instead of {expected}")
    return figures


def ordinary_day(cli: Cli, folder: Path, world: World) -> dict[str, tuple[object, object]]:
    """Run a few jobs in the world; return what was found and what was expected, by name."""
    queue, asked = cli.queue, {"env": cli.env, "retries": 0, "grace": 0.3}
    adopted = patient(cli, folder, 1)[0]
    first = start_worker(cli, "-j", "2", world=world)
    wait_until(lambda: began(folder, 0))
    old = queue.job(adopted).attempts[-1].owner
    killed(first)
    output = queue.add("echo said; exit 3", **asked)  # type: ignore[arg-type]
    slow = queue.add("sleep 60", timeout=0.3, **asked)  # type: ignore[arg-type]
    leftover = queue.add("sleep 60 & sleep 60 &", **asked)  # type: ignore[arg-type]
    endless = queue.add("sleep 60 & sleep 60", **asked)  # type: ignore[arg-type]
    start_worker(cli, "-j", "4", world=world)
    wait_until(lambda: queue.job(adopted).attempts[-1].owner != old)
    (folder / "go").touch()
    wait_until(lambda: queue.job(endless.id).state is State.RUNNING and trees(cli.store).get((endless.id, 1)))
    queue.cancel([endless.id])
    jobs = queue.wait_all([adopted, output.id, slow.id, leftover.id, endless.id], timeout=30)
    said = cli.start("log", str(output.id), preexec_fn=world).communicate()[0]
    doctor = cli.start("doctor", preexec_fn=world)
    told = doctor.communicate()[1]
    ends = dict(zip(["adopted", "output", "timeout", "leftover", "cancel"], jobs, strict=True))
    expected = [Outcome.EXIT, Outcome.EXIT, Outcome.TIMEOUT, Outcome.EXIT, Outcome.CANCELLED]
    return {
        **{
            name: (job.ending and job.ending.outcome, outcome)
            for (name, job), outcome in zip(ends.items(), expected, strict=True)
        },
        "runs of the adopted one": (began(folder, 0), 1),
        "exit code": (jobs[1].exit_code, 3),
        "log": (said, "said\n"),
        "doctor": (doctor.returncode, 0),
        "doctor warns": ("/proc can't be read" in told, world in {without_proc, without_anything}),
        "left": (trees(cli.store), {}),
    }


# -- output -----------------------------------------------------------------------------------------------------------------


def peak_rss(pid: int) -> int:
    """Return the highest memory of the process so far, in KiB."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0])


@case(
    "large-output-memory",
    "34",
    SUBJECT,
    "much output, with and without newlines: memory of worker and supervisor, seconds of log --tail",
)
def much_output(bench: Bench) -> Figures:
    need_linux()
    cli, figures = bench.cli(), Figures(limit=2.0)
    size = bench.size(64, 1024) << 20
    worker = start_worker(cli, "-j", "1")
    cli.queue.wait(cli.queue.add("echo warm; exit 0", env=cli.env).id, timeout=30)
    holders = {
        "worker": worker.pid,
        "supervisor": int(next((cli.store / "workers").glob("*/0.lock")).read_text().split()[0]),
    }
    before = {name: peak_rss(pid) for name, pid in holders.items()}
    grown = dict.fromkeys(holders, 0)
    for command in (f"yes 0123456789abcdef | head -c {size}", f"head -c {size} /dev/zero"):
        job = cli.queue.wait(cli.queue.add(command, env=cli.env, retries=0, log_max=2 * size).id, timeout=300)
        figures.n += 1
        figures.check(job.ending is not None and job.ending.log_bytes == size, f"{command}: {job.ending}")
        for name, pid in holders.items():
            grown[name] = max(grown[name], peak_rss(pid) - before[name])
            figures.check(grown[name] < 8192, f"{command}: the {name} grew by {grown[name]} KiB")
        for _ in range(bench.size(1, 5)) if "yes" in command else ():
            since = time.monotonic()
            lines = cli("log", "--tail", "10", str(job.id)).stdout.split("\n")
            figures.times.append(time.monotonic() - since)
            figures.check(len(lines) >= 10, f"{len(lines)} lines in the tail")
        if "zero" in command:
            figures.note = (
                f"one line of {size >> 20} MiB, last 10 lines to a terminal: {tail_on_a_terminal(cli, job.id, figures)}"
            )
        Path(cli.queue.store.logs.path(job.id, 1)).unlink()
    figures.note += f"; {size >> 20} MiB each; grown by {grown} KiB"
    return figures


def tail_on_a_terminal(cli: Cli, job_id: int, figures: Figures) -> str:
    """Print the end of a log that is one long line; return the seconds and the memory that it takes, as text."""
    since = time.monotonic()
    output, peak = terminal(cli, "log", "--tail", "10", str(job_id), limit=30.0)
    took = time.monotonic() - since
    figures.check(output is not None, f"log --tail of one long line to a terminal takes more than {took:.0f} s")
    return f"{took:.1f} s, {peak >> 10} MiB"


def terminal(cli: Cli, *words: str, limit: float = 60.0) -> tuple[int | None, int]:
    """Run the command in a terminal; return the bytes shown (None: not within `limit` s) and its peak memory in KiB."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "jobq", *words], cli.env | {"TERM": "xterm"})
    seen, peak, finished = [0], 0, threading.Event()

    def read() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(fd, 1 << 16):
                seen[0] += len(data)
        finished.set()

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + limit
    while not finished.wait(0.01) and time.monotonic() < deadline:
        with contextlib.suppress(OSError, IndexError, ValueError):
            peak = max(peak, peak_rss(pid))
    in_time = finished.is_set()
    if not in_time:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    finished.wait()
    os.close(fd)
    return (seen[0] if in_time else None), peak


@case(
    "worker-output-unread",
    "34b",
    SUBJECT,
    "no process reads the output of a worker: seconds until a cancel and the next job are done",
)
def unread_worker(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures(n=2, limit=3.0)
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    os.set_blocking(write, True)
    asked = {"env": cli.env, "retries": 0, "grace": 0.2}
    running = cli.queue.add("sleep 60", **asked)  # type: ignore[arg-type]
    start_worker(cli, "-j", "1", stdout=write, stderr=write)
    os.close(write)
    try:
        wait_until(lambda: cli.queue.job(running.id).state is State.RUNNING)
        since = time.monotonic()
        cli.queue.cancel([running.id])
        for job_id in (running.id, cli.queue.add("true", **asked).id):  # type: ignore[arg-type]
            cli.queue.wait(job_id, timeout=5)
            figures.times.append(time.monotonic() - since)
    except WaitTimeout as e:
        figures.bad.append(f"the worker hangs: {e}")
    finally:
        os.close(read)  # the broken pipe lets the worker go on
    return figures


@case(
    "log-bytes-changed",
    "35",
    SUBJECT,
    "output of every byte, invalid UTF-8, lone CR, 10^6 tiny lines: bytes that differ in the log",
)
def bytes_kept(bench: Bench) -> Figures:
    cli, figures = bench.cli(), Figures()
    samples = {
        "every byte": bytes(range(256)) * 64,
        "noise": bench.dice.randbytes(bench.size(1, 64) << 20),
        "broken UTF-8": b"\xff\xfe\xc3(\xed\xa0\x80\x00\n\r\r\n\xe2\x82" * 1000,
        "lone CR": b"10%\r50%\r100%" * 10_000,
        "tiny lines": b"x\n" * bench.size(100_000, 1_000_000),
        "NULs, no newline": b"\0" * 100_000,
    }
    ids: dict[str, int] = {}
    for name, data in samples.items():
        path = bench.folder / f"{len(ids)}.bytes"
        path.write_bytes(data)
        ids[name] = cli.queue.add(["cat", str(path)], env=cli.env).id
    cli("worker", "--drain", "-j", "2")
    for name, job_id in ids.items():
        for words in (["log"], ["log", "--raw"], ["log", "-f"]):
            shown = subprocess.run(
                [sys.executable, "-m", "jobq", *words, str(job_id)], env=cli.env, capture_output=True, check=False
            )
            figures.n += 1
            figures.check(
                shown.stdout == samples[name],
                f"{name}: {' '.join(words)}: {len(shown.stdout)} bytes of {len(samples[name])}, or others",
            )
    figures.note = f"{sum(map(len, samples.values()))} bytes, three ways to read them"
    return figures


SEEDS = [
    Seed(harness="pause-of-running-jobs", fault="the time limits of a suspended job go on", file="supervisor/running.py", old='            self.timeout_at = self.idle_at = float("inf")\n', new="", caught_by="tests/process/test_suspending.py::test_time_limits_stand_still"),
    Seed(harness="pause-of-running-jobs", fault="a job that was suspended by a dead worker stays so", file="worker/suspending.py", old="(self._suspended | context.adopted) - wanted", new="self._suspended - wanted", caught_by="tests/process/test_suspending.py::test_the_next_worker_goes_on_with_it"),
    Seed(harness="grace-cut-short", fault="a command gets TERM before the shell that waits for it", file="supervisor/tree.py", old="key=lambda process: (process[1], process[0]))", new="key=lambda process: (-process[1], -process[0]))", caught_by="tests/process/test_grace.py::test_a_shell_that_is_ended_does_not_go_on_with_its_next_command"),
    Seed(harness="grace-cut-short", fault="a process gets TERM again when its shell has ended", file="supervisor/running.py", old="for process in parents_first(set(processes) - self._told):", new="for process in parents_first(processes):", caught_by="tests/process/test_grace.py::test_every_process_of_a_job_gets_sigterm_once_and_the_whole_grace"),
    Seed(harness="grace-cut-short", fault="the children of a shell get 2 s, whatever the grace", file="supervisor/running.py", old='        if self.stop is not None:\n            return self.stop.kill_at\n', new='        if self.stop is not None:\n            return min(self.stop.kill_at, self._ended_at + LEFTOVER_GRACE)\n', caught_by="tests/process/test_grace.py::test_every_process_of_a_job_gets_sigterm_once_and_the_whole_grace"),
    Seed(harness="grace-cut-short", fault="a filter is ended with the job that it reads from", file="supervisor/running.py", old='            if self._may_drain(left):\n                return\n', new="", caught_by="tests/process/test_grace.py::test_a_filter_that_outlives_its_job_can_finish_writing"),
    Seed(harness="term-to-everything", fault="a TERM to every process uses up a retry", file="supervisor/supervisor.py", old="counted=not told", new="counted=True", caught_by="tests/process/test_grace.py::test_a_sigterm_to_every_process_costs_no_retry_and_arrives_once"),
    Seed(harness="term-to-everything", fault="a TERM to every process is sent again", file="supervisor/supervisor.py", old="heard=told and not deaf", new="heard=False", caught_by="tests/process/test_grace.py::test_a_sigterm_to_every_process_costs_no_retry_and_arrives_once"),
    Seed(harness="term-to-everything", fault="the first ^C hands running jobs back", file="worker/stopping.py", old="OnStop.HAND_BACK if heard_term or IS_FIRST else OnStop.LEAVE", new="OnStop.HAND_BACK", caught_by="tests/process/test_grace.py::test_jobs_that_run_when_a_worker_is_interrupted_go_on_and_are_named"),
    Seed(harness="term-to-everything", fault="a second hangup ends the jobs at once", file="worker/signals.py", old='            self._hung_up = True\n', new='            self._asked += 1\n', caught_by="tests/process/test_grace.py::test_sighup_never_counts_as_a_second_stop"),
    Seed(harness="store-copied-or-moved", fault="a lock file that was copied proves that its supervisor is dead", file="system.py", old="self.is_copy = self.file !=", new="self.is_copy = False and self.file !=", caught_by="tests/process/test_ownership.py::test_the_jobs_of_a_store_survive_every_command_on_a_copy"),
    Seed(harness="store-copied-or-moved", fault="processes are known by the path of the store", file="supervisor/mark.py", old='run = f"{store[0]}:{store[1]} {supervisor} {job_id}.{n} {claimed_at!r}"', new='run = f"{job_id}.{n}"', caught_by="tests/process/test_ownership.py::test_a_new_store_at_the_same_path_kills_no_process_of_the_old_one"),
    Seed(harness="store-copied-or-moved", fault="processes are known by their environment only", file="supervisor/mark.py", old="resource.setrlimit(RLIMIT_LOCKS, (mark,", new="resource.setrlimit(RLIMIT_LOCKS, (-1,", caught_by="tests/process/test_ownership.py::test_a_process_that_hides_is_found_after_its_worker_and_supervisor_died"),
    Seed(harness="backup-restored", fault="a job that already runs is claimed from a restored store", file="worker/claiming.py", old='state.waiting.park("it runs already", self._started.ids, state.jobs)', new="pass", caught_by="tests/process/test_ownership.py::test_a_backup_restored_under_a_worker_starts_nothing_twice"),
    Seed(harness="backup-restored", fault="the end of a run that a restored store does not know is dropped", file="worker/turn.py", old="if job is not None and waits(job) and trace is not None and trace.is_of(job):", new="if job is not None and False:", caught_by="tests/process/test_ownership.py::test_a_backup_restored_under_a_worker_starts_nothing_twice"),
    Seed(harness="backup-restored", fault="a job that a restored store shows as held runs twice", file="worker/turn.py", old="waits(job) and trace is not None", new="job.state is State.QUEUED and trace is not None", caught_by="tests/process/test_ownership.py::test_a_backup_restored_under_a_worker_starts_nothing_twice"),
    Seed(harness="cleaner-removes-files", fault="files that a cleaner removed are not made again", file="supervisor/supervisor.py", old='                self.mend()\n', new="", caught_by="tests/process/test_ownership.py::test_a_cancel_works_after_a_cleaner_removed_the_fifo_of_the_supervisor"),
    Seed(harness="cleaner-removes-files", fault="a supervisor without a lock file counts as dead", file="engine/local/evidence.py", old="    if lock < 0 and supervision.may_run():", new="    if False:", caught_by="tests/process/test_ownership.py::test_a_supervisor_without_its_files_is_recognised_by_its_process"),
    Seed(harness="cleaner-removes-files", fault="a stopped supervisor stays stopped", file="engine/local/slots.py", old='                os.kill(self.process.pid, signal.SIGCONT)\n', new='                pass\n', caught_by="tests/process/test_ownership.py::test_a_stopped_supervisor_is_continued_and_keeps_the_time_limit"),
    Seed(harness="process-unkillable", fault="a job that can't die keeps its slot", file="engine/local/engine.py", old="sum(bool(slot.keys) and slot.stuck is None for slot in self._slots)", new="sum(bool(slot.keys) for slot in self._slots)", caught_by="tests/process/test_ownership.py::test_a_process_that_does_not_die_is_reported_and_blocks_no_other_job"),
    Seed(harness="process-unkillable", fault="an attempt never ends where a look at all processes takes long", file="engine/local/evidence.py", old="or (found and time.monotonic() >= until):\n            return not found", new="or time.monotonic() >= until:\n            return clean == CLEAN_LOOKS", caught_by="tests/process/test_death.py::test_an_attempt_of_which_nothing_is_left_is_over_however_long_a_look_takes"),
    Seed(harness="process-unkillable", fault="a worker as PID 1 does not reap foreign processes", file="engine/local/engine.py", old='        tree.reap_orphans({slot.process.pid for slot in self._slots})\n', new="", caught_by="tests/process/test_ownership.py::test_a_worker_that_is_pid_1_reaps_dead_strangers_and_spares_live_ones"),
    Seed(harness="tree-survivors", fault="no CONT after TERM: a stopped process never gets it", file="supervisor/running.py", old="            send(process, signal.SIGTERM)\n            send(process, signal.SIGCONT)\n", new="            send(process, signal.SIGTERM)\n", caught_by="tree-survivors"),
    Seed(harness="tree-survivors", fault="only the main process is ended", file="supervisor/supervisor.py", old="            self.end_leftovers(running)\n", new="            pass\n", caught_by="tree-survivors"),
    Seed(harness="tree-survivors", fault="no subreaper: orphans leave the tree", file="supervisor/tree.py", old="prctl(36, 1, 0, 0, 0) == 0", new="prctl(36, 0, 0, 0, 0) == 0", caught_by="tree-survivors"),
    Seed(harness="tree-survivors", fault="TERM, but never KILL", file="supervisor/supervisor.py", old="if job.stop is not None and now >= job.stop.kill_at:", new="if job.stop is not None and now >= job.stop.kill_at + 3600:", caught_by="tree-survivors"),
    Seed(harness="tree-survivors", fault="without pidfd_open nothing is signalled", file="supervisor/tree.py", old="        handle = -1\n    try:", new="        return\n    try:", caught_by="tree-survivors-without-pidfd"),
    Seed(harness="tree-survivors", fault="the supervisor waits for processes that it may not kill", file="supervisor/supervisor.py", old="            elif left and kill_all(left) == left:\n", new="            elif False:\n", caught_by="tests/process/test_supervision.py::test_a_process_of_another_user_blocks_no_other_job"),
    Seed(harness="supervisor-killed", fault="other children of the worker's process are killed, too", file="engine/local/evidence.py", old="tree.kill_children(lambda pid: wears(pid, mark))", new="tree.kill_children()", caught_by="tests/process/test_death.py::test_only_the_processes_of_a_dead_supervisor_are_killed"),
    Seed(harness="supervisor-killed", fault="dead processes behind a child that has a waiter are never reaped", file="supervisor/tree.py", old="            if pid not in spared:\n                os.waitpid(pid, os.WNOHANG)\n", new="            pass\n", caught_by="tests/process/test_death.py::test_a_dead_child_that_has_a_waiter_hides_no_other_from_the_reaper"),
    Seed(harness="worker-killed-adopted", fault="a rescue that fails forgets the jobs that it has adopted", file="worker/rescue.py", old="        except (StoreError, OSError):\n", new="        except StoreError:\n", caught_by="tests/process/test_death.py::test_rescue_returns_the_adopted_job_even_if_the_next_rescue_fails"),
    Seed(harness="command-not-startable", fault="a program that can't be read counts as a fault of the machine", file="supervisor/spawn.py", old="errno.EAGAIN, errno.ENOMEM,", new="errno.EIO, errno.EAGAIN, errno.ENOMEM,", caught_by="tests/process/test_supervision.py::test_a_program_that_can_not_be_read_fails_its_job_and_blocks_no_other"),
    Seed(harness="environment-capture", fault="the supervisor uses a changed environment", file="supervisor/spawn.py", old='if f"{sha256(data)}.json" != os.path.basename(path):', new="if False:", caught_by="tests/process/test_supervision.py::test_a_changed_environment_is_reported_and_not_used"),
    Seed(harness="worker-killed-adopted", fault="a running job of a dead worker is started again", file="engine/local/finder.py", old="            return Found(runs=ending is None, ending=ending)\n",
         new="            return Found(ending=ending or __import__('jobq.engine.local.evidence', fromlist=['_']).NOT_STARTED)\n", caught_by="worker-killed-adopted"),
    Seed(harness="supervisor-killed", fault="the tree of a killed supervisor is not killed", file="engine/local/evidence.py", old="        tree.kill_all(found)\n        clean = 0 if found", new="        clean = 0 if False", caught_by="tests/process/test_death.py::test_a_job_is_lost_if_its_worker_and_supervisor_are_killed_together"),
    Seed(harness="job-kills-supervisor", fault="a job that kills its supervisors gets more attempts", file="rules/retry.py", old="if lost >= spec.max_lost", new="if lost >= spec.max_lost + 2", caught_by="job-kills-supervisor"),
    Seed(harness="clock-jumps-timeout", fault="timeouts on the wall clock", file="supervisor/supervisor.py", old="import time\n\n", new="import time\n\ntime.monotonic = time.time\n\n", caught_by="clock-jumps-timeout"),
    Seed(harness="clock-jumps-timeout", fault="backoffs on the wall clock", file="moment.py", old="if same_boot and boot <= possible:", new="if self.boot_id is None:", caught_by="clock-jumps-timeout"),
    Seed(harness="timeout-overrun", fault="KILL comes late", file="supervisor/running.py", old="self.kill_at = time.monotonic() + grace", new="self.kill_at = time.monotonic() + grace + 2", caught_by="timeout-overrun"),
    Seed(harness="retry-delay", fault="a retry before its time", file="rules/lifecycle.py", old="retry.backoff(job.spec, used, chance))", new="retry.backoff(job.spec, used, chance) * 0.8)", caught_by="retry-delay"),
    Seed(harness="log-bytes-changed", fault="output is changed", file="views/console.py", old="stdout.put(data)", new='stdout.put(data.replace(b"\\r\\n", b"\\n"))', caught_by="log-bytes-changed"),
    Seed(harness="signals-inherited", fault="ignored signals stay ignored in the job", file="supervisor/spawn.py", old="setsigdef=ignored_signals(),", new="setsigdef=[],", caught_by="tests/process/test_supervision.py::test_a_job_starts_in_the_state_that_a_shell_would_give_it"),
    Seed(harness="large-output-memory", fault="a descriptor leaks with each job", file="supervisor/logs.py", old="            os.close(log.fd)\n        return sizes", new="            pass\n        return sizes", caught_by="tests/process/test_supervision.py::test_three_hundred_jobs_leave_no_zombie_and_no_descriptor"),
    Seed(harness="large-output-memory", fault="a descriptor leaks with each batch", file="supervisor/logs.py", old="            os.close(self.empty[1])\n", new="", caught_by="tests/process/test_supervision.py::test_three_hundred_jobs_leave_no_zombie_and_no_descriptor"),
    Seed(harness="log-bytes-changed", fault="an empty log is reused though others can write to it", file="supervisor/logs.py", old=" and is_open_nowhere_else(log.fd)", new="", caught_by="tests/process/test_batches.py::test_a_log_that_another_process_can_write_to_is_not_passed_on"),
    Seed(harness="log-bytes-changed", fault="a reused log is read as if it were still the first job's", file="views/logs.py", old=" or not (ours or is_file_at(fd, path))", new="", caught_by="tests/process/test_batches.py::test_a_reader_is_never_shown_the_output_of_another_job"),
]  # fmt: skip
