"""Files of variables, for `--env-file`: NAME=VALUE lines, as most tools read them. Nothing is expanded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from jobq.errors import UsageError

ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
LINE = re.compile(r"(?:export\s+)?([A-Za-z_][\w.-]*)\s*(?:=\s*(.*))?", re.ASCII | re.DOTALL)
MOST = 1 << 20  # bytes; no system starts a program with more


def read(path: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a file sets; a name alone has its value from `environ`.

    Raises UsageError that names the file, and the line.
    """
    try:
        with open(path, "rb") as f:
            data = f.read(MOST + 1)
    except (OSError, ValueError) as e:
        raise UsageError(
            f"env_file: {path}: {getattr(e, 'strerror', None) or e}", "name a file of NAME=VALUE lines with --env-file"
        ) from None
    if len(data) > MOST:
        raise UsageError(f"env_file: {path} has more than {MOST} bytes", "no program could be started with them")
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    found: dict[str, str] = {}
    for number, line in _lines(text):
        match = LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"env_file: {path}, line {number}: {line!r:.60} is not NAME=VALUE", "# begins a comment")
        name, value = match.groups()
        try:
            found[name] = environ[name] if value is None else _value(value)
        except KeyError:
            raise UsageError(f"env_file: {path}, line {number}: {name} is not set here", f"write {name}=") from None
        except ValueError as e:
            raise UsageError(f"env_file: {path}, line {number}: {e}") from None
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that say something, with their numbers; a quoted value may go over several."""
    number, start, pending = 0, 0, ""
    for line in text.split("\n"):
        number += 1
        pending = f"{pending}\n{line}" if pending else line.removesuffix("\r").strip()
        start = start or number
        if _is_open(pending) and number < text.count("\n") + 1:
            continue
        if pending and not pending.startswith("#"):
            yield start, pending
        pending, start = "", 0


def _is_open(line: str) -> bool:
    _, equals, value = line.partition("=")
    value = value.lstrip()
    return bool(equals) and not line.startswith("#") and value[:1] in {'"', "'"} and _end_of(value) is None


def _end_of(value: str) -> int | None:
    """Return where the quote that begins a value ends; None: it does not."""
    at = 1
    while at < len(value):
        if value[at] == "\\" and value[0] == '"':
            at += 1
        elif value[at] == value[0]:
            return at
        at += 1
    return None


def _value(text: str) -> str:
    """Return the value of what stands behind "=". Raises ValueError."""
    if text[:1] not in {'"', "'"}:
        return re.split(r"\s#", text, maxsplit=1)[0].strip()
    end = _end_of(text)
    if end is None:
        raise ValueError("the quote is not closed")
    if text[end + 1 :].strip() and not text[end + 1 :].lstrip().startswith("#"):
        raise ValueError(f"{text[end + 1 :].strip()!r:.40} follows the closing quote")
    inner = text[1:end]
    return inner if text[0] == "'" else re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), inner, flags=re.DOTALL)
