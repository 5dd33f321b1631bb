"""jobq schedule, and schedule add, show, update, pause, resume, rm, run, next, why"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jobq import clock
from jobq.api import Queue
from jobq.command import Command
from jobq.commands.add import Exec, Shell, Words, commands_of, form_of
from jobq.commands.common import Json, queue_name, queue_of
from jobq.commands.notes import warn_unserved
from jobq.commands.options import takes_job_options
from jobq.environ import local_zone
from jobq.errors import UsageError
from jobq.job import Job
from jobq.options.instants import instant
from jobq.rules.firing import rhythm_of
from jobq.rules.rhythm import instants
from jobq.rules.rhythm_notes import warnings, why
from jobq.rules.zones import local_at, zone_of
from jobq.schedules import Schedule
from jobq.scheduling import NOT_FOR_SCHEDULES, Timing
from jobq.system import utf8
from jobq.views.console import info, out
from jobq.views.envelope import envelope
from jobq.views.schedules import describe, in_words, local_words, print_schedules, schedule_data
from jobq.views.text import safe

Name = Annotated[str, typer.Argument(metavar="NAME", help="A schedule.")]
Named = Annotated[str | None, typer.Option("--named", hidden=True)]  # NAME and WHEN, as cli.translated puts them
When = Annotated[str | None, typer.Option("--when", metavar="WHEN", help="When it fires: '*/15 * * * *', @daily.")]
HiddenWhen = Annotated[str | None, typer.Option("--when", hidden=True)]
Zone = Annotated[
    str | None,
    typer.Option("--tz", metavar="ZONE", help="Its time zone, as in Europe/Berlin; else the one here."),
]
Missed = Annotated[
    str | None,
    typer.Option("--missed", metavar="once|all|skip", help="Of times without a worker: run the last, all, or none."),
]
Overlap = Annotated[
    str | None,
    typer.Option(
        "--overlap",
        metavar="skip|queue|allow",
        help="If its last job is unfinished: run none, behind it, beside it.",
    ),
]
EXAMPLE = "write it like: jobq schedule add nightly '0 3 * * *' make backup"


def schedule(context: typer.Context, *, json: Json = False) -> None:
    """Show the schedules.

    It shows when each fires next, what came of its last job, and how many times were dropped. Words behind it do more:
    add, show, update, pause, resume, rm, run, next, why, import; each has --help.

    Examples: jobq schedule; jobq schedule add nightly '0 3 * * *' make backup
    """
    queue = queue_of(context)
    found = queue.schedules.all()
    last = last_jobs(queue, found)
    if json:
        out(envelope(schedules=[schedule_data(one, last.get(one.last or 0)) for one in found]))
    elif found:
        print_schedules(found, last, clock.now().wall)
        tell_no_worker(queue)
    else:
        info(f"no schedules; {EXAMPLE}")


@takes_job_options(without=NOT_FOR_SCHEDULES)
def add(
    context: typer.Context,
    words: Words = None,
    *,
    named: Named = None,
    when: HiddenWhen = None,
    tz: Zone = None,
    missed: Missed = None,
    overlap: Overlap = None,
    exec_: Exec = False,
    shell: Shell = False,
    options: dict[str, Any],
) -> None:
    """Add a schedule: jobq schedule add NAME WHEN [OPTIONS] COMMAND.

    WHEN has five fields (minute hour day month weekday), or is @hourly, @daily, @weekly, @monthly, @yearly,
    '@every 10m' or '@once 2027-01-31T18:00'. A worker must be running then; what was missed runs once when one starts.

    Examples: jobq schedule add nightly '0 3 * * *' --timeout 1h make backup
    """
    queue = queue_of(context)
    rest = [*map(utf8, words or ())]
    if named is None and rest:
        named = rest.pop(0)
    if when is None and rest:
        when = rest.pop(0)
    if named is None or when is None:
        raise UsageError("a schedule has a name, a time and a command", EXAMPLE)
    command = command_of(rest, is_line=form_of(exec_=exec_, shell=shell))
    made = queue.schedules.add(named, command, Timing(when, tz, missed, overlap), options)
    tell(made)
    warn_unserved(queue, [queue_name(options)])


@takes_job_options(only_given=True, without=NOT_FOR_SCHEDULES)
def update(
    context: typer.Context,
    words: Words = None,
    *,
    named: Named = None,
    when: When = None,
    tz: Zone = None,
    missed: Missed = None,
    overlap: Overlap = None,
    exec_: Exec = False,
    shell: Shell = False,
    options: dict[str, Any],
) -> None:
    """Change a schedule: jobq schedule update NAME [OPTIONS] [COMMAND].

    What is not given stays as it is. Jobs that it has added are not changed.

    Examples: jobq schedule update nightly --when '30 2 * * *'; jobq schedule update nightly -- make all
    """
    queue = queue_of(context)
    rest = [*map(utf8, words or ())]
    if named is None and rest:
        named = rest.pop(0)
    if named is None:
        raise UsageError("no schedule is named", "write it like: jobq schedule update nightly --when '30 2 * * *'")
    timing = Timing(when, tz, missed, overlap)
    command = command_of(rest, is_line=form_of(exec_=exec_, shell=shell)) if rest else None
    if command is None and not options and not any(vars(timing).values()):
        raise UsageError(
            "nothing to change is given", f"see 'jobq schedule update --help', or 'jobq schedule show {named}'"
        )
    tell(queue.schedules.update(named, command, timing, options))


def show(context: typer.Context, name: Name, *, json: Json = False) -> None:
    """Show all that is known of a schedule.

    Example: jobq schedule show nightly
    """
    queue = queue_of(context)
    found = queue.schedules.get(name)
    job = last_jobs(queue, [found]).get(found.last or 0)
    if json:
        out(envelope(schedules=[schedule_data(found, job)]))
        return
    upcoming = [] if found.paused else queue.schedules.upcoming(found, 3)
    out(*describe(found, job, upcoming, clock.now().wall).split("\n"))


def pause(context: typer.Context, name: Name) -> None:
    """Let a schedule fire no more.

    Its times pass without a job until 'jobq schedule resume'.

    Example: jobq schedule pause nightly
    """
    changed = queue_of(context).schedules.pause(name, paused=True)
    info(f"schedule {safe(name)} {'is paused' if changed else 'is paused already'}")


def resume(context: typer.Context, name: Name) -> None:
    """Let a paused schedule fire again.

    Example: jobq schedule resume nightly
    """
    queue = queue_of(context)
    changed = queue.schedules.pause(name, paused=False)
    when = in_words(queue.schedules.get(name), clock.now().wall)
    info(f"schedule {safe(name)} resumed; next: {when}" if changed else f"schedule {safe(name)} is not paused")


def rm(context: typer.Context, name: Name) -> None:
    """Remove a schedule; its jobs stay.

    Example: jobq schedule rm nightly
    """
    queue_of(context).schedules.remove(name)
    info(f"schedule {safe(name)} removed")


def run(context: typer.Context, name: Name) -> None:
    """Add a job of a schedule now, beside its times.

    Example: jobq schedule run nightly
    """
    queue = queue_of(context)
    out(str(queue.schedules.run(name)))
    warn_unserved(queue, [queue.schedules.get(name).spec.queue])


def next_(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="NAME|WHEN", help="A schedule, or a time such as '0 3 * * *'.")],
    *,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, metavar="N", help="How many.")] = 5,
    tz: Zone = None,
) -> None:
    """Print the next times of a schedule.

    Examples: jobq schedule next nightly -n 3; jobq schedule next '*/15 9-17 * * MON-FRI' --tz Europe/Berlin
    """
    now = clock.now().wall
    if " " in what.strip() or what.startswith("@"):
        zone = tz or local_zone()
        found = instants(rhythm_of(what, zone, now), now, float("inf"), count)
    else:
        queue = queue_of(context)
        known = queue.schedules.get(what)
        if known.paused:
            info(f"schedule {safe(what)} is paused; these would be its times")
        zone, found = tz or known.zone, queue.schedules.upcoming(known, count)
    for at in found:
        out(f"{local_at(at, zone_of(zone)):%a %Y-%m-%d %H:%M:%S}  {local_words(at, zone, now)}")


def why_(
    context: typer.Context,
    name: Name,
    time: Annotated[str, typer.Argument(metavar="TIME", help="As for --at: 22:00, tomorrow 9:00, 2027-01-31T18:00.")],
) -> None:
    """Tell whether a schedule fires at a time, and why not.

    Example: jobq schedule why nightly 'tomorrow 3:00'
    """
    found = queue_of(context).schedules.get(name)
    moment = local_at(clock.now().wall, zone_of(found.zone)).replace(tzinfo=zone_of(found.zone))
    out(safe(why(rhythm_of(found.when, found.zone, found.start), instant(time, moment))))


def command_of(words: list[str], *, is_line: bool | None) -> Command:
    """Return the command of the words. Raises UsageError."""
    if words and words[0].startswith("-"):
        raise UsageError(f"{words[0]} stands where the command begins", "put all options right behind the times")
    commands, _ = commands_of(words, None, {}, "schedule add NAME '0 3 * * *'", is_line=is_line)
    if len(commands) != 1:
        raise UsageError("a schedule has one command", "leave out ::: and its items")
    return commands[0]


def tell(found: Schedule) -> None:
    """Print when a schedule fires next, and what may surprise about its times."""
    now = clock.now().wall
    info(f"schedule {safe(found.name)}: next {in_words(found, now)}")
    for note in warnings(rhythm_of(found.when, found.zone, found.start), now):
        info(f"note: {safe(note)}")


def last_jobs(queue: Queue, schedules: list[Schedule]) -> dict[int, Job]:
    """Return the jobs that these schedules have added last, by id, as far as they exist."""
    return queue.known({one.last for one in schedules if one.last is not None})


def tell_no_worker(queue: Queue) -> None:
    """Print that nothing fires without a worker."""
    if not queue.workers.all():
        info("no worker is running, so nothing fires; 'jobq worker' starts one")
