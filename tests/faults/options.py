"""Seeded faults in what a job can ask for: order, once, time, sharing. The cases are ordinary tests."""

from __future__ import annotations

from tests.faults.seed import Seed

ORDER = "tests/store/test_dependencies.py"
REVIEWED = "tests/store/test_reviewed.py"
ONCE = "tests/store/test_once.py"
TIME = "tests/rules/test_time.py"
SHARING = "tests/rules/test_sharing.py"

SEEDS = [
    Seed(harness="dependency-order", fault="a job starts though a job that it is after is unfinished", file="rules/order.py",
         old="                and not self._waits_for(job)\n", new="", caught_by=ORDER),
    Seed(harness="dependency-order", fault="a failed parent lets its dependents run", file="rules/dependencies.py",
         old="    return parent in spec.after\n", new="    return False\n", caught_by=ORDER),
    Seed(harness="dependency-order", fault="a requeue leaves what was skipped", file="rules/consequences.py",
         old="before.skips and is_open and not was_open", new="False", caught_by=ORDER),
    Seed(harness="dependency-order", fault="what was skipped and has left the journal is not found", file="store/reading.py",
         old="if job.skipped_for in causes] if causes else []", new="if False]", caught_by=ORDER),
    Seed(harness="dependency-order", fault="a circle is not noticed", file="checks.py",
         old="    if reaches(wanted, after.id, changes.find):", new="    if False:", caught_by=REVIEWED),
    Seed(harness="dependency-order", fault="a rearmed job takes a name that another one has by now", file="rules/consequences.py",
         old=" if not world.is_taken(job)}", new="}", caught_by=REVIEWED),
    Seed(harness="dependency-order", fault="what was held before it was skipped is queued afterwards", file="rules/lifecycle.py",
         old="    return hold(again, now) if _was_held(job) else again\n", new="    return again\n", caught_by=ORDER),
    Seed(harness="work-once", fault="a success is forgotten when it leaves the journal", file="store/compaction.py",
         old=", *to_keep(leaving, now.wall)]", new="]", caught_by=ONCE),
    Seed(harness="work-once", fault="an unfinished job does not answer", file="rules/uniqueness.py",
         old="if not jobs[i].state.final), None)", new="if jobs[i].state is State.RUNNING), None)", caught_by=ONCE),
    Seed(harness="work-once", fault="the directory does not count", file="rules/uniqueness.py",
         old="json.dumps([what, spec.cwd], sort_keys=True)", new="json.dumps([what], sort_keys=True)", caught_by=ONCE),
    Seed(harness="work-once", fault="a requeue does the same work twice", file="checks.py",
         old="    if done is not None:\n", new="    if False:\n", caught_by=REVIEWED),
    Seed(harness="start-times", fault="a job starts before its time", file="job.py",
         old="        if self.spec.at is not None:\n            return Due.at(self.spec.at)\n", new="", caught_by=TIME),
    Seed(harness="start-times", fault="an expired job may start", file="rules/order.py",
         old="retry.wait(job, now) <= 0 < retry.left(job, now)", new="retry.wait(job, now) <= 0", caught_by=TIME),
    Seed(harness="start-times", fault="silence does not end a job", file="supervisor/supervisor.py",
         old="                elif job.is_idle():\n", new="                elif False:\n", caught_by="tests/process/test_times.py"),
    Seed(harness="shared-resources", fault="two jobs hold one lock", file="rules/sharing.py",
         old="        return 1 if name.startswith(LOCK)", new="        return 2 if name.startswith(LOCK)", caught_by=SHARING),
    Seed(harness="shared-resources", fault="an index is given out twice", file="rules/sharing.py",
         old=" if i not in given)[:amount]", new=")[:amount]", caught_by=SHARING),
    Seed(harness="shared-resources", fault="a big job is overtaken for ever", file="rules/sharing.py",
         old="> PATIENCE\n", new="> float('inf')\n", caught_by=SHARING),
    Seed(harness="shared-resources", fault="a job that leaves keeps its turn at a lock", file="store/state.py",
         old="                self.waiting.offer(wants(job.spec), self.jobs)\n", new="                pass\n", caught_by=SHARING),
    Seed(harness="start-times", fault="a delay leads to a time that can't be stored", file="options/policies.py",
         old="if not all(0 <= number <= MOST_DELAY for number in seconds):", new="if not all(0 <= number for number in seconds):",
         caught_by="tests/rules/test_retry.py"),
]  # fmt: skip
