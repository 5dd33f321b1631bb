"""jobq add"""

from __future__ import annotations

import codecs
import os
import shlex
import sys
from typing import Annotated, Any

import typer

from jobq.command import Command, as_typed
from jobq.commands.common import Json, acknowledge_all, queue_of
from jobq.commands.options import takes_job_options
from jobq.environ import interpreter
from jobq.errors import UsageError
from jobq.options.lines import parse as parse_lines
from jobq.options.request import of_add
from jobq.options.templates import FILE, expand, split
from jobq.specs import check_request
from jobq.system import utf8
from jobq.views.console import info, out

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
Exec = Annotated[
    bool, typer.Option("--exec", help="Run even a single word as a program, without a shell.", show_default=False)
]
Shell = Annotated[bool, typer.Option("--shell", help="Run even several words as one line for the shell.")]


@takes_job_options()
def add(
    context: typer.Context,
    command: Words = None,
    from_: From = None,
    *,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", metavar="FILE", help="Add a job for each line of JSON, with options of its own."),
    ] = None,
    exec_: Exec = False,
    shell: Shell = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands of the jobs, and add none.")] = False,
    json: Json = False,
    options: dict[str, Any],
) -> None:
    """Enqueue a command and print the id of its job.

    The options of jobq go before the command. With ::: it adds a job for each item behind it, which stands in the
    place of {}; :::: names files of items. Of many jobs it prints the range of ids.

    Examples: jobq add -p high ls -la; jobq add gzip -k {} ::: *.txt; jobq add --from jobs.txt
    """
    queue = queue_of(context)
    if jsonl is not None:
        if command or from_ or options:
            raise UsageError("--jsonl and a command, --from or other options are given", "each line has its own")
        jobs = list(parse_lines(lines_of(jsonl, "--jsonl"), interpreter()))
        commands, numbers = [job.command for job in jobs], [job.number for job in jobs]
    else:
        commands, numbers = commands_of(command, from_, options, "add", is_line=form_of(exec_=exec_, shell=shell))
        jobs = []
    if dry_run:
        check_request(commands, numbers, *([job.options for job in jobs] if jsonl is not None else [options]))
        for one in commands:
            out(as_typed(one))
        return
    added = (
        queue.enqueue_lines(jobs)
        if jsonl is not None
        else queue.enqueue(commands, lambda: queue.spec(**options), lines=numbers, **of_add(options))
    )
    if not added.ids:
        info("no jobs added: there are no lines and no items")
        return
    acknowledge_all(queue, added, options, json=json)


def form_of(*, exec_: bool, shell: bool) -> bool | None:
    """Return True for a line of the shell, False for an argv, None if the words decide. Raises UsageError."""
    if exec_ and shell:
        raise UsageError("both --exec and --shell are given", "give one of them")
    return True if shell else False if exec_ else None


def commands_of(
    words: list[str] | None, files: list[str] | None, options: dict[str, Any], typed: str, *, is_line: bool | None
) -> tuple[list[Command], list[int]]:
    """Return the command of the words, one for each item of their lists, or for each line of the file, and its number.

    `typed`: the command of jobq that was typed, for the hint. Raises UsageError.
    """
    if not files:
        template, lists = split([*map(utf8, words or ())], lambda name: lines_of(name, f"{FILE} FILE"))
        if not template:
            raise UsageError("no command is given", f"give one, as in: jobq {typed} 'sleep 10 && echo done'")
        if is_line:
            template = [" ".join(template)]
        if is_line is None and len(template) > 1 and " " in template[0] and not os.path.exists(template[0]):
            raise UsageError(
                f"'{template[0]:.60}' is no program, and more words follow it",
                "options go before the command; quote all of it, or none; --exec if a program has that name",
            )
        is_line = len(template) == 1 if is_line is None else is_line
        if not lists:
            return [template[0] if is_line else tuple(template)], []
        commands, numbers = list(expand(template, lists, is_line=is_line)), list[int]()
    else:
        if is_line is False:
            raise UsageError("--exec and --from are given", "each line is one for the shell; for exact words: --jsonl")
        if words:
            raise UsageError("both --from and a command are given", "give only one of them")
        if len(files) > 1:
            raise UsageError("--from is given more than once", "join the files: cat A B | jobq add --from -")
        commands, numbers = _without_comments(lines_of(files[0], "--from"))
    for name in ("name", "key"):
        if options.get(name) is not None and (files or len(commands) > 1):
            raise UsageError(f"--{name}: several jobs can't share one {name}", f"leave out --{name} with many jobs")
    return commands, numbers


def _without_comments(lines: list[str]) -> tuple[list[Command], list[int]]:
    found = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    kept = [(number, line) for number, line in found if not line.lstrip().startswith("#")]
    if left := len(found) - len(kept):
        info(f"note: {left} line{'s' if left > 1 else ''} left out: comments, which begin with #")
    return [line for _, line in kept], [number for number, _ in kept]


def lines_of(path: str, flag: str) -> list[str]:
    """Return the lines of a file ("-": standard input). Raises UsageError that names the flag."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(path, "rb") as f:
                data = f.read()
    except (OSError, AttributeError) as e:
        raise UsageError(f"{flag}: {path}: {getattr(e, 'strerror', None) or 'there is no standard input'}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(
            f"{flag}: {path} is written in UTF-16", f"convert it: 'iconv -f UTF-16 -t UTF-8 {shlex.quote(path)}'"
        )
    text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]
