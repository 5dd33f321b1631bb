"""Kinds of option values: from text, from Python or JSON, as stored, and as shown.

A kind spells its bounds once. It loads nothing that `jobq add` could do without: no typing, no enum, no re.
"""

from __future__ import annotations

from jobq.durations import duration, span
from jobq.errors import UsageError
from jobq.system import typed, utf8

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MOST_STORED = (1 << 63) - 1
LONGEST = 1.7976931348623157e308  # the largest number that JSON readers hold
LAST = 2.5e11  # seconds since 1970: year 9892, as all calendars of the system know that
WORD_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


class Rule:
    """The values that a stored field may have: their types, and a condition for those that are not None."""

    __slots__ = ("holds", "types")

    def __init__(self, types: tuple[type, ...], holds: Callable[[Any], object] | None = None) -> None:
        self.types = types
        self.holds = holds

    def allows(self, value: object) -> bool:
        """Return True if a field may have this value. A bool is not a number."""
        if not isinstance(value, self.types) or (value.__class__ is bool and bool not in self.types):
            return False
        return self.holds is None or value is None or bool(self.holds(value))

    @property
    def or_none(self) -> Rule:
        """The same rule, with None allowed."""
        return Rule((*self.types, type(None)), self.holds)


TEXT = Rule((str,))
WORD = Rule((str,), WORD_CHARACTERS.issuperset)  # becomes part of a path
COUNT = Rule((int,), lambda number: 0 <= number <= MOST_STORED)
INTEGER = Rule((int,), lambda number: -MOST_STORED <= number <= MOST_STORED)
ID = Rule((int,), lambda number: 0 < number <= MOST_STORED)
SPAN = Rule((int, float), lambda seconds: 0 <= seconds <= LONGEST)


class Kind:
    """One kind of value. The base class takes text as it is."""

    metavar = "TEXT"
    stored = TEXT  # what a field of the store may hold; wider than what can be given, for later versions
    from_text = True  # Python and JSON may give the text form, too

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises UsageError."""
        self.check(text)
        return text

    def of_value(self, value: Any) -> Any:
        """Return the value, or the text of one, for what Python or JSON gives. Raises UsageError."""
        return value

    def check(self, value: Any) -> None:
        """Raise UsageError if a value of a right type is not possible."""

    def shown(self, value: Any) -> str:
        """Return the value as people read it."""
        return str(value)

    def as_json(self, value: Any) -> Any:
        """Return the value as JSON for others has it."""
        return value


class WholeNumber(Kind):
    """An int within bounds; some numbers have names."""

    metavar = "N"

    def __init__(self, least: int, most: int, wanted: str, names: Mapping[str, int] | None = None) -> None:
        """`wanted` says in words what is possible; `names` are other spellings of numbers."""
        self.least = least
        self.most = most
        self.wanted = wanted
        self.names = names or {}
        self.stored = COUNT if least >= 0 else INTEGER
        self.from_text = names is not None

    def parse(self, text: str) -> int:
        """Return the number of a text. Raises UsageError."""
        if text in self.names:
            return self.names[text]
        try:
            number = int(text)
        except ValueError:
            raise UsageError(f"{text!r} is not possible here", f"give {self.wanted}") from None
        self.check(number)
        return number

    def check(self, value: int) -> None:
        """Raise UsageError if the number is out of bounds."""
        if not self.least <= value <= self.most:
            raise UsageError(f"{str(value)!r} is not possible here", f"give {self.wanted}")


class Duration(Kind):
    """Seconds."""

    metavar = "TIME"

    def __init__(self, *, above_zero: bool = False) -> None:
        self.above_zero = above_zero
        self.stored = SPAN

    def of_value(self, value: Any) -> Any:
        """Return the seconds of a timedelta; anything else as it is."""
        return value.total_seconds() if hasattr(value, "total_seconds") else value

    def parse(self, text: str) -> float:
        """Return the seconds of a text. Raises UsageError."""
        seconds = duration(text)
        if self.above_zero and seconds <= 0:
            raise UsageError(f"{text!r} is no time at all", "leave the option out for no limit")
        if seconds > LONGEST:
            raise UsageError(f"{text!r} is too long", "leave the option out for no limit")
        return seconds

    def check(self, value: float) -> None:
        """Raise UsageError if the seconds are not finite, negative, or zero where that means nothing."""
        if not 0 <= value <= LONGEST:
            raise UsageError(f"{value} is not a duration", "give seconds")
        if self.above_zero and value == 0:
            raise UsageError("0 is no time at all", "leave the option out for no limit")

    def shown(self, value: float) -> str:
        """Return the duration in few characters."""
        return span(value)


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


class Text(Kind):
    """Text that a function reads: it returns the text in one spelling, or raises UsageError."""

    def __init__(self, metavar: str, read: Callable[[str], str], holds: Callable[[Any], object] | None = None) -> None:
        """`holds` says if such a text can be in the store; None: any can."""
        self.metavar = metavar
        self.stored = Rule((str,), holds)
        self.read = read

    def parse(self, text: str) -> str:
        """Return the text in one spelling. Raises UsageError."""
        return self.read(text)

    def check(self, value: str) -> None:
        """Raise UsageError if this is not possible."""
        self.read(value)


def parse_name(text: str) -> str:
    """Return the name in NFC: 1 to 128 printable characters, not a number, a range, "@...", "-..." or "*".

    Raises UsageError.
    """
    if not text.isascii():
        import unicodedata  # noqa: PLC0415

        text = unicodedata.normalize("NFC", typed(text))
    if not 0 < len(text) <= 128 or not text.isprintable() or text != text.strip():
        raise UsageError(f"{text!r} can't be a name", "use 1 to 128 printable characters")
    if text[0] in "@-" or text.replace("-", "").isdecimal():
        raise UsageError(f"{text!r} can't be a name", "names are not numbers or ranges, and start with neither @ nor -")
    if text == "*":  # stands for all queues, where they are paused
        raise UsageError("'*' can't be a name", "'jobq pause' and 'jobq resume' without a name mean all queues")
    return text


class Path(Kind):
    """A path; what must be there is checked when the job is added."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar

    def check(self, value: str) -> None:
        """Raise UsageError for what is no path. An empty one is mostly a variable that is not set."""
        if not value or "\0" in value:
            raise UsageError(f"{value!r:.60} can't be a path", "name one, or leave the option out")


class Variable(Kind):
    """NAME=VALUE, or NAME alone for its value here; stored as the digest of the whole environment."""

    metavar = "NAME[=V]"
    stored = WORD

    def parse(self, text: str) -> tuple[str, str | None]:
        """Return the name, and the value or None. Raises UsageError."""
        name, equals, value = text.partition("=")
        if not name or "\0" in text:
            raise UsageError(f"{text!r} is not a variable", "write NAME=VALUE, or NAME for its value here")
        return utf8(name), utf8(value) if equals else None
