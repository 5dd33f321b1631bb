"""Many commands from one: `gzip -k {} ::: a.txt b.txt` is one command for each item.

    {}  the item (of several lists: one of each)   {1} {2} the item of that list
    {.} without its extension     {/}  without its directory     {//} its directory     {/.} both left out
    {#} the number of the command, from 1

In an argv an item is one word, whatever is in it; in a shell line it is quoted. A command without any of these gets the
items at its end. Several lists are combined, the last one varies fastest.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, product

from jobq.command import Command
from jobq.errors import UsageError

LIST, FILE = ":::", "::::"
PLACE = re.compile(r"(?<!\$)\{(#|([0-9]{0,6})(/\.|//|/|\.|))\}")
QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*"|\\.""", re.DOTALL)
MOST = 10_000_000  # commands


def _without_extension(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    stem, dot, _ = name.rpartition(".")
    return f"{folder}{slash}{stem}" if dot and stem else path


PARTS: dict[str, Callable[[str], str]] = {
    "": lambda item: item,
    ".": _without_extension,
    "/": os.path.basename,
    "//": lambda item: os.path.dirname(item) or ".",
    "/.": lambda item: _without_extension(os.path.basename(item)),
}


def split(words: Sequence[str], lines_of: Callable[[str], list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the words of the command, and the lists of items behind it. `lines_of` reads a file of items.

    Raises UsageError for a list that names no items.
    """
    starts = [at for at, word in enumerate(words) if word in {LIST, FILE}]
    lists = []
    for at, end in pairwise([*starts, len(words)]):
        given = words[at + 1 : end]
        if words[at] == FILE and not given:
            raise UsageError(f"{FILE} names no file", f"write it like {FILE} items.txt, or {FILE} - for standard input")
        lists.append(list(given) if words[at] == LIST else [line for name in given for line in lines_of(name) if line])
    return list(words[: starts[0]] if starts else words), lists


def expand(words: Sequence[str], lists: Sequence[Sequence[str]], *, is_line: bool) -> Iterator[Command]:
    """Yield one command for each combination of items: a shell line (of one word), or an argv.

    Raises UsageError for a command that names a list that there is not, and for too many commands.
    """
    total = 1
    for items in lists:
        total *= len(items)
    if total > MOST:
        raise UsageError(f"these lists make {total} commands; the limit is {MOST}", "add them in parts")
    named = {int(number) for word in words for _, number, _ in PLACE.findall(word) if number}
    if named and not 1 <= min(named) <= max(named) <= len(lists):
        wrong = min(named) if min(named) < 1 else max(named)
        raise UsageError(
            f"{{{wrong}}} names list {wrong} of {len(lists)}", f"{LIST} begins a list; they are numbered from 1"
        )
    if is_line and any(PLACE.search(quoted) for quoted in QUOTED.findall(words[0])):
        raise UsageError("{} stands inside quotes", "leave the quotes out: items are quoted where they are put in")
    template = list(words)
    if not any(PLACE.search(word) for word in words):
        template = [f"{words[0]} {{}}"] if is_line else [*words, "{}"]
    for number, items in enumerate(product(*lists), 1):
        if is_line:
            yield _fill(template[0], items, number, shlex.quote)
        else:
            yield tuple(filled for word in template for filled in _fill_word(word, items, number))


def _fill_word(word: str, items: Sequence[str], number: int) -> Sequence[str]:
    """Return the words that stand for a word of an argv: of several lists, {} alone is a word for each."""
    return items if word == "{}" else [_fill(word, items, number, str)]


def _fill(text: str, items: Sequence[str], number: int, quote: Callable[[str], str]) -> str:
    def filled(place: re.Match[str]) -> str:
        if place[1] == "#":
            return str(number)
        chosen = [items[int(place[2]) - 1]] if place[2] else items
        return " ".join(quote(PARTS[place[3]](item)) for item in chosen)

    return PLACE.sub(filled, text)
