"""Kinds of option values: from text, from Python or JSON, as stored, and as shown.

A kind spells its bounds once. It loads nothing that `jobq add` could do without: no typing, no enum, no re. At the end
of this module and of `kinds`, `groups` and `policies` are the kinds that the rows of the table name.
"""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.system import typed

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MOST_STORED = (1 << 63) - 1
LONGEST = 1.7976931348623157e308  # the largest number that JSON readers hold
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
    collects = False  # several values make one, by `collect`
    names_jobs = False  # stored are the ids of the jobs

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises UsageError."""
        self.check(text)
        return text

    def of_value(self, value: Any) -> Any:
        """Return the value, or the text of one, for what Python or JSON gives. Raises UsageError."""
        return value

    def check(self, value: Any) -> None:
        """Raise UsageError if a value of a right type is not possible."""

    def collect(self, values: Any) -> Any:
        """Return the value for what Python or JSON gives, if this kind `collects`.

        Raises UsageError, TypeError, ValueError, AttributeError.
        """
        return values

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
        from jobq.durations import duration  # noqa: PLC0415  # for the few options that need it

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
        from jobq.durations import span  # noqa: PLC0415

        return span(value)


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


def parse_path(text: str) -> str:
    """Return the path; what must be there is checked when the job is added. Raises UsageError.

    An empty one is mostly a variable that is not set.
    """
    if not text or "\0" in text:
        raise UsageError(f"{text!r:.60} can't be a path", "name one, or leave the option out")
    return text


NAMED_PRIORITIES = {"low": -10, "normal": 0, "high": 10}
MOST_RETRIES = 1000  # the record of a job, with all its attempts, has to fit on a line of the journal
APART = "apart"  # stderr goes to a log of its own

PRIORITY = WholeNumber(-1_000_000, 1_000_000, "low, normal, high or a whole number such as -5 or 20", NAMED_PRIORITIES)
RETRIES = WholeNumber(0, MOST_RETRIES, f"a whole number from 0 (never run it twice) to {MOST_RETRIES}")
LOST = WholeNumber(1, MOST_RETRIES, f"a whole number from 1 to {MOST_RETRIES}")
SLOTS = WholeNumber(1, 10_000, "a whole number from 1 to 10000")
DURATION, POSITIVE_DURATION = Duration(), Duration(above_zero=True)
NAME = Text("NAME", parse_name)
FILE, DIRECTORY = Text("FILE", parse_path), Text("DIR", parse_path)
STDERR = Text(f"{APART}|FILE", parse_path)
