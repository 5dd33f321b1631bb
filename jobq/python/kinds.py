"""The classes that values of JSON are read as, one by one. `where`, everywhere, names the value in sentences.

This file uses only the standard library and runs in the interpreter of the job. Oldest Python: 3.7.
"""

from __future__ import annotations

from .plain import Mismatch, fields_of, loads, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


YES = ("true", "yes", "on", "1")
NO = ("false", "no", "off", "0")
PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "text", complex: "a number"}
LISTS = {"deque", "list", "List", "Sequence", "MutableSequence", "Iterable", "Collection", "Reversible", "Container"}
SEQUENCES = {
    "set": set, "Set": set, "AbstractSet": set, "MutableSet": set, "frozenset": frozenset, "FrozenSet": frozenset,
    "tuple": tuple, "Tuple": tuple,
}  # fmt: skip
DICTS = {"dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"}
SPAN = r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)"
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}  # in seconds


def wrong(value: Any, wanted: str, where: str) -> Mismatch:
    """Return the error for a value that is not what is wanted."""
    return Mismatch("%s is %s, and must be %s" % (where, shown(value), wanted))


def name_of(wanted: Any) -> str:
    """Return the name of a type as people write it."""
    if wanted is type(None):
        return "null"
    return wanted.__name__ if isinstance(wanted, type) else str(wanted).replace("typing.", "")


def literal(value: Any, choices: Sequence[Any], where: str, lax: bool) -> Any:
    """Return the choice that the value is."""
    for choice in choices:
        plain = getattr(choice, "value", choice)  # of a member of an enum
        same = type(plain) is type(value) and plain == value
        if same or (lax and isinstance(value, str) and value == str(choice) and choice is not None):
            return choice
    raise wrong(value, "one of " + ", ".join(map(shown, choices)), where)


def member_of(value: Any, kind: Any, where: str, lax: bool) -> Any:
    """Return the member of an enum with this value, or this name."""
    if isinstance(value, str) and value in kind.__members__:
        return kind.__members__[value]
    for member in kind:
        if member.value == value or (lax and isinstance(value, str) and value == str(member.value)):
            return member
    try:
        return kind(tuple(value) if isinstance(value, list) else value)  # flags, and what the class itself makes of it
    except (ValueError, TypeError, KeyError):
        pass
    names = ", ".join("%s (%s)" % (shown(member.value), member.name) for member in kind)
    raise wrong(value, "one of " + names, where)


def is_container(kind: type) -> bool:
    """Return True for the classes of lists, tuples, sets and dicts that annotations name."""
    known = kind.__module__ in ("builtins", "collections", "collections.abc", "typing", "_collections_abc")
    return known and (kind.__name__ in LISTS or kind.__name__ in SEQUENCES or kind.__name__ in DICTS)


def of_json_text(value: Any, kind: type, lax: bool) -> Any:
    """Return the list or object that a text holds as JSON; any other value as it is."""
    if lax and isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            found = loads(value)
        except (ValueError, RecursionError):
            return value
        return found if isinstance(found, kind) else value
    return value


def owner_of(kind: Any, name: str) -> Any:
    """Return the class in whose module the annotation of a field stands."""
    return next((one for one in kind.__mro__ if name in vars(one).get("__annotations__", {})), kind)


def fields_to_read(kind: Any) -> tuple[dict[str, Any], list[str], set[str]] | None:
    """Return the types of the fields of a class, the names of those without a default, and of those to pass over.

    None: it has no fields.
    """
    if hasattr(kind, "__dataclass_fields__"):
        fields = {name: field for name, field in fields_of(kind).items() if field.init}
        needed = [name for name, field in fields.items() if field.default is field.default_factory]  # both missing
        types = {name: field.type for name, field in fields.items()}
        return types, needed, fields_of(kind).keys() - fields.keys()
    if issubclass(kind, dict) and hasattr(kind, "__total__"):  # TypedDict
        return (*of_typed_dict(kind), set())
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        types = {name: getattr(kind, "__annotations__", {}).get(name, object) for name in kind._fields}
        return types, [name for name in types if name not in getattr(kind, "_field_defaults", {})], set()
    return None


def of_typed_dict(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the types of the keys of a TypedDict, and those that it must have."""
    import typing

    types = dict(kind.__annotations__)
    needed = set(getattr(kind, "__required_keys__", types if kind.__total__ else ()))
    try:
        types.update(typing.get_type_hints(kind, include_extras=True))
    except Exception:  # a name that can't be evaluated, or an old Python
        return types, sorted(needed)
    for name, wanted in types.items():  # __required_keys__ does not see through annotations that are text
        label = getattr(getattr(wanted, "__origin__", None), "_name", "")
        needed = needed | {name} if label == "Required" else needed - {name} if label == "NotRequired" else needed
    return types, sorted(needed)


def by_itself(make: Callable[[], Any], where: str) -> Any:
    """Return what the class itself makes of it."""
    try:
        return make()
    except Exception as e:  # of the user's class
        raise Mismatch("%s: %s" % (where, " ".join(str(e).split()) or type(e).__name__)) from None


def plain_value(value: Any, kind: type, where: str, lax: bool) -> Any:
    """Return a bool, a number or text."""
    if type(value) is kind or (kind in (float, complex) and type(value) in (int, float)):
        try:
            return float(value) if kind is float else value
        except OverflowError:
            raise wrong(value, "a number that a float can hold", where) from None
    if kind is int and type(value) is float and value.is_integer():
        return int(value)
    if lax and isinstance(value, str):
        text = value.strip().lower()
        if kind is bool and text in YES + NO:
            return text in YES
        if kind not in (bool, str):
            try:
                return kind(text)
            except (ValueError, OverflowError):
                pass
    raise wrong(value, PLAIN[kind], where)


MODULES = ("datetime", "pathlib", "pathlib._local", "uuid", "decimal", "_decimal", "builtins", "os")


def maker_of(kind: Any) -> Callable[[Any], Any] | None:
    """Return what makes values of a class of the standard library from text or a number; None: nothing does."""
    name = kind.__name__
    if name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "UUID"):
        return kind  # type: ignore[no-any-return]
    if name == "PathLike":
        import pathlib

        return pathlib.Path
    if name == "Decimal":
        return lambda value: kind(str(value))
    if name == "datetime":
        return lambda text: kind.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    if name in ("date", "time"):
        return kind.fromisoformat  # type: ignore[no-any-return]
    if name == "timedelta":
        return lambda value: kind(seconds=seconds_of(value))
    if name in ("bytes", "bytearray"):
        import base64

        return lambda text: kind(base64.b64decode(text, validate=True))
    return None


def seconds_of(value: Any) -> float:
    """Return the seconds that 90, "90", "1h30m" or "2d" stand for. Raises ValueError, TypeError."""
    try:
        return float(value)
    except ValueError:
        import re

        found = re.findall(SPAN, value)
        if "".join(number + unit for number, unit in found) != value or not found:
            raise
        return sum(float(number) * UNITS[unit] for number, unit in found)


def of_library(value: Any, kind: Any, where: str) -> Any:
    """Return a value of the standard library from the text, or number, that stands for it; others are it already."""
    make = maker_of(kind) if kind.__module__ in MODULES else None
    if make is None:
        try:
            if issubclass(kind, (str, int, float)) and isinstance(value, (str, int, float)):
                return by_itself(lambda: kind(value), where)
            if isinstance(value, kind) or getattr(kind, "__abstractmethods__", None):
                return value
        except TypeError:  # a Protocol
            return value
        raise Mismatch("%s is annotated as %s, which can't be made from JSON" % (where, name_of(kind)))
    if isinstance(value, str) or (kind.__name__ in ("timedelta", "Decimal") and type(value) in (int, float)):
        try:
            return make(value)
        except (ValueError, TypeError, ArithmeticError):
            pass
    example = {"datetime": " such as 2026-12-24T18:00", "date": " such as 2026-12-24", "time": " such as 18:00"}
    what = {
        "timedelta": "seconds, or a time such as 1h30m",
        "Decimal": "a number",
        "bytes": "base64",
        "bytearray": "base64",
    }
    raise wrong(value, what.get(kind.__name__, "a " + kind.__name__ + example.get(kind.__name__, "")), where)
