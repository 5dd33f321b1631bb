"""More kinds of option values: flags, choices, times, sizes, keys, lines, addresses, variables. Light, as `values`."""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.options.values import COUNT, Kind, Rule, Text
from jobq.system import utf8

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any


class Flag(Kind):
    """Yes or no: the flag alone says yes."""

    metavar = ""
    stored = Rule((bool,))
    from_text = False

    def parse(self, text: str) -> bool:  # noqa: ARG002
        """Return True: the flag was given."""
        return True

    def shown(self, value: Any) -> str:
        """Return yes or no."""
        return "yes" if value else "no"


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(words)

    def parse(self, text: str) -> str:
        """Return the word. Raises UsageError."""
        if text not in self.words:
            raise UsageError(f"{text!r} is not possible here", f"give {', '.join(self.words[:-1])} or {self.words[-1]}")
        return text

    def check(self, value: str) -> None:
        """Raise UsageError if it is none of the words."""
        self.parse(value)


LAST = 2.5e11  # seconds since 1970: year 9892, as all calendars of the system know that


class Instant(Kind):
    """A moment of the wall clock, in seconds since 1970."""

    metavar = "TIME"
    stored = Rule((int, float), lambda seconds: -3e10 <= seconds <= LAST)

    def parse(self, text: str) -> float:
        """Return the instant of a text, the next one for a time of day. Raises UsageError."""
        from jobq.options.instants import next_instant  # noqa: PLC0415  # which few options need

        return next_instant(text)

    def of_value(self, value: Any) -> Any:
        """Return the instant of a datetime, local time if it has no zone; anything else as it is."""
        return value.timestamp() if hasattr(value, "timestamp") else value

    def check(self, value: float) -> None:
        """Nothing more: the rule has the bounds."""

    def shown(self, value: float) -> str:
        """Return the local time."""
        from datetime import datetime  # noqa: PLC0415

        return f"{datetime.fromtimestamp(value).astimezone():%Y-%m-%d %H:%M:%S}"

    def as_json(self, value: float) -> str:
        """Return the time in UTC, as JSON has all times."""
        from datetime import UTC, datetime  # noqa: PLC0415

        return datetime.fromtimestamp(value, UTC).isoformat()


SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Size(Kind):
    """Bytes."""

    metavar = "SIZE"
    stored = COUNT

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def parse(self, text: str) -> int:
        """Return the bytes of "100000", "64k", "10M", "1.5GiB". Raises UsageError."""
        number = text.strip().lower().removesuffix("b").removesuffix("i")
        unit = number[-1:] if number[-1:] in SIZES else ""
        try:
            size = int(float(number.removesuffix(unit)) * SIZES[unit])
        except (ValueError, OverflowError):
            raise UsageError(f"{text!r} is not a size", "write it like 500k, 64M or 2G") from None
        self.check(size, text)
        return size

    def check(self, value: int, text: str = "") -> None:
        """Raise UsageError if the size is out of bounds."""
        if not self.least <= value <= self.most:
            raise UsageError(
                f"{text or str(value)!r} is not possible here", f"give a size from {self.shown(self.least)} on"
            )

    def shown(self, value: int) -> str:
        """Return the size as it can be given: 256M, 1.5G, 100000."""
        for unit in "tgmk":
            if value and value % SIZES[unit] == 0:
                return f"{value // SIZES[unit]}{unit if unit == 'k' else unit.upper()}"
        return str(value)


MOST_KEY = 500  # characters
MOST_LINE = 4096  # characters


def parse_key(text: str) -> str:
    """Return the key of a job: any text in one line. Raises UsageError."""
    if not text.strip() or len(text) > MOST_KEY or not text.isprintable():
        raise UsageError(f"{text!r:.60} can't be a key", f"use 1 to {MOST_KEY} printable characters")
    return text


def parse_line(text: str) -> str:
    """Return a line for the shell. Raises UsageError."""
    if not text.strip() or "\0" in text or len(text) > MOST_LINE:
        raise UsageError(f"{text!r:.60} is no command", f"give a line for the shell, of up to {MOST_LINE} characters")
    return text


def parse_url(text: str) -> str:
    """Return an address of the web. Raises UsageError."""
    scheme, _, rest = text.partition("://")
    if scheme not in {"http", "https"} or not rest.strip("/") or not text.isprintable() or " " in text:
        raise UsageError(f"{text!r:.60} is no address", "write it like https://hc-ping.com/UUID")
    return text


class Variable(Kind):
    """NAME=VALUE, or NAME alone for its value here; stored is the digest of the whole environment."""

    metavar = "NAME[=V]"

    def parse(self, text: str) -> tuple[str, str | None]:
        """Return the name, and the value or None. Raises UsageError."""
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            raise UsageError(f"{text!r} is not a variable", "write NAME=VALUE, or NAME for its value here")
        return utf8(name), utf8(value) if equals else None


LEAST_LOG = 64 << 10  # bytes: what is dropped are whole blocks of the disk

FLAG = Flag()
CONFLICT = Choice("skip", "replace", "fail")
ISOLATION = Choice("process", "warm")
INSTANT = Instant()
LOG_SIZE = Size(LEAST_LOG, (1 << 60) - 1)
KEY, LINE, URL = Text("KEY", parse_key), Text("COMMAND", parse_line), Text("URL", parse_url)
VARIABLE = Variable()
