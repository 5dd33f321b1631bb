"""jobq schedule import"""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from jobq import clock
from jobq.api import Queue
from jobq.command import Command, as_typed
from jobq.commands.add import lines_of
from jobq.commands.common import exit_with, queue_of
from jobq.environ import local_zone, user
from jobq.errors import Refused, UsageError
from jobq.options.crontab import Entry, Note, name_of, parse
from jobq.rules.firing import rhythm_of
from jobq.rules.rhythm_notes import warnings
from jobq.scheduling import Timing
from jobq.system import shell_argv
from jobq.views.console import info, out
from jobq.views.text import safe


def import_(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="CRONTAB", help="A file, or - for standard input.")],
    *,
    system: Annotated[bool, typer.Option("--system", help="With a user on each line, as in /etc/crontab.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what each line would become.")] = False,
) -> None:
    """Make schedules of the lines of a crontab.

    It says line by line what becomes of them. They run at the same times, from the home directory, by 'jobq worker'; a
    run is dropped if the one before is not finished. Take the lines out of the crontab afterwards, or they run twice.

    Examples: crontab -l | jobq schedule import -; jobq schedule import --dry-run my.crontab
    """
    queue = queue_of(context)
    known = {(one.when, one.zone, one.command): one.name for one in queue.schedules.all()}
    taken = set(known.values())
    made = refused = 0
    for line in parse("\n".join(lines_of(file, "CRONTAB")), system=system, me=user()):
        if isinstance(line, Note):
            refused += line.refused
            info(f"line {line.number}: {'not imported: ' if line.refused else ''}{safe(line.text)}")
            continue
        zone = line.zone or local_zone()
        if there := known.get((" ".join(line.when.split()), zone, command_of(line))):
            info(f"line {line.number}: schedule {safe(there)} is that already")
            continue
        name = name_of(line.command, taken, line.number)
        try:
            notes = imported(queue, name, line, dry_run=dry_run)
        except (UsageError, Refused) as e:
            refused += 1
            info(f"line {line.number}: not imported: {safe(str(e))}")
            continue
        taken.add(name)
        made += 1
        out(name)
        for note in [f"{line.when}  {as_typed(command_of(line))[:100]}", *notes]:
            info(f"line {line.number}: {safe(note)}")
    verb = "would become" if dry_run else "became"
    info(f"{made} line{'' if made == 1 else 's'} {verb} a schedule, {refused} not imported")
    exit_with(int(refused > 0))


def imported(queue: Queue, name: str, entry: Entry, *, dry_run: bool) -> list[str]:
    """Add the schedule of a line; return what may surprise about it. Raises UsageError, Refused."""
    now = clock.now().wall
    options = {"env": entry.variables, "retries": 0, "cwd": entry.variables.get("HOME", "~")}
    timing = Timing(" ".join(entry.when.split()), entry.zone)
    made = queue.schedules.add(name, command_of(entry), timing, options, dry_run=dry_run)
    notes = warnings(rhythm_of(made.when, made.zone, now), now)
    return [*notes, "what stands behind % is its input"] if entry.given is not None else notes


def command_of(entry: Entry) -> Command:
    """Return the command of a line: one for the shell that the crontab names, with the input that it gives."""
    line = entry.command
    if entry.given is not None:
        line = f"printf %s {shlex.quote(entry.given)} | {{ {line}\n}}"
    shell = entry.variables.get("SHELL", "/bin/sh")
    return line if shell in {"/bin/sh", "sh"} else tuple(shell_argv(line, shell))
