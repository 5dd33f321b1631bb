"""Values of JSON as annotations want them, and values of Python as JSON."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import json
import math
import pathlib
import typing
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Required, TypedDict, Union

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobq.python.conversion import bind, convert, convert_arguments
from jobq.python.plain import Mismatch, dumps


@dataclasses.dataclass
class Point:
    x: int
    y: float = 1.0
    tags: list[str] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


class Pair(NamedTuple):
    a: int
    b: str = "q"


class Options(TypedDict, total=False):
    a: Required[int]
    points: list[Point]


class Whole(TypedDict):
    a: int
    b: NotRequired[str]


class Colour(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 3


class Perm(enum.Flag):
    R = 1
    W = 2


class Cell(enum.Enum):
    A = (1, 2)


class Word(str):
    __slots__ = ()


@dataclasses.dataclass
class Total:
    a: int
    total: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = 2 * self.a


class Struct(msgspec.Struct):
    n: int
    when: datetime.date | None = None


class Model(pydantic.BaseModel):
    n: int
    when: datetime.date | None = None


class Strange:
    """No JSON stands for it."""


UserId = NewType("UserId", int)
UTC = datetime.UTC
ID = uuid.UUID("12345678123456781234567812345678")


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (int, "2", 2), (int, 2.0, 2), (int, -5, -5), (float, 3, 3.0), (float, "1e3", 1000.0), (str, "2", "2"),
        (bool, "yes", True), (bool, "no", False), (bool, True, True), (complex, "1+2j", 1 + 2j),
        (None, None, None), (Any, {"a": 1}, {"a": 1}), (object, [1], [1]), ("int", "2", 2), ("NoSuchName", 5, 5),
        (Optional[int], "2", 2), (Optional[int], None, None),  # noqa: UP045  # the old spelling, too
        (int | str, "2", "2"), (int | str, 2, 2),
        (Union[datetime.date, int], "7", 7),  # noqa: UP007
        (bool | list[int], ["1"], [1]),
        (Literal[1, "two"], "1", 1), (Literal[1, "two"], "two", "two"),
        (Colour, 1, Colour.RED), (Colour, "1", Colour.RED), (Colour, "BLUE", Colour.BLUE), (Level, "3", Level.LOW),
        (list, ["a"], ["a"]), (list[int], ["1"], [1]), (Sequence[int], ["1"], [1]), (Iterable[Point], [{"x": 1}], [Point(1)]),
        (tuple[int, str], ["1", "b"], (1, "b")), (tuple[int, ...], ["1"], (1,)), (tuple[()], [], ()), (tuple, [1], (1,)),
        (set[int], [1, "1"], {1}), (frozenset[str], ["a"], frozenset({"a"})), (collections.deque[int], ["1"], collections.deque([1])),
        (dict[int, list[Point]], {"1": [{"x": 1}]}, {1: [Point(1)]}), (Mapping[str, int], {"a": "1"}, {"a": 1}),
        (Point, {"x": "1", "tags": ["t"]}, Point(1, 1.0, ["t"])), (Pair, [1], Pair(1)), (Pair, {"a": "5"}, Pair(5)),
        (Options, {"a": "1", "points": [{"x": 2}]}, {"a": 1, "points": [Point(2)]}), (Whole, {"a": 1}, {"a": 1}),
        (datetime.datetime, "2026-12-24T18:00Z", datetime.datetime(2026, 12, 24, 18, tzinfo=UTC)),
        (datetime.date, "2026-12-24", datetime.date(2026, 12, 24)), (datetime.time, "18:00", datetime.time(18)),
        (datetime.timedelta, "90", datetime.timedelta(seconds=90)), (datetime.timedelta, "1h30m", datetime.timedelta(minutes=90)),
        (datetime.timedelta, "1.5d", datetime.timedelta(hours=36)), (datetime.timedelta, "250ms", datetime.timedelta(seconds=0.25)), (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (uuid.UUID, str(ID), ID), (decimal.Decimal, "1.50", decimal.Decimal("1.50")), (bytes, "YWJj", b"abc"),
        (UserId, "7", 7), (Annotated[int, "positive"], "7", 7), (Struct, {"n": "1", "when": "2026-12-24"}, Struct(1, datetime.date(2026, 12, 24))),
        (Model, {"n": "1", "when": "2026-12-24"}, Model(n=1, when=datetime.date(2026, 12, 24))),
        (Perm, 3, Perm.R | Perm.W), (Cell, [1, 2], Cell.A), (Cell, "A", Cell.A), (Literal[Colour.RED], 1, Colour.RED),
        (Word, "x", Word("x")), (Total, {"a": 1, "total": 7}, Total(1)), (bytes | str, "abcd", "abcd"),
        (list[int], "[1, 2]", [1, 2]), (Point, '{"x": 1}', Point(1)),
        (Callable[[int], int], 5, 5), (typing.Hashable, 5, 5), (typing.SupportsIndex, "x", "x"),
    ],
)  # fmt: skip
def test_a_value_is_read_as_its_annotation_says(wanted: object, value: object, expected: object) -> None:
    found = convert(value, wanted, "x", globals())
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("wanted", "value", "says"),
    [
        (int, "x", 'x is "x", and must be a whole number'), (int, True, "x is true, and must be a whole number"),
        (int, 1.5, "x is 1.5"), (float, "much", "must be a number"), (float, 10**400, "that a float can hold"), (str, 5, "x is 5, and must be text"),
        (bool, 1, "must be true or false"), (bool, "maybe", "must be true or false"), (None, 1, "must be null"),
        (int | None, "x", "must be a whole number"), (int | list[int], "x", 'x is "x", and must be int or list[int]'),
        (Literal[1, "two"], "three", 'must be one of 1, "two"'), (Colour, "green", 'must be one of 1 (RED), "blue" (BLUE)'),
        (list[int], "1", "must be a list"), (list[int], [1, "a"], 'x[1] is "a"'), (tuple[int, int], [1], "must be a list of 2"),
        (set[list[int]], [[1]], "a list of values that a set can hold"), (dict[int, int], {"a": 1}, 'a key of x is "a"'),
        (dict[str, int], {"a": "b"}, 'x["a"] is "b"'), (dict, [1], "must be an object"),
        (Point, {}, "x lacks the field x of Point"), (Point, {"x": 1, "z": 2}, 'x has no field "z"; Point has x, y, tags'),
        (Point, {"x": "w"}, 'x.x is "w"'), (Point, {"x": -1}, "x: x is negative"), (Point, 5, "must be an object with the fields of Point"),
        (Pair, [1, "a", 2], "must be a list of 2"), (Pair, {}, "lacks the field a"), (Options, {}, "lacks the field a"),
        (Whole, {}, "lacks the field a"), (Options, {"a": 1, "points": [{"x": "w"}]}, 'x.points[0].x is "w"'),
        (datetime.datetime, "tomorrow", "must be a datetime such as 2026-12-24T18:00"), (datetime.date, 5, "must be a date"),
        (datetime.timedelta, "long", "must be seconds"), (datetime.timedelta, "1h!", "must be seconds, or a time such as 1h30m"), (datetime.timedelta, "", "must be seconds"), (uuid.UUID, "x", "must be a UUID"), (decimal.Decimal, "x", "must be a number"),
        (bytes, "??", "must be base64"), (pathlib.Path, 5, "must be a Path"), (Struct, {"n": "x"}, "x: Expected `int`"), (Model, {"n": "x"}, "x: 1 validation error for Model"),
        (Strange, {}, "x is annotated as Strange, which can't be made from JSON"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(wanted: object, value: object, says: str) -> None:
    with pytest.raises(Mismatch) as refusal:
        convert(value, wanted, "x", globals())
    assert says in str(refusal.value)


def function(a: int, p: Point, *rest: float, when: datetime.date | None = None, **more: Literal[1, "two"]) -> None: ...


def test_arguments_are_converted_by_name() -> None:
    args, kwargs = convert_arguments(function, ["2", {"x": 1}, "3", 4], {"when": "2026-12-24", "z": "1"})
    assert args == [2, Point(1), 3.0, 4.0]
    assert kwargs == {"when": datetime.date(2026, 12, 24), "z": 1}


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ([1], {}, "missing a required argument: 'p'"), ([1, {"x": 1}], {"a": 2}, "multiple values for argument 'a'"),
        ([1, {"x": 1}, "y"], {}, 'rest[0] is "y"'), ([1, {"x": 1}], {"z": "three"}, 'z is "three"'),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_named(args: list[Any], kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(Mismatch) as refusal:
        convert_arguments(function, args, kwargs)
    assert says in str(refusal.value)


def test_the_signature_of_the_call_itself_decides() -> None:
    def with_db(inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def outer(*args: Any) -> Any:
            return inner("db", *args)

        return outer

    def timed(inner: Callable[..., Any]) -> Callable[..., Any]:
        return functools.wraps(inner)(lambda *args: inner(*args))  # noqa: PLW0108

    def load(db: Point, table: str) -> None: ...
    def count(n: int) -> None: ...

    assert convert_arguments(with_db(load), ["t"], {}) == (["t"], {})
    assert convert_arguments(timed(count), ["2"], {}) == ([2], {})
    assert convert_arguments(timed(count), ["x"], {}) == (["x"], {}), "the function itself has to say so"
    assert convert_arguments(functools.partial(count), ["2"], {}) == ([2], {})
    assert convert_arguments(Point, ["2"], {}) == ([2], {})
    cached = functools.lru_cache(count)
    assert convert_arguments(cached, ["2"], {}) == ([2], {})
    for wrong in (["x"], ["1", "2"]):
        with pytest.raises(Mismatch):
            convert_arguments(cached, wrong, {})
    assert convert_arguments(functools.lru_cache(with_db(load)), ["t"], {}) == (["t"], {})
    assert bind(print, [1], {}) is not None
    assert convert_arguments(math.hypot, ["2"], {}) == (["2"], {}), "it has no signature"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_json_stays_as_it_is(value: Any) -> None:
    assert json.loads(dumps(value, "it")) == value
    assert convert(value, Any, "it", {}) == value


@given(st.builds(Point, st.integers(0), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.text())))
def test_a_dataclass_comes_back(point: Point) -> None:
    assert convert(json.loads(dumps(point, "it")), Point, "it", {}) == point


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Pair(1), '[1, "q"]'), ({Colour.RED: Level.LOW}, '{"1": 3}'), ({3, 1}, "[1, 3]"), (b"abc", '"YWJj"'),
        (datetime.timedelta(1), "86400.0"), (datetime.date(2026, 12, 24), '"2026-12-24"'), (ID, f'"{ID}"'),
        (pathlib.Path("x"), '"x"'), (decimal.Decimal("1.50"), '"1.50"'), (Struct(1), '{"n": 1, "when": null}'),
        (Model(n=1), '{"n": 1, "when": null}'),
        ([Point(1)], '[{"x": 1, "y": 1.0, "tags": []}]'), ({ID: 1}, f'{{"{ID}": 1}}'),
    ],
)  # fmt: skip
def test_other_values_are_written_as_what_stands_for_them(value: object, text: str) -> None:
    assert dumps(value, "it") == text


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (float("nan"), "it is nan, which is not JSON"), ([1, {"a": Strange()}], 'it[1]["a"] is a Strange, which is not JSON'),
        ({(1, 2): 3}, "a key of it is [1, 2], which is not JSON"), (Point, "it is a type, which is not JSON"),
        (Point(1, tags=[Strange()]), 'it["tags"][0] is a Strange'),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_is_not_json_is_named(value: object, says: str) -> None:
    with pytest.raises(Mismatch) as refusal:
        dumps(value, "it")
    assert says in str(refusal.value)


Expression = Union["Add", "Times", int]  # its names are not known yet


@dataclasses.dataclass
class Add:
    l: Expression  # noqa: E741
    r: Expression


@dataclasses.dataclass
class Times:
    l: Expression  # noqa: E741
    r: Expression


def test_classes_that_hold_each_other_take_no_more_time_at_each_level() -> None:
    value: Any = "x"
    for _ in range(60):  # each level would double it
        value = {"l": value, "r": 1}
    with pytest.raises(Mismatch):
        convert(value, Expression, "e", globals())


def test_annotations_are_read_in_the_module_of_their_class(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base_of.py").write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom datetime import date\n@dataclass\nclass Base:\n    day: date\n"
    )
    (tmp_path / "sub_of.py").write_text(
        "from dataclasses import dataclass\nfrom base_of import Base\n@dataclass\nclass Sub(Base):\n    x: int = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = __import__("sub_of").Sub
    assert convert({"day": "2026-12-24"}, kind, "s", {}).day == datetime.date(2026, 12, 24)
    with pytest.raises(Mismatch, match="must be a date"):
        convert({"day": "rubbish"}, kind, "s", {})
