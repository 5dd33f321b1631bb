"""`list --tree`, `show` of the time that was waited, `add --json`."""

from __future__ import annotations

import json

from jobq.job import Job, Spec
from jobq.views.tree import DEEPEST, tree_of
from tests.conftest import Cli


def test_a_tree_puts_each_job_below_one_that_it_is_after(cli: Cli) -> None:
    cli("add", "--name", "build", "make")
    cli("add", "--after", "build", "test {}", ":::", "a", "b")
    cli("add", "--after", "2", "--after", "3", "deploy")
    cli("add", "lint")
    lines = [line.split() for line in cli("list", "--tree").stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == ["1", "2", "3", "4", "5"]
    text = cli("list", "--tree").stdout
    for part in ("[build] make", "├─ test a", "└─ test b", "   └─ deploy"):
        assert part in text
    assert "both --tree and --json" in cli("list", "--tree", "--json", code=2).stderr


def test_a_long_chain_and_a_circle_of_finished_jobs_end() -> None:
    spec = Spec("/", "")
    chain = [Job(n, spec._replace(after=(n - 1,) if n > 1 else ()), "x", 0.0) for n in range(1, 2000)]
    order, prefixes = tree_of(chain)
    assert [job.id for job in order] == list(range(1, 2000))
    assert max(map(len, prefixes.values())) <= 3 * (DEEPEST + 1)
    circle = [Job(1, spec._replace(after=(2,)), "x", 0.0), Job(2, spec._replace(after=(1,)), "x", 0.0)]
    assert len(tree_of(circle)[0]) == 2


def test_show_says_how_the_wait_was_spent(cli: Cli) -> None:
    cli("add", "true")
    cli("add", "--after", "1", "--hold", "true")
    cli("release", "2")
    cli("worker", "--drain")
    (data,) = json.loads(cli("show", "2", "--json").stdout)["jobs"]
    assert data["waited"].keys() <= {"held", "after", "ready"}
    assert {"held", "after"} <= data["waited"].keys()
    assert " held, " in cli("show", "2").stdout
    assert " after other jobs" in cli("show", "2").stdout


def test_add_prints_json(cli: Cli) -> None:
    made = json.loads(cli("add", "--json", "--key", "k", "true").stdout)["jobs"]
    again = json.loads(cli("add", "--json", "--key", "k", "true").stdout)["jobs"]
    assert made == [{"id": 1, "deduplicated": False, "replaced": False}]
    assert again == [{"id": 1, "deduplicated": True, "replaced": False}]
    replaced = json.loads(cli("add", "--json", "--key", "k", "--on-conflict", "replace", "false").stdout)["jobs"]
    assert replaced == [{"id": 1, "deduplicated": True, "replaced": True}]
    many = json.loads(cli("add", "--json", "true", ":::", "a", "b").stdout)["jobs"]
    assert [job["id"] for job in many] == [2, 3]
    assert json.loads(cli("call", "--json", "os:getpid").stdout)["jobs"][0]["id"] == 4


def test_a_need_above_the_count_is_refused_in_an_edit_too(cli: Cli) -> None:
    cli("resource", "set", "gpu", "4")
    cli("add", "true")
    assert "the job needs gpu=8, and there are 4" in cli("edit", "1", "--need", "gpu=8", code=1).stderr
    cli("edit", "1", "--need", "gpu=4")


def test_the_tree_of_one_job_has_all_that_it_is_after(cli: Cli) -> None:
    cli("add", "--name", "build", "make")
    cli("add", "--after", "build", "test {}", ":::", "a", "b")
    cli("add", "--after", "2", "--after", "3", "deploy")
    cli("add", "lint")
    text = cli("list", "--tree", "4").stdout
    assert [line.split()[0] for line in text.splitlines()[1:]] == ["1", "2", "3", "4"]
    assert "deploy  (also after 2)" in text


def test_what_a_change_does_to_other_jobs_is_said(cli: Cli) -> None:
    cli("add", "false")
    cli("add", "--after", "1", "true", ":::", "a", "b")
    cli("add", "--after", "2", "true")
    assert "skipped, as they are after that: 2-4" in cli("cancel", "1").stderr
    assert "no longer skipped: 2-4" in cli("requeue", "1").stderr
    assert "skipped, as they are after that: 2-4" in cli("rm", "1").stderr


def test_an_answer_to_a_conflict_that_can_not_be_is_refused(cli: Cli) -> None:
    assert "--on-conflict says nothing by itself" in cli("add", "--on-conflict", "fail", "true", code=2).stderr


def test_lines_take_the_names_of_flags_and_json_as_it_is(cli: Cli) -> None:
    line = {"command": "true", "in": "1h", "lock": ["db"], "meta": {"owner": "me"}, "label": {"a": "b"}}
    cli("add", "--jsonl", "-", stdin=json.dumps(line) + "\n")
    spec = cli.queue.job(1).spec
    assert (spec.delay, spec.locks, spec.meta, spec.labels) == (3600.0, ("db",), '{"owner":"me"}', (("a", "b"),))
