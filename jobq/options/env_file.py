"""Files of variables, for `--env-file`: NAME=VALUE lines, as most tools read them. Nothing is expanded."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping

from jobq.errors import UsageError

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
REST = r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)"  # of a line
EMPTY = re.compile(REST)
NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*", re.ASCII)
QUOTED = re.compile(r"""=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)')""", re.DOTALL)  # may go over several lines
OPEN = re.compile(r"""=[ \t]*["']""")
PLAIN = re.compile(r"=((?:(?![ \t]\#)[^\n\r])*)" + REST)
LINE = re.compile(r"[^\n]*")
MOST = 1 << 20  # bytes; no system starts a program with more


def read(path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a file sets; a name alone has its value from `environ`.

    Raises UsageError that names the file, and the line.
    """
    try:
        data = _content(path)
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or e
        raise UsageError(f"env_file: {path}: {why}", "name a file of NAME=VALUE lines with --env-file") from None
    if len(data) > MOST:
        raise UsageError(f"env_file: {path} has more than {MOST} bytes", "no program could be started with them")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    found: dict[str, str] = {}
    for at, name, value in _variables(text):
        if name is None or (value is None and name not in environ):
            number = text.count("\n", 0, at) + 1
            why = f"{LINE.match(text, at)[0]!r:.60} is not NAME=VALUE" if name is None else f"{name} is not set here"  # type: ignore[index]
            hint = "a quote must be closed, and # begins a comment" if name is None else f"write {name}="
            raise UsageError(f"env_file: {path}, line {number}: {why}", hint)
        found[name] = environ[name] if value is None else value
    return found


def _content(path: str) -> bytes:
    """Return the content, MOST bytes and one at most. Raises OSError, ValueError for a FIFO that nobody writes to."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(fd, True)
    with open(fd, "rb") as f:
        data = f.read(MOST + 1)
        if not data and stat.S_ISFIFO(os.fstat(fd).st_mode):
            raise ValueError("nobody writes to this pipe")
    return data


def _variables(text: str) -> Iterator[tuple[int, str | None, str | None]]:
    """Yield for each variable its offset, its name, and its value if it has one; name None: it can't be read."""
    at = 0
    while at < len(text):
        if empty := EMPTY.match(text, at):
            at = empty.end()
            continue
        begin, name = at, NAME.match(text, at)
        if name is None:
            yield begin, None, None
            return
        value: str | None = None
        end: re.Match[str] | None
        if quoted := QUOTED.match(text, name.end()):
            value = _unescaped(quoted[1]) if quoted[1] is not None else quoted[2]
            end = EMPTY.match(text, quoted.end())
        elif OPEN.match(text, name.end()):
            end = None
        elif end := PLAIN.match(text, name.end()):
            value = end[1].strip(" \t")
        else:
            end = EMPTY.match(text, name.end())
        if end is None:
            yield begin, None, None
            return
        yield begin, name[1], value
        at = end.end()


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), text, flags=re.DOTALL)
