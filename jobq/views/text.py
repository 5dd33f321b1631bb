"""Text for people: harmless for a terminal; times, sizes and commands in words."""

from __future__ import annotations

import os
import time
from functools import lru_cache

from jobq.command import Call, Command, as_typed
from jobq.rules.hooks import SCRIPT
from jobq.views import ENCODING, UNICODE
from jobq.views.masking import masked

ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def safe(text: str) -> str:
    """Escape everything that must not be printed: control characters, bidi marks, surrogates, tags (CWE-150).

    Characters that the locale can't encode are escaped too: replaced later, they would take more room than a table has.
    """
    if text.isprintable() and (UNICODE or text.isascii()):
        return text
    return text.translate(SHOWN)


def _is_shown(char: str) -> bool:
    if not char.isprintable():
        return False
    try:
        return UNICODE or bool(char.encode(ENCODING))
    except UnicodeEncodeError:
        return False


def _escaped(char: str) -> str:
    if char in ESCAPES:
        return ESCAPES[char]
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"  # a byte that was not UTF-8
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _decoded(char: str) -> str:
    """Decode a byte that is not UTF-8 in the locale's encoding, if it is another one."""
    if UNICODE or not "\udc80" <= char <= "\udcff":
        return char
    return os.fsencode(char).decode(ENCODING, "surrogateescape")


class _Shown(dict[int, str]):
    """The text for each character, computed at its first use: output may be long."""

    def __missing__(self, number: int) -> str:
        char = _decoded(chr(number))
        self[number] = shown = char if _is_shown(char) else _escaped(char)
        return shown


SHOWN = _Shown()


def command_line(command: Command) -> str:
    """Return the command as one would type it, or write it in Python; harmless. Hooks of jobq itself by their names."""
    if not isinstance(command, (str, Call)) and command[2:3] and command[2].endswith(f"/{SCRIPT}"):
        return safe(f"jobq: {' '.join(command[3:])}")
    if not isinstance(command, (str, Call)):
        command = tuple(map(masked, command))  # before they are quoted
    return safe(masked(as_typed(command)))


def shortened(text: str, most: int) -> str:
    """Return at most so many characters of a text; "…" stands for its end."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def size(count: int) -> str:
    """Return a number of bytes in few characters: 17 B, 64.0 KiB, 1.5 GiB."""
    number = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{count} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def clock_time(wall: float | None) -> str:
    """Return the local date and time, to the second."""
    return "" if wall is None else _local_time(wall // 1)


@lru_cache(maxsize=16)  # a worker prints many lines in a second
def _local_time(second: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


def iso_time(wall: float | None) -> str | None:
    """Return the time in UTC as in RFC 3339, to the millisecond."""
    if wall is None:
        return None
    whole, rest = divmod(round(wall * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{rest:03d}Z"
