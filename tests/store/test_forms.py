"""The checks of stored words that do without `re`, which takes long to load, say what a pattern says."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jobq.command import as_typed, could_be_stored
from jobq.store.journal import is_day
from jobq.store.records import PLACE

PATTERNS = {
    "day": (r"\d{4}-\d\d-\d\d", is_day),
    "place": (r"([\w-]+:)?[\w-]*(/[\w-]*)?", PLACE.allows),
    "function": (r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", could_be_stored),
}
TEXTS = st.text("ab1_-:./ é\n٣", max_size=12) | st.from_regex(r"\d{3,5}-\d{1,2}-\d\d\n?")
TEXTS |= st.from_regex(r"[\w.]*:?[\w.-]*/?[\w-]*", fullmatch=True)


@pytest.mark.parametrize("name", PATTERNS)
@given(text=TEXTS)
@example(text="2026-01-31")
@example(text="٢٠٢٦-01-31")
@example(text="2026-01-31\n")
@example(text="token/3")
@example(text=":token/3")
@example(text="engine:token/3/4")
@example(text="")
@example(text="a.b:c")
@example(text=".a:c")
@example(text="a:b:c")
@example(text="a1:1a")
def test_a_check_is_its_pattern(name: str, text: str) -> None:
    pattern, check = PATTERNS[name]
    assert check(text) == (re.fullmatch(pattern, text, re.ASCII) is not None)


@given(st.lists(st.text("ab1_-:./@%+=,$'\" é\n", max_size=5), min_size=1, max_size=3))
def test_words_are_shown_as_a_shell_would_take_them(words: list[str]) -> None:
    assert as_typed(tuple(words)) == shlex.join(words)
