"""`jobq.typed.NamedTuple` behaves as that of `typing`, and loads without it."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import typing
from typing import Any

import pytest

from jobq import typed
from jobq.command import Call
from jobq.intake import Added
from jobq.job import Attempt, Ending, Job, Spec


def made_of(base: Any, name: str) -> Any:
    """Return a class of values with this base, to be found by its name in this module."""

    class Value(base):  # type: ignore[misc]
        """A value."""

        a: int
        b: str = "b"
        c: tuple[int, ...] = ()

        @property
        def both(self) -> str:
            """Return the first two fields."""
            return f"{self.a}{self.b}"

    Value.__name__ = Value.__qualname__ = name
    return Value


Theirs, Ours = made_of(typing.NamedTuple, "Theirs"), made_of(typed.NamedTuple, "Ours")
CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, "x"), {}),
    ((1, "x", (2,)), {}),
    ((), {"a": 1}),
    ((1,), {"c": (3,)}),
    ((), {"c": (3,), "a": 1, "b": "x"}),
    ((), {}),
    ((), {"b": "x"}),
    ((1, "x", (), 4), {}),
    ((1,), {"a": 2}),
    ((1,), {"d": 2}),
]


def outcome(make: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return tuple(make(*args, **kwargs))
    except TypeError:
        return TypeError


@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_a_value_is_made_of_the_same_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert outcome(Ours, args, kwargs) == outcome(Theirs, args, kwargs)


@pytest.mark.parametrize(
    "use",
    [
        lambda value: tuple(value._replace(b="y")),
        lambda value: value._replace(d="y"),
        lambda value: value._asdict(),
        lambda value: tuple(value._make((1, "z", ()))),
        lambda value: value._make((1,)),
        lambda value: repr(value).partition("(")[2],
        lambda value: (value.a, value.both, value[1], value[-1]),
        lambda value: value == (1, "b", ()),
        lambda value: hash(value) == hash((1, "b", ())),
        lambda value: copy.copy(value) == value and copy.deepcopy(value) == value,
        lambda value: pickle.loads(pickle.dumps(value)) == value,
        lambda value: setattr(value, "a", 2),
        lambda value: setattr(value, "d", 2),
        lambda value: (value._fields, value._field_defaults, value.__match_args__),
        lambda value: type(value).__doc__,
        lambda value: value.__replace__(a=2).a if sys.version_info >= (3, 13) else None,
    ],
)
def test_a_value_can_be_used_in_the_same_ways(use: Any) -> None:
    def used(value: Any) -> Any:
        try:
            return use(value)
        except (AttributeError, TypeError, ValueError) as e:
            return type(e) if isinstance(e, AttributeError) else "refused"

    assert used(Ours(1)) == used(Theirs(1))


def test_a_copy_is_of_the_same_class() -> None:
    assert {type(made) for made in (Ours(1), Ours(1)._replace(a=2), Ours._make((1, "", ())), copy.copy(Ours(1)))} == {
        Ours
    }
    assert type(pickle.loads(pickle.dumps(Ours(1)))) is Ours


def test_a_class_of_its_own_below_keeps_its_constructor() -> None:
    def made(base: Any) -> int:
        class Below(base):  # type: ignore[misc]
            count = 0

            def __new__(cls, a: int) -> Any:
                Below.count += 1
                return super().__new__(cls, a)

        assert [tuple(Below(n)) for n in range(3)] == [(n, "b", ()) for n in range(3)]
        return Below.count

    assert made(Ours) == made(Theirs) == 3


@pytest.mark.parametrize("base", [typing.NamedTuple, typed.NamedTuple])
def test_a_field_without_a_default_comes_first(base: Any) -> None:
    with pytest.raises(TypeError):
        exec("class Bad(base):\n    a: int = 1\n    b: int", {"base": base})


def test_the_hints_of_public_values_are_there_at_run_time() -> None:
    for kind in (Job, Spec, Attempt, Ending, Added, Call):
        assert typing.get_type_hints(kind)


def test_it_loads_without_typing() -> None:
    command = [sys.executable, "-c", "import jobq.typed, sys; print('typing' in sys.modules)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
