"""The command line: the table of commands and the parser."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer

from jobq.commands.words import own_options
from jobq.errors import UsageError
from jobq.exit_codes import USAGE
from jobq.version import VERSION
from jobq.views.console import be_quiet, error, out, set_color, set_store_option
from jobq.worker.signals import raise_interrupted

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # base of the usage errors, unnamed in typer
WORDS_END_OPTIONS = {"allow_interspersed_args": False}

app = typer.Typer(
    name="jobq",
    help="A job queue for one user on one machine: no daemon, honest exit codes, nothing lost.",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        out(f"jobq {VERSION}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def jobq(
    context: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="DIR", help="Directory of the store.  [default: JOBQ_STORE, or your state directory]"
        ),
    ] = None,
    color: Annotated[str, typer.Option("--color", metavar="WHEN", help="Use colours: auto, always or never.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no notes, only data and errors.")] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A job queue for one user on one machine: no daemon, honest exit codes, nothing lost.

    Without a command, jobq shows the running jobs, the waiting jobs and why they wait, and the open failures.
    """
    if store is not None:
        if not store:
            raise UsageError("--store: the name of the directory is empty")
        set_store_option(store)
    if color not in {"auto", "always", "never"}:
        raise UsageError(f"--color: {color!r:.60} is not possible", "use auto, always or never")
    set_color(color)
    if quiet:
        be_quiet()
    context.obj = store
    if context.invoked_subcommand is None:
        from jobq.commands.common import queue_of  # noqa: PLC0415
        from jobq.commands.status import status  # noqa: PLC0415

        status(queue_of(context))


MODULES = {  # command -> module and function; imported when needed
    "add": "add.add",
    "call": "call.call",
    "result": "result.result",
    "progress": "progress.progress",
    "step": "step.step",
    "run": "run.run",
    "worker": "worker.worker",
    **{f"worker {name}": f"workers.{name}" for name in ("stop", "log")},
    "worker list": "workers.list_",
    "service": "service.service",
    "service install": "service.install",
    "service remove": "service.remove",
    "slots": "slots.slots",
    "list": "list.list_",
    "show": "show.show",
    "log": "log.log",
    "send": "send.send",
    "wait": "wait.wait",
    "cancel": "cancel.cancel",
    "requeue": "requeue.requeue",
    "again": "again.again",
    "hold": "hold.hold",
    "release": "release.release",
    "edit": "edit.edit",
    "move": "move.move",
    "pause": "pause.pause",
    "resume": "resume.resume",
    "queue": "queue.queue",
    "queue set": "queue.set_",
    "queue rm": "queue.rm",
    "schedule": "schedule.schedule",
    **{f"schedule {name}": f"schedule.{name}" for name in ("add", "show", "update", "pause", "resume", "rm", "run")},
    "schedule next": "schedule.next_",
    "schedule why": "schedule.why_",
    "schedule import": "schedule_import.import_",
    "config": "config.config",
    "config get": "config.get",
    "config set": "config.set_",
    "config unset": "config.unset",
    "config edit": "config.edit",
    "init": "init.init",
    "top": "top.top",
    "events": "events.events",
    "schema": "schema.schema",
    "stats": "stats.stats",
    "timeline": "timeline.timeline",
    "report": "report.report",
    "resource": "resource.resource",
    "ack": "ack.ack",
    "rm": "rm.rm",
    "clean": "clean.clean",
    "du": "du.du",
    "export": "transfer.export",
    "import": "transfer.import_",
    "doctor": "doctor.doctor",
    "completion": "completion.completion",
    "help": "help.help_",
}


# Words that stand before the options, of commands whose options end at the first word: they become options themselves.
NAMES_FIRST = {"schedule add": ["--named", "--when"], "schedule update": ["--named"]}
ELSEWHERE = {  # what the same is called in other tools -> the words of jobq
    "ls": ["list"],
    "ps": ["list"],
    "status": [],
    "kill": ["cancel"],
    "tail": ["log", "--follow"],
    "follow": ["log", "--follow"],
    "cat": ["log"],
    "output": ["log"],
    "info": ["show"],
    "why": ["show"],
    "watch": ["top"],
    "start": ["resume"],
    "stash": ["hold"],
    "switch": ["move"],
    "parallel": ["slots"],
    "group": ["queue"],
    "shutdown": ["worker", "stop"],
    "stop": ["worker", "stop"],
    "enqueue": ["add"],
    "submit": ["add"],
    "push": ["add"],
    "remove": ["rm"],
    "delete": ["rm"],
    "retry": ["requeue"],
    "restart": ["requeue"],
    "version": ["--version"],
}


GROUPS = {name.split()[0] for name in MODULES if " " in name}


def is_topic(name: str) -> bool:
    """Return True if `jobq help` has a text of that name."""
    from jobq.commands.topics import TOPICS  # noqa: PLC0415

    return name in TOPICS


def translated(words: Sequence[str]) -> list[str]:
    """Return the words of jobq for the words of other tools: `ps`, `kill`, `help add`, `-V`."""
    before = own_options(words)
    rest = list(words[len(before) :])
    match rest:
        case ["help"] | ["help", "help" | "status" | "version", *_]:
            rest = ["--help"]
        case ["help", name] if is_topic(name):
            pass
        case ["help", name, second, *_] if f"{name} {second}" in MODULES:
            rest = [name, second, "--help"]
        case ["help", name, *_]:
            known = (ELSEWHERE.get(name) or [name])[0]
            rest = [known, "--help"] if known in MODULES else rest
        case ["-V"]:
            rest = ["--version"]
        case [name, *others] if name in ELSEWHERE:
            rest = [*ELSEWHERE[name], *others]
    if rest[1:2] in (["list"], ["ls"], ["status"]) and rest[0] in GROUPS and f"{rest[0]} {rest[1]}" not in MODULES:
        del rest[1]  # what the command alone shows
    if " ".join(rest[:2]) in MODULES:  # a command of two words
        rest = [" ".join(rest[:2]), *rest[2:]]
    if rest[:1] and rest[0] in NAMES_FIRST:
        for flag in NAMES_FIRST[rest[0]]:
            at = 1 + 2 * NAMES_FIRST[rest[0]].index(flag)
            if len(rest) <= at or rest[at].startswith("-"):
                break
            rest[at:at] = [flag]
    return before + rest


def check_second_word(words: Sequence[str]) -> None:
    """Raise UsageError for a second word that is none of a command of two words, such as "config gett"."""
    rest = words[len(own_options(words)) :]
    if len(rest) < 2 or rest[0] not in GROUPS or rest[1].startswith("-"):
        return
    from difflib import get_close_matches  # noqa: PLC0415

    names = [name for name in MODULES if name.startswith(f"{rest[0]} ")]
    near = get_close_matches(f"{rest[0]} {rest[1]}", names, 1, 0.75)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"
    raise UsageError(f"'{rest[0]} {rest[1]}' is no command", hint)


def app_for(words: Sequence[str]) -> typer.Typer:
    """Return the command line with the command that these words name, or with all commands."""
    first = words[len(own_options(words)) :][:1]
    wanted = set(first) & MODULES.keys() - {"completion"}  # which needs all of them
    for name, place in MODULES.items():
        if name in wanted or not wanted:
            module, _, function = place.partition(".")
            command = getattr(import_module(f"jobq.commands.{module}"), function)
            takes_words = name in {"add", "call", "run", *NAMES_FIRST}
            app.command(name, context_settings=WORDS_END_OPTIONS if takes_words else None)(command)
    return app


def run(words: Sequence[str]) -> int:
    """Run the command that the words name. Return the exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, raise_interrupted)
    try:
        words = translated(words)
        check_second_word(words)
        return app_for(words)(words, prog_name="jobq", standalone_mode=False) or 0
    except USAGE_ERROR as e:
        error(*in_our_voice(e))
        return USAGE


def in_our_voice(e: Any) -> tuple[str, str]:
    """Return the sentence and the hint for a usage error of the option parser."""
    message = e.format_message().replace(" (Possible options: ", " Did you mean ")
    sentence, _, near = message.partition(" Did you mean ")
    near = ", ".join(word for word in near.rstrip(".?)").split(", ") if word != "--help")
    sentence = sentence.replace(" is not a valid int range", " is not a whole number")
    sentence = f"{sentence[:1].lower()}{sentence[1:].rstrip('.')}"
    path = e.ctx.command_path if e.ctx is not None else "jobq"
    if getattr(e, "option_name", "") == "--store":
        return sentence, "put --store DIR before the command"
    if near:
        return sentence, f"did you mean {near}?"
    return sentence, f"see '{path} --help'"
