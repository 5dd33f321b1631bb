"""jobq completion"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobq.errors import UsageError
from jobq.views.completion import SHELLS, Command, Option
from jobq.views.console import out

TAKES = {
    "add": "command",
    "call": "handlers",
    "progress": "",
    "step": "command",
    "run": "command",
    "worker": "words",
    "slots": "",
    "doctor": "",
    "clean": "",
    "du": "",
    "pause": "queues",
    "resume": "queues",
    "config": "words",
    "init": "",
    "top": "",
    "schema": "",
    "resource": "",
    "export": "",
    "import": "",
    "help": "",
    "service": "",
    "completion": "words",
    "queue": "words",
    "schedule": "words",
}


def completion(
    context: typer.Context, shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
) -> None:
    """Print the completion script for a shell.

    Source it in the start-up file of the shell, or save it in the folder for completions.

    Examples: jobq completion bash; jobq completion zsh
    """
    if shell not in SHELLS:
        raise UsageError(f"there is no completion for {shell}", f"use one of {', '.join(SHELLS)}")
    _, script = SHELLS[shell]
    out(*script(commands_of(context.find_root().command)).removesuffix("\n").split("\n"))


def commands_of(group: Any) -> list[Command]:
    """Return all commands of the parser; jobq itself comes first. `group`: the parser's object for jobq."""
    found = [Command("", "", _options(group), "")]
    for name, command in group.commands.items():
        if " " in name:
            continue
        summary = (command.help or "").partition("\n")[0].partition(";")[0].rstrip(".")
        parts = [part for part in group.commands if part.startswith(f"{name} ")]  # such as "queue set"
        own = {option.flags: option for part in (name, *parts) for option in _options(group.commands[part])}
        words = tuple(SHELLS) if name == "completion" else tuple(part.partition(" ")[2] for part in parts)
        found.append(Command(name, summary, tuple(own.values()), TAKES.get(name, "jobs"), words))
    return found


def _options(command: Any) -> tuple[Option, ...]:
    options = [
        Option(tuple(parameter.opts), (parameter.help or "").partition("  [")[0].rstrip("."), not parameter.is_flag)
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
    ]
    return (*options, Option(("--help", "-h"), "Show the help", takes_value=False))
