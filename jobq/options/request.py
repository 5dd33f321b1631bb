"""Requests for jobs: commands, calls and specs that can be stored and started."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from jobq.command import Call, Command, depth, names_function, to_run
from jobq.errors import NO_DIRECTORY, UsageError
from jobq.job import Job
from jobq.options.table import BY_NAME
from jobq.options.values import APART
from jobq.system import utf8

if TYPE_CHECKING:
    from datetime import datetime, timedelta

SHORT = 10_000  # characters
MAX_WORD = 131_071  # bytes of one argument that Linux can start (MAX_ARG_STRLEN, execve(2))
MAX_DEPTH = 64  # of lists and objects in each other: far below what any JSON reader gives up at
MAX_COMMAND = 1 << 20  # bytes of all, as JSON; it has to fit on a line of the journal


def call_command(function: str, args: list[Any], kwargs: dict[str, Any], python: str, path: str | None = None) -> Call:
    """A command that calls a function: "module:function", or "FILE.py:function". `path`: see `Call`.

    Raises UsageError for what is no function's name, or no JSON.
    """
    function, path = in_file(function, path)
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
    return Call(function, tuple(copied["args"]), named, utf8(os.path.abspath(python)), path)


def in_file(function: object, path: str | None) -> tuple[Any, str | None]:
    """Return "module:function" and the path of the file for "FILE.py:function". Raises UsageError."""
    file, colon, name = str(function).rpartition(":")
    if path is not None or not colon or not file.endswith(".py") or ("/" not in file and not os.path.isfile(file)):
        return function, path
    full = os.path.abspath(os.path.expanduser(file))
    if not os.path.isfile(full):
        raise UsageError(f"there is no file {full}", "write MODULE:FUNCTION or ./FILE.py:FUNCTION")
    return f"{module_of(full)}:{name}", utf8(full)


def module_of(file: str) -> str:
    """Return the name under which the module in this file is loaded."""
    stem = os.path.basename(file).removesuffix(".py")
    name = "".join(c if f"x{c}".isidentifier() else "_" for c in stem)
    return name if name.isidentifier() else f"_{name}"


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
    if not names_function(text):
        raise UsageError(f"{text!r} does not name a function", "write MODULE:FUNCTION, as in reports.daily:build")
    return identifier(text)


def identifier(text: str) -> str:
    """The name as Python's parser reads it: letters that only look different in Unicode are the same."""
    if text.isascii():
        return text
    import unicodedata  # noqa: PLC0415

    return unicodedata.normalize("NFKC", text)


Endings = str | type[BaseException] | Sequence[str | type[BaseException]]


class JobOptions(TypedDict, total=False):
    """The options of a job, all of them optional; the same as the options of `jobq add`. Times are seconds."""

    queue: str
    priority: int | str  # higher first; "low", "normal", "high"
    retries: int  # attempts after the first; 0: never started twice
    backoff: str  # "exp:1s..1h", "linear:5s..5m", "const:5s", "list:1s,5s,1m"
    jitter: str  # "10%", "full", "none"
    retry_on: Endings | None  # "1,75-78,SIGKILL,timeout", or what a function raises
    no_retry_on: Endings | None
    success_codes: str  # "0,3"
    max_lost: int  # attempts that may lose their supervisor
    timeout: float | str | timedelta | None  # or "10m"
    idle_timeout: float | str | timedelta | None  # without output
    grace: float | str | timedelta  # from TERM to KILL
    log_max: int | str  # bytes, or "64M": of longer output the beginning and the end are kept
    at: float | str | datetime | None  # since 1970, or "tomorrow 9:00"
    delay: float | str | timedelta | None  # not before so much has passed
    expires: float | str | timedelta | None  # it leaves if it has not started by then
    after: str | int | Sequence[str | int | Job]  # an id, a job, or what else names jobs on the command line
    after_any: str | int | Sequence[str | int | Job]
    after_fail: str | int | Sequence[str | int | Job]
    locks: str | Sequence[str]
    needs: str | Sequence[str] | Mapping[str, int]  # "gpu=2"
    slots: int  # of its worker
    labels: str | Sequence[str] | Mapping[str, str]  # "model=large"
    meta: str | None  # JSON
    key: str | None
    once: bool  # only if no job with this key, or command and directory, is unfinished or has succeeded
    unique: bool  # ... is unfinished
    key_ttl: float | str | timedelta  # how long a success counts
    on_conflict: str  # "skip", "replace", "fail"
    hold: bool
    wait_room: float | str | timedelta  # if its queue is full, wait so long
    on_success: str | None  # a line for the shell, run when it has succeeded
    on_failure: str | None
    on_finish: str | None
    notify: bool  # on the desktop, or in this terminal
    ping: str | None  # a URL
    name: str | None  # unique among unfinished jobs
    stdin: str | None  # a file
    pty: bool  # in a terminal
    stderr: str | None  # a file, or "apart"
    isolation: str  # of a call: "process", "warm"
    cwd: str | None
    env: Mapping[str, str]  # on top of the environment of this process
    env_file: str | Sequence[str]  # files that set more of them


class HandlerOptions(JobOptions, total=False):
    """The options of the jobs of a handler: those of a job, and where they go."""

    store: Any  # a Queue, or the path of one
    python: str  # the interpreter that calls it


def spec_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a Spec that these options set. Raises UsageError."""
    check_names(options)
    if options.get("once") and options.get("unique"):
        raise UsageError("both once (--once) and unique (--unique) are given", "give one of them")
    if options.get("at") is not None and options.get("delay") is not None:
        raise UsageError("both a time (--at) and a delay (--in) are given", "give one of them")
    fields = {name: BY_NAME[name].take(value) for name, value in options.items() if BY_NAME[name].is_value}
    if fields.get("stdin") is not None:
        fields["stdin"] = input_file(fields["stdin"])
    if fields.get("pty") and (fields.get("stderr") or fields.get("stdin")):
        which = "stderr" if fields.get("stderr") else "stdin"
        raise UsageError(f"both pty and {which} are given", f"a terminal has its own {which}: leave out one of them")
    if fields.get("stderr") not in {None, APART}:
        fields["stderr"] = output_file(fields["stderr"])
    return fields


def check_names(options: Mapping[str, Any]) -> None:
    """Raise UsageError if there is no option of such a name."""
    if unknown := options.keys() - BY_NAME.keys():
        from difflib import get_close_matches  # noqa: PLC0415  # only for a mistake

        near = get_close_matches(min(unknown), BY_NAME, 1)
        raise UsageError(
            f"a job has no option {min(unknown)}", f"did you mean {near[0]}?" if near else "'jobq add --help' shows all"
        )


def of_add(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the options that are about the adding, and no part of the job. Raises UsageError."""
    check_names(options)
    return {name: BY_NAME[name].take(value) for name, value in options.items() if BY_NAME[name].of_add}


def variables_of(options: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that the options and their files set. Raises UsageError for what can't be set."""
    given = options.get("env_file")
    files = [given] if isinstance(given, str) else given or ()
    variables = options.get("env") or {}
    check_variables(variables)
    if not files:
        return dict(variables)
    from jobq.options.env_file import read  # noqa: PLC0415  # most jobs have none

    found: dict[str, str] = {}
    for path in files:
        found |= read(BY_NAME["env_file"].take(path), environ)
    check_variables(found)
    return {**found, **variables}


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


def check_commands(commands: Sequence[Command], lines: Sequence[int]) -> None:
    """Raise UsageError if no system could start one of them; `lines`: their numbers in a file, if they are from one."""
    for number, command in zip(lines or range(1, len(commands) + 1), commands, strict=True):
        if not is_short_line(command):
            check_command(command, number if len(commands) > 1 or lines else 0)


def is_short_line(command: Command) -> bool:
    """Return True for a short line of printable ASCII, as nearly all are: any system can start it."""
    if not isinstance(command, str) or not 0 < len(command) <= SHORT:
        return False
    return command.isascii() and command.isprintable() and not command.isspace()


def check_command(command: Command, line: int) -> None:
    """Raises UsageError if no system could start it; `line` is its number among several, else 0."""
    where = f"line {line}: " if line else ""
    run = to_run(command)
    words = (run,) if isinstance(run, str) else run
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
    """Return the working directory of this process. Raises UsageError if that is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError(NO_DIRECTORY, "cd somewhere, or use --cwd") from None


def input_file(path: str) -> str:
    """Return the full path of a file that a job may read from. Raises UsageError."""
    full = os.path.abspath(os.path.expanduser(path))
    try:
        mode = os.stat(full).st_mode
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or "it can't be a path"
        raise UsageError(f"stdin: {full}: {why}", "name a file with --stdin") from None
    if not stat.S_ISREG(mode) and not stat.S_ISCHR(mode):
        raise UsageError(f"stdin: {full} is no file", "name a file with --stdin")
    return utf8(full)


def output_file(path: str) -> str:
    """Return the full path of a file that a job may append to. Raises UsageError."""
    if path == "none":
        raise UsageError("stderr: none is no file", "./none is one; without --stderr it goes to the log")
    full = os.path.abspath(os.path.expanduser(path))
    if not os.path.isdir(os.path.dirname(full)):
        raise UsageError(
            f"stderr: the directory {os.path.dirname(full)} does not exist", "make it, or give --stderr another file"
        )
    if os.path.isdir(full):
        raise UsageError(
            f"stderr: {full!r:.200} can't be a file", "name one with --stderr, in a directory that exists; or apart"
        )
    return utf8(full)


def existing_directory(path: object) -> str:
    """Return the full path of a directory. Raises UsageError if there is none."""
    directory: str = os.path.abspath(os.path.expanduser(BY_NAME["cwd"].take(path)))
    if not os.path.isdir(directory):
        raise UsageError(f"the working directory {directory} does not exist", "name another one with --cwd")
    return directory
