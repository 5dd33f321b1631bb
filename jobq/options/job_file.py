"""A job as TOML, for an editor: what it runs and all its options, and back again."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

from jobq.command import Call, Command
from jobq.durations import exact
from jobq.errors import Refused, UsageError
from jobq.job import Job
from jobq.options.groups import Pairs
from jobq.options.kinds import Instant
from jobq.options.table import BY_NAME, OPTIONS
from jobq.options.values import Duration

PROBLEM = "# error: "
PROBLEM_LINES = 2  # at the top of the file


def with_problem(text: str, problem: str) -> str:
    """Return the text with a comment at its top that says what is wrong with it, in the place of an older one."""
    told = [f"{PROBLEM}{line}" for line in problem.splitlines()]
    lines = text.split("\n")
    first = sum(line.startswith("#") for line in lines[:PROBLEM_LINES])  # so that lines keep their numbers
    return "\n".join([*told[:PROBLEM_LINES], *["#"] * (first - len(told)), *lines[first:]])


def to_toml(job: Job) -> str:
    """Return the job as TOML, with a comment for each option. Raises Refused if it has bytes that are not UTF-8."""
    lines = ["#"] * PROBLEM_LINES
    lines += [f"# Job {job.id} is {job.state}. Save this file to change it; quit without saving to leave it as it is."]
    if isinstance(job.command, Call):
        lines += ["# It calls a Python function, which can't be changed here."]
    else:
        lines += ["", "# A text is a line for the shell, a list is a program and its exact arguments."]
        lines += [f"command = {quoted(job.command)}"]
    for name, value in _values(job):
        text = f"# {name} =" if value is None else f"{name} = {quoted(value)}"
        lines += ["", f"# {BY_NAME[name].help}", text]
    text = "\n".join(lines) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(
            f"job {job.id} has bytes that are not UTF-8", "change it by options: 'jobq edit --help'"
        ) from None
    return text


def quoted(value: Any) -> str:
    """Return a text, number, bool or list of such as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the rest of JSON is TOML, too


def read_toml(text: str, job: Job) -> tuple[dict[str, Any], Command | None]:
    """Return the options that differ from the job's, and the command if it does. Raises UsageError."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"this is not TOML: {e}", 'text has quotes, as in queue = "night"') from None
    if isinstance(job.command, Call) and "command" in found:
        raise UsageError("a call of a Python function has no command to change", "leave out the line with command")
    command = found.pop("command", job.command)
    if isinstance(command, list):
        command = tuple(command)
    known = dict(_values(job))
    if unknown := sorted(found.keys() - known.keys()):
        raise UsageError(f"{unknown[0]} is not an option of a job", "see 'jobq add --help'")
    changed = {name: _of_toml(value) for name, value in found.items() if value != known[name]}
    left_out = {name for name, value in known.items() if value is not None and name not in found}
    defaults = {name: BY_NAME[name].default for name in left_out if known[name] != _plain(BY_NAME[name].default)}
    return changed | defaults, None if command == job.command else command


def _of_toml(value: Any) -> Any:
    """Return what an option takes for a value of TOML: dates are text, tables are JSON."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return json.dumps(value) if isinstance(value, dict) else value


def _values(job: Job) -> Iterator[tuple[str, Any]]:
    """Yield what the file says of a job, None for an option that it leaves out."""
    yield "cwd", job.spec.cwd
    for option in OPTIONS:
        if option.in_spec:
            value = getattr(job.spec, option.name)
            if isinstance(option.kind, Pairs):
                value = [f"{name}={of_it}" for name, of_it in value]
            elif isinstance(option.kind, Instant) and value is not None:
                value = option.shown(value)
            elif isinstance(option.kind, Duration) and value is not None:
                value = exact(value)
            yield option.name, _plain(value)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
