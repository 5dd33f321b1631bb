"""Arguments of functions: values of JSON as the annotations of the function want them.

Text is converted where an annotation asks for something else, as words of a command line are text: "2" for an int is 2.
Dataclasses, named tuples, TypedDicts, enums, Literal, Union, dates, paths and the like, and lists and dicts of them are
known here; classes of msgspec and pydantic convert themselves. Nothing is pickled.

This file uses only the standard library and runs in the interpreter of the job. Oldest Python: 3.7.
"""

from __future__ import annotations

import sys

from .kinds import (
    DICTS,
    PLAIN,
    SEQUENCES,
    by_itself,
    fields_to_read,
    is_container,
    literal,
    member_of,
    name_of,
    of_json_text,
    of_library,
    owner_of,
    plain_value,
    wrong,
)
from .plain import Mismatch, dumps, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Fields = tuple[dict[str, Any], list[str], set[str]]


def convert_arguments(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return JSON arguments as the annotations of the function want them. Raises Mismatch if they do not fit.

    A decorator may add arguments, or remove some: only the signature that the call itself has decides what fits. That
    of the function inside is used for its annotations, if it takes these arguments, too.
    """
    function = callee(function)
    bound = bind(function, args, kwargs)
    strict = not hasattr(function, "__wrapped__")
    if bound is not None and not strict:
        import inspect

        try:
            bound = inspect.signature(function).bind(*args, **kwargs)
        except (TypeError, ValueError):
            bound = None
    if bound is None:
        return list(args), dict(kwargs)
    names = names_of(function)
    parameters = bound.signature.parameters
    for name, parameter in parameters.items():
        if name not in bound.arguments or parameter.annotation is parameter.empty:
            continue
        given = bound.arguments[name]
        try:
            if parameter.kind is parameter.VAR_POSITIONAL:
                found = [convert(v, parameter.annotation, "%s[%d]" % (name, i), names) for i, v in enumerate(given)]
                bound.arguments[name] = tuple(found)
            elif parameter.kind is parameter.VAR_KEYWORD:
                bound.arguments[name] = {n: convert(v, parameter.annotation, n, names) for n, v in given.items()}
            else:
                bound.arguments[name] = convert(given, parameter.annotation, name, names)
        except Mismatch:
            if strict:
                raise
    others = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD]
    rest: dict[str, Any] = bound.arguments.get(others[0], {}) if others else {}
    return list(bound.args)[: len(args)], {n: rest[n] if n in rest else bound.arguments[n] for n in kwargs}


def bind(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the arguments by the names of the parameters (inspect.BoundArguments); None if those are not known.

    Raises Mismatch if they do not fit.
    """
    import inspect

    if not hasattr(inspect, "signature"):  # the module of the user that hides it
        return None
    try:
        outer = inspect.signature(callee(function), follow_wrapped=False)
    except (TypeError, ValueError):  # of C
        return None
    try:
        return outer.bind(*args, **kwargs)
    except TypeError as e:
        raise Mismatch(str(e)) from None


def callee(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose signature counts: that inside one of C, as `functools.lru_cache` makes it."""
    import inspect

    while hasattr(function, "__wrapped__") and hasattr(inspect, "signature"):  # else a module of the user hides it
        try:
            inspect.signature(function, follow_wrapped=False)
            break
        except (TypeError, ValueError):
            function = function.__wrapped__
    return function


def names_of(function: Any) -> dict[str, Any]:
    """Return the global names that the annotations of a function, or of a class, may use."""
    import inspect

    function = inspect.unwrap(getattr(function, "func", function))
    for part in (function, getattr(function, "__func__", None), type(function).__dict__.get("__call__")):
        names: Any = getattr(part, "__globals__", None)
        if names is not None:
            return dict(names)
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return vars(module) if module is not None else {}


def convert(value: Any, wanted: Any, where: str, names: Mapping[str, Any], *, lax: bool = True) -> Any:
    """Return a JSON value as the annotation `wanted` has it. Raises Mismatch.

    `names` are those that an annotation in quotes may use; one that can't be evaluated allows everything. `lax`: text
    is converted.
    """
    return Reader(names).read(value, wanted, where, lax)


class Reader:
    """Reads JSON values by annotations. `where`, in its methods, names the value in sentences."""

    def __init__(self, names: Mapping[str, Any], failed: dict[Any, Any] | None = None) -> None:
        """`failed`: what is known not to fit, of all parts of one value, with what its key names by their id."""
        self.names = names
        self.failed = {} if failed is None else failed

    def read(self, value: Any, wanted: Any, where: str, lax: bool) -> Any:
        """Return the value as an annotation has it. Raises Mismatch."""
        import typing

        wanted = self.resolved(wanted)
        origin, parts = getattr(wanted, "__origin__", None), getattr(wanted, "__args__", ())
        if hasattr(wanted, "__metadata__") and origin is not None:  # Annotated
            return self.read(value, origin, where, lax)
        if wanted in (typing.Any, object) or type(wanted).__name__ in ("TypeVar", "ParamSpec"):
            return value
        if origin is typing.Union or type(wanted).__name__ == "UnionType":
            return self.union(value, parts, where, lax)
        label = getattr(origin, "_name", None) or getattr(origin, "__name__", None) or getattr(wanted, "_name", None)
        if label == "Literal":
            return literal(value, parts, where, lax)
        if label in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar") and parts:
            return self.read(value, parts[0], where, lax)
        kind = origin if isinstance(origin, type) else wanted
        if not isinstance(kind, type):
            return value
        if is_container(kind):
            parts = [part for part in parts if type(part).__name__ != "TypeVar"]
            return (self.mapping if kind.__name__ in DICTS else self.sequence)(value, kind, parts, where, lax)
        return self.instance(value, kind, where, lax)

    def resolved(self, wanted: Any) -> Any:
        """Return what an annotation stands for; `object` if that is not known."""
        import typing

        if isinstance(wanted, str) or type(wanted) is typing.ForwardRef:
            text = getattr(wanted, "__forward_arg__", wanted)

            def stub() -> None: ...

            stub.__annotations__ = {"x": text}
            more: dict[str, Any] = {"include_extras": True} if sys.version_info >= (3, 9) else {}
            try:
                wanted = typing.get_type_hints(stub, dict(self.names), **more)["x"]
            except Exception:
                return object
        while hasattr(wanted, "__supertype__"):  # NewType
            wanted = wanted.__supertype__
        while type(wanted).__name__ == "TypeAliasType":
            wanted = wanted.__value__
        return type(None) if wanted is None else wanted

    def union(self, value: Any, parts: Sequence[Any], where: str, lax: bool) -> Any:
        """Return the value as the first member that takes it as it is, else as the first that can convert it."""
        parts = [self.resolved(part) for part in parts]
        if type(value) in (str, int, float, bool) and type(value) in parts:
            return value
        problems = {}
        for is_lax in (False, True) if lax else (False,):
            for place, part in enumerate(parts):
                key = id(value), id(part), is_lax  # classes that hold each other are tried once, not at each level
                try:
                    if key not in self.failed:
                        return self.read(value, part, where, is_lax)
                except Mismatch as e:
                    self.failed[key] = e, value, part
                problems[place] = self.failed[key][0]
        others = [place for place, part in enumerate(parts) if part is not type(None)]
        if len(others) == 1:
            raise problems[others[0]]
        raise wrong(value, " or ".join(map(name_of, parts)), where)

    def mapping(self, value: Any, kind: type, parts: Sequence[Any], where: str, lax: bool) -> Any:
        """Return a dict with its keys and members converted; keys of JSON are always text."""
        value = of_json_text(value, dict, lax)
        if not isinstance(value, dict):
            raise wrong(value, "an object", where)
        key, member = parts if len(parts) == 2 else (object, object)
        found = {
            self.read(one, key, "a key of " + where, True): self.read(held, member, "%s[%s]" % (where, shown(one)), lax)
            for one, held in value.items()
        }
        return kind(found) if kind.__name__ == "OrderedDict" else found

    def sequence(self, value: Any, kind: type, parts: Sequence[Any], where: str, lax: bool) -> Any:
        """Return a list, tuple or set with its members converted."""
        value = of_json_text(value, list, lax)
        if not isinstance(value, list):
            raise wrong(value, "a list", where)
        members = list(parts[:1] or [object]) * len(value)
        if kind.__name__ in ("tuple", "Tuple") and parts and parts[-1] is not Ellipsis:
            members = [] if list(parts) == [()] else list(parts)
            if len(members) != len(value):
                raise wrong(value, "a list of %d" % len(members), where)
        found = [self.read(v, m, "%s[%d]" % (where, i), lax) for i, (v, m) in enumerate(zip(value, members))]
        make = SEQUENCES.get(kind.__name__, kind if kind.__name__ == "deque" else list)
        try:
            return make(found)
        except TypeError:
            raise wrong(value, "a list of values that a set can hold", where) from None

    def instance(self, value: Any, kind: Any, where: str, lax: bool) -> Any:
        """Return the value as an instance of a class."""
        import enum

        if kind is type(None):
            if value is not None:
                raise wrong(value, "null", where)
            return None
        if kind in PLAIN:
            return plain_value(value, kind, where, lax)
        if issubclass(kind, enum.Enum):
            return member_of(value, kind, where, lax)
        if hasattr(kind, "__struct_fields__"):
            import msgspec  # type: ignore[import-not-found,unused-ignore]  # of the user

            return by_itself(lambda: msgspec.convert(value, kind, strict=False), where)
        if hasattr(kind, "model_validate_json"):  # pydantic
            return by_itself(lambda: kind.model_validate_json(dumps(value, where)), where)
        fields = fields_to_read(kind)
        if fields is not None:
            return self.record(value, kind, fields, where, lax)
        return of_library(value, kind, where)

    def record(self, value: Any, kind: Any, fields: Fields, where: str, lax: bool) -> Any:
        """Return a dataclass, a named tuple or a TypedDict; fields that are missing or unknown are refused."""
        types, needed, ignored = fields
        value = of_json_text(value, dict, lax)
        if isinstance(value, list) and issubclass(kind, tuple):
            if len(value) > len(types):
                raise wrong(value, "a list of %d" % len(types), where)
            value = dict(zip(types, value))
        if not isinstance(value, dict):
            raise wrong(value, "an object with the fields of %s" % kind.__name__, where)
        value = {name: one for name, one in value.items() if name not in ignored}
        for name in value:
            if name not in types:
                raise Mismatch("%s has no field %s; %s has %s" % (where, shown(name), kind.__name__, ", ".join(types)))
        for name in needed:
            if name not in value:
                raise Mismatch("%s lacks the field %s of %s" % (where, name, kind.__name__))
        owners = {name: owner_of(kind, name) for name in value}
        readers = {
            owner: Reader({**names_of(owner), kind.__name__: kind}, self.failed) for owner in set(owners.values())
        }
        found = {n: readers[owners[n]].read(one, types[n], "%s.%s" % (where, n), lax) for n, one in value.items()}
        return found if issubclass(kind, dict) else by_itself(lambda: kind(**found), where)
