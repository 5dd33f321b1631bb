"""`NamedTuple` and `Protocol` that load fast: `typing` would take a quarter of the time of `jobq list`.

A type checker takes them for those of `typing`. A class of `NamedTuple` behaves as one of `typing.NamedTuple`; a test
compares the two. Its constructor is written with its first value, as `collections.namedtuple` writes its own: most
classes never have one.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414
    from typing import Protocol as Protocol  # noqa: PLC0414
else:

    class _Value(tuple):
        """The base of all values."""

        __slots__ = ()
        _fields = ()
        _field_defaults = {}  # noqa: RUF012

        def __new__(cls, *args, **kwargs):
            fields = "".join(f"{field}, " for field in cls._fields)
            make = eval(f"lambda _cls, {fields}: _new(_cls, ({fields}))", {"_new": tuple.__new__})  # noqa: S307
            make.__defaults__ = tuple(cls._field_defaults.values())
            make.__name__ = make.__qualname__ = cls.__name__  # for the errors
            cls.__new__ = make
            return make(cls, *args, **kwargs)

        @classmethod
        def _make(cls, values):
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, and {len(made)} are given")
            return made

        def _replace(self, **changes):
            values = [changes.pop(field, value) for field, value in zip(self._fields, self, strict=True)]
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
            return tuple.__new__(type(self), values)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            return (
                f"{type(self).__name__}({', '.join(f'{field}={value!r}' for field, value in self._asdict().items())})"
            )

        def __getnewargs__(self):
            return tuple(self)

    class _Maker(type):
        """Takes the place of `type` while the body of a class is read, and has none in the class."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            body.update({field: property(itemgetter(n)) for n, field in enumerate(fields)})
            body.update(_fields=fields, _field_defaults=defaults, __match_args__=fields, __slots__=())
            return type(name, (_Value,), body)

    class NamedTuple(metaclass=_Maker):
        """The base of a class of values: the annotated names of its body are the fields, with their defaults."""

    Protocol = object
