"""A person's editor: it gets a text, and gives it back changed or not."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from jobq.environ import editor
from jobq.errors import Refused

SHELL = frozenset("|&;<>()$`\\\"'*?[#~=%")  # characters that mean something to a shell


def is_possible() -> bool:
    """Return True if a person sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _argv(words: str, path: str) -> list[str]:
    """Return how to start the editor: without a shell if the words need none, as ^C would end a shell after it."""
    if SHELL.intersection(words):
        return ["/bin/sh", "-c", f'{words} "$1"', "sh", path]
    return [*words.split(), path]


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ignore ^C and ^\\ here: they are for the editor, which starts with the default handlers."""
    old = {number: signal.signal(number, lambda _number, _frame: None) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def keep(text: str, suffix: str) -> str:
    """Write a text into a private file that stays, and return its path."""
    with tempfile.NamedTemporaryFile("w", prefix="jobq-", suffix=suffix, encoding="utf-8", delete=False) as f:
        f.write(text)
    return f.name


def edited(text: str, suffix: str) -> str | None:
    """Let the person edit a text; return it, None if it was left as it was. Raises Refused if the editor fails."""
    words = editor()
    with tempfile.TemporaryDirectory(prefix="jobq-") as folder:  # mode 0700
        path = f"{folder}/job{suffix}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        try:
            with _interrupts_ignored():
                code = subprocess.run(_argv(words, path), check=False).returncode
            if code:
                raise Refused(f"the editor {words} exited with {code}", "nothing is changed; VISUAL names another one")
            with open(path, encoding="utf-8") as f:
                after = f.read()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as e:
            raise Refused(f"the editor {words} left no text: {e}", "nothing is changed") from None
    return None if after == text else after
