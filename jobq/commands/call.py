"""jobq call"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from jobq.commands.common import Json, acknowledge_all, queue_of
from jobq.commands.options import takes_job_options
from jobq.environ import interpreter
from jobq.errors import UsageError
from jobq.options.request import call_command, of_add
from jobq.system import utf8

KEYWORD = re.compile(r"([^:=]+)(:?=)(.*)", re.DOTALL)


@takes_job_options()
def call(
    context: typer.Context,
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="The function to call.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARG]...", help="Text; :=JSON; NAME=text; NAME:=JSON."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PROGRAM", help="Call the function with this Python."),
    ] = None,
    *,
    json: Json = False,
    options: dict[str, Any],
) -> None:
    """Enqueue a Python call and print the id of its job.

    The job imports the function from its working directory, with the Python of the environment in use here.

    Example: jobq call reports:build 2026 draft:=true
    """
    queue = queue_of(context)
    words = [utf8(word) for word in arguments or []]
    args, kwargs = parse(words[1:] if words[:1] == ["--"] else words)
    command = call_command(utf8(function), args, kwargs, interpreter(python))
    added = queue.enqueue([command], lambda: queue.spec(**options), **of_add(options))
    acknowledge_all(queue, added, options, json=json)


def parse(words: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the keyword arguments. Raises UsageError."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for word in words:
        keyword = KEYWORD.fullmatch(word)
        if keyword is not None and keyword[1].isidentifier():
            name, equals, text = keyword.groups()
            if name in kwargs:
                raise UsageError(f"the argument {name} is given twice")
            kwargs[name] = _json(text, word) if equals == ":=" else text
        elif kwargs:
            raise UsageError(f"{word!r} comes after a named argument", "put positional arguments first")
        else:
            args.append(_json(word[2:], word) if word.startswith(":=") else word)
    return args, kwargs


def _json(text: str, word: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UsageError(
            f"{word!r}: the text after := is not JSON ({e})", "put quotes around text in JSON: := '\"text\"'"
        ) from None
