"""The rules of a history of commands and their results, the jobs in the store at the end, and the notes of the jobs."""

from __future__ import annotations

import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from jobq.command import Call
from jobq.job import Job, Outcome, State
from tests.faults.clients import Done

CANCELLED = 125  # exit code of `run` if its job is cancelled

# -- jobs that write notes ---------------------------------------------------------------------------

# Arguments: a shell line, up to two names of what the job shares with others, and a tag. The whole tree inherits
# descriptors 7 to 9.
JOB = """\
say() {{ read -r now _ < /proc/uptime; echo "$1 $JOBQ_JOB_ID $JOBQ_JOB_ATTEMPT $now" >> {runs}; }}
exec 9>> "{locks}/$JOBQ_JOB_ID"
flock -n 9 || say overlap
line=$1
if [ $# -gt 2 ]; then exec 8>> "{locks}/$2"; flock -n 8 || say taken; fi
if [ $# -gt 3 ]; then exec 7>> "{locks}/$3"; flock -n 7 || say taken; fi
say begin
eval "$line"
code=$?
say end
exit $code
"""


class Line(NamedTuple):
    """A note of a job: "begin", "end", or before them what is wrong.

    "overlap": a process of another attempt was alive; "taken": one of another job with the same lock or key.
    """

    what: str
    id: int
    n: int
    at: float  # up to 10 ms too early


class Notes:
    """The script of the jobs, and the file of their notes, outside the store."""

    def __init__(self, folder: Path) -> None:
        (folder / "locks").mkdir()
        self.runs = folder / "runs"
        self.runs.touch()
        self.script = folder / "job"
        self.script.write_text(JOB.format(runs=self.runs, locks=folder / "locks"))

    def command(self, shell: str, tag: str, *shared: str) -> tuple[str, ...]:
        """Return the command of a job that runs this shell line; the tag identifies it. `shared`: up to two names."""
        return ("/bin/sh", str(self.script), shell, *shared, tag)

    def lines(self) -> list[Line]:
        """Return all notes so far."""
        words = (line.split() for line in self.runs.read_text().splitlines())
        return [Line(what, int(job_id), int(n), float(at)) for what, job_id, n, at in words]


# -- the rules ----------------------------------------------------------------------------------------


class Add(NamedTuple):
    """An add of a job; `statuses` are the exit statuses that the job may have."""

    tag: str
    retries: int
    statuses: tuple[int, ...]
    done: Done

    @property
    def id(self) -> int | None:
        """Return the id that was acknowledged; None without one, and for `run`, which prints none."""
        return int(self.done.out) if self.done.code == 0 and "run" not in self.done.words else None


class Asked(NamedTuple):
    """A cancel, a requeue, a hold or a release of one job."""

    job_id: int
    done: Done


class Edit(NamedTuple):
    """An edit of the priority of a job."""

    job_id: int
    priority: int
    done: Done


class Answer(NamedTuple):
    """An add that was answered with a job that was there, because it has the same key."""

    key: str
    job_id: int
    done: Done


@dataclass
class Facts:
    """The facts of a history: the commands, and after the drain the jobs and their notes."""

    adds: list[Add] = field(default_factory=list)
    cancels: list[Asked] = field(default_factory=list)
    requeues: list[Asked] = field(default_factory=list)
    holds: list[Asked] = field(default_factory=list)
    releases: list[Asked] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pauses: list[tuple[Done, Done]] = field(default_factory=list)  # of a queue; the beginning and the end of each
    others: list[Done] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)  # supervisors, as attempts name them
    seen: list[str] = field(default_factory=list)  # complaints of the checks during the load
    jobs: dict[int, Job] = field(default_factory=dict)
    hooks: list[Job] = field(default_factory=list)  # which are not among the jobs
    lines: list[Line] = field(default_factory=list)

    @property
    def commands(self) -> list[Done]:
        """Return all commands."""
        asked = self.adds, self.cancels, self.requeues, self.holds, self.releases, self.edits, self.answers
        return (
            [ask.done for asks in asked for ask in asks]
            + [done for pause in self.pauses for done in pause]
            + self.others
        )

    @cached_property
    def acked(self) -> dict[int, Add]:
        """Return the acknowledged adds by id; of two with one id, the later."""
        return {add.id: add for add in self.adds if add.id is not None}

    @cached_property
    def begins(self) -> dict[int, list[Line]]:
        """Return the notes of begins by job, in order."""
        found: dict[int, list[Line]] = defaultdict(list)
        for line in self.lines:
            if line.what == "begin":
                found[line.id].append(line)
        return found

    @cached_property
    def _requeues(self) -> dict[int, list[Done]]:
        """Return the requeues by job; a killed one may have happened."""
        found: dict[int, list[Done]] = defaultdict(list)
        for ask in self.requeues:
            if ask.done.code in {0, -signal.SIGKILL}:
                found[ask.job_id].append(ask.done)
        return found

    def requeued(self, job_id: int, since: float = 0.0, until: float = float("inf")) -> int:
        """Return how many requeues of the job may have had an effect between these times."""
        return sum(done.acked > since and done.invoked < until for done in self._requeues.get(job_id, ()))

    def by_tag(self) -> dict[str, Add]:
        """Return every add by its tag, acknowledged or not."""
        return {add.tag: add for add in self.adds}


def tag_of(job: Job) -> str:
    """Return the tag, which identifies the jobs of a test."""
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
    """Return, for each rule, what breaks it."""
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
    """A job that no command added, that was refused, or that exists twice; a killed add may have added one."""
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
    """A job that was acknowledged before another add began has the lower id."""
    events = [(add.done.acked, 0, job_id) for job_id, add in facts.acked.items()]
    events += [(add.done.invoked, 1, job_id) for job_id, add in facts.acked.items()]
    highest = 0
    for _, is_invoke, job_id in sorted(events):
        if not is_invoke:
            highest = max(highest, job_id)
        elif job_id < highest:
            yield f"job {job_id} was added after job {highest} was acknowledged"


@rule("not visible")
def _invisible(facts: Facts) -> Iterator[object]:
    """Every command finds an acknowledged job."""
    for ask in [*facts.cancels, *facts.requeues]:
        if "there is no job" in ask.done.err:
            yield str(ask.done)


@rule("attempt begun twice")
def _double(facts: Facts) -> Iterator[object]:
    counts = Counter((line.id, line.n) for lines in facts.begins.values() for line in lines)
    yield from (f"job {job_id}, attempt {n}: {count} times" for (job_id, n), count in counts.items() if count > 1)


@rule("too many attempts")
def _too_many(facts: Facts) -> Iterator[object]:
    """Attempts that a stopping worker cuts short count only for jobs without retries, which never begin twice."""
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
    """A cancel of a running job allows one later begin: the attempt was just starting."""
    for ask in facts.cancels:
        if ask.done.code == 0:
            later = [line for line in facts.begins.get(ask.job_id, []) if line.at > ask.done.acked]
            later = [line for line in later if not facts.requeued(ask.job_id, ask.done.invoked, line.at)]
            if len(later) > (f"job {ask.job_id} is stopping" in ask.done.err):
                yield str(ask.done), later


@rule("cancelled without a command")
def _cancelled_unasked(facts: Facts) -> Iterator[object]:
    asked = {ask.job_id for ask in facts.cancels if ask.done.code in {0, -signal.SIGKILL}}
    yield from (job_id for job_id, job in facts.jobs.items() if job.state is State.CANCELLED and job_id not in asked)


@rule("not finished")
def _unfinished(facts: Facts) -> Iterator[object]:
    for job_id, job in facts.jobs.items():
        if not job.state.final:
            yield job_id, job.state, job.attempts[-1:]


@rule("success without an end")
def _hollow_success(facts: Facts) -> Iterator[object]:
    ended = {(line.id, line.n) for line in facts.lines if line.what == "end"}
    for job_id, job in facts.jobs.items():
        if job.state is State.SUCCEEDED and (job_id, job.attempts[-1].n) not in ended:
            yield job_id, job.attempts


@rule("wrong result")
def _wrong_result(facts: Facts) -> Iterator[object]:
    """Only its supervisor signals a job, so any other exit status or signal is the fault of jobq."""
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
    """No command crashes; 75 is the lock timeout, which happens only on a machine that is far too slow."""
    for done in facts.commands:
        if done.code == CANCELLED and "run" in done.words:
            continue
        refusable = "add" not in done.words or "--name" in done.words
        allowed = {0, 75, -signal.SIGKILL, 1 if refusable else 0}
        if done.code not in allowed or "Traceback" in done.err:
            yield str(done)
