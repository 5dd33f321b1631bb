"""The time that a job has waited, by reason."""

from __future__ import annotations

import pytest

from jobq.job import Attempt, Job, Spec, State, Step
from jobq.moment import Moment
from jobq.rules.waits import time_waited

JOB = Job(1, Spec("/", "", retries=3, backoff="const:5"), "true", 100.0)
ATTEMPT = Attempt(1, "w", "w/0", 0.0)


def history(*steps: tuple[str, float]) -> Job:
    return JOB._replace(history=tuple(Step(event, at) for event, at in steps))


@pytest.mark.parametrize(
    ("job", "found"),
    [
        (history(), {"ready": 100.0}),
        (history(("claim", 103.0), ("succeed", 110.0)), {"ready": 3.0}),
        (history(("hold", 110.0), ("release", 140.0), ("claim", 141.0)), {"held": 30.0, "ready": 11.0}),
        (history(("hold", 110.0)), {"held": 90.0, "ready": 10.0}),
        (
            history(("claim", 101.0), ("retry", 110.0), ("claim", 116.5), ("fail", 120.0), ("requeue", 150.0)),
            {"ready": 1.0 + 1.5 + 50.0, "retry": 5.0},
        ),
        (history(("edit", 110.0), ("move", 120.0), ("claim", 130.0)), {"ready": 30.0}),
        (history(("claim", 101.0), ("hand back", 102.0), ("claim", 104.0), ("adopt", 110.0)), {"ready": 3.0}),
        (history(("cancel", 90.0)), {}),  # the clock was set back
    ],
)
def test_every_second_of_waiting_has_a_reason(job: Job, found: dict[str, float]) -> None:
    assert time_waited(job, [], 200.0) == found


def test_other_jobs_and_the_time_come_first() -> None:
    parents = [Job(2, JOB.spec, "x", 90.0, State.SUCCEEDED, finished_at=130.0, attempts=(ATTEMPT,))]
    job = history(("claim", 145.0))
    job = job._replace(spec=JOB.spec._replace(after=(2,), delay=40.0, asked=Moment(100.0, 1.0, "boot")))
    assert time_waited(job, parents, 200.0) == {"after": 30.0, "scheduled": 10.0, "ready": 5.0}
    running = [parents[0]._replace(state=State.RUNNING, finished_at=None)]
    assert time_waited(job._replace(history=()), running, 200.0) == {"after": 100.0}
