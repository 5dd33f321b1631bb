"""`NamedTuple` and `Protocol` that load fast: `typing` would take a quarter of the time of `jobq list`.

A type checker takes them for those of `typing`. The classes of `NamedTuple` here have no other base, and behave as
those of `typing.NamedTuple`; a test compares the two. Their constructor is that of `collections.namedtuple`, made with
the first value: most classes never have one.
"""

from __future__ import annotations

from collections import namedtuple
from operator import itemgetter

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
    from typing import Protocol as Protocol  # noqa: PLC0414
else:
    try:
        from _collections import _tuplegetter as getter
    except ImportError:  # as `collections` does

        def getter(n, doc):
            """Return the property for the field at this place."""
            return property(itemgetter(n), doc=doc)

    class _Value(tuple):
        """The base of all values."""

        __slots__ = ()

        def __new__(cls, *args, **kwargs):
            owner = next(kind for kind in cls.__mro__ if "_fields" in vars(kind))
            made = namedtuple(owner.__name__, owner._fields, defaults=owner._field_defaults.values())
            owner.__new__ = staticmethod(made.__new__)
            return made.__new__(cls, *args, **kwargs)

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, and {len(made)} are given")
            return made

        def _replace(self, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return made

        __replace__ = _replace  # of `copy`, since Python 3.13

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            shown = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self):
            return tuple(self)

    class _Maker(type):
        """Takes the place of `type` while the body of a class is read, and has none in the class."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            if bases != (NamedTuple,) or tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"{name} needs one base, and its fields with defaults behind the others")
            body.update({field: getter(n, None) for n, field in enumerate(fields)})
            body.update(_fields=fields, _field_defaults=defaults, __match_args__=fields, __slots__=())
            return type(name, (_Value,), body)

    class NamedTuple(metaclass=_Maker):
        """The base of a class of values: the annotated names of its body are the fields, with their defaults."""

    Protocol = object
