"""The command of a job: a shell line, an argv, or a call of a Python function.

The commands of a sweep are many, so they are the plainest values there are: a `str` is a line for /bin/sh -c, a `tuple`
of words is an exact argv, a `Call` is a function with JSON arguments. Everything that depends on the kind is here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobq.typed import NamedTuple

TYPE_CHECKING = False  # as in `typing`
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # for those who read the hints of values

Record = dict[str, Any]
IN_WORDS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
PLAIN = IN_WORDS | frozenset("@%+=:,./")  # what a shell takes as it is, as in `shlex`
MOST_DEPTH = 100  # of lists and objects in each other, as far as stored values are read


class BadRecord(ValueError):
    """A stored object that is not what this version, or a compatible later one, writes."""


class Call(NamedTuple):
    """A Python function to be called with JSON arguments, by the interpreter `python`."""

    function: str  # "module:function"
    args: tuple[Any, ...]
    kwargs: Record
    python: str
    path: str | None = None  # the directory that its module is in, or its file; None: the working directory
    extra: Record | None = None  # keys of later versions

    def __hash__(self) -> int:
        return hash(self.function)


Command = str | tuple[str, ...] | Call
CALL_KEYS = frozenset({"call", "python", "args", "kwargs", "path"})


def names_function(text: str) -> bool:
    """Return True for "module:function", with dots in either part, of the letters that Python allows in names."""
    module, _, name = text.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), *name.split(".")))


def could_be_stored(text: str) -> bool:
    """Return True for the names of functions that older versions stored; not all of them are possible in Python."""
    module, _, name = text.partition(":")
    return text.isascii() and all(p[:1] != "." and p.replace(".", "_").isidentifier() for p in (module, name))


def depth(value: object) -> int:
    """Return how many lists and objects lie in each other."""
    deepest, level = 0, [value]
    while level:
        members = [m for v in level if isinstance(v, (list, dict)) for m in (v.values() if isinstance(v, dict) else v)]
        deepest, level = deepest + 1, members
    return deepest


def unknown_keys(record: Record, known: frozenset[str]) -> Record | None:
    """Return the keys of a later version, to be written again as they are. Raises BadRecord if they are too deep."""
    extra = {key: value for key, value in record.items() if key not in known}
    if extra and depth(extra) > MOST_DEPTH:
        raise BadRecord(f"{min(extra)} is nested more than {MOST_DEPTH} deep")
    return extra or None


def to_record(command: Command) -> object:
    """Return a command as stored: a string, a list of strings, or an object for a call."""
    if isinstance(command, Call):
        record: Record = {"call": command.function, "python": command.python}
        if command.args:
            record["args"] = command.args
        if command.kwargs:
            record["kwargs"] = command.kwargs
        if command.path is not None:
            record["path"] = command.path
        return record | (command.extra or {})
    return command


def from_record(value: object) -> Command:
    """Return the command that was stored so. Raises BadRecord."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(word, str) for word in value):
        return tuple(value)
    if isinstance(value, dict):
        match {"args": [], "kwargs": {}, "path": None, **value}:
            case {
                "call": str() as function,
                "python": str() as python,
                "args": list() as args,
                "kwargs": dict() as kwargs,
                "path": str() | None as path,
            }:
                named = names_function(function) or could_be_stored(function)
                if named and depth([args, kwargs]) <= MOST_DEPTH:
                    return Call(function, tuple(args), kwargs, python, path, unknown_keys(value, CALL_KEYS))
    raise BadRecord(f"a command can't be {value!r:.60}")


def stored_size(command: Command) -> int:
    """Return about how many bytes the command takes on a line of the journal, rather more than less."""
    if isinstance(command, Call):
        return len(repr(command)) * 2  # errs on the long side for all but the strangest text
    return _stored_size(command) if isinstance(command, str) else sum(map(_stored_size, command))


def _stored_size(word: str) -> int:
    # Not ASCII: at most six bytes for a UTF-16 unit once escaped.
    return len(word) + 4 if word.isascii() and word.isprintable() else 12 * len(word) + 4


def to_run(
    command: Command, script: str = "", result: str = "", rules: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> str | tuple[str, ...]:
    """Return what the system is given to run: a line for the shell, or a program and its arguments.

    A call is made by `script`, which leaves at `result` what the function returns. `rules`: see python/child.py.
    """
    if not isinstance(command, Call):
        return command
    import json  # noqa: PLC0415

    arguments = json.dumps(call_record(command, rules), separators=(",", ":"), allow_nan=False)
    return (command.python, "-u", script, command.function, arguments, result)


def call_record(call: Call, rules: Mapping[str, Sequence[str]]) -> Record:
    """Return what the script needs to know of a call, as JSON values (python/child.py)."""
    path = {} if call.path is None else {"path": call.path}
    return {"args": call.args, "kwargs": call.kwargs, **path, **rules}


def to_host(call: Call, script: str) -> tuple[str, ...]:
    """Return what the system is given to run for a process that makes such calls, one after the other."""
    import json  # noqa: PLC0415

    return (call.python, "-u", script, "--host", json.dumps({} if call.path is None else {"path": call.path}), "")


def as_typed(command: Command) -> str:
    """Return the command as one would type it in a shell, or write it in Python. It may hold any character."""
    if isinstance(command, Call):
        import json  # noqa: PLC0415  # most commands are plain words, and shown without it

        function = command.function
        if command.path is not None and command.path.endswith(".py"):
            function = f"{command.path}:{function.partition(':')[2]}"
        words = [json.dumps(arg, ensure_ascii=False) for arg in command.args]
        words += [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in command.kwargs.items()]
        return f"{function}({', '.join(words)})"
    if isinstance(command, str):
        return command
    if all(word and PLAIN.issuperset(word) for word in command):
        return " ".join(command)
    import shlex  # noqa: PLC0415

    return shlex.join(command)


def kind(command: Command) -> str:
    """Return in words how the command is run."""
    if isinstance(command, Call):
        return f"a call by {command.python}"
    return "a line for /bin/sh" if isinstance(command, str) else f"{len(command)} exact words, without a shell"
