"""Kinds of option values with several parts: locks, names with values, JSON, jobs. Light, as `values`."""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.options.values import ID, MOST_STORED, Kind, Rule, parse_name

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Locks(Kind):
    """Names of locks."""

    metavar = "NAME"
    collects = True
    stored = Rule((list, tuple), lambda names: all(isinstance(name, str) for name in names))

    def parse(self, text: str) -> str:
        """Return the name. Raises UsageError."""
        return parse_name(text)

    def collect(self, values: Any) -> tuple[str, ...]:
        """Return the names, each once, in order. Raises UsageError, TypeError."""
        return tuple(sorted({parse_name(name) for name in ([values] if isinstance(values, str) else values)}))

    def shown(self, value: Any) -> str:
        """Return the names."""
        return ", ".join(value)

    def as_json(self, value: Any) -> list[str]:
        """Return the names."""
        return list(value)


class Pairs(Kind):
    """Names with a value each: `read` reads one such pair, and `holds` says if there can be one in the store."""

    collects = True

    def __init__(self, metavar: str, read: Callable[[str], tuple[str, Any]], holds: Callable[[Any], bool]) -> None:
        self.metavar = metavar
        self.stored = Rule((list, tuple), lambda pairs: all(map(holds, pairs)))
        self.read = read

    def parse(self, text: str) -> tuple[str, Any]:
        """Return one pair. Raises UsageError."""
        return self.read(text)

    def collect(self, values: Any) -> tuple[tuple[str, Any], ...]:
        """Return the pairs by name, from texts, pairs or a dict. Raises UsageError, TypeError, ValueError."""
        if isinstance(values, dict):
            values = values.items()
        texts = [values] if isinstance(values, str) else [v if isinstance(v, str) else _as_text(*v) for v in values]
        return tuple(sorted(dict(map(self.parse, texts)).items()))

    def shown(self, value: Any) -> str:
        """Return them as they are given."""
        return ", ".join(f"{name}={text}" for name, text in value)

    def as_json(self, value: Any) -> dict[str, Any]:
        """Return an object."""
        return dict(value)


def _as_text(name: object, value: object) -> str:
    return f"{name}={value}"


def parse_need(text: str) -> tuple[str, int]:
    """Return the name of a resource, and how much of it. Raises UsageError."""
    name, _, number = text.partition("=")
    if not number.isascii() or not number.isdecimal() or len(number) > 6 or not int(number):
        raise UsageError(f"{text!r:.60} is not a need", "write it like gpu=2")
    return parse_name(name), int(number)


def is_need(need: Any) -> bool:
    """Return True for the name of a resource and a number."""
    return isinstance(need, (list, tuple)) and len(need) == 2 and isinstance(need[0], str) and ID.allows(need[1])


def parse_label(text: str) -> tuple[str, str]:
    """Return the name and the value of a label. Raises UsageError."""
    name, equals, value = text.partition("=")
    if not equals or not is_label((name, value)):
        raise UsageError(f"{text!r:.60} is not a label", "write it like model=large, in printable characters")
    return parse_name(name), value


def is_label(pair: Any) -> bool:
    """Return True for the name and the value of a label."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        return False
    return 0 < len(pair[0]) <= 128 and len(pair[1]) <= 500 and pair[0].isprintable() and pair[1].isprintable()


MOST_META = 10_000  # characters


class Meta(Kind):
    """Any JSON that goes with a job; kept as its text."""

    metavar = "JSON"

    def of_value(self, value: Any) -> Any:
        """Return the text for an object that was given as it is. Raises UsageError."""
        import json  # noqa: PLC0415

        try:
            return json.dumps(value, separators=(",", ":"), allow_nan=False) if isinstance(value, dict) else value
        except (TypeError, ValueError, RecursionError) as e:
            raise UsageError(f"meta is not JSON: {e}", 'write it like {"owner": "me"}') from None

    def __init__(self) -> None:
        self.stored = Rule((str,), _is_json)

    def parse(self, text: str) -> str:
        """Return the JSON in one spelling. Raises UsageError."""
        import json  # noqa: PLC0415  # which the quick `add` does without

        try:
            found = json.dumps(json.loads(text), separators=(",", ":"), allow_nan=False)
        except (ValueError, RecursionError) as e:
            raise UsageError(f"{text!r:.60} is not JSON: {e}", 'write it like \'{"owner": "me"}\'') from None
        if len(found) > MOST_META:
            raise UsageError(f"the JSON has {len(found)} characters; the limit is {MOST_META}", "put it into a file")
        return found

    def check(self, value: str) -> None:
        """Raise UsageError if the text is no JSON."""
        self.parse(value)

    def as_json(self, value: str) -> Any:
        """Return the value."""
        import json  # noqa: PLC0415

        return json.loads(value)


def _is_json(text: str) -> bool:
    import json  # noqa: PLC0415

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


class Jobs(Kind):
    """Jobs, as any command names them; stored as their ids at the time of adding."""

    names_jobs = True
    metavar = "JOB"
    stored = Rule((list, tuple), lambda ids: all(isinstance(i, int) and 0 < i <= MOST_STORED for i in ids))

    def check(self, value: str) -> None:
        """Raise UsageError if the word can't name jobs, NotFound if it is a number beyond all ids."""
        from jobq.options.selectors import parse  # noqa: PLC0415  # which the quick `add` does without

        parse(value)

    def shown(self, value: Any) -> str:
        """Return the ids."""
        return ", ".join(map(str, value)) or "none"

    def as_json(self, value: Any) -> list[int]:
        """Return the ids."""
        return list(value)


LOCKS = Locks()
NEEDS, LABELS = Pairs("NAME=N", parse_need, is_need), Pairs("NAME=VALUE", parse_label, is_label)
META = Meta()
JOBS = Jobs()
