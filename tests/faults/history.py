"""History under load: adders, cancellers, a requeuer, workers and a compactor at once, killed at random; then every rule.

Every command is a real process, forked off one that has loaded jobq before: so the load is heavy although Python starts
slowly. What each was asked and answered is kept with its times; the jobs note their begins and ends in a file outside
the store, and hold a lock that only the end of their whole tree releases. After the load a last worker drains the
store, and all of it has to fit together: see RULES.

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
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from jobq.api import Queue
from jobq.errors import JobqError
from jobq.job import Call, Job, Outcome, State
from jobq.store import check
from jobq.store import workers as presence
from tests.conftest import wait_until
from tests.faults import strace
from tests.faults.case import Bench, Figures, case, environment, need_linux, need_tool
from tests.faults.seed import Seed
from tests.processes import is_alive

CANCELLED = 125  # what `run` exits with if somebody cancels its job
PATIENCE = 120.0  # seconds that any one command may take

# -- commands in processes of their own ------------------------------------------------------------

# Started with the numbers of sockets: each becomes a client, a process that reads orders and runs one command at a
# time, in a fork. When the socket is closed (or its owner dies), the command is killed and the client ends.
ZYGOTE = """
import gc, importlib, json, os, pkgutil, select, signal, socket, sys, tempfile, time, traceback
import jobq.__main__, jobq.cli, jobq.commands, jobq.signals, jobq.views, jobq.worker, typer
from jobq.store.compaction import compact
from jobq.store.store import Store
for package in (jobq.commands, jobq.views):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
app = typer.main.get_command(jobq.cli.app_for([]))  # once: it takes as long as all the rest of a command
jobq.cli.app_for = lambda words: app
gc.freeze()

def run(words, out, err):
    code = 70
    try:
        os.setsid()
        for fd, to in enumerate((os.open(os.devnull, os.O_RDONLY), out, err)):
            os.dup2(to, fd)
        os.closerange(3, 1024)
        if words[:1] == ["compact"]:
            compact(os.environ["JOBQ_STORE"], time.time())
            code = 0
        elif words[:1] == ["hold"]:
            with Store(os.environ["JOBQ_STORE"]).lock:
                time.sleep(float(words[1]))
            code = 0
        else:
            sys.argv = ["jobq", *words]
            jobq.__main__.main()
    except SystemExit as e:
        code = e.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

def now():
    return time.clock_gettime(time.CLOCK_BOOTTIME)

def follow(pid, orders, kill_after):
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(orders, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll(None if kill_after is None else kill_after * 1000)]
        if handle in ready:
            os.close(handle)
            return
        order = os.read(orders, 1) if ready else b""
        kill_after = None
        os.kill(pid, order[0] if order else signal.SIGKILL)
        if ready and not order:
            poll.unregister(orders)

def client(connection):
    stream = connection.makefile("rwb", buffering=0)
    for line in stream:
        order = json.loads(line[line.index(b"{"):])  # behind signals for a command that was over
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            invoked = now()
            pid = os.fork()
            if pid == 0:
                run(order["words"], out.fileno(), err.fileno())
            stream.write(b"%d\\n" % pid)
            follow(pid, connection.fileno(), order["kill_after"])
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            acked = now()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        stream.write(json.dumps([code, *texts, invoked, acked]).encode() + b"\\n")

connections = [socket.socket(fileno=int(fd)) for fd in sys.argv[1:]]
for connection in connections:
    if os.fork() == 0:
        try:
            client(connection)
        except (OSError, ValueError):
            pass  # the socket was closed
        os._exit(0)
for connection in connections:
    connection.close()
    os.wait()
"""


def boot_now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Done(NamedTuple):
    """One command, and what it came to."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str
    invoked: float
    acked: float

    def __str__(self) -> str:
        return f"jobq {' '.join(self.words)} -> {self.code}: {self.err.strip()[-600:]}"


class Client:
    """One process that runs commands for us, one at a time, each in a process of its own."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(PATIENCE)
        self._answers = connection.makefile("r")
        self._words: tuple[str, ...] = ()
        self.pid = 0

    def __call__(self, *words: str, kill_after: float | None = None) -> Done:
        """Run the command to its end, which is a SIGKILL if it takes longer than that (seconds)."""
        self.start(*words, kill_after=kill_after)
        return self.wait()

    def start(self, *words: str, kill_after: float | None = None) -> None:
        """Begin a command: words for jobq; "compact"; "hold", which keeps the lock for so many seconds, as a slow disk does."""
        self._words = words
        self._connection.sendall(json.dumps({"words": words, "kill_after": kill_after}).encode() + b"\n")
        self.pid = int(self._answers.readline())

    def signal(self, number: int) -> None:
        """Signal the command; in vain if it is over."""
        self._connection.sendall(bytes([number]))

    def is_over(self) -> bool:
        """Whether it has ended by itself; then `wait` does not wait."""
        return bool(select.select([self._connection], [], [], 0)[0])

    def wait(self) -> Done:
        """How the command ended."""
        try:
            return Done(self._words, *json.loads(self._answers.readline()))
        except TimeoutError:
            where = Path(f"/proc/{self.pid}/wchan").read_text()
            raise TimeoutError(
                f"jobq {' '.join(self._words)} is not over after {PATIENCE} s; it is in {where}"
            ) from None

    def close(self) -> None:
        """Kill what it runs, and end it."""
        self._answers.close()
        self._connection.close()


@contextmanager
def clients(store: Path, count: int) -> Iterator[list[Client]]:
    """So many of them, for this store."""
    ours, theirs = zip(*(socket.socketpair() for _ in range(count)), strict=True)
    fds = [end.fileno() for end in theirs]
    process = subprocess.Popen(
        [sys.executable, "-c", ZYGOTE, *map(str, fds)], env=environment(store), cwd="/", pass_fds=fds
    )
    for end in theirs:
        end.close()
    made = [Client(end) for end in ours]
    try:
        yield made
    finally:
        for client in made:
            client.close()
        process.wait(PATIENCE)


# -- jobs that note what happens to them ------------------------------------------------------------

# Arguments: what to do, in shell; a tag. The descriptor 9 is handed down to the whole tree.
JOB = """\
say() {{ read -r now _ < /proc/uptime; echo "$1 $JOBQ_JOB_ID $JOBQ_JOB_ATTEMPT $now" >> {runs}; }}
exec 9>> "{locks}/$JOBQ_JOB_ID"
flock -n 9 || say overlap
say begin
eval "$1"
code=$?
say end
exit $code
"""


class Line(NamedTuple):
    """What a job has noted: "begin", "end", or "overlap" if a process of another attempt was alive. In this order."""

    what: str
    id: int
    n: int
    at: float  # up to 10 ms too early


class Notes:
    """The script of the jobs, and what they have written, outside the store."""

    def __init__(self, folder: Path) -> None:
        (folder / "locks").mkdir()
        self.runs = folder / "runs"
        self.runs.touch()
        self.script = folder / "job"
        self.script.write_text(JOB.format(runs=self.runs, locks=folder / "locks"))

    def command(self, shell: str, tag: str) -> tuple[str, ...]:
        """The words of a job that does this and can be told by its tag."""
        return ("/bin/sh", str(self.script), shell, tag)

    def lines(self) -> list[Line]:
        """All that was noted so far."""
        words = (line.split() for line in self.runs.read_text().splitlines())
        return [Line(what, int(job_id), int(n), float(at)) for what, job_id, n, at in words]


# -- the rules ----------------------------------------------------------------------------------------


class Add(NamedTuple):
    """A job that was asked for; `statuses` are the exit statuses that it may have."""

    tag: str
    retries: int
    statuses: tuple[int, ...]
    done: Done

    @property
    def id(self) -> int | None:
        """What was acknowledged; `run` names no id."""
        return int(self.done.out) if self.done.code == 0 and "run" not in self.done.words else None


class Ask(NamedTuple):
    """A cancel or a requeue of one job."""

    job_id: int
    done: Done


@dataclass
class Facts:
    """What was asked and answered, and, once it is over, what the store says and what the jobs have noted."""

    adds: list[Add] = field(default_factory=list)
    cancels: list[Ask] = field(default_factory=list)
    requeues: list[Ask] = field(default_factory=list)
    others: list[Done] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)  # supervisors, as attempts name them
    seen: list[str] = field(default_factory=list)  # complaints of those who watched
    jobs: dict[int, Job] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    @property
    def commands(self) -> list[Done]:
        """All that were given."""
        return [ask.done for asks in (self.adds, self.cancels, self.requeues) for ask in asks] + self.others

    @cached_property
    def acked(self) -> dict[int, Add]:
        """By id; of two with one id, the later."""
        return {add.id: add for add in self.adds if add.id is not None}

    @cached_property
    def begins(self) -> dict[int, list[Line]]:
        """By job, in order."""
        found: dict[int, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.what == "begin":
                found[line.id].append(line)
        return found

    @cached_property
    def _requeues(self) -> dict[int, list[Done]]:
        """By job. A killed command may have done it."""
        found: dict[int, list[Done]] = defaultdict(list)
        for ask in self.requeues:
            if ask.done.code in {0, -signal.SIGKILL}:
                found[ask.job_id].append(ask.done)
        return found

    def requeued(self, job_id: int, since: float = 0.0, until: float = float("inf")) -> int:
        """How often that may have happened, and been felt between these times."""
        return sum(done.acked > since and done.invoked < until for done in self._requeues.get(job_id, ()))

    def by_tag(self) -> dict[str, Add]:
        """Every add, acknowledged or not."""
        return {add.tag: add for add in self.adds}


def tag_of(job: Job) -> str:
    """What tells the jobs of a test from each other."""
    return str(job.command.args[-1] if isinstance(job.command, Call) else job.command[-1])


Rule = Callable[[Facts], Iterator[object]]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register a function that yields what breaks the rule."""

    def register(check: Rule) -> Rule:
        RULES[name] = check
        return check

    return register


def broken(facts: Facts) -> dict[str, list[object]]:
    """What breaks each rule."""
    return {name: list(rule(facts)) for name, rule in RULES.items()}


@rule("lost")
def _lost(facts: Facts) -> Iterator[object]:
    for job_id, add in facts.acked.items():
        if job_id not in facts.jobs or tag_of(facts.jobs[job_id]) != add.tag:
            yield f"job {job_id} ({add.tag}) was acknowledged", facts.jobs.get(job_id)


@rule("id given twice")
def _duplicate(facts: Facts) -> Iterator[object]:
    counts = Counter(add.id for add in facts.adds if add.id is not None)
    yield from (f"job {job_id} was acknowledged {count} times" for job_id, count in counts.items() if count > 1)


@rule("unexpected")
def _unexpected(facts: Facts) -> Iterator[object]:
    """A job that nobody asked for, that was refused, or that is there twice; of a killed add, one may be there."""
    asked = facts.by_tag()
    tags = Counter(map(tag_of, facts.jobs.values()))
    for job_id, job in facts.jobs.items():
        add = asked.get(tag_of(job))
        stored = (
            {0, -signal.SIGKILL, CANCELLED} if add is not None and "run" in add.done.words else {0, -signal.SIGKILL}
        )
        if add is None or add.done.code not in stored or tags[add.tag] > 1:
            yield job_id, job.command, add
    yield from (f"job {job_id} ran and is not in the list" for job_id in facts.begins if job_id not in facts.jobs)


@rule("out of order")
def _order(facts: Facts) -> Iterator[object]:
    """What was acknowledged before the other was asked for has the lower id."""
    events = [(add.done.acked, 0, job_id) for job_id, add in facts.acked.items()]
    events += [(add.done.invoked, 1, job_id) for job_id, add in facts.acked.items()]
    highest = 0
    for _, is_invoke, job_id in sorted(events):
        if not is_invoke:
            highest = max(highest, job_id)
        elif job_id < highest:
            yield f"job {job_id} was asked for after job {highest} had been acknowledged"


@rule("not visible")
def _invisible(facts: Facts) -> Iterator[object]:
    """Whoever names an acknowledged job finds it."""
    for ask in [*facts.cancels, *facts.requeues]:
        if "there is no job" in ask.done.err:
            yield str(ask.done)


@rule("attempt begun twice")
def _double(facts: Facts) -> Iterator[object]:
    counts = Counter((line.id, line.n) for lines in facts.begins.values() for line in lines)
    yield from (f"job {job_id}, attempt {n}: {count} times" for (job_id, n), count in counts.items() if count > 1)


@rule("too many attempts")
def _too_many(facts: Facts) -> Iterator[object]:
    """With retries, those cut short by a stopping worker are not counted; without, what has begun never begins again."""
    for job_id, begins in facts.begins.items():
        add, job = facts.acked.get(job_id), facts.jobs.get(job_id)
        if add is None or job is None:
            continue
        uncounted = (
            {a.n for a in job.attempts if a.ending is not None and not a.ending.counted} if add.retries else set()
        )
        made = sum(line.n not in uncounted for line in begins)
        if made > (1 + add.retries) * (1 + facts.requeued(job_id)):
            yield f"job {job_id} has begun {made} times with {add.retries} retries, {facts.requeued(job_id)} requeues"


@rule("overlap")
def _overlap(facts: Facts) -> Iterator[object]:
    latest: dict[int, int] = {}
    for line in facts.lines:
        if line.what == "overlap" or line.n < latest.get(line.id, 0):
            yield line
        latest[line.id] = line.n


@rule("cancelled, then begun")
def _cancelled_then_begun(facts: Facts) -> Iterator[object]:
    """A cancel that found it running leaves room for the one begin that was under way."""
    for ask in facts.cancels:
        if ask.done.code == 0:
            later = [line for line in facts.begins.get(ask.job_id, []) if line.at > ask.done.acked]
            later = [line for line in later if not facts.requeued(ask.job_id, ask.done.invoked, line.at)]
            if len(later) > (f"job {ask.job_id} is stopping" in ask.done.err):
                yield str(ask.done), later


@rule("cancelled by nobody")
def _cancelled_unasked(facts: Facts) -> Iterator[object]:
    asked = {ask.job_id for ask in facts.cancels if ask.done.code in {0, -signal.SIGKILL}}
    yield from (job_id for job_id, job in facts.jobs.items() if job.state is State.CANCELLED and job_id not in asked)


@rule("not finished")
def _unfinished(facts: Facts) -> Iterator[object]:
    for job_id, job in facts.jobs.items():
        if job.state not in {State.SUCCEEDED, State.FAILED, State.CANCELLED}:
            yield job_id, job.state, job.attempts[-1:]


@rule("success without an end")
def _hollow_success(facts: Facts) -> Iterator[object]:
    ended = {(line.id, line.n) for line in facts.lines if line.what == "end"}
    for job_id, job in facts.jobs.items():
        if job.state is State.SUCCEEDED and (job_id, job.attempts[-1].n) not in ended:
            yield job_id, job.attempts


@rule("wrong result")
def _wrong_result(facts: Facts) -> Iterator[object]:
    """Nobody signals a job but its supervisor, so it exits as it was meant to, or jobq is the cause."""
    asked = facts.by_tag()
    for job in facts.jobs.values():
        for ending in filter(None, (attempt.ending for attempt in job.attempts)):
            add = asked.get(tag_of(job))
            if ending.outcome in {Outcome.SIGNAL, Outcome.SPAWN_ERROR} or (
                ending.outcome is Outcome.EXIT and add is not None and ending.status not in add.statuses
            ):
                yield job.id, ending


@rule("lost for no reason")
def _lost_attempts(facts: Facts) -> Iterator[object]:
    """An attempt is lost only if its supervisor was killed: the death of a worker costs none."""
    for job in facts.jobs.values():
        for attempt in job.attempts:
            if attempt.ending and attempt.ending.outcome is Outcome.LOST and attempt.supervisor not in facts.killed:
                yield job.id, attempt


@rule("exit codes")
def _codes(facts: Facts) -> Iterator[object]:
    """75: the lock, which only happens on a machine that is far too slow."""
    for done in facts.commands:
        if done.code == CANCELLED and "run" in done.words:
            continue
        refusable = "add" not in done.words or "--name" in done.words
        allowed = {0, 75, -signal.SIGKILL, 1 if refusable else 0}
        if done.code not in allowed or "Traceback" in done.err:
            yield str(done)


# -- when it is over ------------------------------------------------------------------------------------


def living(stores: Iterable[Path]) -> dict[int, tuple[int, int]]:
    """The live processes that were started for these stores: by pid, the job and its attempt (0: of no job)."""
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
    """A last worker, alone, twice: a job that follows when all are finished, and compacted away, is like any other."""
    with clients(store, 1) as (last,):
        first = last("worker", "--drain", "-j", "8", kill_after=PATIENCE / 2)
        facts.others.append(last("compact"))
        after_all = last("add", "--name", "after-all", "--", *notes.command("true", "after-all"))
        facts.adds.append(Add("after-all", 3, (0,), after_all))
        second = last("worker", "--drain", kill_after=PATIENCE / 2)
    facts.seen += [f"the store could not be drained: {done}" for done in (first, second) if done.code not in {0, 1}]
    queue = Queue(str(store))
    facts.jobs = {job.id: job for job in [*queue.jobs(), *queue.finished()]}
    facts.lines = notes.lines()
    facts.seen += check.problems(queue.store)


def leftovers(stores: Iterable[Path]) -> Iterator[str]:
    """Processes and folders of workers that ought to be gone."""
    stores = list(stores)
    deadline = time.monotonic() + 10
    while (left := living(stores)) and time.monotonic() < deadline:
        time.sleep(0.02)
    yield from (f"process {pid} of job {job_id} is left: {command_line(pid)}" for pid, (job_id, _) in left.items())
    names = os.listdir(stores[0] / presence.WORKERS)
    yield from (f"the folder of worker {name} is left" for name in names if not name.startswith("."))


def command_line(pid: int) -> str:
    """Of a process; "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def supervisor_name(pid: int) -> str:
    """As attempts record it, if the process is a supervisor; else ""."""
    words = command_line(pid).split()
    if len(words) < 4 or not words[-4].endswith("/supervisor.py"):
        return ""
    try:  # a job that it is just starting still looks the same
        is_one = Path(f"{words[-3]}/{words[-2]}.lock").read_text() == f"{pid}\n"
    except OSError:
        return ""
    return f"{os.path.basename(words[-3])}/{words[-2]}" if is_one else ""


def judge(stores: list[Path], facts: Facts, notes: Notes) -> Figures:
    """Drain the store, and see whether everything fits together."""
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
    """Threads that repeat what they do until the shift is over."""

    def __init__(self) -> None:
        self.bad: list[str] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def hire(self, work: Callable[[], float]) -> None:
        """`work` returns for how many seconds to rest before it is done again. What it raises is a complaint."""

        def repeat() -> None:
            try:
                while not self._over.wait(work()):
                    pass
            except Exception as e:  # a thread has no caller
                self.bad.append(f"{type(e).__name__}: {e}")

        self._threads.append(threading.Thread(target=repeat))
        self._threads[-1].start()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The shift is over: return when all have put down their tools."""
        self._over.set()
        for thread in self._threads:
            thread.join()


KINDS = (
    # (what the job does, the exit statuses that it may have, how often)
    ("true", (0,), 3),
    ("sleep 0.05", (0,), 3),
    ("sleep 0.3", (0,), 3),
    ("sleep 0.6", (0,), 1),
    ("false", (1,), 2),
    ("setsid sleep 60 & sleep 0.1", (0,), 2),
)
MOST_WAITING = 80  # jobs; then the adders take it slower
CROWD = {"adders": 6, "cancellers": 2, "requeuers": 1, "compactors": 1, "holders": 1, "workers": 3}


class Load:
    """All at once on one store, which may go by several paths; the first of them is the one that is looked at."""

    def __init__(self, bench: Bench, stores: list[Path]) -> None:
        self.bench = bench
        self.stores = stores
        self.facts = Facts()
        self.notes = Notes(bench.folder)
        self.ids: list[int] = []
        self._checked: dict[int, int] = {}
        self._workers: dict[Path, int] = {}
        self._backlog = 0

    def run(self, seconds: float, *, kills: bool = True, crowd: dict[str, int] = CROWD) -> Figures:
        """So long; then everything is judged."""
        with clients(self.stores[0], sum(crowd.values())) as made, Crew() as crew:
            free = iter(made)
            workers = [next(free) for _ in range(crowd["workers"])]
            for worker in workers:
                self.start_worker(worker)
            for _ in range(crowd["adders"]):
                crew.hire(self.task(self.add, next(free)))
            for _ in range(crowd["cancellers"]):
                crew.hire(self.task(self.cancel, next(free), Queue(str(self.stores[0]))))
            for _ in range(crowd["requeuers"]):
                crew.hire(self.task(self.requeue, next(free)))
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
        return judge(self.stores, self.facts, self.notes)

    def task(self, work: Callable[..., float], *tools: object) -> Callable[[], float]:
        dice = random.Random(self.bench.dice.random())
        return lambda: work(*tools, dice)

    def words(self, dice: random.Random, *words: str) -> tuple[str, ...]:
        """For a command on the store, by any of its paths."""
        store = dice.choice(self.stores)
        return words if store is self.stores[0] else ("--store", str(store), *words)

    def add(self, client: Client, dice: random.Random) -> float:
        """A job of any kind; now and then the command is killed."""
        ((shell, statuses, _),) = dice.choices(KINDS, [often for _, _, often in KINDS])
        tag, retries = f"tag{dice.getrandbits(60)}", dice.choice((0, 0, 1, 1 if not self.bench.full else 3))
        options = ["--retries", str(retries), "--grace", "0.3"]
        options += ["--timeout", "0.2"] if dice.random() < 0.1 else []
        options += ["--name", f"name{dice.randrange(9)}"] if dice.random() < 0.15 else []
        words = self.words(dice, "add", *options, "--", *self.notes.command(shell, tag))
        add = Add(
            tag, retries, statuses, client(*words, kill_after=dice.uniform(0, 0.04) if dice.random() < 0.04 else None)
        )
        self.facts.adds.append(add)
        self.facts.kills["adds"] += add.done.code == -signal.SIGKILL
        if add.id is not None:
            self.ids.append(add.id)
        return dice.uniform(0.03, 0.15) if self._backlog < MOST_WAITING else 0.5

    def cancel(self, client: Client, queue: Queue, dice: random.Random) -> float:
        """One of those that are about to be claimed, or of the last."""
        queued = [job.id for job in queue.jobs() if job.state is State.QUEUED] if dice.random() < 0.5 else []
        if ids := queued[:4] or self.ids[-25:]:
            job_id = dice.choice(ids)
            self.facts.cancels.append(Ask(job_id, client(*self.words(dice, "cancel", str(job_id)))))
        return dice.uniform(0, 0.05)

    def requeue(self, client: Client, dice: random.Random) -> float:
        """Any job: most of them can't be."""
        if self.ids:
            job_id = dice.choice(self.ids[-60:])
            self.facts.requeues.append(Ask(job_id, client(*self.words(dice, "requeue", str(job_id)))))
        return dice.uniform(0.05, 0.2)

    def compact(self, client: Client, dice: random.Random) -> float:
        """Now and then it is killed."""
        self.facts.others.append(client("compact", kill_after=dice.uniform(0, 0.03) if dice.random() < 0.2 else None))
        self.facts.kills["compactions"] += self.facts.others[-1].code == -signal.SIGKILL
        return dice.uniform(0.05, 0.3)

    def hold(self, client: Client, dice: random.Random) -> float:
        """Those who wait for the lock meanwhile see it change hands at once."""
        self.facts.others.append(client("hold", "0.03"))
        return dice.uniform(0.03, 0.1)

    def start_worker(self, worker: Client) -> None:
        """By any path."""
        worker.start(*self.words(self.bench.dice, "worker", "-j", "2"))

    def kill_worker(self, worker: Client) -> None:
        """It may not have ended by itself."""
        worker.signal(signal.SIGKILL)
        done = worker.wait()
        self.facts.others.append(done)
        self.facts.kills["workers"] += 1
        if done.code != -signal.SIGKILL:
            self.facts.seen.append(f"a worker has ended by itself: {done}")

    def kill(self, workers: list[Client], dice: random.Random) -> float:
        """A worker, which is started again, or a supervisor."""
        if dice.random() < 0.6:
            worker = dice.choice(workers)
            self.kill_worker(worker)
            self.start_worker(worker)
        else:
            self.kill_supervisor(dice)
        return dice.uniform(0.15, 0.3)

    def kill_supervisor(self, dice: random.Random) -> None:
        """Any that is alive."""
        names = {pid: supervisor_name(pid) for pid, (job_id, _) in living(self.stores).items() if not job_id}
        if victims := [(pid, name) for pid, name in names.items() if name]:
            pid, name = dice.choice(victims)
            self.facts.killed.add(name)
            self.facts.kills["supervisors"] += 1
            os.kill(pid, signal.SIGKILL)

    def watch(self, queue: Queue) -> float:
        """A job that is over has no process any more."""
        jobs = queue.store.read()
        self._backlog = sum(1 for _ in jobs.unfinished())
        final = (job for job in jobs.by_id.values() if job.state.final)
        over = {job.id: len(job.history) for job in final if self._checked.get(job.id) != len(job.history)}
        for pid, (job_id, n) in living(self.stores).items() if over else ():
            if job_id in over:
                job = queue.job(job_id)
                if len(job.history) == over[job_id]:  # so it was over when the process was seen
                    self.facts.seen.append(
                        f"job {job_id} is {job.state}, and process {pid} of its attempt {n} is alive"
                    )
        self._checked.update(over)
        self.watch_folders()
        return 0.05

    def watch_folders(self) -> None:
        """As long as a worker lives, so does its folder."""
        for path in (self.stores[0] / presence.WORKERS).glob(f"{presence.ANY_JOB}*/{presence.LOCK}"):
            with suppress(OSError, ValueError):
                self._workers[path] = int(path.read_text())
        for path in [path for path in self._workers if not path.exists()]:
            if is_alive(pid := self._workers.pop(path)):
                self.facts.seen.append(f"worker {pid} is alive, and its folder is gone")


def need_history() -> None:
    """What the jobs and their clients need."""
    need_linux()
    need_tool("flock", "setsid")


@case("15", "store", "history under load with random kills")
def history_under_load(bench: Bench) -> Figures:
    """Six adders, three workers, two cancellers, a requeuer and a compactor."""
    need_history()
    return Load(bench, [bench.folder / "store"]).run(bench.size(3, 300))


@case("54", "store", "one store by two paths")
def two_paths(bench: Bench) -> Figures:
    """A symlink to the parent, and in the full form a bind mount: one lock, one truth."""
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
    """The store at another place, by mount(8)."""
    for path in (store, to):
        path.mkdir(mode=0o700)
    subprocess.run(["mount", "--bind", store, to], check=True)
    try:
        yield to
    finally:
        subprocess.run(["umount", "--lazy", to], check=True)


@case("20", "store", "a change is visible to every command that starts after it is acknowledged")
def visible(bench: Bench) -> Figures:
    """One process changes, another looks; others write and compact all the time. A reader that stays does not lag, either."""
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
                job = (staying.store.read(), staying.store.find(int(job_id)))[1]
                figures.check(
                    (job and job.state) == expected,
                    f"after {done or 'add'}, a reader that stays sees {job and job.state}",
                )
                figures.n += 1
    figures.bad += crew.bad
    return figures


SAYS = "i=0; while [ $i -lt {0} ]; do echo line $i; i=$((i + 1)); sleep 0.02; done"
LOOKS = (("list", "--json"), ("list", "--all", "--json"), ("show", "1", "--json"), (), ("log", "1"), ("doctor",))


@case("53", "store", "compaction while ten readers, a live table and `log -f` run")
def compaction_under_readers(bench: Bench) -> Figures:
    """No reader fails, the table misses no end, the log no line."""
    need_history()
    load, figures, cli = Load(bench, [bench.folder / "store"]), Figures(), bench.cli()
    lines = bench.size(60, 2000)
    talker = cli.id("--priority", "high", SAYS.format(lines))
    with clients(cli.store, 13) as (follower, adder, compactor, *readers), Crew() as crew, terminal() as (tty, screen):
        env = cli.env | {"TERM": "xterm-256color"}
        table = cli.start("worker", "-j", "3", stdin=tty, stdout=tty, stderr=tty, env=env)
        wait_until(lambda: cli.queue.job(talker).state is not State.QUEUED)
        follower.start("log", "-f", str(talker))
        crew.hire(lambda: load.facts.others.append(compactor("compact")) or 0.0)
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
        figures.check(count == (shown or [0])[-1], f"{count} jobs have {state}, the table says {shown[-3:]}")
    figures.bad += [*crew.bad, *(str(done) for done in load.facts.others if done.code)]
    figures.note = f"{figures.n} looks, {len(load.facts.others)} compactions, {len(jobs)} jobs"
    return figures


@contextmanager
def terminal() -> Iterator[tuple[int, bytearray]]:
    """A terminal for a command, and what has come to its screen so far."""
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
    """One reading command, which has to succeed."""
    done = reader(*dice.choice(LOOKS))
    figures.n += 1
    figures.check(done.code == 0 and "Traceback" not in done.err, str(done))
    return dice.uniform(0, 0.1)


@case("53b", "store", "a worker looks at a line whose sync then fails")
def withdrawn(bench: Bench) -> Figures:
    """The disk takes 0.2 s to refuse; meanwhile the worker is rung all the time. What is withdrawn never runs."""
    need_history()
    need_tool("strace")
    figures, cli, ran = Figures(n=bench.size(1, 20)), bench.cli(), bench.folder / "ran"
    worker = cli.worker("-j", "2")
    cli.id("true")  # so that the environment is saved
    root = cli.queue.store.existing()
    assert root is not None
    with Crew() as crew:
        crew.hire(lambda: presence.ring(root) or 0.01)
        for _ in range(figures.n):
            inject = "inject=fdatasync:error=EIO:delay_enter=200000"
            done = strace.trace(
                strace.jobq("add", f"touch {ran}"), bench.folder / "trace", cli.env, "-e", inject, calls=("fdatasync",)
            )
            figures.check(done.returncode == 74, f"the add exits with {done.returncode}: {done.stderr}")
    after = cli.queue.wait(cli.id("true"), timeout=30)
    figures.check(not ran.exists(), "a job that was withdrawn has run")
    figures.check(after.id == 2, f"there have been {after.id} jobs, not 2")
    figures.check(worker.poll() is None, "the worker has ended")
    return figures


SEEDS = [
    Seed(
        "E",
        "no lock at all",
        "store/lock.py",
        "            if try_lock(self._fd):",
        "            if try_lock(self._fd) or True:",
        "15",
    ),
    Seed(
        "E",
        "a claim that is decided outside the lock",
        "worker.py",
        "        self.store.update(decide, now.wall, ring=False)\n        self.trouble",
        "        decided = list(decide(self.store.jobs))\n"
        "        self.store.update(lambda _jobs: decided, now.wall, ring=False)\n        self.trouble",
        "15",
    ),
    Seed(
        "E",
        "a cancel that does not look again under the lock",
        "api.py",
        "                if job_id in jobs.by_id:\n",
        "                if job_id in known:\n                    return known[job_id]\n                if job_id in jobs.by_id:\n",
        "15",
    ),
    Seed(
        "E",
        "compaction that forgets the next id",
        "store/jobs.py",
        '"next_id": next_id, "jobs": count',
        '"next_id": max((job.id for job in jobs if not job.state.final), default=0) + 1, "jobs": count',
        "15",
    ),
    Seed(
        "E",
        "a rescue that ignores the lock of a live worker",
        "store/lock.py",
        "    except BlockingIOError:\n        return False\n",
        '    except BlockingIOError:\n        return os.readlink(f"/proc/self/fd/{fd}").endswith("/lock")\n',
        "15",
    ),
    Seed(
        "E",
        "what a dead worker was running is run again instead of adopted",
        "rescue.py",
        "            if ending is None:\n",
        "            if ending is None:\n                ending = Ending(lifecycle.Outcome.INTERRUPTED, counted=False)\n            else:\n",
        "15",
    ),
    Seed(
        "E",
        "an end that is told before the tree is gone",
        "supervisor.py",
        "        self.end_leftovers(job)\n",
        "",
        "15",
    ),
    Seed(
        "E",
        "a reader that does not notice a new generation",
        "store/view.py",
        "        elif self.journal.is_current():\n            self._follow_to(",
        "        elif self.journal.is_current() or not locked:\n            self._follow_to(",
        "20",
    ),
    Seed(
        "E",
        "compaction that leaves out what was written meanwhile",
        "store/compaction.py",
        "write_all(fd, tail, snapshot_end)",
        'tail = b""',
        "20",
    ),
    Seed(
        "E",
        "a reader that believes what is not synced",
        "store/view.py",
        "(locked or not is_held(folder, StoreLock.NAME))",
        "True",
        "53b",
    ),
    Seed(
        "E",
        "a reader that takes the hint of another generation",
        "store/view.py",
        "        if hint is None or hint.generation != self.journal.header.generation:\n",
        "        if hint is None:\n",
        "53",
    ),
    Seed(
        "E",
        "a lock for each path of the store",
        "store/lock.py",
        "            return self._folder.file(self.NAME,",
        '            self.NAME = f"store{len(self._folder.path)}.lock"\n            return self._folder.file(self.NAME,',
        "54",
    ),
]
