"""Histories: adders, cancellers, a requeuer, a keeper, workers and a compactor at once, killed at random; then all rules.

Every command is a real process, forked off one that has already loaded jobq, so the load is heavy although Python starts
slowly. Each command, its result and its times are kept. The jobs note their begins and ends in a file outside the store,
and hold a lock that is released only when their whole tree has ended. After the load a last worker drains the store, and
the history must obey RULES.

All times here are seconds since boot, the clock of /proc/uptime.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from jobq.api import Queue
from jobq.errors import JobqError
from jobq.job import Outcome, State
from jobq.rules.dependencies import WAITING
from jobq.rules.hooks import is_hook
from jobq.store import check, presence
from tests.conftest import wait_until
from tests.faults import strace
from tests.faults.case import Bench, Figures, case, need_linux, need_tool
from tests.faults.clients import PATIENCE, Client, clients
from tests.faults.history_orders import NARROW, Keeper, Wish, answer_of, wish
from tests.faults.history_rules import Add, Asked, Facts, Notes, broken
from tests.faults.seed import Seed
from tests.helpers.processes import is_alive

# -- after the load -------------------------------------------------------------------------------------


def living(stores: Iterable[Path]) -> dict[int, tuple[int, int]]:
    """Return the live processes of these stores: by pid, the job and its attempt (0 and 0: of no job)."""
    wanted = {f"JOBQ_STORE={store}" for store in stores}
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            variables = Path(f"/proc/{name}/environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if not wanted.isdisjoint(variables) and is_alive(int(name)):
            named = dict(variable.partition("=")[::2] for variable in variables)
            found[int(name)] = (int(named.get("JOBQ_JOB_ID", 0)), int(named.get("JOBQ_JOB_ATTEMPT", 0)))
    return found


def drain(store: Path, facts: Facts, notes: Notes) -> None:
    """Drain the store with a worker, compact it, and drain another job; record the jobs and notes in `facts`."""
    with clients(store, 1) as (last,):
        first = last("worker", "--drain", "-j", "8", kill_after=PATIENCE / 2)
        facts.others.append(last("compact"))
        after_all = last("add", "--name", "after-all", "--", *notes.command("true", "after-all"))
        facts.adds.append(Add("after-all", 3, (0,), after_all))
        second = last("worker", "--drain", kill_after=PATIENCE / 2)
    facts.seen += [f"the store could not be drained: {done}" for done in (first, second) if done.code not in {0, 1}]
    queue = Queue(str(store))
    jobs = [*queue.jobs(), *queue.finished()]
    facts.jobs = {job.id: job for job in jobs if not is_hook(job)}
    facts.hooks = [job for job in jobs if is_hook(job)]
    facts.lines = notes.lines()
    facts.seen += check.problems(queue.store)


def leftovers(stores: Iterable[Path]) -> Iterator[str]:
    """Yield each process and each worker's folder that should not exist any more."""
    stores = list(stores)
    deadline = time.monotonic() + 10
    while (left := living(stores)) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield from (f"process {pid} of job {job_id} is left: {command_line(pid)}" for pid, (job_id, _) in left.items())
    names = os.listdir(stores[0] / presence.WORKERS)
    yield from (f"the folder of worker {name} is left" for name in names if not name.startswith("."))


def command_line(pid: int) -> str:
    """Return the command line of a process; "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def supervisor_name(pid: int) -> str:
    """Return the name of the supervisor, as attempts record it; "" if the process is none."""
    words = command_line(pid).split()
    if len(words) < 4 or not words[-4].endswith("/supervisor/__main__.py"):
        return ""
    try:  # a job that it is just starting has the same command line
        is_one = Path(f"{words[-3]}/{words[-2]}.lock").read_text().split()[:1] == [str(pid)]
    except OSError:
        return ""
    return f"{os.path.basename(words[-3])}/{words[-2]}" if is_one else ""


def judge(stores: list[Path], facts: Facts, notes: Notes) -> Figures:
    """Drain the store, and check the history; return the figures."""
    counts = {}
    figures = Figures(n=len(facts.commands))
    try:
        drain(stores[0], facts, notes)
        facts.seen += leftovers(stores)
    except (JobqError, OSError) as e:
        facts.seen.append(f"the store can't be read: {e}")
    for name, found in broken(facts).items():
        counts[name] = len(found)
        figures.bad += [f"{name}: {detail}" for detail in found[:5]]
    figures.bad += facts.seen
    figures.n = len(facts.commands)
    figures.times = [add.done.acked - add.done.invoked for add in facts.adds if add.id is not None]
    kills = ", ".join(f"{count} {whom}" for whom, count in sorted(facts.kills.items()))
    zero = "; ".join(f"{name} {count}" for name, count in counts.items())
    lost = sum(1 for job in facts.jobs.values() for a in job.attempts if a.ending and a.ending.outcome is Outcome.LOST)
    figures.note = f"operations {figures.n}, jobs {len(facts.jobs)}, runs {sum(map(len, facts.begins.values()))}, killed: {kills or 'none'}, attempts lost {lost}; {zero}"
    return figures


# -- the load -----------------------------------------------------------------------------------------


class Crew:
    """Threads that repeat their work until `close`."""

    def __init__(self) -> None:
        self.bad: list[str] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def hire(self, work: Callable[[], float]) -> None:
        """Start a thread that repeats `work`, which returns the seconds to rest. An exception is a complaint."""

        def repeat() -> None:
            try:
                while not self._over.wait(work()):
                    pass
            except Exception as e:  # no caller would see the exception of a thread
                self.bad.append(f"{type(e).__name__}: {e}")

        self._threads.append(threading.Thread(target=repeat))
        self._threads[-1].start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the threads; return when all have ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()


KINDS = (
    # (shell line, the exit statuses that the job may have, weight)
    ("true", (0,), 3),
    ("sleep 0.05", (0,), 3),
    ("sleep 0.3", (0,), 3),
    ("sleep 0.6", (0,), 2),
    ("false", (1,), 2),
    ("setsid sleep 60 & sleep 0.1", (0,), 2),
)
MOST_WAITING = 80  # jobs; above it the adders slow down
CROWD = {"adders": 6, "cancellers": 2, "requeuers": 1, "keepers": 1, "compactors": 1, "holders": 1, "workers": 3}


class Load:
    """All clients at once on one store, which may have several paths; the checks use the first."""

    def __init__(self, bench: Bench, stores: list[Path]) -> None:
        self.bench = bench
        self.stores = stores
        self.facts = Facts()
        self.notes = Notes(bench.folder)
        self.ids: list[int] = []
        self._checked: dict[int, int] = {}
        self._workers: dict[Path, int] = {}
        self._backlog = 0
        self._held: list[int] = []
        self._in_order = False  # the jobs ask for order, keys and locks

    def run(self, seconds: float, *, kills: bool = True, crowd: dict[str, int] = CROWD) -> Figures:
        """Run the load for so many seconds, then check the history; return the figures."""
        with clients(self.stores[0], sum(crowd.values())) as made, Crew() as crew:
            free = iter(made)
            self._in_order = crowd["keepers"] > 0
            if self._in_order:
                Queue(str(self.stores[0])).queues.set(NARROW, limit=1)
            workers = [next(free) for _ in range(crowd["workers"])]
            for worker in workers:
                self.start_worker(worker)
            for _ in range(crowd["adders"]):
                crew.hire(self.task(self.add, next(free)))
            for _ in range(crowd["cancellers"]):
                crew.hire(self.task(self.cancel, next(free), Queue(str(self.stores[0]))))
            for _ in range(crowd["requeuers"]):
                crew.hire(self.task(self.requeue, next(free)))
            keepers = [Keeper(next(free), self.facts, self.words, self._held) for _ in range(crowd["keepers"])]
            for keeper in keepers:
                crew.hire(self.task(self.keep, keeper, Queue(str(self.stores[0]))))
            for _ in range(crowd["compactors"]):
                crew.hire(self.task(self.compact, next(free)))
            for _ in range(crowd["holders"]):
                crew.hire(self.task(self.hold, next(free)))
            if kills:
                crew.hire(self.task(self.kill, workers))
            watcher = Queue(str(self.stores[0]))
            crew.hire(lambda: self.watch(watcher))
            time.sleep(seconds)
            crew.close()
            self.facts.seen += crew.bad
            for worker in workers:
                self.kill_worker(worker)
            for keeper in keepers:
                keeper.release_all()
        return judge(self.stores, self.facts, self.notes)

    def task(self, work: Callable[..., float], *tools: object) -> Callable[[], float]:
        dice = random.Random(self.bench.dice.random())
        return lambda: work(*tools, dice)

    def words(self, dice: random.Random, *words: str) -> tuple[str, ...]:
        """Return the words of a command on the store, by any of its paths."""
        store = dice.choice(self.stores)
        return words if store is self.stores[0] else ("--store", str(store), *words)

    def add(self, client: Client, dice: random.Random) -> float:
        """Add a job of any kind; now and then kill the command."""
        ((shell, statuses, _),) = dice.choices(KINDS, [often for _, _, often in KINDS])
        tag, retries = f"tag{dice.getrandbits(60)}", dice.choice((0, 0, 1, 1 if not self.bench.full else 3))
        options = ["--retries", str(retries), "--grace", "0.3"]
        options += ["--timeout", "0.2"] if dice.random() < 0.1 else []
        wished = wish(dice, self.ids, len(self.facts.adds)) if self._in_order else Wish([], [])
        words = ("add", *options, *wished.options, "--", *self.notes.command(shell, tag, *wished.shared))
        done = client(*self.words(dice, *words), kill_after=dice.uniform(0, 0.04) if dice.random() < 0.04 else None)
        add, answer = Add(tag, retries, statuses, done), answer_of(wished, done)
        if answer is not None:
            self.facts.answers.append(answer)
            return dice.uniform(0.03, 0.15)
        self.facts.adds.append(add)
        self.facts.kills["adds"] += add.done.code == -signal.SIGKILL
        if add.id is not None:
            self.ids.append(add.id)
            if "--hold" in wished.options:
                self.facts.holds.append(Asked(add.id, done))
                self._held.append(add.id)
        return dice.uniform(0.03, 0.15) if self._backlog < MOST_WAITING else 0.5

    def cancel(self, client: Client, queue: Queue, dice: random.Random) -> float:
        """Cancel a job that is about to be claimed, or one of the last jobs."""
        queued = [job.id for job in queue.jobs() if job.state is State.QUEUED] if dice.random() < 0.5 else []
        if ids := queued[:4] or self.ids[-25:]:
            job_id = dice.choice(ids)
            self.facts.cancels.append(Asked(job_id, client(*self.words(dice, "cancel", str(job_id)))))
        return dice.uniform(0, 0.05)

    def requeue(self, client: Client, dice: random.Random) -> float:
        """Requeue any of the last jobs; most of them can't be requeued."""
        if self.ids:
            job_id = dice.choice(self.ids[-60:])
            self.facts.requeues.append(Asked(job_id, client(*self.words(dice, "requeue", str(job_id)))))
        return dice.uniform(0.05, 0.2)

    def keep(self, keeper: Keeper, queue: Queue, dice: random.Random) -> float:
        """Pause a queue, or hold or edit a waiting job, or one of the last jobs."""
        if dice.random() < 0.2:
            keeper.pause(dice)
            return 0.0
        waiting = [job.id for job in queue.jobs() if job.state in WAITING] if dice.random() < 0.9 else []
        if ids := waiting or self.ids[-10:]:
            (keeper.hold if dice.random() < 0.5 else keeper.edit)(dice.choice(ids), dice)
        return dice.uniform(0, 0.02)

    def compact(self, client: Client, dice: random.Random) -> float:
        """Compact the store; now and then kill the command."""
        self.facts.others.append(client("compact", kill_after=dice.uniform(0, 0.03) if dice.random() < 0.2 else None))
        self.facts.kills["compactions"] += self.facts.others[-1].code == -signal.SIGKILL
        return dice.uniform(0.05, 0.3)

    def hold(self, client: Client, dice: random.Random) -> float:
        """Hold the lock for a while: the processes that wait for it then get it one right after another."""
        self.facts.others.append(client("keep-lock", "0.03"))
        return dice.uniform(0.03, 0.1)

    def start_worker(self, worker: Client) -> None:
        """Start a worker on any path of the store."""
        worker.start(*self.words(self.bench.dice, "worker", "-j", "2"))

    def kill_worker(self, worker: Client) -> None:
        """Kill a worker, which must not have ended by itself."""
        worker.signal(signal.SIGKILL)
        done = worker.wait()
        self.facts.others.append(done)
        self.facts.kills["workers"] += 1
        if done.code != -signal.SIGKILL:
            self.facts.seen.append(f"a worker has ended by itself: {done}")

    def kill(self, workers: list[Client], dice: random.Random) -> float:
        """Kill a worker and start it again, or kill a supervisor."""
        if dice.random() < 0.6:
            worker = dice.choice(workers)
            self.kill_worker(worker)
            self.start_worker(worker)
        else:
            self.kill_supervisor(dice)
        return dice.uniform(0.1, 0.25)

    def kill_supervisor(self, dice: random.Random) -> None:
        """Kill any live supervisor."""
        names = {pid: supervisor_name(pid) for pid, (job_id, _) in living(self.stores).items() if not job_id}
        if victims := [(pid, name) for pid, name in names.items() if name]:
            pid, name = dice.choice(victims)
            self.facts.killed.add(name)
            self.facts.kills["supervisors"] += 1
            os.kill(pid, signal.SIGKILL)

    def watch(self, queue: Queue) -> float:
        """Check that finished jobs have no processes."""
        state = queue.store.read()
        self._backlog = sum(1 for _ in state.unfinished())
        final = (job for job in state.jobs.values() if job.state.final)
        over = {job.id: len(job.history) for job in final if self._checked.get(job.id) != len(job.history)}
        for pid, (job_id, n) in living(self.stores).items() if over else ():
            if job_id in over:
                job = queue.job(job_id)
                if len(job.history) == over[job_id]:  # so it was finished when the process was seen
                    self.facts.seen.append(
                        f"job {job_id} is {job.state}, and process {pid} of its attempt {n} is alive"
                    )
        self._checked.update(over)
        self.watch_folders()
        return 0.05

    def watch_folders(self) -> None:
        """Check that live workers have their folders."""
        for path in (self.stores[0] / presence.WORKERS).glob(f"{presence.ANY_JOB}*/{presence.LOCK}"):
            with suppress(OSError, ValueError):
                self._workers[path] = int(path.read_text())
        for path in [path for path in self._workers if not path.exists()]:
            if is_alive(pid := self._workers.pop(path)):
                self.facts.seen.append(f"worker {pid} is alive, and its folder is missing")


def need_history() -> None:
    """Check that the jobs and their clients can run here. Raises Skipped."""
    need_linux()
    need_tool("flock", "setsid")


@case("random-kills-history", "15", "store", "history under load with random kills")
def history_under_load(bench: Bench) -> Figures:
    """Six adders, three workers, two cancellers, a requeuer, a keeper, a compactor and a holder of the lock."""
    need_history()
    load = Load(bench, [bench.folder / "store"])
    figures = load.run(bench.size(6, 300))
    for whom in ("workers", "supervisors"):
        figures.check(load.facts.kills[whom], f"no {whom} were killed")
    return figures


@case("store-by-two-paths", "54", "store", "one store by two paths")
def two_paths(bench: Bench) -> Figures:
    """A symlink to the parent, and in the full form a bind mount: both paths must use one lock and one journal."""
    need_history()
    stores = [bench.folder / "store", bench.folder / "a-longer-way" / "store"]
    stores[1].parent.symlink_to(bench.folder)
    crowd = CROWD | {"adders": 2, "workers": 2}
    if not bench.full or os.geteuid() != 0:
        return Load(bench, stores).run(bench.size(2, 60), crowd=crowd)
    with bound(stores[0], bench.folder / "bound") as third:
        return Load(bench, [*stores, third]).run(60, crowd=crowd)


@contextmanager
def bound(store: Path, to: Path) -> Iterator[Path]:
    """Make the store visible at another path, by mount(8)."""
    for path in (store, to):
        path.mkdir(mode=0o700)
    subprocess.run(["mount", "--bind", store, to], check=True)
    try:
        yield to
    finally:
        subprocess.run(["umount", "--lazy", to], check=True)


@case(
    "acknowledged-change-invisible",
    "20",
    "store",
    "a change is visible to every command that starts after it is acknowledged",
)
def visible(bench: Bench) -> Figures:
    """One process changes, another reads; others write and compact all the time. A long-lived reader is checked, too."""
    need_history()
    load, figures, store = Load(bench, [bench.folder / "store"]), Figures(), bench.folder / "store"
    with clients(store, 5) as (changer, looker, compactor, *adders), Crew() as crew:
        changer("add", "true")
        crew.hire(load.task(load.compact, compactor))
        for adder in adders:
            crew.hire(load.task(load.add, adder))
        staying = Queue(str(store))
        for _ in range(bench.size(12, 100)):
            job_id = changer("add", "--", *load.notes.command("true", "seen")).out.strip()
            for words, expected in (
                ("add", "queued"),
                ("cancel", "cancelled"),
                ("requeue", "queued"),
                ("cancel", "cancelled"),
                ("rm", None),
            ):
                done = changer(words, job_id) if words != "add" else None
                seen = looker("show", job_id, "--json")
                state = json.loads(seen.out)["jobs"][0]["state"] if seen.code == 0 else None
                figures.check(
                    state == expected, f"after {done or 'add'}: {seen.code} {state}, not {expected}: {seen.err.strip()}"
                )
                job = (staying.store.read(), staying.store.find_all([int(job_id)]).get(int(job_id)))[1]
                figures.check(
                    (job and job.state) == expected,
                    f"after {done or 'add'}, a long-lived reader sees {job and job.state}",
                )
                figures.n += 1
    figures.bad += crew.bad
    return figures


SAYS = "i=0; while [ $i -lt {0} ]; do echo line $i; i=$((i + 1)); sleep 0.02; done"
LOOKS = (("list", "--json"), ("list", "--all", "--json"), ("show", "1", "--json"), (), ("log", "1"), ("doctor",))


@case("compaction-under-readers", "53", "store", "compaction while ten readers, a live table and `log -f` run")
def compaction_under_readers(bench: Bench) -> Figures:
    """No reader may fail, the table must count every end, the log must show every line."""
    need_history()
    load, figures, cli = Load(bench, [bench.folder / "store"]), Figures(), bench.cli()
    lines = bench.size(60, 2000)
    talker = cli.id("--priority", "high", SAYS.format(lines))
    with clients(cli.store, 13) as (follower, adder, compactor, *readers), Crew() as crew, terminal() as (tty, screen):
        env = cli.env | {"TERM": "xterm-256color"}
        table = cli.start("worker", "-j", "3", stdin=tty, stdout=tty, stderr=tty, env=env)
        wait_until(lambda: cli.queue.job(talker).state is not State.QUEUED)
        follower.start("log", "-f", str(talker))
        crew.hire(lambda: load.facts.others.append(compactor("compact")) or 0.0)  # type: ignore[func-returns-value]
        crew.hire(load.task(load.add, adder))
        for reader in readers:
            crew.hire(load.task(look, reader, figures))
        wait_until(follower.is_over, 60 + lines * 0.1)
        crew.close()
        followed = follower.wait()
        cli.queue.wait_all([add.id for add in load.facts.adds if add.id is not None], timeout=60)
        table.send_signal(signal.SIGINT)
        figures.check(table.wait(30) == 0, f"the worker with the table exits with {table.returncode}")
    figures.check(
        followed.code == 0 and followed.out.split("\n")[:-1] == [f"line {i}" for i in range(lines)],
        f"`log -f`: {followed.code} {followed.err}, {len(followed.out)} bytes",
    )
    jobs = [*cli.queue.finished()]
    said = re.findall(
        r"(\d+) (succeeded|failed)", re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", bytes(screen)).decode(errors="replace")
    )
    for state in (State.SUCCEEDED, State.FAILED):
        count, shown = sum(job.state is state for job in jobs), [int(number) for number, name in said if name == state]
        figures.check(count == (shown or [0])[-1], f"{count} jobs have {state}, the table shows {shown[-3:]}")
    figures.bad += [*crew.bad, *(str(done) for done in load.facts.others if done.code)]
    figures.note = f"{figures.n} reads, {len(load.facts.others)} compactions, {len(jobs)} jobs"
    return figures


@contextmanager
def terminal() -> Iterator[tuple[int, bytearray]]:
    """Open a terminal for a command; yield it and all bytes that it gets."""
    screen = bytearray()
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def take() -> float:
        if select.select([ours], [], [], 0.05)[0]:
            screen.extend(os.read(ours, 1 << 16))
        return 0.0

    try:
        with Crew() as crew:
            crew.hire(take)
            yield theirs, screen
    finally:
        os.close(theirs)
        os.close(ours)


def look(reader: Client, figures: Figures, dice: random.Random) -> float:
    """Run one reading command, which must succeed."""
    done = reader(*dice.choice(LOOKS))
    figures.n += 1
    figures.check(done.code == 0 and "Traceback" not in done.err, str(done))
    return dice.uniform(0, 0.1)


@case("sync-error-seen-by-worker", "53b", "store", "a worker reads a line whose sync then fails: the job runs")
def withdrawn(bench: Bench) -> Figures:
    """The sync takes 0.2 s to fail; meanwhile the worker is notified. That job must never run."""
    need_history()
    need_tool("strace")
    figures, cli, ran = Figures(n=bench.size(1, 20)), bench.cli(), bench.folder / "ran"
    worker = cli.worker("-j", "2")
    cli.id("true")  # saves the environment
    queue = cli.queue
    root = queue.store.existing()
    assert root is not None
    with Crew() as crew:
        crew.hire(lambda: presence.notify(root) or 0.01)  # type: ignore[func-returns-value]
        for _ in range(figures.n):
            inject = "inject=fdatasync:error=EIO:delay_enter=200000"
            done = strace.trace(
                strace.jobq("add", f"touch {ran}"), bench.folder / "trace", cli.env, "-e", inject, calls=("fdatasync",)
            )
            figures.check(done.returncode == 74, f"the add exits with {done.returncode}: {done.stderr}")
    after = cli.queue.wait(cli.id("true"), timeout=30)
    figures.check(not ran.exists(), "a job that was withdrawn has run")
    figures.check(after.id == 2, f"the last id is {after.id}, not 2")
    figures.check(worker.poll() is None, "the worker has ended")
    return figures


_TURN = (
    "        with context.store.transaction(now.wall, notify=False) as changes:\n"
    "            for end in ended:\n"
    "                if (job := self._ended_job(changes.state, end, now)) is not None:\n"
    "                    others_may_start |= frees(job, changes.state)\n"
    "                    changes.put(job)\n"
    "                    moved.append(job)\n"
    "            free = self._claiming.free(changes.state, context.runner.busy)\n"
    "            if context.enough is not None and context.enough(moved):\n"
    "                free = 0  # only hooks, which take no slot\n"
    "            for handle, claim in self._claiming.claims(changes.state, handles, free, now):\n"
    "                changes.put(claim)\n"
)
_EARLY = (
    "        early = [pair for h in handles for pair in [*self._claiming.claims(context.store.state, [h], 1, now)][:1]]\n"
    + _TURN.replace("self._claiming.claims(changes.state, handles, free, now)", "early").replace(
        "                changes.put(claim)\n",
        "                if changes.state.jobs.get(claim.id) is None:\n                    continue\n"
        "                changes.put(claim)\n",
    )
)
SEEDS = [
    Seed(
        harness="history",
        fault="no lock at all",
        file="store/lock.py",
        old="while not self._take():",
        new="while False:",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a claim that is decided outside the lock",
        file="worker/turn.py",
        old=_TURN,
        new=_EARLY,
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a cancel that does not read again under the lock",
        file="changes.py",
        old="            yield changes, (jobs.get(job_id, known[job_id]) for job_id in known)",
        new="            yield changes, (known[job_id] for job_id in known)",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="compaction that forgets the next id",
        file="store/snapshot.py",
        old='"next_id": next_id, "jobs": count, **later.end',
        new='"next_id": max((job.id for job in jobs if not job.state.final), default=0) + 1, "jobs": count, **later.end',
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a rescue that ignores the lock of a live worker",
        file="store/lock.py",
        old="    except BlockingIOError:\n        return False\n",
        new='    except BlockingIOError:\n        return os.readlink(f"/proc/self/fd/{fd}").endswith("/lock")\n',
        caught_by="tests/process/test_death.py::test_another_worker_leaves_the_jobs_of_a_live_one_alone",
    ),
    Seed(
        harness="history",
        fault="a job of a dead worker runs again instead of being adopted",
        file="worker/rescue.py",
        old="        elif found.runs:\n",
        new="        elif found.runs:\n            self.endings[trace.key] = Ending(lifecycle.Outcome.INTERRUPTED, counted=False)\n        elif found.runs:\n",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="an end that is reported before the tree has ended",
        file="supervisor/supervisor.py",
        old="            self.end_leftovers(running)\n",
        new="            pass\n",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a reader that does not notice a new generation",
        file="store/view.py",
        old="        elif self.journal.is_current():\n            self._follow_to(",
        new="        elif self.journal.is_current() or not locked:\n            self._follow_to(",
        caught_by="tests/store/test_compaction.py",
    ),
    Seed(
        harness="history",
        fault="compaction that drops the changes made meanwhile",
        file="store/compaction.py",
        old="write_all(fd, tail, snapshot_end)",
        new='tail = b""',
        caught_by="acknowledged-change-invisible",
    ),
    Seed(
        harness="history",
        fault="a reader that trusts data that is not synced",
        file="store/view.py",
        old="None if locked and self.journal.size()",
        new="None if self.journal.size()",
        caught_by="sync-error-seen-by-worker",
    ),
    Seed(
        harness="history",
        fault="a reader that takes the hint of another generation",
        file="store/view.py",
        old="        if hint is None or hint.generation != self.journal.header.generation:\n",
        new="        if hint is None:\n",
        caught_by="tests/store/test_compaction.py",
    ),
    Seed(
        harness="history",
        fault="a lock for each path of the store",
        file="store/lock.py",
        old="        self._file = by(folder, self.NAME)",
        new='        self.NAME = f"store{len(folder.path)}.lock"\n        self._file = by(folder, self.NAME)',
        caught_by="tests/store/test_lock.py",
    ),
]
