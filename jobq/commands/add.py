"""jobq add"""

from __future__ import annotations

import codecs
import os
import shlex
import sys
from typing import Annotated, Any

import typer

from jobq.command import Command
from jobq.commands.common import acknowledge_all, queue_of
from jobq.commands.options import takes_job_options
from jobq.errors import UsageError
from jobq.options.request import of_add
from jobq.system import utf8
from jobq.views.console import info

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COMMAND...", help="One argument: a line for the shell. Several: a program and its exact arguments."
    ),
]
From = Annotated[
    list[str] | None,
    typer.Option("--from", metavar="FILE", help="Add a job for each line of a file (-: standard input)."),
]


@takes_job_options()
def add(context: typer.Context, command: Words = None, from_: From = None, *, options: dict[str, Any]) -> None:
    """Enqueue a command and print the id of its job.

    With --from, it prints the range of ids. The options of jobq go before the command.

    Examples: jobq add -p high ls -la; jobq add --from jobs.txt
    """
    queue = queue_of(context)
    commands = commands_of(command, from_, options, "add")
    added = queue.enqueue(commands, lambda: queue.spec(**options), **of_add(options))
    if not added.ids:
        info("no jobs added: the input has no lines")
        return
    acknowledge_all(queue, added, options)


def commands_of(words: list[str] | None, files: list[str] | None, options: dict[str, Any], typed: str) -> list[Command]:
    """Return the command of the words, or one command for each line of the file. Raises UsageError.

    `typed`: the command of jobq that was typed, for the hint.
    """
    if not files:
        if not words:
            raise UsageError("no command is given", f"give one, as in: jobq {typed} 'sleep 10 && echo done'")
        if len(words) > 1 and " " in words[0] and not os.path.exists(words[0]):
            info(f"note: '{words[0]}' is run as a program, because more words follow it; options go before it")
        return [utf8(words[0]) if len(words) == 1 else tuple(map(utf8, words))]
    if words:
        raise UsageError("both --from and a command are given", "give only one of them")
    if options.get("name") is not None:
        raise UsageError("--name: several jobs can't share one name", "leave out --name with --from")
    if len(files) > 1:
        raise UsageError("--from is given more than once", "join the files: cat A B | jobq add --from -")
    return [line for line in _lines(files[0]) if line.strip()]


def _lines(path: str) -> list[str]:
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as f:
                data = f.read()
    except (OSError, AttributeError) as e:
        raise UsageError(f"--from: {path}: {getattr(e, 'strerror', None) or 'there is no standard input'}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(
            f"--from: {path} is written in UTF-16", f"convert it: 'iconv -f UTF-16 -t UTF-8 {shlex.quote(path)}'"
        )
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]
