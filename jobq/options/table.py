"""What a job can ask for, declared once: the command line, job files and Python all read this table."""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.system import typed, utf8

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

MOST_RETRIES = 1000  # the record of a job, with all its attempts, has to fit on a line of the journal


class JobOption:
    """One ask: `parse` reads its value from text and raises UsageError; `many` may be given more than once."""

    def __init__(  # noqa: PLR0917  # a row of the table below
        self,
        name: str,
        flags: tuple[str, ...],
        parse: Callable[[str], Any],
        default: Any,
        metavar: str,
        help: str,  # noqa: A002  # as typer calls it
        *,
        many: bool = False,
    ) -> None:
        self.name = name
        self.flags = flags
        self.parse = parse
        self.default = default
        self.metavar = metavar
        self.help = help
        self.many = many


UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "ms": 0.001}


def duration(text: str) -> float:
    """Seconds, from "90", "1.5h", "1h30m", "250ms"."""
    total, number, unit = 0.0, "", ""
    try:
        for char in text.strip().lower() + "\0":
            if char.isdecimal() or char == ".":
                if unit:
                    total, number, unit = total + float(number) * UNITS[unit], "", ""
                number += char
            elif char != "\0":
                unit += char
        total += float(number) * UNITS[unit or "s"]
    except (KeyError, ValueError):
        raise UsageError(f"{text!r} is not a duration", "write it like 90, 45s, 10m, 1h30m or 2d") from None
    return total


def positive_duration(text: str) -> float:
    """A duration above zero."""
    seconds = duration(text)
    if seconds <= 0:
        raise UsageError(f"{text!r} is no time at all", "leave the option out for no limit")
    return seconds


SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
LEAST_LOG = 64 << 10  # bytes: what is dropped are whole blocks of the disk


def log_size(text: str) -> int:
    """Bytes, from "100000", "64k", "10M", "1.5GiB"."""
    number = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = number[-1:] if number[-1:] in SIZES else ""
    try:
        size = int(float(number.removesuffix(unit)) * SIZES[unit])
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a size", "write it like 500k, 64M or 2G") from None
    if not LEAST_LOG <= size < 1 << 60:
        raise UsageError(f"{text!r} is not possible here", "give a size from 64k on")
    return size


NAMED_PRIORITIES = {"low": -10, "normal": 0, "high": 10}


def priority(text: str) -> int:
    """A whole number, or low, normal, high."""
    if text in NAMED_PRIORITIES:
        return NAMED_PRIORITIES[text]
    return whole_number(text, -1_000_000, 1_000_000, "low, normal, high or a whole number such as -5 or 20")


def retries(text: str) -> int:
    """How many attempts may follow the first."""
    return whole_number(text, 0, MOST_RETRIES, f"a whole number from 0 (never run it twice) to {MOST_RETRIES}")


def whole_number(text: str, least: int, most: int, wanted: str) -> int:
    """An int within the bounds. Raises UsageError that names what is `wanted`."""
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise UsageError(f"{text!r} is not possible here", f"give {wanted}")
    return number


def parse_name(text: str) -> str:
    """A name for a job or a queue: 1-128 printable characters, no number, range, "@..." or "-..."."""
    if not text.isascii():
        import unicodedata  # noqa: PLC0415

        text = unicodedata.normalize("NFC", typed(text))
    if not 0 < len(text) <= 128 or not text.isprintable() or text != text.strip():
        raise UsageError(f"{text!r} can't be a name", "use 1 to 128 printable characters")
    if text[0] in "@-" or text.replace("-", "").isdecimal():
        raise UsageError(f"{text!r} can't be a name", "names are not numbers or ranges, and start with neither @ nor -")
    return text


def variable(text: str) -> tuple[str, str | None]:
    """NAME=VALUE, or NAME alone (None: its value here)."""
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise UsageError(f"{text!r} is not a variable", "write NAME=VALUE, or NAME for its value here")
    return utf8(name), utf8(value) if equals else None


OPTIONS = (
    JobOption("queue", ("--queue", "-q"), parse_name, "default", "NAME", "The queue it waits in."),
    JobOption("priority", ("--priority", "-p"), priority, 0, "N", "Higher goes first; low, normal, high = -10, 0, 10."),
    JobOption(
        "retries",
        ("--retries", "-r"),
        retries,
        3,
        "N",
        "Attempts after the first, 1 s, 2 s, 4 s ... apart; 0: never twice.",
    ),
    JobOption(
        "timeout",
        ("--timeout", "-t"),
        positive_duration,
        None,
        "TIME",
        "End each attempt after this, as in 90, 10m, 1h30m.",
    ),
    JobOption("grace", ("--grace",), duration, 10, "TIME", "From TERM to KILL when it is ended."),
    JobOption("log_max", ("--log-max",), log_size, "256M", "SIZE", "Of longer output, keep the beginning and the end."),
    JobOption("name", ("--name", "-n"), parse_name, None, "NAME", "A handle, unique among unfinished jobs."),
    JobOption("cwd", ("--cwd", "-C"), str, None, "DIR", "Run it there instead of here."),
    JobOption(
        "env",
        ("--env", "-e"),
        variable,
        (),
        "NAME[=V]",
        "Set a variable on top of the captured environment.",
        many=True,
    ),
)


def parse_options(texts: Mapping[str, str | list[str] | None], environ: Mapping[str, str]) -> dict[str, Any]:
    """The values of what was asked for; what was not is left out. Raises UsageError, naming the option.

    `environ` is where a variable without a value has it from.
    """
    asked: dict[str, Any] = {}
    for ask in OPTIONS:
        given = texts.get(ask.name)
        if given is None or given == []:
            continue
        try:
            asked[ask.name] = [ask.parse(text) for text in given] if ask.many else ask.parse(str(given))
        except UsageError as e:
            raise UsageError(f"{ask.flags[0]}: {e}", e.hint) from None
    if "env" in asked:
        asked["env"] = _variables(asked["env"], environ)
    return asked


def _variables(pairs: list[tuple[str, str | None]], environ: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, value in pairs:
        if value is None and name not in environ:
            raise UsageError(f"--env: {name} is not set here", f"write {name}=VALUE")
        values[name] = environ[name] if value is None else value
    return values
