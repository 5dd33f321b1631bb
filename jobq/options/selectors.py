"""The words that name jobs on the command line, the same for every command. Parsing looks at no store."""

from __future__ import annotations

from collections.abc import Sequence

from jobq.command import as_typed
from jobq.errors import NotFound, UsageError
from jobq.job import Job, State
from jobq.typed import NamedTuple

LONGEST_ID = 18  # digits
FORMS = (
    "an id (7), a range (3-7), a name, @ (the last added), @~1 (the one before), @failed (any state), @queue=NAME,"
    " @label=NAME=VALUE"
)


class Range(NamedTuple):
    """Jobs by id, from `low` to `high`; one id is a range of one."""

    low: int
    high: int
    is_one: bool = False


class Named(NamedTuple):
    """The unfinished job of that name, else the latest finished one."""

    name: str
    is_one: bool = True


class Added(NamedTuple):
    """The job that was added last, or `back` jobs before that."""

    back: int
    is_one: bool = True


WAITING = "waiting"  # stands for all states in which a job waits


def states_of(text: str) -> frozenset[State]:
    """Return the states that a word names: one, or those of jobs that wait. Raises ValueError."""
    return frozenset({State.QUEUED, State.HELD} if text == WAITING else {State(text)})


class InState(NamedTuple):
    """All jobs in that state."""

    states: frozenset[State]
    is_one: bool = False


class InQueue(NamedTuple):
    """The unfinished jobs of a queue."""

    queue: str
    is_one: bool = False


class Labelled(NamedTuple):
    """All jobs with a label; value None: any."""

    name: str
    value: str | None
    is_one: bool = False


Selector = Range | Named | Added | InState | InQueue | Labelled


class Filters(NamedTuple):
    """The conditions that narrow a selection; empty: none."""

    states: frozenset[State] = frozenset()
    queues: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str | None], ...] = ()  # None: any value
    text: str | None = None  # in the command or the name
    since: float | None = None  # the latest event was not before; wall clock
    until: float | None = None

    def match(self, job: Job) -> bool:
        """Return True if the job is meant."""
        own = dict(job.spec.labels) if self.labels else {}
        latest = job.history[-1].at if job.history else job.added_at
        return (
            (not self.states or job.state in self.states)
            and (not self.queues or job.spec.queue in self.queues)
            and all(name in own and value in {None, own[name]} for name, value in self.labels)
            and (self.text is None or self.text in as_typed(job.command) or self.text in (job.spec.name or ""))
            and (self.since is None or latest >= self.since)
            and (self.until is None or latest <= self.until)
        )


NO_FILTERS = Filters()


class Wanted(NamedTuple):
    """The jobs that a command is about: those that the words name (no words: all), as far as they match."""

    words: Sequence[str] = ()
    filters: Filters = NO_FILTERS

    def __bool__(self) -> bool:
        return bool(self.words) or self.filters != NO_FILTERS


class Selected(NamedTuple):
    """The ids of selected jobs, each once; `named`: those that a word named alone, and not as part of a set."""

    ids: list[int]
    named: frozenset[int]


def parse(word: str) -> Selector:
    """Return what the word selects. Raises UsageError, and NotFound for ids beyond all that are given out."""
    low, dash, high = word.partition("-")
    if not word:
        raise UsageError("an empty word does not name jobs", f"use {FORMS}")
    if word.isdecimal():
        return Range(_number(word), _number(word), is_one=True)
    if dash and low.isdecimal() and high.isdecimal():
        if _number(low) > _number(high):
            raise UsageError(f"{word} names no jobs", f"the lower number comes first: {high}-{low}")
        return Range(_number(low), _number(high))
    if not word.startswith("@"):
        return Named(word)
    kind, _, rest = word[1:].partition("=")
    if rest and kind == "queue":
        return InQueue(rest)
    if rest and kind == "label":
        name, equals, value = rest.partition("=")
        return Labelled(name, value if equals else None)
    back = "0" if word == "@" else word.removeprefix("@~")
    if back.isdecimal():
        return Added(_number(back))
    try:
        return InState(states_of(word[1:]))
    except ValueError:
        raise UsageError(f"{word} does not name jobs", f"use {FORMS}") from None


def select_one(words: Sequence[str]) -> bool:
    """Return True if the words can select one job only, so that its own exit code is what counts."""
    try:
        return len(words) == 1 and parse(words[0]).is_one
    except (UsageError, NotFound):
        return True  # the error is about one word


def _number(text: str) -> int:
    if len(text) > LONGEST_ID:
        raise NotFound(text)
    return int(text)
