"""How jobs are named on the command line: ids, ranges, names, and what starts with "@"; the same for every verb."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from jobq.api import Queue
from jobq.errors import NotFound, UsageError
from jobq.job import State

STRETCH = 1000  # jobs that are looked up in one pass
FORMS = "an id (7), a range (3-7), a name, @ (the last added), @~1 (the one before), @failed (any state)"


class Selected(NamedTuple):
    """The jobs that words stand for. `named`: those that were asked for one by one, not as some of a set."""

    ids: list[int]
    named: frozenset[int]


def select(queue: Queue, words: Sequence[str]) -> list[int]:
    """The ids that the words stand for, in their order, each once. Raises NotFound, UsageError."""
    return select_all(queue, words).ids


def select_all(queue: Queue, words: Sequence[str]) -> Selected:
    """Like `select`, and which of them were named. Raises NotFound, UsageError."""
    queue.store.read()
    found = [(names_one([word]), list(_select_one(queue, word))) for word in words]
    named = chain.from_iterable(ids for by_name, ids in found if by_name)
    return Selected(list(dict.fromkeys(chain.from_iterable(ids for _, ids in found))), frozenset(named))


def names_one(words: Sequence[str]) -> bool:
    """Whether the words can stand for one job only, so that its own exit code is what counts."""
    if len(words) != 1:
        return False
    word = words[0]
    low, dash, high = word.partition("-")
    is_range = bool(dash) and low.isdecimal() and high.isdecimal()
    return not is_range and not (word.startswith("@") and not word.startswith("@~") and word != "@")


def _select_one(queue: Queue, word: str) -> Iterator[int]:
    low, dash, high = word.partition("-")
    if not word:
        raise UsageError("an empty word does not name jobs", f"use {FORMS}")
    if word.isdecimal():
        yield queue.store.get(_number(word)).id
    elif dash and low.isdecimal() and high.isdecimal():
        yield from _range(queue, _number(low), _number(high))
    elif word.startswith("@"):
        yield from _special(queue, word)
    else:
        yield queue.named(word).id


def _number(text: str) -> int:
    if len(text) > 18:
        raise NotFound(text)
    return int(text)


def _range(queue: Queue, low: int, high: int) -> Iterator[int]:
    if low > high:
        raise UsageError(f"{low}-{high} names no jobs", f"the lower number comes first: {high}-{low}")
    top = min(high, queue.store.state.next_id - 1)
    found = queue.store.find_all(range(low, top + 1))
    if not found:
        raise NotFound(f"in {low}-{high}")
    yield from found


def _special(queue: Queue, word: str) -> Iterator[int]:
    back = "0" if word == "@" else word.removeprefix("@~")
    if back.isdecimal():
        if queue.store.state.next_id == 1:
            raise NotFound(f"{word}: none was added yet")
        skip = _number(back)
        top = queue.store.state.next_id
        while top > 1:  # a pass over the old jobs for each stretch
            stretch = range(max(1, top - STRETCH - skip), top)
            found = sorted(queue.store.find_all(stretch), reverse=True)
            if skip < len(found):
                yield found[skip]
                return
            skip, top = skip - len(found), stretch.start
        raise NotFound(word)
    try:
        state = State(word[1:])
    except ValueError:
        raise UsageError(f"{word} does not name jobs", f"use {FORMS}") from None
    if state.final:
        yield from sorted(job.id for job in queue.store.finished_jobs() if job.state is state)
    else:
        yield from (job.id for job in queue.jobs() if job.state is state)
