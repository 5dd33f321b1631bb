"""Schedules as a person sets them. Each change is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jobq import clock
from jobq.command import Command
from jobq.environ import local_zone
from jobq.errors import Refused, UsageError
from jobq.intake import Request, store_request
from jobq.options.request import check_command
from jobq.options.values import parse_name
from jobq.rules.firing import rhythm_of, spec_at
from jobq.rules.rhythm import instants
from jobq.schedules import MISSED, OVERLAP, Schedule
from jobq.specs import edited_fields, make_spec
from jobq.store.environment import EnvironmentGone
from jobq.store.schedules import MarkSchedule, RemoveSchedule
from jobq.store.store import Store
from jobq.store.upgrade import recapturing, upgrading

NONSENSE = 86_400.0  # seconds that a mark may be ahead of the clock, which was wrong when that was made, or is now
NOT_FOR_SCHEDULES = ("name", "at", "delay", "after", "after_any", "after_fail", "hold", "on_conflict", "wait_room")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise UsageError for options that make no sense for each job of a schedule."""
    if wrong := options.keys() & set(NOT_FOR_SCHEDULES):
        raise UsageError(f"a schedule can't ask for {min(wrong)}", "leave it out")


class Timing:
    """When a schedule fires; None: as it was, or as usual."""

    def __init__(
        self, when: str | None = None, zone: str | None = None, missed: str | None = None, overlap: str | None = None
    ) -> None:
        """Raises UsageError if `missed` or `overlap` is none of the words."""
        for name, word, words in (("missed", missed, MISSED), ("overlap", overlap, OVERLAP)):
            if word is not None and word not in words:
                raise UsageError(f"--{name}: {word!r:.40} is not possible", f"give {', '.join(words)}")
        self.when = when
        self.zone = zone
        self.missed = missed
        self.overlap = overlap


class Schedules:
    """The schedules of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[Schedule]:
        """Return the schedules, by name."""
        return [schedule for _, schedule in sorted(self._store.read().schedules.items())]

    def get(self, name: str) -> Schedule:
        """Return the schedule of that name. Raises Refused."""
        return self._get(self._store.read().schedules, name)

    def add(
        self,
        name: str,
        command: Command,
        timing: Timing,
        options: Mapping[str, Any],
        *,
        dry_run: bool = False,
        replace: bool = False,
    ) -> Schedule:
        """Add a schedule, unless `dry_run`. `options`: those of its jobs, as for `Queue.add`.

        `replace`: in the place of the one of that name; if its times are the same, it goes on where that one was.

        Raises UsageError, Refused, NotSaved.
        """
        name = parse_name(name)
        check_options(options)
        check_command(command, 0)
        if timing.when is None:
            raise UsageError("no time is given", "write it like: jobq schedule add nightly '0 3 * * *' make backup")
        now = clock.now().wall
        zone = timing.zone or local_zone()
        rhythm_of(timing.when, zone, now)  # raises for what can't be read
        missed = timing.missed or "once"
        overlap = timing.overlap or ("queue" if missed == "all" else "skip")

        when = timing.when

        def add() -> Schedule:
            spec = make_spec(self._store, options)  # before the lock is taken
            made = Schedule(name, when, zone, now, spec, command, missed, overlap, mark=now)

            def make(known: Mapping[str, Schedule]) -> Schedule:
                before = known.get(name)
                if before is None:
                    return made
                if not replace:
                    raise Refused(f"there is a schedule {name} already", f"'jobq schedule update {name}' changes it")
                if (before.when, before.zone) != (made.when, made.zone):
                    return made
                return before._replace(spec=spec, command=command, missed=missed, overlap=overlap)

            return make(self._store.read().schedules) if dry_run else self._set(make)[1]

        return recapturing(add)

    def update(self, name: str, command: Command | None, timing: Timing, options: Mapping[str, Any]) -> Schedule:
        """Change a schedule. If its times change, it begins anew from now. Raises UsageError, Refused, NotSaved."""
        now = clock.now().wall
        if command is not None:
            check_command(command, 0)
        check_options(options)
        fields, variables = edited_fields(self._store, options)
        if variables:
            raise UsageError("the environment of a schedule can't be changed", "remove it and add it again")

        def make(known: Mapping[str, Schedule]) -> Schedule:
            before = self._get(known, name)
            after = before._replace(
                when=timing.when or before.when,
                zone=timing.zone or before.zone,
                missed=timing.missed or before.missed,
                overlap=timing.overlap or before.overlap,
                spec=before.spec._replace(**fields),
                command=before.command if command is None else command,
            )
            again = before.mark > now + NONSENSE and (timing.when or timing.zone)
            if again or (after.when, after.zone) != (before.when, before.zone):
                rhythm_of(after.when, after.zone, now)
                after = after._replace(start=now, mark=now, trouble="")
            return after

        return self._set(make)[1]

    def pause(self, name: str, *, paused: bool) -> bool:
        """Let a schedule fire no more, or again from now on. Return False if it was so. Raises Refused, NotSaved."""
        now = clock.now().wall

        def make(known: Mapping[str, Schedule]) -> Schedule:
            before = self._get(known, name)
            mark = before.mark
            if not paused:  # what it would have fired meanwhile is no miss
                mark = now if mark > now + NONSENSE else max(mark, now)
            return before._replace(paused=paused, mark=mark) if before.paused is not paused else before

        before, after = self._set(make)
        return before != after

    def remove(self, name: str) -> None:
        """Forget a schedule; its jobs stay. Raises Refused, NotSaved."""

        def remove() -> None:
            with self._store.transaction(clock.now().wall) as changes:
                self._get(changes.state.schedules, name)
                changes.record(RemoveSchedule(name))

        upgrading(self._store, remove)

    def run(self, name: str) -> int:
        """Add a job of the schedule now, beside its times, and return its id. Raises Refused, NotSaved."""
        now = clock.now()

        def run() -> int:
            with self._store.transaction(now.wall) as changes:
                schedule = self._get(changes.state.schedules, name)
                request = Request(spec_at(schedule, now.wall, now, behind=None), [schedule.command])
                added = store_request(self._store, changes, request, now)
                job_id = added.ids[0]
                last = changes.jobs.get(schedule.last or 0)
                is_open = last is not None and not last.state.final  # the one that later ones must not overlap
                after = schedule._replace(fired=schedule.fired + len(added.new))
                changes.record(MarkSchedule.of(after if is_open else after._replace(last=job_id)))
            return job_id

        try:
            return upgrading(self._store, run)
        except EnvironmentGone:
            raise Refused(f"the environment of schedule {name} is gone", "remove it and add it again") from None

    def upcoming(self, schedule: Schedule, count: int) -> list[float]:
        """Return the next instants at which it fires (seconds since 1970), from now on. Raises UsageError."""
        rhythm = rhythm_of(schedule.when, schedule.zone, schedule.start)
        return instants(rhythm, max(schedule.mark, clock.now().wall), float("inf"), count)

    @staticmethod
    def _get(known: Mapping[str, Schedule], name: str) -> Schedule:
        if name not in known:
            raise Refused(f"there is no schedule {name}", "'jobq schedule' shows all")
        return known[name]

    def _set(self, make: Callable[[Mapping[str, Schedule]], Schedule]) -> tuple[Schedule | None, Schedule]:
        """Set the schedule that `make` returns for those that there are; return what it was, and what it is."""

        def set_it() -> tuple[Schedule | None, Schedule]:
            with self._store.transaction(clock.now().wall) as changes:
                after = make(changes.state.schedules)
                before = changes.state.schedules.get(after.name)
                if before != after:
                    changes.set_schedule(after)
            return before, after

        return upgrading(self._store, set_it)
