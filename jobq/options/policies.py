"""Kinds of values that say when and why a job is tried again; `rules.policies` says what they mean.

A value is text, in one spelling. Light, as `jobq add` imports it.
"""

from __future__ import annotations

from jobq.durations import duration, exact
from jobq.errors import UsageError
from jobq.options.values import Kind, Rule, Text
from jobq.rules.policies import SEPARATORS, is_exception, seconds_of

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any

MOST_DELAY = 3e8  # seconds, nine years: a retry is due at a time that can be stored
MOST_DELAYS = 100  # in a list
LONGEST_DELAY = 3600.0  # seconds, where no other is given
FORMS = "write exp:1s..1h, linear:5s..5m, const:5s or list:1s,5s,1m"


class Backoff(Kind):
    """The delays before retries: exp:FIRST..MOST, linear:FIRST..MOST, const:DELAY, list:DELAY,DELAY,..."""

    metavar = "POLICY"

    def __init__(self) -> None:
        self.stored = Rule((str,), _is_policy)

    def parse(self, text: str) -> str:
        """Return the policy in one spelling, in seconds. Raises UsageError."""
        kind, colon, rest = "".join(text.lower().split()).partition(":")
        if not colon or kind not in SEPARATORS:
            raise UsageError(f"{text!r} is not a backoff", FORMS)
        seconds = [duration(part) for part in rest.split(SEPARATORS[kind])]
        if SEPARATORS[kind] == ".." and len(seconds) == 1:
            seconds.append(max(LONGEST_DELAY, seconds[0]))
        policy = f"{kind}:{SEPARATORS[kind].join(map(_plain, seconds))}"
        if not _is_policy(policy):
            raise UsageError(f"{text!r} is not a backoff", f"{FORMS}; the longest delay comes last")
        return policy

    def check(self, value: str) -> None:
        """Raise UsageError if the text is no policy."""
        self.parse(value)

    def shown(self, value: str) -> str:
        """Return the policy with units."""
        kind, _, _ = value.partition(":")
        return f"{kind}:{SEPARATORS[kind].join(map(exact, seconds_of(value)))}"


def _plain(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".")


def _is_policy(text: str) -> bool:
    """Return True for a policy in the spelling that is stored."""
    kind, _, _ = text.partition(":")
    try:
        seconds = seconds_of(text)
    except (KeyError, ValueError):
        return False
    if not all(0 <= number <= MOST_DELAY for number in seconds):
        return False
    if SEPARATORS[kind] == "..":
        return len(seconds) == 2 and seconds[0] <= seconds[1]
    return len(seconds) <= (1 if kind == "const" else MOST_DELAYS)


def parse_jitter(text: str) -> str:
    """Return the chance in a delay, in one spelling. Raises UsageError.

    It is up to so many percent more, `full` (anything up to the delay), or `none`.
    """
    word = text.strip().lower()
    if not is_jitter(word):
        word += "%"
    if not is_jitter(word):
        raise UsageError(f"{text!r} is not a jitter", "give a percentage from 0% to 100%, full or none")
    return word


def is_jitter(text: str) -> bool:
    """Return True for a jitter in the spelling that is stored."""
    number = text.removesuffix("%")
    percent = number != text and number.isdecimal() and len(number) <= 3 and int(number) <= 100
    return percent or text in {"full", "none"}


WORDS = frozenset({"timeout", "idle_timeout"})  # endings that have no number


class Codes(Kind):
    """The ends of attempts: exit codes and ranges of them, and for retries also signals, `timeout` and exceptions."""

    metavar = "CODES"

    def __init__(self, *, statuses_only: bool = False) -> None:
        self.statuses_only = statuses_only
        self.stored = Rule((str,), self._is_list)

    def _is_list(self, text: str) -> bool:
        try:
            return text == self.parse(text)
        except UsageError:
            return False

    def of_value(self, value: Any) -> Any:
        """Return the text for classes of exceptions, or a list of them."""
        if isinstance(value, (list, tuple)):
            return ",".join(str(self.of_value(one)) for one in value)
        if isinstance(value, type):
            plain = value.__module__ in {"builtins", "__main__"}
            return value.__qualname__ if plain else f"{value.__module__}.{value.__qualname__}"
        return value

    def parse(self, text: str) -> str:
        """Return the list in one spelling: "1,3-5,SIGKILL,timeout,ValueError". Raises UsageError."""
        return ",".join(dict.fromkeys(self._one(word.strip()) for word in text.split(",")))

    def check(self, value: str) -> None:
        """Raise UsageError if the text is no such list."""
        self.parse(value)

    def _one(self, word: str) -> str:
        low, dash, high = word.partition("-")
        if _is_status(low) and (_is_status(high) and int(low) < int(high) if dash else True):
            return f"{int(low)}-{int(high)}" if dash else str(int(low))
        if not self.statuses_only:
            if (ending := word.lower().replace("-", "_")) in WORDS:
                return ending
            import signal  # noqa: PLC0415  # it takes long, and few options name one

            name = f"SIG{word.upper().removeprefix('SIG')}"
            if name in signal.Signals.__members__:
                return signal.Signals[name].name  # not an alias
            if is_exception(word):
                return word
        more = (
            "" if self.statuses_only else ", signals as in SIGKILL, timeout, idle_timeout, exceptions as in ValueError"
        )
        raise UsageError(f"{word!r} is not how a job ends", f"give exit codes from 0 to 255, as in 1,3-5{more}")


def _is_status(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4 and int(text) <= 255


BACKOFF = Backoff()
JITTER = Text("PERCENT", parse_jitter, is_jitter)
CODES, STATUSES = Codes(), Codes(statuses_only=True)
