"""One piece of work, added by many processes at once: one makes the job, the others get its id."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path

from jobq.api import Queue
from tests.faults.case import Bench, Figures, case, need_linux
from tests.faults.clients import Client, Done, clients
from tests.faults.seed import Seed

KINDS = (("--key", "nightly"), ("--once",), ("--unique",))  # the last forgets work that is done
ANSWER = re.compile(r"deduplicated: job (\d+) is the same work")


@case("one-key-many-adders", "14b", "store", "200 adds of one key at once: jobs beside the first, adds without its id")
def many_adders(bench: Bench) -> Figures:
    """Another process holds the lock at first. Later the job has run and left the journal, and all add it again.

    Time: of an add, from its start until it answers.
    """
    need_linux()
    figures, cli = Figures(limit=10.0), bench.cli()
    cli("add", "--key", "other", "true")
    with clients(cli.store, 1 + bench.size(24, 200)) as made:
        for kind in KINDS:
            first = add_at_once(made, cli.store, kind, figures, new=1)
            cli("worker", "--drain")
            made[0]("compact")
            again = add_at_once(made, cli.store, kind, figures, new=int(kind[0] == "--unique"))
            figures.check((again == first) == (kind[0] != "--unique"), f"{kind}: job {first}, later {again}")
    figures.note = (
        f"{len(made) - 1} processes at once, {len(cli.queue.jobs()) + len(list(cli.queue.finished())) - 1} jobs"
    )
    return figures


def add_at_once(made: list[Client], store: Path, kind: tuple[str, ...], figures: Figures, *, new: int) -> int:
    """Let all clients add the same work at once; `new` of them may make a job. Return the id that most were told."""
    holder, *adders = made
    done: list[Done] = []
    threads = [
        threading.Thread(target=lambda client=client: done.append(client("add", *kind, "true"))) for client in adders
    ]
    queue = Queue(str(store))
    before = queue.store.read().next_id
    holder.start("keep-lock", "0.3")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder.wait()
    told = Counter(int(add.out) for add in done if add.code == 0)
    ((job_id, _),) = told.most_common(1) or [(0, 0)]
    figures.n += len(done)
    figures.times += [add.acked - add.invoked for add in done]
    for add in done:
        figures.check(add.code == 0 and "Traceback" not in add.err, str(add))
    figures.check(len(told) == 1, f"{kind}: the adds were told {dict(told)}")
    answers = [answer[1] for add in done for answer in [ANSWER.search(add.err)] if answer is not None]
    figures.check(answers == [str(job_id)] * (len(done) - new), f"{kind}: {Counter(answers)} were told of job {job_id}")
    made_now = queue.store.read().next_id - before
    figures.check(made_now == new, f"{kind}: {made_now} new jobs")
    queue.store.close()
    return job_id


SEEDS = [
    Seed(
        harness="work-once",
        fault="who answers for a key is looked up before the lock is taken",
        file="adding.py",
        old="    with store.transaction(now.wall) as transaction:\n        added: list[Added] = [",
        new="    import jobq.intake as i\n"
        "    early = {\n"
        "        i.identity_of(r.spec, c): i.known_job(store.read(), r.spec, i.identity_of(r.spec, c) or '', now)\n"
        "        for r in requests for c in r.commands\n"
        "    }\n"
        "    with store.transaction(now.wall) as transaction:\n"
        "        i.known_job = lambda _state, _spec, identity, _now: early.get(identity)\n"
        "        added: list[Added] = [",
        caught_by="one-key-many-adders",
    ),
]
