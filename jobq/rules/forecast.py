"""Forecasts: how long commands take, learned from their last successful runs (as ninja does from its log)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from jobq.durations import span
from jobq.job import Job, State
from jobq.moment import Moment

LAST_RUNS = 5  # of a command that its forecast comes from
MOST_COMMANDS = 10_000  # that are remembered
EARLIER = 500  # finished jobs from which a forecast begins
LATE = 2.0  # times the expected time: then it was no good guess
SOON = 5.0  # seconds that any job may take without that
ENOUGH = 5  # finished jobs after which their mean stands for commands that are not known

Shape = tuple[str, ...]  # what jobs have in common that take about as long


def shape_of(job: Job) -> Shape:
    """Return the name of the job, else the first two words of its command and its directory."""
    if job.spec.name:
        return ("name", job.spec.name)
    if job.call is not None:
        return ("call", job.call.function, job.spec.cwd)
    words = job.command.split(None, 2) if isinstance(job.command, str) else job.command
    return (*map(str, words[:2]), job.spec.cwd)


class Forecast:
    """The run times of commands. All times are seconds."""

    def __init__(self) -> None:
        self._times: dict[Shape, deque[float]] = {}
        self._count, self._sum = 0, 0.0

    def learn(self, job: Job) -> None:
        """Learn from a job that has succeeded; others say nothing about how long it takes."""
        seconds = job.seconds
        if job.state is not State.SUCCEEDED or seconds is None:
            return
        shape = shape_of(job)
        times = self._times.pop(shape, None) or deque(maxlen=LAST_RUNS)  # the last used are at the end
        times.append(seconds)
        self._times[shape] = times
        if len(self._times) > MOST_COMMANDS:
            del self._times[next(iter(self._times))]
        self._count, self._sum = self._count + 1, self._sum + seconds

    @classmethod
    def of(cls, newest_first: Iterable[Job]) -> Forecast:
        """Return what the last EARLIER of these finished jobs say."""
        forecast = cls()
        for job in reversed(list(islice(newest_first, EARLIER))):
            forecast.learn(job)
        return forecast

    def expected(self, job: Job) -> float | None:
        """Return the run time of such a job: the median of the last runs; None if there were none."""
        times = self._times.get(shape_of(job))
        return sorted(times)[len(times) // 2] if times else None

    def rest(self, job: Job, now: Moment) -> float | None:
        """Return the time that a running job is going to take yet; None if it is not known, or over."""
        expected = self.expected(job)
        rest = None if expected is None else expected - (now.wall - job.attempts[-1].claimed_at)
        return rest if rest is not None and rest > 0 else None

    def left(self, running: Iterable[Job], waiting: Iterable[Job], more: int, slots: int, now: Moment) -> float | None:
        """Return the time until all these jobs are done; None if it is not known for most of them.

        `more`: jobs that wait behind those of `waiting`, and are taken to be like them.
        """
        usual = self._sum / self._count if self._count >= ENOUGH else None

        def expected(job: Job) -> float | None:
            known = self.expected(job)
            return usual if known is None else known

        now_running = [(now.wall - job.attempts[-1].claimed_at, expected(job)) for job in running]
        if any(elapsed > LATE * (about or 0.0) and elapsed > SOON for elapsed, about in now_running):
            return None  # it is not like others, and nobody knows how long it takes
        ahead = list(map(expected, waiting))
        known = [one for one in (*ahead, *(one for _, one in now_running)) if one is not None]
        if len(known) <= (len(ahead) + len(now_running)) // 2:
            return None
        rests = [max(0.0, (about or 0.0) - elapsed) for elapsed, about in now_running]
        times = [about or 0.0 for about in ahead]
        mean = sum(times) / len(times) if times else 0.0
        work = sum(rests) + sum(times) + more * mean
        return max([work / max(slots, 1), *rests, *times])


def about(seconds: float) -> str:
    """Return a time that is only a guess, in few digits: "8 s", "3m20s", "2h05m"."""
    return f"{max(1, round(seconds))} s" if seconds < 60 else span(round(seconds, -1))


def time_left(seconds: float | None) -> str:
    """Return the time until nothing is left to do, in words; honest if it is not known."""
    return "time left: ?" if seconds is None else f"about {about(seconds)} left"
