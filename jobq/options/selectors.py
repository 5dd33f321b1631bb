"""The words that name jobs on the command line, the same for every command. Parsing looks at no store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobq.errors import NotFound, UsageError
from jobq.job import State

LONGEST_ID = 18  # digits
FORMS = "an id (7), a range (3-7), a name, @ (the last added), @~1 (the one before), @failed (any state)"


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


class InState(NamedTuple):
    """All jobs in that state."""

    state: State
    is_one: bool = False


Selector = Range | Named | Added | InState


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
    back = "0" if word == "@" else word.removeprefix("@~")
    if back.isdecimal():
        return Added(_number(back))
    try:
        return InState(State(word[1:]))
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
