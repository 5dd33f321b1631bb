"""The meaning of the stored texts of retry options. Light, as `jobq add` imports it through the table of options.

exp:1..3600  linear:5..300  const:5  list:1,5,60     backoff; seconds
10%  full  none                                      jitter
1,3-5,SIGKILL,timeout                                how attempts end
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Collection

SEPARATORS = {"exp": "..", "linear": "..", "const": ",", "list": ","}


def seconds_of(policy: str) -> list[float]:
    """Return the seconds that a backoff names: the first and the longest, the only one, or all. Raises ValueError."""
    kind, _, rest = policy.partition(":")
    return [float(part) for part in rest.split(SEPARATORS[kind])]


def delay(policy: str, n: int) -> float:
    """Return the seconds before retry `n` (from 1), without jitter."""
    seconds = seconds_of(policy)
    if policy.startswith("exp:"):
        return min(seconds[0] * 2.0 ** min(n - 1, 1000), seconds[1])
    if policy.startswith("linear:"):
        return min(seconds[0] * n, seconds[1])
    return seconds[min(n, len(seconds)) - 1]


def with_jitter(seconds: float, jitter: str, chance: float) -> float:
    """Return the delay for a `chance` in [0, 1]: 1 stands for the longest that is possible."""
    if jitter == "none":
        return seconds
    if jitter == "full":
        return seconds * chance
    return seconds * (1.0 + int(jitter.removesuffix("%")) / 100.0 * chance)


def has_status(codes: str, status: int) -> bool:
    """Return True if the codes list this exit status."""
    if codes == "0":  # those of almost every job
        return status == 0
    for low, _, high in (word.partition("-") for word in codes.split(",") if word[:1].isdecimal()):
        if int(low) <= status <= int(high or low):
            return True
    return False


def exceptions_in(codes: str | None) -> list[str]:
    """Return the names of exceptions that the codes list: "ConnectionError", "requests.exceptions.Timeout"."""
    return [word for word in codes.split(",") if is_exception(word)] if codes else []


def is_exception(word: str) -> bool:
    """Return True if a code is written as a class of Python is: not all of it is in capitals, as SIGKILL is."""
    last = word.rpartition(".")[2]
    return all(part.isidentifier() for part in word.split(".")) and last[:1].isupper() and not last.isupper()


def has_word(codes: str, words: Collection[str]) -> bool:
    """Return True if the codes list one of these words."""
    return any(word in words for word in codes.split(","))
