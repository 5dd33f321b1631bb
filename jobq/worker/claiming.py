"""The claims of a worker: which jobs, how many for each of its slots, and how many slots it uses."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from jobq.engine.task import Ended
from jobq.job import Job, Outcome
from jobq.moment import Moment
from jobq.rules import hooks, lifecycle
from jobq.rules.serving import HOOKS
from jobq.store.state import StoreState
from jobq.worker.batching import Pace, Width, runs_alone
from jobq.worker.started import Started

PASS_OVER = 4.0  # seconds


class Claiming:
    """The claims of one worker."""

    def __init__(
        self,
        token: str,
        slots: int,
        started: Started,
        *,
        own_jobs: bool,
        queues: Collection[str] | None,
        one_by_one: bool = False,
    ) -> None:
        """`one_by_one`: no job is claimed before it can start, however short they are."""
        self.pace = Pace()
        self.width = Width(slots)
        self._token = token
        self._slots = slots
        self._started = started
        self._runner = token if own_jobs else None
        self._queues = queues
        self._one_by_one = one_by_one
        self._passed_over: dict[int, tuple[float, str]] = {}  # job -> until when (boot), and why
        self._limits: dict[str, int] = {}  # of queues, as of the last `_prepare`
        self._paused: dict[str, str] = {}  # queues, likewise

    def free(self, state: StoreState, busy: int, ended: Collection[Ended] = ()) -> int:
        """Return the slots with nothing to do, if `busy` of them have a job: some jobs take more than one.

        `ended`: attempts that run no more, though that is not recorded yet.
        """
        wide = state.waiting.wide.get(self._token, {})
        over = {end.key.job_id for end in ended} if wide else ()
        more = sum(min(count, self.width.slots) - 1 for job_id, count in wide.items() if job_id not in over)
        return self.width.slots - busy - more

    def ready(self, state: StoreState, free: int, now: Moment) -> list[Job]:
        """Return the jobs that could be claimed now for so many free slots; they keep their places."""
        count = max(free, 0) + self._hook_places(state)
        if not count:
            return []
        self._prepare(state, now)
        found = list(self._take(state, count, now, free))
        for job in found:
            state.waiting.push(job)
        return found

    @staticmethod
    def _hook_places(state: StoreState) -> int:
        return max(0, hooks.AT_ONCE - state.waiting.running[HOOKS])

    def resize(self, slots: int) -> None:
        """Use so many slots from now on."""
        self._slots = slots
        self.width.set(slots)

    def pass_over(self, job: Job, why: str, now: Moment) -> None:
        """Pass over the job for PASS_OVER seconds: it could not start, and others could."""
        self._passed_over[job.id] = now.boot + PASS_OVER, why

    def troubles(self) -> list[str]:
        """Return the reasons why jobs are passed over."""
        return sorted({why for _, why in self._passed_over.values()})

    def about_ready(self, state: StoreState) -> int:
        """Return about how many jobs could be claimed now."""
        return state.waiting.about_ready(runner=self._runner, queues=self._queues, paused=state.pauses())

    def claims(self, state: StoreState, names: Iterable[str], free: int, now: Moment) -> Iterator[tuple[str, Job]]:
        """Yield jobs for these slots, claimed: for each some milliseconds of work, if enough jobs are ready.

        `free`: as `free` returns it. Each has to show in `jobs` before the next is requested.
        """
        self._prepare(state, now)
        for name in names:
            for at in range(self.pace.batch_size(self.about_ready(state) // (2 * self._slots))):
                job = next(self._take(state, 1, now, free + bool(at)), None)  # the slot of a batch is taken already
                if job is None:
                    return  # another worker was faster
                alone = self._one_by_one or runs_alone(job) or job.spec.queue in state.limits
                if at and alone:
                    state.waiting.push(job)
                    break
                given = tuple(
                    (what, state.waiting.shared.indices(what, count, state.jobs)) for what, count in job.spec.needs
                )
                free -= 0 if at else min(job.spec.slots, self.width.slots)
                yield name, lifecycle.claim(job, now, owner=self._token, supervisor=name, given=given)
                if alone:
                    break

    def _prepare(self, state: StoreState, now: Moment) -> None:
        """Put what is due into the order, and take out what runs unrecorded or is passed over."""
        state.waiting.wake(state.jobs, now)
        self._paused, self._limits = state.pauses(), {**state.limits, HOOKS: hooks.AT_ONCE}
        self._passed_over = {job_id: v for job_id, v in self._passed_over.items() if v[0] > now.boot}
        state.waiting.park("it runs already", self._started.ids, state.jobs)
        state.waiting.park("it could not start", self._passed_over, state.jobs)

    def _take(self, state: StoreState, count: int, now: Moment, free: int) -> Iterator[Job]:
        """Yield ready jobs, taken out of their order, after `_prepare`."""
        if self._started.is_outdated:
            return
        yield from state.waiting.take(
            state.jobs,
            count,
            now,
            runner=self._runner,
            queues=self._queues,
            limits=self._limits,
            paused=self._paused,
            free=free,
            slots=self.width.slots,
        )

    def learn(self, ended: list[Ended], now: Moment) -> str:
        """Learn how long jobs take, and how many slots the machine can serve; return what it was short of, or ""."""
        endings = [end.ending for end in ended]
        for ending in endings:
            if ending.seconds is not None:
                self.pace.learn(ending.seconds)
        refused = [ending for ending in endings if ending.never_started and ending.outcome is Outcome.SPAWN_ERROR]
        if refused:
            self.width.narrow(now.boot)
            return str(refused[-1])
        if ended:
            self.width.widen(now.boot)
        return ""
