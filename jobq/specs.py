"""The spec of a new job: what its options say, and what is captured where it is added."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from typing import Any

from jobq import clock
from jobq.command import Command
from jobq.environ import environment, terminal
from jobq.errors import UsageError
from jobq.intake import Request
from jobq.job import Job, Spec
from jobq.options.lines import JobLine
from jobq.options.request import (
    check_commands,
    current_directory,
    existing_directory,
    of_add,
    spec_fields,
    variables_of,
)
from jobq.options.selectors import Selector, parse
from jobq.options.table import BY_NAME
from jobq.python.handles import JobHandle
from jobq.rules.dependencies import parents_of
from jobq.rules.lifecycle import WrongState
from jobq.settings.levels import job_defaults
from jobq.store.environment import capture, passed_on
from jobq.store.selection import resolve
from jobq.store.store import Store
from jobq.system import current_umask, utf8


def make_spec(store: Store, options: Mapping[str, Any], runner: str | None = None) -> Spec:
    """Return the spec that these options and the settings ask for.

    The directory, umask and environment are those of this process. Raises UsageError, NotSaved.
    """
    defaults = job_defaults()
    if runner is not None:  # of `jobq run`, which tries once unless it is told otherwise
        defaults.pop("retries", None)
    options = {**defaults, **options}
    fields = spec_fields(options) | parents(store, options)
    if "on_conflict" in options and not (options.get("key") or options.get("once") or options.get("unique")):
        raise UsageError("--on-conflict says nothing by itself", "give --key, --once or --unique, too")
    cwd, environ = options.get("cwd"), environment()
    variables = variables_of(options, environ)
    directory = current_directory() if cwd is None else existing_directory(cwd)
    tty = terminal() if fields.get("notify") else ""
    return Spec(
        cwd=utf8(directory),
        env=store.save_environment(capture(environ, variables)),
        umask=current_umask(),
        runner=runner,
        vars=tuple((passed_on(environ, variables) | ({TTY: tty} if tty else {})).items()),
        asked=clock.now() if fields.keys() & {"delay", "expires"} else None,
        **fields,
    )


def make_requests(store: Store, jobs: Iterable[JobLine]) -> list[Request]:
    """Return requests for jobs with options of their own; jobs in a row that ask for the same share one.

    Raises as `make_spec`, with the number of the line.
    """
    requests: list[Request] = []
    known: dict[str, Request] = {}  # by options
    for asked, some in groupby(jobs, lambda job: json.dumps(job.options, sort_keys=True)):
        group = list(some)
        options = group[0].options
        try:
            if asked not in known:
                own = {name: value for name, value in options.items() if name not in WAITS}
                known[asked] = Request(make_spec(store, own), (), selectors(options), **of_add(options))
        except UsageError as e:
            raise UsageError(f"line {group[0].number}: {e}", e.hint) from None
        if options.get("name") is not None and len(group) > 1:
            raise UsageError(
                f"line {group[1].number}: the name {options['name']} is given twice", "choose another name"
            )
        commands, lines = [job.command for job in group], [job.number for job in group]
        requests.append(known[asked]._replace(commands=commands, lines=lines))
    return requests


def repeats(store: Store, jobs: Iterable[Job], options: Mapping[str, Any]) -> list[Request]:
    """Return requests for the same jobs once more, with other options if they are given. Raises as `make_spec`."""
    adding = of_add(options)
    fields, variables = edited_fields(store, {name: options[name] for name in options.keys() - adding.keys()})
    requests: list[Request] = []
    places: dict[int, int] = {}  # of the jobs so far
    for job in in_order(jobs):
        if not job.state.final:
            raise WrongState(job, "be run again", "it has not ended yet")
        spec = job.spec._replace(**{"key": None, "once": False, "unique": False, "runner": None, **fields})
        if variables:
            environ = {**store.load_environment(spec.env), **variables}
            others = tuple(pair for pair in spec.vars if pair[0] not in variables)
            spec = spec._replace(env=store.save_environment(environ), vars=others)
        if spec.delay is not None or spec.expires is not None:
            spec = spec._replace(asked=clock.now())
        waits = {name: getattr(spec, name) for name in WAITS if places.keys() & set(getattr(spec, name))}
        again = {name: [places[i] for i in ids if i in places] for name, ids in waits.items()}
        rest: dict[str, Any] = {name: tuple(i for i in ids if i not in places) for name, ids in waits.items()}
        spec = spec._replace(**rest)
        places[job.id] = len(requests)
        requests.append(Request(spec, [job.command], again=again, **adding))
    return requests


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs by id, but each behind those that it is after: an edit may have put a job after a later one."""
    by_id = {job.id: job for job in sorted(jobs, key=lambda job: job.id)}
    before = {job_id: parents_of(job.spec) & by_id.keys() for job_id, job in by_id.items()}
    try:
        return [by_id[job_id] for job_id in TopologicalSorter(before).static_order()]
    except CycleError:
        return list(by_id.values())


TTY = "JOBQ_TTY"  # of a job that notifies: where its person is
WAITS = ("after", "after_any", "after_fail")


def selectors(options: Mapping[str, Any]) -> dict[str, list[Selector]]:
    """Return what the options name as the jobs to wait for. Raises UsageError."""
    found = {}
    for name in WAITS:
        if (given := options.get(name)) is not None:
            words = given if isinstance(given, (list, tuple)) else [given]
            found[name] = [parse(BY_NAME[name].take(_as_word(name, word))) for word in words]
    return found


def parents(store: Store, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the ids of the jobs that the options name as those to wait for. Raises UsageError, NotFound."""
    named = selectors(options)
    if named:
        store.read()
    return {name: tuple(sorted(resolve(store, some).ids)) for name, some in named.items()}


def _as_word(name: str, word: object) -> str:
    if isinstance(word, (Job, JobHandle)):
        return str(word.id)
    if isinstance(word, (str, int)) and not isinstance(word, bool):
        return str(word)
    raise UsageError(f"{name} can't be {word!r:.60}", "give jobs, ids or names")


def edited_fields(store: Store, options: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the fields of a spec, and the variables, that these options change. Raises as `make_spec`."""
    if refused := of_add(options):
        raise UsageError(f"{BY_NAME[min(refused)].flags[0]} is for new jobs", "leave it out")
    fields: dict[str, Any] = spec_fields(options) | parents(store, options)
    if "at" in fields or "delay" in fields:
        fields = {"at": None, "delay": None} | fields  # one takes the place of the other
    if (cwd := options.get("cwd")) is not None:
        fields["cwd"] = utf8(existing_directory(cwd))
    return fields, variables_of(options, environment())


def check_request(commands: Sequence[Command], lines: Sequence[int], *options: Mapping[str, Any]) -> None:
    """Raise UsageError for what is refused whatever the store holds. `options`: of all commands, or of each."""
    check_commands(commands, lines)
    for place, one in enumerate(options):
        try:
            spec_fields(one)
            existing_directory("/" if one.get("cwd") is None else one["cwd"])
        except UsageError as e:
            raise UsageError(f"line {lines[place]}: {e}" if len(options) == len(lines) else str(e), e.hint) from None
