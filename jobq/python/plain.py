"""Values as JSON: dataclasses, enums, dates, paths and the like are written as what stands for them there.

This file uses only the standard library and runs in the interpreter of the job. Oldest Python: 3.7.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


MOST_SHOWN = 60  # characters of a value in a sentence


loads = json.loads  # the one of Python, even if a module of the user has its name


class Mismatch(ValueError):
    """A value does not fit; the message is a sentence without a full stop."""


def dumps(value: object, where: str) -> str:
    """Return the value as JSON. Raises Mismatch that names the part, in `where`, that is none."""
    try:
        return json.dumps(value, allow_nan=False, default=plain)
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return json.dumps(plain_all(value, where), allow_nan=False)
    except RecursionError:
        raise Mismatch("%s is nested too deep" % where) from None


def plain_all(value: Any, where: str) -> Any:
    """Return the value with all that it holds as JSON values. Raises Mismatch."""
    if isinstance(value, dict):
        found = {}
        for name, one in value.items():
            key = (
                name if isinstance(name, (str, int, float, bool, type(None))) else plain_all(name, "a key of " + where)
            )
            if isinstance(key, (dict, list)):
                raise Mismatch("a key of %s is %s, which is not JSON" % (where, shown(name)))
            found[key] = plain_all(one, "%s[%s]" % (where, shown(name)))
        return found
    if isinstance(value, (list, tuple)):
        return [plain_all(one, "%s[%d]" % (where, place)) for place, one in enumerate(value)]
    if isinstance(value, float) and repr(value) in ("nan", "inf", "-inf"):
        raise Mismatch("%s is %r, which is not JSON" % (where, value))
    if value is None or isinstance(value, (str, int, float)):
        return value
    try:
        return plain_all(plain(value), where)
    except TypeError as e:
        raise Mismatch("%s is %s, which is not JSON" % (where, e)) from None


def plain(value: Any) -> Any:
    """Return what stands for a value in JSON; its parts need not be JSON yet. Raises TypeError."""
    import datetime
    import decimal
    import enum
    import os
    import uuid

    kind = type(value)
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(kind, "__struct_fields__"):
        import msgspec  # type: ignore[import-not-found,unused-ignore]  # of the user

        return msgspec.to_builtins(value)
    if hasattr(kind, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    if hasattr(kind, "__dataclass_fields__") and not isinstance(value, type):
        return {name: getattr(value, name) for name in fields_of(kind)}
    if isinstance(value, (set, frozenset)):
        try:
            return sorted(value)
        except TypeError:
            return list(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (uuid.UUID, decimal.Decimal)):
        return str(value)
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        return path if isinstance(path, str) else os.fsdecode(path)
    if isinstance(value, (bytes, bytearray)):
        import base64

        return base64.b64encode(value).decode("ascii")
    if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        return value.item()
    raise TypeError("%s %s" % ("an" if kind.__name__[:1] in "aeiouAEIOU" else "a", kind.__name__))


def shown(value: Any) -> str:
    """Return a value as it is named in a sentence."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def fields_of(kind: Any) -> dict[str, Any]:
    """Return the fields of a dataclass."""
    from dataclasses import fields

    return {field.name: field for field in fields(kind)}
