"""A person's editor: it gets a text, and gives it back changed or not."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from jobq.errors import Refused
from jobq.settings import editor


def is_possible() -> bool:
    """Return True if a person sits at a terminal."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


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
            code = subprocess.run(["/bin/sh", "-c", f'{words} "$1"', "sh", path], check=False).returncode
            if code:
                raise Refused(f"the editor {words} exited with {code}", "nothing is changed; VISUAL names another one")
            with open(path, encoding="utf-8") as f:
                after = f.read()
        except (OSError, UnicodeDecodeError) as e:
            raise Refused(f"the editor {words} left no text: {e}", "nothing is changed") from None
    return None if after == text else after
