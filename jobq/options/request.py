"""What may be asked for: commands, calls and specs that can be stored, started and mean something."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from jobq.errors import UsageError
from jobq.job import Call, Command, Spec, names_function
from jobq.options.table import LEAST_LOG, MOST_RETRIES, parse_name
from jobq.store.records import BadRecord, depth, read_spec, spec_record
from jobq.system import utf8

MAX_WORD = 131_071  # bytes of one argument that Linux can start (MAX_ARG_STRLEN, execve(2))
MAX_DEPTH = 64  # of lists and objects in each other: far below what any JSON reader gives up at
MAX_COMMAND = 1 << 20  # bytes of all, as JSON; it has to fit on a line of the journal


def call_command(function: str, args: list[Any], kwargs: dict[str, Any], python: str) -> Call:
    """A command that calls a function. Raises UsageError for what is no function's name, or no JSON."""
    function = function_name(function)
    try:
        copied = json.loads(json.dumps({"args": args, "kwargs": kwargs}, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as e:
        raise UsageError(f"an argument of {function} is not JSON: {e}") from None
    if depth(copied) > MAX_DEPTH:
        raise UsageError(
            f"the arguments of {function} are lists in lists, {depth(copied)} deep; the limit is {MAX_DEPTH}"
        )
    if copied["kwargs"].keys() != kwargs.keys():
        raise UsageError(f"the names of {function}'s arguments must be text")
    named = {identifier(name): value for name, value in copied["kwargs"].items()}
    return Call(function, tuple(copied["args"]), named, utf8(os.path.abspath(python)))


def function_name(text: object) -> str:
    """The name of a function as Python itself would look it up. Raises UsageError."""
    if not isinstance(text, str):
        raise UsageError(f"{text!r} does not name a function", "write MODULE:FUNCTION, as in reports.daily:build")
    module, _, name = text.partition(":")
    if module == "__main__":
        raise UsageError(
            f"{text} can't be called: a job has another __main__ than the script that adds it",
            f"name the script: SCRIPT:{name} for SCRIPT.py",
        )
    if name.isidentifier() and module.endswith(".py") and os.path.isfile(module):
        script = os.path.basename(module).removesuffix(".py")
        raise UsageError(
            f"{module} is a file, and a function is found by its module", f"write {script}:{name}, in its directory"
        )
    if not names_function(text):
        raise UsageError(f"{text!r} does not name a function", "write MODULE:FUNCTION, as in reports.daily:build")
    return identifier(text)


def identifier(text: str) -> str:
    """The name as Python's parser reads it: letters that only look different in Unicode are the same."""
    if text.isascii():
        return text
    import unicodedata  # noqa: PLC0415

    return unicodedata.normalize("NFKC", text)


def check_spec(spec: Spec) -> None:
    """Raises UsageError for values that can't be stored, or mean nothing."""
    try:
        read_spec(spec_record(spec))
    except BadRecord as e:
        raise UsageError(str(e)) from None
    parse_name(spec.queue)
    if spec.name is not None:
        parse_name(spec.name)
    if not 0 <= spec.retries <= MOST_RETRIES:
        raise UsageError(f"retries can't be {spec.retries}", f"give a number from 0 to {MOST_RETRIES}")
    if not LEAST_LOG <= spec.log_max < 1 << 60:
        raise UsageError(f"log_max can't be {spec.log_max}", f"give a number of bytes from {LEAST_LOG} on")
    if spec.timeout == 0:
        raise UsageError("timeout can't be 0", "leave it out for no limit")
    for name, seconds in (("timeout", spec.timeout), ("grace", spec.grace)):
        if seconds is not None and not 0 <= seconds < math.inf:
            raise UsageError(f"{name} can't be {seconds}", "give seconds")


def check_variables(variables: object) -> None:
    """Raises UsageError for what no environment can hold."""
    if not isinstance(variables, Mapping):
        raise UsageError(f"env can't be {variables!r:.60}", "give names and values")
    for name, value in variables.items():
        if not isinstance(name, str) or not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise UsageError(f"the variable {name!r:.60} can't be {value!r:.60}", "names and values are text")
        try:
            (name + value).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise UsageError(f"the variable {name!r:.60} has half a character in it") from None


def check_command(command: Command, line: int) -> None:
    """Raises UsageError if no system could start it; `line` is its number among several, else 0."""
    where = f"line {line}: " if line else ""
    if isinstance(command, Call):
        from jobq.engine.task import argv_of  # noqa: PLC0415  # only for functions

        words = argv_of(command, "", "")
    else:
        words = (command,) if isinstance(command, str) else command
    if not isinstance(words, tuple) or not all(isinstance(word, str) for word in words):
        raise UsageError(
            f"{where}{command!r:.60} is not a command", "give a shell line, or the program and its arguments"
        )
    if not words or not words[0].strip():
        raise UsageError(f"{where}the command is empty")
    total = 0
    for number, word in enumerate(words, 1):
        try:
            size = len(word.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise UsageError(f"{where}word {number} of the command has half a character, {word!r:.60}") from None
        total += len(json.dumps(word))
        if "\0" in word:
            raise UsageError(f"{where}word {number} of the command has a NUL byte, which no program can be given")
        if size > MAX_WORD:
            raise UsageError(
                f"{where}word {number} of the command is {size} bytes long; the system starts up to {MAX_WORD}",
                "put it into a file and name the file",
            )
    if total > MAX_COMMAND:
        raise UsageError(f"{where}the command takes {total} bytes; the limit is {MAX_COMMAND}", "use a file")


def current_directory() -> str:
    """Where this process is. Raises UsageError if that is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the directory you are in does not exist any more", "cd somewhere, or use --cwd") from None
