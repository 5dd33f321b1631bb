"""Wishes about order in a history: jobs after others, keys, locks, hooks, holds, pauses and edits; and their rules.

The notes of all jobs are in one file that is only appended to, so the order of its lines is the order of events.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jobq.job import Job, State
from jobq.rules.lifecycle import MOVES
from tests.faults.clients import Client, Done
from tests.faults.history_rules import Add, Answer, Asked, Edit, Facts, rule
from tests.faults.seed import Seed

NARROW = "narrow"  # a queue with a limit of one job, which is paused now and then
MOST_HELD = 4  # jobs that are held at once; then the next ones are released
ANSWER = re.compile(r"deduplicated: job (\d+) is the same work")
ENDS = {str(event) for (_, event), state in MOVES.items() if state.final}
HAPPENED = {0, -signal.SIGKILL}  # exit codes of commands that may have had an effect


# -- what the clients ask for ------------------------------------------------------------------------------


class Wish(NamedTuple):
    """The options of an add: `shared` are the names of what no other job may hold while this one runs."""

    options: list[str]
    shared: list[str]
    key: str | None = None


def wish(dice: random.Random, ids: Sequence[int], added: int) -> Wish:
    """Choose what the next job asks for; `ids`: the jobs so far, `added`: the number of adds."""
    options: list[str] = []
    shared: list[str] = []
    key = None
    kind, recent = dice.random(), ids[-8:]
    if kind < 0.2:
        return Wish(["--name", f"name{dice.randrange(9)}"] if kind < 0.1 else [], [])  # these add the quick way
    if kind < 0.4:
        return Wish(["-q", NARROW], [f"queue-{NARROW}"])
    if kind < 0.68 and recent:
        for _ in range(dice.choice((1, 1, 2))):
            options += [dice.choice(("--after", "--after", "--after-any")), str(dice.choice(recent))]
    elif kind < 0.85:
        key = f"k{added // 40}.{dice.randrange(2)}"
        options, shared = ["--key", key], [f"key-{key}"]
    if kind > 0.85 or dice.random() < 0.35:
        lock = f"lock{dice.randrange(2)}"
        options, shared = [*options, "--lock", lock], [*shared, lock]
    if key is None and dice.random() < 0.1:
        options = [*options, "--hold"]
    if dice.random() < 0.2:
        options = [*options, "--on-finish", "true"]
    return Wish(options, shared, key)


def answer_of(wished: Wish, done: Done) -> Answer | None:
    """Return the answer to an add for which there was a job already; None if there was none, or nothing was said."""
    found = ANSWER.search(done.err)
    return Answer(wished.key, int(found[1]), done) if wished.key is not None and found is not None else None


class Keeper:
    """A client that holds and releases jobs, and edits them. No other one does."""

    def __init__(self, client: Client, facts: Facts, words: Callable[..., tuple[str, ...]], held: list[int]) -> None:
        """`held`: the jobs that are held, those that were added so included."""
        self._client = client
        self._facts = facts
        self._words = words
        self._held = held

    def ask(self, dice: random.Random, *words: str) -> Done:
        """Run a command; now and then kill it."""
        done = self._client(
            *self._words(dice, *words), kill_after=dice.uniform(0, 0.04) if dice.random() < 0.1 else None
        )
        self._facts.kills["holds and edits"] += done.code == -signal.SIGKILL
        return done

    def hold(self, job_id: int, dice: random.Random) -> None:
        """Hold the job; release one of those that are held, if they are many."""
        self._facts.holds.append(Asked(job_id, self.ask(dice, "hold", str(job_id))))
        if self._facts.holds[-1].done.code in HAPPENED:
            self._held.append(job_id)
        if len(self._held) > MOST_HELD or (self._held and dice.random() < 0.3):
            job_id = self._held.pop(dice.randrange(len(self._held)))
            self._facts.releases.append(Asked(job_id, self.ask(dice, "release", str(job_id))))

    def edit(self, job_id: int, dice: random.Random) -> None:
        """Change the priority of the job, or of one that is held; what was acknowledged has to show at once."""
        job_id = dice.choice(self._held) if self._held and dice.random() < 0.5 else job_id
        number = dice.randrange(1, 1000)
        edit = Edit(job_id, number, self.ask(dice, "edit", str(job_id), "-p", str(number)))
        self._facts.edits.append(edit)
        if edit.done.code == 0:
            seen = self._client("show", str(job_id), "--json")
            shown = json.loads(seen.out)["jobs"][0]["priority"] if seen.code == 0 else seen
            if shown != number:
                self._facts.seen.append(f"{edit.done}: then 'show' tells of priority {shown}, not {number}")

    def pause(self, dice: random.Random) -> None:
        """Pause a queue for a moment; the pause or its end may be killed."""
        paused = self.ask(dice, "pause", NARROW)
        time.sleep(dice.uniform(0.2, 0.5))
        self._facts.pauses.append((paused, self.ask(dice, "resume", NARROW)))

    def release_all(self) -> None:
        """Release what is held, and end the pause, at the end of the load; these may have been killed before."""
        self._facts.others.append(self._client("resume", NARROW))
        done = self._client("release", "@held")
        self._facts.others.append(done)
        self._facts.releases += [Asked(job_id, done) for job_id in {ask.job_id for ask in self._facts.holds}]


# -- the rules ----------------------------------------------------------------------------------------------


def _first_begins(facts: Facts) -> dict[int, int]:
    """Return the place of each job's first begin among the notes."""
    found: dict[int, int] = {}
    for at, line in enumerate(facts.lines):
        if line.what == "begin":
            found.setdefault(line.id, at)
    return found


def _success_ends(facts: Facts) -> dict[int, int]:
    """Return the place of the end of each job that has succeeded."""
    ends = {(line.id, line.n): at for at, line in enumerate(facts.lines) if line.what == "end"}
    succeeded = [job for job in facts.jobs.values() if job.state is State.SUCCEEDED and job.attempts]
    return {job.id: ends[job.id, job.attempts[-1].n] for job in succeeded if (job.id, job.attempts[-1].n) in ends}


def _asked_parents(add: Add, flag: str) -> set[int]:
    """Return the jobs that the words of an add name for this flag."""
    words = add.done.words[: add.done.words.index("--")]
    return {int(words[at + 1]) for at, word in enumerate(words) if word == flag}


def _may_run_again(facts: Facts, job_id: int) -> bool:
    """Return True if the job waited again after it had ended: it was requeued, or the job that it was skipped for was."""
    job = facts.jobs.get(job_id)
    return facts.requeued(job_id) > 0 or (job is not None and any(step.event == "rearm" for step in job.history))


@rule("begun before its parents")
def _early(facts: Facts) -> Iterator[object]:
    """A job begins when those that it is after have ended. Only `--after-any` allows that they run again later."""
    done, last = _success_ends(facts), {line.id: at for at, line in enumerate(facts.lines)}
    for job_id, at in _first_begins(facts).items():
        job = facts.jobs.get(job_id)
        if job is None:
            continue
        for parent in job.spec.after:
            if done.get(parent, at) >= at:
                yield f"job {job_id} began before job {parent} had succeeded"
        for parent in job.spec.after_any:
            if last.get(parent, -1) > at and not _may_run_again(facts, parent):
                yield f"job {job_id} began before job {parent} had ended", facts.jobs.get(parent)


@rule("other parents")
def _other_parents(facts: Facts) -> Iterator[object]:
    for job_id, add in facts.acked.items():
        job = facts.jobs.get(job_id)
        if job is None or "--" not in add.done.words:
            continue
        if set(job.spec.after) != _asked_parents(add, "--after"):
            yield job_id, job.spec.after, str(add.done)
        if set(job.spec.after_any) != _asked_parents(add, "--after-any"):
            yield job_id, job.spec.after_any, str(add.done)


@rule("skipped or not")
def _skipped(facts: Facts) -> Iterator[object]:
    """A job is skipped, and never ran, if and only if one that had to succeed did not, and nobody cancelled it first."""
    for job in facts.jobs.values():
        wrong = [p for p in job.spec.after if p not in facts.jobs or facts.jobs[p].state is not State.SUCCEEDED]
        if wrong and job.state not in {State.SKIPPED, State.CANCELLED}:
            yield f"job {job.id} is {job.state}, though jobs {wrong} did not succeed"
        if wrong and job.id in facts.begins:
            yield f"job {job.id} has run, though jobs {wrong} did not succeed"
        if job.state is State.SKIPPED and not wrong:
            yield f"job {job.id} is skipped, and all that it is after succeeded: {job.spec.after}"


@rule("work done twice")
def _twice(facts: Facts) -> Iterator[object]:
    """Of the jobs with one key one succeeds, and none begins after that."""
    done, keyed = _success_ends(facts), defaultdict[str, list[Job]](list)
    for job in facts.jobs.values():
        if job.spec.key is not None:
            keyed[job.spec.key].append(job)
    for key, jobs in keyed.items():
        succeeded = [job.id for job in jobs if job.state is State.SUCCEEDED]
        if len(succeeded) > 1:
            yield f"jobs {succeeded} have succeeded with key {key}"
        over = min((done[job_id] for job_id in succeeded if job_id in done), default=len(facts.lines))
        ids = {job.id for job in jobs}
        late = [line for line in facts.lines[over:] if line.what == "begin" and line.id in ids]
        if late:
            yield f"key {key} was done by job {succeeded}, and then began {late}"


@rule("answered with another job")
def _answered(facts: Facts) -> Iterator[object]:
    for answer in facts.answers:
        job = facts.jobs.get(answer.job_id)
        if job is None or job.spec.key != answer.key or answer.done.out.strip() != str(answer.job_id):
            yield str(answer.done), answer.done.out, job


@rule("lock held twice")
def _shared(facts: Facts) -> Iterator[object]:
    """No process of a job lives beside a process of another one with the same lock, or the same key."""
    yield from (line for line in facts.lines if line.what == "taken")


@rule("begun while held")
def _held(facts: Facts) -> Iterator[object]:
    for hold in facts.holds:
        if hold.done.code != 0:
            continue
        ways_out = [
            ask.done
            for ask in [*facts.releases, *facts.requeues]
            if ask.job_id == hold.job_id and ask.done.code in HAPPENED and ask.done.acked > hold.done.invoked
        ]
        for line in facts.begins.get(hold.job_id, []):
            if line.at > hold.done.acked and not any(done.invoked < line.at + 0.01 for done in ways_out):
                yield str(hold.done), hold.done.acked, line


@rule("claimed while paused")
def _paused(facts: Facts) -> Iterator[object]:
    """No job of a paused queue is claimed between the acknowledgement of the pause and the request to end it."""
    since_boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    claims = [
        (attempt.claimed_at - since_boot, job.id)
        for job in facts.jobs.values()
        for attempt in job.attempts
        if job.spec.queue == NARROW
    ]
    for paused, resumed in facts.pauses:
        if paused.code == 0:
            yield from (
                (str(paused), job_id, at) for at, job_id in claims if paused.acked + 0.01 < at < resumed.invoked - 0.01
            )


@rule("hooks lost or run twice")
def _hooks(facts: Facts) -> Iterator[object]:
    """Each end of a job with a hook has one hook, and that has run once, if nobody cancelled it before."""
    made = Counter(dict(hook.spec.vars)["JOBQ_JOB_ID"] for hook in facts.hooks)
    for job in facts.jobs.values():
        ends = sum(step.event in ENDS for step in job.history) if job.spec.on_finish else 0
        if made[str(job.id)] != ends:
            yield f"job {job.id} has ended {ends} times, and has {made[str(job.id)]} hooks", job.history
    asked = {cancel.job_id for cancel in facts.cancels}
    for hook in facts.hooks:
        runs = sum(attempt.ending is None or not attempt.ending.never_started for attempt in hook.attempts)
        cancelled = hook.state is State.CANCELLED and hook.id in asked
        if (runs != 1 and not (cancelled and runs == 0)) or not hook.state.final:
            yield f"hook {hook.id} is {hook.state} after {runs} runs", hook.attempts


@rule("edit lost")
def _edits(facts: Facts) -> Iterator[object]:
    """A job has the priority of its last acknowledged edit, or of one that was killed later."""
    edits: dict[int, list[Edit]] = defaultdict(list)
    for edit in facts.edits:
        edits[edit.job_id].append(edit)
    for job_id, made in edits.items():
        possible = {0}
        for edit in made:  # one client makes them all, so they follow each other
            possible = {edit.priority} if edit.done.code == 0 else possible
            possible |= {edit.priority} if edit.done.code in HAPPENED else set()
        job = facts.jobs.get(job_id)
        if job is not None and job.spec.priority not in possible:
            yield f"job {job_id} has priority {job.spec.priority}, and its edits say {sorted(possible)}"


SEEDS = [
    Seed(
        harness="history",
        fault="a parent that failed or was cancelled lets its dependents run",
        file="rules/dependencies.py",
        old="    return parent in spec.after\n",
        new="    return parent in spec.after and ended is State.SKIPPED\n",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a lock is free although a job holds it",
        file="rules/sharing.py",
        old="return self.count(name) - sum(self.holders(name).values())",
        new="return self.count(name)",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a success that has left the journal does not answer for its key",
        file="rules/uniqueness.py",
        old="        gone = [i for i in self._kept_ids.get(identity, ()) if",
        new="        gone = [i for i in set[int]() if",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a hold that is not recorded",
        file="rules/lifecycle.py",
        old="    return _move(job, Event.HOLD, now)\n",
        new="    return job\n",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a worker claims from a queue that is paused",
        file="worker/claiming.py",
        old="            paused=self._paused,\n",
        new="            paused=(),\n",
        caught_by="random-kills-history",
    ),
    Seed(
        harness="history",
        fault="a hook only for ends that a worker records",
        file="store/transaction.py",
        old="        if earlier is not None and has_hooks(job.spec):\n",
        new="        if earlier is not None and has_hooks(job.spec) and earlier.attempts:\n",
        caught_by="tests/process/test_hooks.py",
    ),
    Seed(
        harness="history",
        fault="an edit whose values are not recorded",
        file="changes.py",
        old="                changes.edit(after, before)\n",
        new="                changes.put(after._replace(spec=before.spec), before)\n",
        caught_by="random-kills-history",
    ),
]
