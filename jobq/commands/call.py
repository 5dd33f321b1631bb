"""jobq call"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from jobq.calls import options_of
from jobq.command import Call
from jobq.commands.common import Json, acknowledge_all, queue_of
from jobq.commands.options import takes_job_options
from jobq.environ import environment, interpreter
from jobq.errors import UsageError
from jobq.options.request import (
    call_command,
    check_command,
    current_directory,
    existing_directory,
    in_file,
    of_add,
    variables_of,
)
from jobq.python.checking import Unanswered, check_call, handlers_of
from jobq.system import utf8
from jobq.views.aligned import aligned
from jobq.views.console import info, out
from jobq.views.envelope import envelope
from jobq.views.text import safe

KEYWORD = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)
NAME = re.compile(r"[\w.-]+", re.ASCII)  # of a handler

NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not import the function first, to see if it fits.")]
Python = Annotated[str | None, typer.Option("--python", metavar="PROGRAM", help="Call the function with this Python.")]


@takes_job_options()
def call(
    context: typer.Context,
    function: Annotated[
        str | None, typer.Argument(metavar="FUNCTION", help="MODULE:FUNCTION, ./FILE.py:FUNCTION, or a handler.")
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARG]...", help="Text; :=JSON; NAME=text; NAME:=JSON; @FILE with all as JSON."),
    ] = None,
    python: Python = None,
    *,
    no_check: NoCheck = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Print the handlers of installed packages, or of the modules named.")
    ] = False,
    json: Json = False,
    options: dict[str, Any],
) -> None:
    """Enqueue a Python call and print the id of its job.

    The job imports the function from its working directory, with the Python of the environment in use here. Words are
    converted by its annotations. The function is imported here first, so that a call that can't work is refused. It has
    a process of its own, as it may rely on that; handlers, made for it, are called by warm ones (--isolation).

    Examples: jobq call reports:build 2026 draft:=true; jobq call ./clean.py:main; jobq call --list
    """
    queue = queue_of(context)
    if list_:
        show_handlers([*([function] if function else []), *(arguments or [])], python, options, json=json)
        return
    if function is None:
        raise UsageError("no function is given", "give one, as in: jobq call reports:build 2026")
    command, own = called([function, *(arguments or [])], python, options, check=not no_check)
    options = options_of(own, options)
    added = queue.enqueue([command], lambda: queue.spec(**options), **of_add(options))
    acknowledge_all(queue, added, options, json=json)


def called(
    words: Sequence[str], python: str | None, options: Mapping[str, Any], *, check: bool
) -> tuple[Call, dict[str, Any] | None]:
    """Return the call that the words name, and the options of its handler, if it has one. Raises UsageError.

    `options`: those that were given, of which the directory and the variables count for the check.
    """
    name, *rest = (utf8(word) for word in words)
    args, kwargs = parse(rest[1:] if rest[:1] == ["--"] else rest)
    program = interpreter(python)
    name, path = in_file(name, None)
    is_handler = ":" not in name and NAME.fullmatch(name) is not None
    if not is_handler:
        check_command(call_command(name, args, kwargs, program, path), 0)
    if not check and is_handler:
        raise UsageError(f"{name} is a handler, which only a check finds", "write MODULE:FUNCTION with --no-check")
    own: dict[str, Any] | None = None
    if check:
        question = {"function": name, "args": args, "kwargs": kwargs, "path": path}
        try:
            answer = check_call(program, question, *place_of(options))
            name, own = answer["function"], answer["options"]
        except Unanswered as e:
            if is_handler:
                raise UsageError(f"the handler {name} is not found: {e}", "write MODULE:FUNCTION") from None
            info(f"note: {name} was not checked: {e}")
    return call_command(name, args, kwargs, program, path), own


def place_of(options: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the directory and the variables that a job with these options has. Raises UsageError."""
    environ, cwd = environment(), options.get("cwd")
    directory = current_directory() if cwd is None else existing_directory(cwd)
    return directory, {**environ, **variables_of(options, environ)}


def show_handlers(modules: list[str], python: str | None, options: Mapping[str, Any], *, json: bool) -> None:
    """Print the handlers that the interpreter knows. Raises UsageError."""
    try:
        found, broken = handlers_of(interpreter(python), [utf8(module) for module in modules], *place_of(options))
    except Unanswered as e:
        raise UsageError(f"the handlers are not known: {e}", "name the modules that have some") from None
    for sentence in broken:
        info(f"note: {safe(sentence)}")
    if json:
        out(envelope(handlers=found))
        return
    if not found:
        info("no handlers: name a module that has some, or install a package that registers them")
        return
    rows = [[safe(f"{one['name']}{one['signature']}"), safe(one["function"]), safe(one["doc"])] for one in found]
    out(*aligned([["HANDLER", "FUNCTION", ""], *rows]))


def parse(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments. Raises UsageError."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    from_file: set[str] = set()  # names of arguments, which words may override
    for word in words:
        keyword = KEYWORD.fullmatch(word)
        if word.startswith("@") and not word.startswith("@@"):
            from_file |= _add_file(word[1:], args, kwargs)
        elif keyword is not None and keyword[1].isidentifier():
            name, equals, text = keyword.groups()
            if name in kwargs and name not in from_file:
                raise UsageError(f"the argument {name} is given twice")
            kwargs[name] = _json(text, word) if equals == ":=" else text
            from_file.discard(name)
        elif kwargs:
            raise UsageError(f"{word!r} comes after a named argument", "put positional arguments first")
        else:
            text = word[1:] if word.startswith("@@") else word
            args.append(_json(word[2:], word) if word.startswith(":=") else text)
    return args, kwargs


def _add_file(path: str, args: list[Any], kwargs: dict[str, Any]) -> set[str]:
    """Add the arguments in a file of JSON; return the names of those that it names. Raises UsageError."""
    try:
        with open(path, "rb") as f:
            value = json.loads(f.read())
    except OSError as e:
        raise UsageError(
            f"@{path}: {e.strerror}", f"@FILE names a file of JSON; the text @{path} is @@{path}"
        ) from None
    except (ValueError, RecursionError) as e:
        raise UsageError(f"@{path} is not JSON: {e}", "write a list of arguments, or an object of named ones") from None
    if isinstance(value, dict):
        if twice := value.keys() & kwargs.keys():
            raise UsageError(f"the argument {min(twice)} is given twice", f"put words that change it behind @{path}")
        kwargs.update(value)
        return set(value)
    if isinstance(value, list):
        if kwargs:
            raise UsageError(f"@{path} comes after a named argument", "put positional arguments first")
        args.extend(value)
        return set()
    raise UsageError(f"@{path} is {value!r:.60}", "write a list of arguments, or an object of named ones")


def _json(text: str, word: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(
            f"{word!r}: the text after := is not JSON ({e})", "put quotes around text in JSON: := '\"text\"'"
        ) from None
