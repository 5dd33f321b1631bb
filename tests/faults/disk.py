"""Disks that are full, read-only, failing or slow, and machines with no descriptors, processes or memory left.

Full disks are small tmpfs mounts. A system makes a disk read-only under a file that is open for writing only if the disk
has failed, and then permanently. So commands get a read-only mount; a worker and its supervisors get EROFS from strace(1)
while it is attached. strace also makes the slow and failing syncs. The limits are real.
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from jobq import clock
from jobq.api import Queue
from jobq.errors import NotSaved, WaitTimeout
from jobq.job import Ending, Job, Outcome, State
from jobq.rules import lifecycle
from jobq.store import check, compaction
from jobq.store.state import StoreState
from tests.conftest import Cli, wait_until
from tests.faults import strace
from tests.faults.case import Bench, Figures, Skipped, case, environment, need_linux, need_root, need_tool
from tests.faults.power_cut import BTRFS, LAZY_EXT4, XFS, format_image, mounted
from tests.faults.seed import Seed
from tests.helpers.changes import update
from tests.helpers.disk import fill
from tests.helpers.processes import marked

SUBJECT = "disk and limits"
LONGEST_PAUSE = 4.0  # seconds between two tries of a worker that can't write
CHECK_EVERY = 1.5  # seconds between two checks of a worker without notifications
SOON = LONGEST_PAUSE + 2 * CHECK_EVERY
UNREAD = "unread"  # a queue that no worker serves
MIB = 1 << 20


# -- helpers ----------------------------------------------------------------------------------------------------------------


@contextmanager
def tmpfs(at: Path, options: str) -> Iterator[Path]:
    """Mount a small disk at a private folder, which may exist. Raises Skipped."""
    need_linux()
    need_root()
    at.mkdir(mode=0o700, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0700,{options}", "none", at], check=False).returncode:
        raise Skipped("mounting is not allowed here")
    try:
        yield at
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@contextmanager
def tampered(pids: list[int], to: Path, *options: str) -> Iterator[Callable[[], int]]:
    """Attach strace(1) to these processes; yield a function that counts its injections. Raises Skipped."""
    need_tool("strace")
    words = ["strace", "-f", "-o", str(to), *options, *(word for pid in pids for word in ("-p", str(pid)))]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or all(is_traced(pid) for pid in pids))
        if process.poll() is not None:
            raise Skipped("strace can't attach to processes here")
        yield lambda: to.read_text(errors="replace").count("(INJECTED)") if to.exists() else 0
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def is_traced(pid: int) -> bool:
    """Return True if a debugger is attached, or the process has ended."""
    try:
        return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def patient(folder: Path, status: int) -> str:
    """Return a job that notes its start, and exits with the status when the file `go` exists in the folder."""
    where = shlex.quote(str(folder))
    return f'echo "$JOBQ_JOB_ID" >> {where}/ran; while ! [ -e {where}/go ]; do sleep 0.02; done; exit {status}'


def ran(folder: Path) -> list[int]:
    """Return the jobs that have noted a start, one entry for each start."""
    path = folder / "ran"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def let_go(folder: Path, store: Path) -> None:
    """Let the patient jobs end; return when they have ended."""
    (folder / "go").touch()
    wait_until(lambda: not marked(store))


def finished(queue: Queue, job_id: int) -> Job:
    """Return the job when it is finished; after 2 * SOON seconds, return it as it is."""
    try:
        return queue.wait(job_id, timeout=2 * SOON)
    except WaitTimeout:
        return queue.job(job_id)


def run_once(figures: Figures, folder: Path, jobs: list[Job]) -> None:
    """Complain about jobs that wasted an attempt or were started twice."""
    starts = ran(folder)
    for job in jobs:
        figures.check(starts.count(job.id) == 1, f"job {job.id} was started {starts.count(job.id)} times")
        figures.check(job.retries_used == 0, f"job {job.id} used {job.retries_used} retries: {job.attempts}")
        figures.check(len(job.attempts) == 1, f"job {job.id} has {len(job.attempts)} attempts: {job.attempts}")


def is_sound(figures: Figures, store: Path) -> None:
    """Complain about all that `jobq doctor` finds."""
    queue = Queue(str(store))
    figures.bad += list(check.problems(queue.store))
    queue.store.close()


# -- full disks ---------------------------------------------------------------------------------------------------------------


@case("disk-full-job-ends", "8", SUBJECT, "disk full while jobs end, then space returns")
def full_while_ending(bench: Bench) -> Figures:
    figures = Figures(limit=SOON)
    ends = 0
    for number in range(bench.size(1, 12)):
        folder = bench.folder / str(number)
        folder.mkdir()
        with tmpfs(folder / "small", "size=512k") as small:
            ends += full_once(bench.cli(f"{number}/small/store"), folder, small, figures, killed=number % 3 == 1)
    figures.note = f"{ends} of {figures.n} ends recorded"
    return figures


def full_once(cli: Cli, folder: Path, small: Path, figures: Figures, *, killed: bool) -> int:
    """Fill one disk while jobs end; with `killed`, kill the worker then. Return the number of recorded ends."""
    worker = cli.worker("-j", "4", "-q", "default")
    statuses = {cli.queue.add(patient(folder, status), retries=0).id: status for status in (0, 3, 0, 4)}
    wait_until(lambda: len(ran(folder)) == len(statuses))
    fill(small)
    added = fill_journal(cli.queue)
    let_go(folder, cli.store)
    figures.check("running" in cli("list").stdout, "the full disk did not keep any end from being recorded")
    figures.check(cli("add", "true", code=74).stdout == "", "an add that was refused printed an id")
    if killed:
        worker.kill()
        worker.wait()
    (small / "filler").unlink()
    room = time.monotonic()
    if killed:
        cli.worker("-j", "4", "-q", "default")
    jobs = []
    for job_id, status in statuses.items():
        job = finished(cli.queue, job_id)
        figures.times.append(time.monotonic() - room)
        figures.check(
            job.ending and job.ending.status == status, f"job {job.id} should have exit {status}: {job.ending}"
        )
        jobs.append(job)
    figures.n += len(jobs)
    run_once(figures, folder, jobs)
    left = {job.id for job in cli.queue.jobs()}
    figures.check(left == set(added), f"added while there was room: {sorted(added)}; in the store: {sorted(left)}")
    figures.check(killed or worker.poll() is None, "the worker has ended")
    is_sound(figures, cli.store)
    cli.stop()
    return sum(job.state.final for job in jobs)


def fill_journal(queue: Queue) -> list[int]:
    """Add jobs until the last page of the journal is full; return the acknowledged ones."""
    added: list[int] = []
    while True:
        try:
            added.append(queue.add("true", queue=UNREAD).id)
        except NotSaved:
            return added


@case("disk-full-log-write", "9", SUBJECT, "no room for logs, and jobs go on writing")
def full_logs(bench: Bench) -> Figures:
    figures = Figures()
    cli = bench.cli()
    big = cli.id("--retries", "0", "head -c 3000000 /dev/zero")
    others = [cli.id("--retries", "0", "echo x >> ran") for _ in range(bench.size(3, 50))]
    with tmpfs(cli.store / "runs", "size=1m"):
        done = cli("worker", "--drain", "-j", "1", code=1)
        failed = cli.queue.job(big)
        figures.check(
            failed.ending and failed.ending.outcome is Outcome.EXIT and failed.ending.log_bytes <= MIB,
            f"the job that wrote too much: {failed.ending}",
        )
        figures.n = len(others) + 1
        for job in cli.queue.jobs_of(others):
            figures.check(job.state is State.SUCCEEDED and len(job.attempts) == 1, f"job {job.id}: {job.attempts}")
        figures.check("Traceback" not in done.stderr, done.stderr)
    count = (bench.folder / "ran").read_text().count("x")
    figures.check(count == len(others), f"{count} of {len(others)} jobs ran")
    is_sound(figures, cli.store)
    return figures


@case("disk-full-log-creation", "9b", SUBJECT, "logs can't even be created, then room returns")
def no_room_for_a_log(bench: Bench) -> Figures:
    figures = Figures(limit=SOON)
    cli = bench.cli()
    for _ in range(bench.size(1, 10)):
        first, second = (cli.id("--retries", "0", 'echo "$JOBQ_JOB_ID" >> ran') for _ in range(2))
        with tmpfs(cli.store / "runs", "nr_inodes=3"):  # the root, one folder, one log
            one_log(cli, first, second, figures)
    is_sound(figures, cli.store)
    return figures


def one_log(cli: Cli, first: int, second: int, figures: Figures) -> None:
    """Run two jobs: the second finds no room for its log until the log of the first is deleted."""
    worker = cli.worker("-j", "1")
    cli.queue.wait(first, timeout=30)
    wait_until(lambda: [attempt for attempt in cli.queue.job(second).attempts if attempt.ending])
    Path(cli.queue.store.logs.path(first, 1)).unlink()
    room = time.monotonic()
    job = finished(cli.queue, second)
    figures.times.append(time.monotonic() - room)
    figures.check(job.state is State.SUCCEEDED, f"job {job.id} is {job.state}: {job.ending}")
    run_once(figures, cli.cwd, [job])
    figures.n += 1
    figures.check(worker.poll() is None, "the worker has ended")
    cli.stop()


# -- read-only disks ----------------------------------------------------------------------------------------------------------

READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


@case("disk-read-only-command", "10", SUBJECT, "store on a disk that is read-only: commands")
def read_only_commands(bench: Bench) -> Figures:
    need_linux()
    need_root()
    need_tool("unshare", "mount")
    figures = Figures()
    cli = bench.cli()
    cli("run", "echo said")
    waiting = cli.id("true")
    hint = (cli.store / "journal.hint").read_bytes()
    unsynced = cli.id("true")
    (cli.store / "journal.hint").write_bytes(hint)  # as if its writer had died: no command can settle this tail now
    before = (cli.store / "journal.jsonl").read_bytes()
    expected = {
        ("list",): 0, ("list", "--all", "--json"): 0, ("show", "1"): 0, ("log", "1"): 0, ("doctor",): 0, ("wait", "1"): 0, (): 0,
        ("add", "true"): 74, ("add", "--env", "X=new", "true"): 74, ("cancel", str(waiting)): 74, ("worker", "--drain"): 74,
    }  # fmt: skip
    for words, code in expected.items():
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", READ_ONLY, cli.store, *strace.jobq(*words)],
            env=cli.env, cwd=cli.cwd, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        figures.n += 1
        figures.check(
            done.returncode == code, f"jobq {shlex.join(words)} exits with {done.returncode}: {done.stderr.strip()}"
        )
        figures.check(
            not code or "Read-only" in done.stderr,
            f"jobq {shlex.join(words)} does not report the reason: {done.stderr!r}",
        )
        figures.check("Traceback" not in done.stderr, done.stderr)
        figures.check(words != ("doctor",) or "can't be written to" in done.stdout, "doctor does not tell")
        shown = f'"id":{unsynced},' in done.stdout.replace(" ", "")
        figures.check(not shown, f"jobq {shlex.join(words)} shows a job that may be lost")
    figures.check((cli.store / "journal.jsonl").read_bytes() == before, "the journal is not as before")
    return figures


@case("disk-read-only-worker", "10b", SUBJECT, "disk becomes read-only under a worker, then writable again: lost ends")
def read_only_worker(bench: Bench) -> Figures:
    need_linux()
    need_root()
    figures = Figures(limit=SOON)
    for number in range(bench.size(1, 8)):
        folder = bench.folder / str(number)
        folder.mkdir()
        read_only_once(bench.cli(f"{number}/store"), folder, figures)
    return figures


def read_only_once(cli: Cli, folder: Path, figures: Figures) -> None:
    """Let three jobs end while neither their supervisors nor the worker can write."""
    worker = cli.worker("-j", "3")
    statuses = {cli.queue.add(patient(folder, status), retries=0).id: status for status in (0, 5, 0)}
    wait_until(lambda: len(ran(folder)) == 3)
    home = next((cli.store / "workers").iterdir())
    supervisors = [int((home / f"{k}.lock").read_text().split()[0]) for k in range(3)]
    paths = [cli.store / "journal.jsonl", cli.store / "journal.hint", *(home / f"{k}.ends" for k in range(3))]
    only = [word for path in paths for word in ("-P", str(path))]
    fault = "inject=write,pwrite64,ftruncate,fdatasync,fsync:error=EROFS"
    with tampered([worker.pid, *supervisors], folder / "trace", *only, "-e", fault) as hits:
        let_go(folder, cli.store)
        wait_until(lambda: hits() >= 5)  # three ends, and a try of the worker
        figures.check("running" in cli("list").stdout, "list does not show the jobs as running")
    room = time.monotonic()
    jobs = [finished(cli.queue, job_id) for job_id in statuses]
    figures.times.append(time.monotonic() - room)
    for job in jobs:
        figures.check(job.ending and job.ending.status == statuses[job.id], f"job {job.id}: {job.ending}")
    run_once(figures, folder, jobs)
    figures.n += len(jobs)
    figures.check(worker.poll() is None, "the worker has ended")
    cli.stop()
    is_sound(figures, cli.store)


# -- disks that fail or are slow -----------------------------------------------------------------------------------------------

JOURNAL_SYNC = "inject=fdatasync:error=EIO:when="


@case("sync-error-command", "4", SUBJECT, "a sync fails with EIO, the next would succeed: commands")
def failed_sync(bench: Bench) -> Figures:
    figures = Figures()
    cli = bench.cli()
    kept = [cli.id("true")]
    journal = cli.store / "journal.jsonl"
    again = 0
    for when in ("1", "1+") * bench.size(1, 5):
        before = journal.read_bytes()
        trace = bench.folder / "trace"
        done = strace.trace(strace.jobq("add", "true"), trace, cli.env, "-e", JOURNAL_SYNC + when)
        figures.n += 1
        figures.check((done.returncode, done.stdout) == (74, ""), f"exit {done.returncode}, stdout {done.stdout!r}")
        figures.check(journal.read_bytes() == before, "the line is still in the journal")
        again += syncs_of_lost_data(trace, journal)
        kept.append(cli.id("true"))
    figures.check(again == 0, f"{again} more syncs of what a failed sync may have lost")
    for call in ("fdatasync", "fsync") * bench.size(1, 5):
        failed_environment(cli, call, figures, bench.folder / "trace")
        kept.append(cli.queue.jobs()[-1].id)
    ids = [job.id for job in cli.queue.jobs()]
    figures.check(ids == kept, f"acknowledged: {kept}, there are: {ids}")
    figures.note = f"{again} syncs after the error"
    is_sound(figures, cli.store)
    return figures


def syncs_of_lost_data(trace: Path, journal: Path) -> int:
    """Count the syncs of the journal after a failed one, with the same bytes still in it."""
    lost, count = False, 0
    for call in strace.read(trace):
        if str(journal) not in call.text:
            continue
        if call.name == "fdatasync":
            count += lost
            lost = lost or "EIO" in call.text
        elif call.name == "ftruncate":
            lost = False
    return count


def failed_environment(cli: Cli, call: str, figures: Figures, trace: Path) -> None:
    """Make the sync of a new environment's file or folder fail: the add must fail, and the next one work."""
    words = ("add", "--env", f"NEW={call}.{figures.n}", "true")
    before = {path.name: path.stat().st_mode for path in (cli.store / "env").iterdir()}
    done = strace.trace(strace.jobq(*words), trace, cli.env, "-e", f"inject={call}:error=EIO:when=1")
    figures.n += 1
    figures.check((done.returncode, done.stdout) == (74, ""), f"{call} of env: exit {done.returncode}, {done.stdout!r}")
    left = {path.name: path.stat().st_mode for path in (cli.store / "env").iterdir()}
    new = left.keys() - before.keys()
    figures.check(not any(name.startswith(".") for name in new), f"{call} of env: {new} is left")
    figures.check(not (call == "fdatasync" and new), f"{call} of env: {new} is left")
    figures.check(all(left[name] & 0o200 for name in new), f"{call} of env: {new} counts as durable")
    cli.id(*words[1:])


@case("sync-error-worker", "4b", SUBJECT, "a sync fails with EIO, the next would succeed: worker")
def failed_sync_of_a_worker(bench: Bench) -> Figures:
    need_linux()
    figures = Figures()
    for number in range(bench.size(1, 10)):
        folder = bench.folder / str(number)
        folder.mkdir()
        failed_claim(bench.cli(f"{number}/store"), folder, figures)
    return figures


def failed_claim(cli: Cli, folder: Path, figures: Figures) -> None:
    """Make the sync of a claim fail: the worker ends, its running job goes on, the next worker finishes both jobs."""
    worker = cli.worker("-j", "2")
    running = cli.queue.add(patient(folder, 6), retries=0).id
    wait_until(lambda: ran(folder) == [running])
    with tampered([worker.pid], folder / "trace", "-e", JOURNAL_SYNC + "1"):
        claimed = cli.queue.add(f'echo "$JOBQ_JOB_ID" >> {shlex.quote(str(folder))}/ran', retries=0).id
        wait_until(lambda: worker.poll() is not None or claimed in ran(folder))
    figures.n += 1
    figures.check(worker.poll() == 74, f"the worker should exit with 74, not {worker.poll()}")
    figures.check(ran(folder) == [running], "a job was started whose claim was not durable")
    (folder / "go").touch()
    cli("worker", "--drain", code=None)
    jobs = cli.queue.jobs_of([running, claimed])
    statuses = [job.ending.status if job.ending else None for job in jobs]
    figures.check(statuses == [6, 0], f"the jobs should end with 6 and 0, not {statuses}")
    run_once(figures, folder, jobs)
    is_sound(figures, cli.store)


CROWD = """
import os, sys, time
from jobq.api import Queue
from jobq.errors import JobqError
store, adders, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
Queue(store).add("true")
for _ in range(rounds):
    for _ in range(adders):
        if os.fork() == 0:
            begun = time.monotonic()
            try:
                said = Queue(store).add("true").id
            except JobqError as e:
                said = type(e).__name__
            os.write(1, f"{begun} {time.monotonic()} {said}\\n".encode())
            os._exit(0)
    for _ in range(adders):
        os.wait()
"""


@case("disk-slow-adders", "13", SUBJECT, "slow disk, 200 ms a sync, 20 adders at once")
def slow_disk(bench: Bench) -> Figures:
    need_linux()
    need_tool("strace")
    figures = Figures(limit=10.0)
    store = bench.folder / "store"
    adders, rounds = bench.size(8, 20), bench.size(1, 10)
    delay = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:delay_exit=200000",
    ]
    done = subprocess.run(
        [*delay, sys.executable, "-c", CROWD, str(store), str(adders), str(rounds)],
        env=environment(store), stdout=subprocess.PIPE, text=True, timeout=120, check=False,
    )  # fmt: skip
    added: list[tuple[int, float, float]] = []
    for begun, ended, said in (line.split() for line in done.stdout.splitlines()):
        figures.n += 1
        figures.times.append(float(ended) - float(begun))
        if said.isdecimal():
            added.append((int(said), float(begun), float(ended)))
        else:
            figures.bad.append(f"an add ended with {said} after {figures.times[-1]:.1f} s")
    figures.check(figures.n == adders * rounds, f"{figures.n} of {adders * rounds} adds have ended")
    figures.check(sorted(i for i, _, _ in added) == list(range(2, 2 + len(added))), "ids are missing, or given twice")
    latest = 0.0
    for job_id, asked_at, sent_at in sorted(added):
        figures.check(sent_at >= latest, f"job {job_id} was acknowledged before the add of a lower id began")
        latest = max(latest, asked_at)
    figures.note = f"{figures.n - len(added)} timeouts"
    return figures


# -- limits of the machine -----------------------------------------------------------------------------------------------


def limited(cli: Cli, figures: Figures, count: int, limits: Callable[[], None], become: tuple[str, ...] = ()) -> None:
    """Run a worker for 16 jobs at once within these limits, below the command `become`; no attempt may be wasted."""
    command = [*become, *strace.jobq()]
    job = f'echo "$JOBQ_JOB_ID" >> {shlex.quote(str(cli.cwd / "ran"))}; exec sleep 0.2'  # one process
    options = {"env": cli.env, "cwd": cli.cwd, "text": True, "capture_output": True}
    lines = f"{job}\n" * count
    subprocess.run([*command, "add", "--retries", "0", "--from", "-"], input=lines, check=True, **options)  # type: ignore[call-overload]
    work = [*command, "worker", "--drain", "-j", "16"]
    since = time.monotonic()
    patience = 20 + count / 5
    try:
        done = subprocess.run(work, preexec_fn=limits, check=False, timeout=patience, **options)  # type: ignore[call-overload]
        figures.check(done.returncode == 0, f"the worker exits with {done.returncode}: {done.stderr[-500:]}")
    except subprocess.TimeoutExpired:
        figures.bad.append(f"the worker has not ended after {patience:.0f} s")
    took = time.monotonic() - since
    subprocess.run(["chown", "-R", "0:0", cli.store], check=True)
    jobs = [cli.queue.job(job_id) for job_id in range(1, count + 1)]
    figures.n = count
    run_once(figures, cli.cwd, [job for job in jobs if job.state.final])
    left = [job.id for job in jobs if job.state is not State.SUCCEEDED]
    figures.check(
        not left, f"{len(left)} of {count} jobs have not succeeded: {[str(jobs[i - 1].ending) for i in left[:3]]}"
    )
    paused = sum(step.event == lifecycle.Event.HAND_BACK for job in jobs for step in job.history)
    figures.note = f"{paused} starts were postponed, {count} jobs took {took:.1f} s"
    is_sound(figures, cli.store)


@case("descriptors-exhausted", "11", SUBJECT, "worker for 16 jobs with 24 descriptors: wasted attempts")
def few_descriptors(bench: Bench) -> Figures:
    need_linux()
    figures = Figures()
    cli = bench.cli()
    limited(cli, figures, bench.size(20, 200), lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24)))
    return figures


@case("processes-exhausted", "12", SUBJECT, "worker for 16 jobs with 12 processes: wasted attempts")
def few_processes(bench: Bench) -> Figures:
    need_linux()
    need_root()
    need_tool("setpriv")
    figures = Figures()
    cli = bench.cli()
    user = str(50_000 + os.getpid() % 10_000)  # a user of its own: the limit counts all processes of a user
    reach = "+dac_override"  # to read the interpreter and the store in any folder; access(2) needs the securebits, too
    become = (
        "setpriv", "--reuid", user, "--regid", user, "--clear-groups",
        "--inh-caps", reach, "--ambient-caps", reach, "--securebits", "+no_setuid_fixup",
    )  # fmt: skip
    if subprocess.run([*become, "true"], check=False, capture_output=True).returncode:
        raise Skipped("setpriv can't become another user with capabilities here")
    limited(cli, figures, bench.size(20, 200), lambda: resource.setrlimit(resource.RLIMIT_NPROC, (12, 12)), become)
    return figures


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a cgroup below our own with so many bytes of memory (version 1, or 2 where allowed). Raises Skipped."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    ours = {name: path for _, names, path in lines for name in names.split(",")}
    if "memory" in ours:
        parent, knob = Path(f"/sys/fs/cgroup/memory{ours['memory']}"), "memory.limit_in_bytes"
    else:
        parent, knob = Path(f"/sys/fs/cgroup{ours.get('', '/')}"), "memory.max"
    group = parent / f"faults-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as e:
        raise Skipped(f"no memory cgroup can be made here: {e.strerror}") from None
    try:
        if not (group / knob).exists():
            raise Skipped("no memory cgroup can be made here: the controller is not enabled")
        (group / knob).write_text(str(limit))
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@case("memory-exhausted-job", "27", SUBJECT, "job killed because its cgroup has no memory left")
def out_of_memory(bench: Bench) -> Figures:
    need_linux()
    need_root()
    figures = Figures()
    cli = bench.cli()
    greedy = f"exec {shlex.quote(sys.executable)} -S -c 'bytearray(1 << 28)'"
    with memory_group(32 * MIB) as group:
        hungry = [
            cli.queue.add(f"echo $$ > {group}/cgroup.procs && {greedy}", retries=0).id for _ in range(bench.size(2, 20))
        ]
        fine = [cli.queue.add("true").id for _ in hungry]
        cli("worker", "--drain", "-j", "2", code=1)
        for job in cli.queue.jobs_of(hungry):
            figures.n += 1
            killed = job.ending and (job.ending.outcome, job.ending.signal) == (Outcome.SIGNAL, signal.SIGKILL)
            figures.check(killed, f"job {job.id}: {job.ending}")
    for job in cli.queue.jobs_of(fine):
        figures.check(job.state is State.SUCCEEDED, f"job {job.id}, which needs little memory, is {job.state}")
    is_sound(figures, cli.store)
    return figures


# -- large stores -----------------------------------------------------------------------------------------------------------

MOST_RSS = 150 * MIB


@case("large-store", "55", SUBJECT, "100,000 finished and 10,000 live jobs: seconds from add to claim", in_suite=False)
def large_store(bench: Bench) -> Figures:
    need_linux()
    figures = Figures(limit=1.0)  # from the add to the claim
    cli = bench.cli()
    finished, live = bench.size(2_000, 100_000), bench.size(200, 10_000)
    finish_many(cli.queue, finished)
    cli.queue.add_many(["true"] * live, lambda: cli.queue.spec(queue=UNREAD))
    took: dict[str, list[float]] = {}

    def timed(name: str, *words: str) -> str:
        since = time.monotonic()
        said = cli(*words).stdout
        took.setdefault(name, []).append(time.monotonic() - since)
        return said

    for _ in range(bench.size(2, 10)):
        timed("add", "add", "--queue", UNREAD, "true")
        timed("list", "list")
        figures.check(str(finished) in timed("show", "show", str(finished)), "the last finished job is not shown")
        timed("overview")
    worker = cli.worker("-j", "2", "-q", "default")
    for _ in range(bench.size(2, 20)):
        begun = clock.now().wall
        job = cli.queue.wait(cli.queue.add("true").id, timeout=60)
        took.setdefault("claim", []).append(job.attempts[-1].claimed_at - begun)
        took.setdefault("add to end", []).append((job.finished_at or 0.0) - begun)
    status = Path(f"/proc/{worker.pid}/status").read_text()
    rss = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    figures.check(rss <= MOST_RSS, f"the worker has used {rss // MIB} MiB")
    figures.n = finished + live
    figures.times = took["claim"]
    figures.note = f"worker {rss // MIB} MiB; " + ", ".join(
        f"{name} {sorted(times)[len(times) // 2] * 1000:.0f} ms" for name, times in took.items()
    )
    return figures


def finish_many(queue: Queue, count: int) -> None:
    """Add so many jobs, finish them, and move them out of the journal."""
    queue.add_many(["true"] * count, queue.spec)
    now = clock.now()
    ending = Ending(Outcome.EXIT, 0, started_at=now.wall, ended_at=now.wall)

    def finish(first: int, state: StoreState) -> Iterator[Job]:
        for job_id in range(first, min(first + 2_000, count + 1)):
            claimed = lifecycle.claim(state.jobs[job_id], now, owner="w0", supervisor="w0/0")
            yield lifecycle.finish(claimed, ending, now, 0.0)

    for first in range(1, count + 1, 2_000):
        update(queue.store, partial(finish, first), now.wall)
    compaction.compact(queue.store.path, now)


# -- output that never ends -------------------------------------------------------------------------------------------------

LINE = 100  # bytes
LOOK = 1.0  # seconds between two checks of a log's size by its supervisor
CHATTY = """
import os, sys, time
burst, turns, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
lines = 0
for part in range(2):
    for _ in range(turns):
        os.write(1, b"".join(b"%099d\\n" % n for n in range(lines, lines + burst)))
        lines += burst
        time.sleep(pause)
    open(f"part{part}", "w").close()
    while part == 0 and not os.path.exists("go"):
        time.sleep(0.01)
"""


@case("log-max-endless-output", "34c", SUBJECT, "endless output: a log larger than --log-max, lost first or last lines")
def endless_output(bench: Bench) -> Figures:
    need_linux()
    figures = Figures(limit=2 * LOOK)
    with ExitStack() as held:
        places = {"here": bench.folder}
        if bench.full:
            places["tmpfs"] = held.enter_context(tmpfs(bench.folder / "tmpfs", "size=1g"))
            for name, kind in (("ext4", LAZY_EXT4), ("xfs", XFS), ("btrfs", BTRFS)):
                image = bench.folder / f"{name}.img"
                format_image(image, kind.make, 2048)
                places[name] = held.enter_context(mounted(image, bench.folder / name, kind.options))
        peaks = {}
        for name, folder in places.items():
            peaks[name] = chatter(bench, folder, figures, name)
    figures.note = "most on the disk: " + ", ".join(f"{peak // MIB} MiB on {name}" for name, peak in peaks.items())
    return figures


def chatter(bench: Bench, folder: Path, figures: Figures, name: str) -> int:
    """Run a job that writes much, waits, and writes as much again; return the most bytes that its log took."""
    most = bench.size(4, 64) * MIB
    burst, turns, pause = (100_000, 50, 0.1) if bench.full else (20_000, 8, 0.0)
    script = folder / "chatty.py"
    script.write_text(CHATTY)
    cli = bench.cli(str(folder.relative_to(bench.folder) / "store"))
    cli.cwd = folder
    cli.worker("-j", "1")
    command = [sys.executable, "-S", str(script), str(burst), str(turns), str(pause)]
    job = cli.queue.add(command, log_max=most, cwd=str(folder), retries=0).job
    log = Path(cli.queue.store.logs.path(job.id, 1))
    wait_until(log.exists)
    heard = bench.folder / f"{name}.followed"  # not on the small disk
    with heard.open("wb") as followed:
        follower = cli.start("log", "--follow", str(job.id), stdout=followed)
        peak = watch_log(log, folder / "part0")
        written = time.monotonic()
        if name != "xfs":  # xfs frees the space behind the end of an open file only when it is closed
            wait_until(lambda: on_disk(log) <= most + most // 2)
        figures.times.append(time.monotonic() - written)
        (folder / "go").touch()
        peak = max(peak, watch_log(log, folder / "part1"))
        job = finished(cli.queue, job.id)
        figures.check(follower.wait(120) == 0, f"{name}: log --follow exits with {follower.returncode}")
    figures.n += 1
    figures.check(on_disk(log) <= most + MIB, f"{name}: at the end it takes {on_disk(log)} bytes of the disk")
    lines = 2 * burst * turns
    ending = job.ending
    figures.check(ending and ending.log_bytes == lines * LINE, f"{name}: {lines * LINE} bytes were written: {ending}")
    kept = lines * LINE - ending.log_dropped if ending else 0
    figures.check(most - MIB <= kept <= most + MIB, f"{name}: {kept} bytes are kept")
    done = cli("log", str(job.id))
    figures.check("dropped" in done.stderr, f"{name}: log does not report the missing part")
    figures.bad += [f"{name}: log: {c}" for c in is_beginning_and_end(done.stdout.encode(), lines, most)]
    figures.bad += [f"{name}: log --follow: {c}" for c in is_beginning_and_end(heard.read_bytes(), lines, MIB)]
    heard.unlink()
    tail = cli("log", "--tail", "10", str(job.id)).stdout.split()
    figures.check(tail == [f"{n:099d}" for n in range(lines - 10, lines)], f"{name}: log --tail 10: {tail}")
    cli.stop()
    return peak


def watch_log(log: Path, until: Path) -> int:
    """Wait until that file exists; return the most bytes that the log took on the disk."""
    peak = 0

    def is_there() -> bool:
        nonlocal peak
        peak = max(peak, on_disk(log))
        return until.exists()

    wait_until(is_there, timeout=120)
    return peak


def on_disk(path: Path) -> int:
    """Return the bytes that the file takes on the disk, without holes."""
    return path.stat().st_blocks * 512


def is_beginning_and_end(said: bytes, lines: int, most: int) -> Iterator[str]:
    """Complain unless the output begins with the first lines and ends with the last: a fifth and a half of `most`."""
    if b"\0" in said:
        yield "the output has NUL bytes"
    first, last = most // 5 // LINE, most // 2 // LINE
    if not said.startswith(b"".join(b"%099d\n" % n for n in range(first))):
        yield "the first lines are missing"
    if not said.endswith(b"".join(b"%099d\n" % n for n in range(lines - last, lines))):
        yield "the last lines are missing"


SEEDS = [
    Seed(
        harness="disk", fault="an end that the disk does not take is dropped by the worker",
        file="worker/turn.py", old="        ended = [*runner.ended(), *self._started.forgotten]\n",
        new="        ended = [*runner.ended(), *self._started.forgotten]\n        runner.recorded(ended)\n", caught_by="disk-full-job-ends",
    ),
    Seed(
        harness="disk", fault="an end that the disk does not take is dropped on a read-only disk",
        file="worker/turn.py", old="        ended = [*runner.ended(), *self._started.forgotten]\n",
        new="        ended = [*runner.ended(), *self._started.forgotten]\n        runner.recorded(ended)\n", caught_by="disk-read-only-worker",
    ),
    Seed(
        harness="disk", fault="a worker that could not write gives up",
        file="worker/loop.py", old="except (OSError, StoreForbidden, NotSaved, LockTimeout) as e:", new="except (OSError, StoreForbidden) as e:", caught_by="disk-full-job-ends",
    ),
    Seed(
        harness="disk", fault="a job that could not start because the disk was full has used its attempt",
        file="supervisor/spawn.py", old='if number in SHORT or (where == job["log"] and number not in PLANTED):', new="if number in SHORT:", caught_by="disk-full-log-creation",
    ),
    Seed(
        harness="disk", fault="a failed sync is repeated",
        file="store/writer.py", old="    except OSError as e:\n        raise SyncFailed(path, e, undone=cut(fd, at)) from None\n",
        new="    except OSError:\n        sync(fd)\n", caught_by="sync-error-command",
    ),
    Seed(
        harness="disk", fault="a worker whose sync has failed goes on",
        file="worker/loop.py", old="        except SyncFailed:\n            raise\n        except (OSError", new="        except (OSError", caught_by="sync-error-worker",
    ),
    Seed(
        harness="disk", fault="a short lock timeout",
        file="store/store.py", old="lock_timeout: float = 10.0", new="lock_timeout: float = 1.0", caught_by="disk-slow-adders",
    ),
    Seed(
        harness="disk", fault="a job that could not start because of the process limit has used its attempt",
        file="supervisor/spawn.py", old="{errno.EAGAIN, errno.ENOMEM,", new="{errno.ENOMEM,", caught_by="processes-exhausted",
    ),
    Seed(
        harness="disk", fault="a log is cut only after its job has ended",
        file="supervisor/supervisor.py", old="            if now >= job.log.look_at:\n", new="            if False:\n", caught_by="log-max-endless-output",
    ),
    Seed(
        harness="disk", fault="the hole in a log is printed",
        file="system.py", old="        if start > at:\n            return next_block(fd, start)\n", new="        if start > at:\n            return at, block\n", caught_by="log-max-endless-output",
    ),
]  # fmt: skip
