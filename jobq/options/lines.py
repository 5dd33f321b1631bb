"""Jobs as lines of JSON: an object for each, with its command and any option of a job by its name in Python.

{"command": "make test", "priority": "high"}
{"command": ["gzip", "-k", "a b.txt"], "after": ["build"], "timeout": "10m"}
{"call": "reports:build", "args": [2026], "kwargs": {"draft": true}}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from jobq.command import Command
from jobq.errors import UsageError
from jobq.options.request import call_command
from jobq.options.table import BY_NAME, OPTIONS
from jobq.typed import NamedTuple

OF_CALL = {"call", "args", "kwargs", "python"}
BY_FLAGS_NAME = {option.flags[0].removeprefix("--"): option.name for option in OPTIONS}  # "in": delay
HINT = 'write a line like {"command": "make test", "priority": 5}'


class JobLine(NamedTuple):
    """One line."""

    number: int
    command: Command
    options: dict[str, Any]


def parse(lines: Iterable[str], python: str) -> Iterator[JobLine]:
    """Yield the lines that are not empty. Raises UsageError.

    `python` calls the functions of lines that name no other one.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                command, options = _job(json.loads(line, object_pairs_hook=_each_once), python)
            except (ValueError, RecursionError) as e:
                raise UsageError(f"line {number} is not JSON: {e}", HINT) from None
            except UsageError as e:
                raise UsageError(f"line {number}: {e}", e.hint) from None
            yield JobLine(number, command, options)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON. Raises UsageError if it has a key twice: only one of the values would be obeyed."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UsageError(f"{name:.60} is given twice", "leave one of them out")
        found[name] = value
    return found


def _job(job: object, python: str) -> tuple[Command, dict[str, Any]]:
    if not isinstance(job, dict):
        raise UsageError(f"{job!r:.60} is not a job", HINT)
    job = _each_once([(BY_FLAGS_NAME.get(str(name), str(name)), value) for name, value in job.items()])
    known = {*BY_NAME, "command"} if "command" in job else {*BY_NAME, *OF_CALL, "command"}
    for name in job:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UsageError(f"{name} is not an option of a job", f"did you mean {near[0]}?" if near else HINT)
    if ("command" in job) == ("call" in job):
        raise UsageError("a job has a command, or a call", HINT)
    fields = dict(job)
    command: Any
    if "call" in fields:
        args, kwargs = fields.pop("args", []), fields.pop("kwargs", {})
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise UsageError("args is a list, and kwargs an object", HINT)
        program = fields.pop("python", python)
        if not isinstance(program, str):
            raise UsageError(f"python can't be {program!r:.60}", "name a program")
        command = call_command(fields.pop("call"), args, kwargs, program)
    else:
        command = fields.pop("command")
        command = tuple(command) if isinstance(command, list) else command
    return command, fields
