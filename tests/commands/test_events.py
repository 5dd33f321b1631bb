"""`jobq events`, and the schema that all JSON obeys."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from jobq.job import State
from jobq.views.feed import Feed
from jobq.views.schema import schema
from tests.conftest import Cli, wait_until
from tests.options.test_table import SAMPLES

WAIT = "while ! [ -e {} ]; do sleep 0.02; done; "


def events_of(cli: Cli, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli("events", "--json", *words).stdout.splitlines()]


def brief(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(event["job"], event["event"]) for event in events]


def test_events_stand_in_their_order_with_what_they_are_about(cli: Cli) -> None:
    cli("add", "--retries", "1", "--backoff", "const:0s", "exit 3")
    cli("worker", "--drain", code=1)
    events = events_of(cli)
    assert brief(events) == [(1, "add"), (1, "claim"), (1, "retry"), (1, "claim"), (1, "fail")]
    assert [event["attempt"] for event in events] == [None, 1, 1, 2, 2]
    assert [event["exit_code"] for event in events] == [None, None, 3, None, 3]
    assert cli("events", "-n", "1").stdout.endswith("  1  fail: exit 3  exit 3\n")
    assert "no such events" in cli("events", "-q", "none").stderr


def test_a_reader_goes_on_behind_the_last_event_that_it_has(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    first = events_of(cli)
    cli("worker", "--drain", "-j", "1")
    rest = events_of(cli, "--after", first[0]["cursor"])
    assert brief(rest)[0] == (2, "add"), "of the same transaction, and behind it"
    assert len(first) + len(events_of(cli, "--after", first[-1]["cursor"])) == len(events_of(cli))
    assert events_of(cli, "--after", events_of(cli)[-1]["cursor"]) == []
    assert "is not a cursor" in cli("events", "--after", "7", code=2).stderr


def test_an_end_that_is_recorded_late_is_not_missed(cli: Cli) -> None:
    """The end of job 1 happened before an event that was printed, and is recorded after it."""
    cli("add", "touch began; while ! [ -e go ]; do sleep 0.02; done")
    worker = cli.worker("-j", "1")
    wait_until((cli.cwd / "began").exists)
    feed = Feed(cli.queue, lambda _job: True, None)
    feed.look()
    worker.kill()
    worker.wait()
    (cli.cwd / "go").touch()
    wait_until(lambda: "end" in "".join(path.read_text() for path in (cli.store / "workers").rglob("*.ends")))
    cli("add", "--hold", "true")
    (added, *_) = feed.look()
    mark = str(feed.mark(added))
    cli("wait", "1")
    assert [(one.job.id, one.event) for one in feed.look()][-1] == (1, "succeed")
    assert (1, "succeed") in brief(events_of(cli, "--after", mark))


def test_what_happens_is_followed(cli: Cli) -> None:
    cli("add", "true")
    last = events_of(cli)[-1]["cursor"]
    process = cli.start("events", "-f", "--json", "--after", last)
    assert process.stdout is not None
    cli("hold", "1")
    assert json.loads(process.stdout.readline())["event"] == "hold"
    cli("release", "1")
    assert json.loads(process.stdout.readline())["event"] == "release"
    cli("worker", "--drain")
    got = [json.loads(process.stdout.readline())["event"] for _ in range(2)]
    assert got == ["claim", "succeed"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT


def test_only_some_jobs_are_followed(cli: Cli) -> None:
    cli("add", "true")
    cli("add", "-q", "gpu", "true")
    process = cli.start("events", "-f", "-q", "gpu", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["job"] == 2
    cli("hold", "1-2")
    assert json.loads(process.stdout.readline())["job"] == 2


# -- the schema --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator() -> Any:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


def check(validator: Any, text: str, kind: str) -> dict[str, Any]:
    """Check a document against the whole schema, and against that of its kind."""
    document: dict[str, Any] = json.loads(text)
    validator.validate(document)
    validator.evolve(schema={**schema(), "anyOf": [{"$ref": f"#/$defs/{kind}"}]}).validate(document)
    return document


def test_all_json_obeys_the_schema(cli: Cli, validator: Any) -> None:
    check(validator, cli("add", "--json", "--unique", "exit 3").stdout, "added")
    check(validator, cli("add", "--json", "--unique", "exit 3").stdout, "added")
    cli(
        "add",
        "--retries",
        "0",
        "--stderr",
        "apart",
        "--at",
        "2027-01-01",
        "--meta",
        '{"a": [1]}',
        "--label",
        "a=b",
        "x",
    )
    cli("resource", "set", "gpu", "1")
    cli("add", "--after", "1", "--need", "gpu=1", "--lock", "db", "true")
    cli("call", "--no-check", "json:dumps", "x:=1")
    cli("worker", "-j", "1", "--drain", code=None)
    for words, kind in [
        (("list", "--all", "--json"), "jobs"),
        (("show", "--all", "--json"), "jobs"),
        (("show", "1-4", "--json"), "jobs"),
        (("wait", "1", "--json"), "jobs"),
        (("run", "--json", "false", ":::", "1", "2"), "jobs"),
        (("stats", "--json"), "stats"),
        (("cancel", "2", "1", "--json"), "cancelled"),
    ]:
        check(validator, cli(*words, code=None).stdout or '{"jobq": 1, "jobs": []}', kind)
    for line in cli("events", "--json").stdout.splitlines():
        check(validator, line, "event")
    check(validator, cli("show", "99", "--json", code=1).stderr, "error_document")
    assert json.loads(cli("schema").stdout) == schema()


def test_a_cancel_says_what_became_of_the_jobs(cli: Cli) -> None:
    cli("add", "true", ":::", "1", "2")
    cli("cancel", "1")
    done = json.loads(cli("cancel", "1", "2", "--json", code=1).stdout)
    assert [(job["id"], job["state"]) for job in done["jobs"]] == [(2, "cancelled")]
    assert len(done["refused"]) == 1
    assert "job 1" in done["refused"][0]["message"]
    wait_until(lambda: cli.queue.job(2).state is State.CANCELLED)


def test_every_option_has_its_schema(validator: Any, cli: Cli) -> None:
    """A job with each option at once is what the schema says, and each key is described."""
    job = schema()["$defs"]["job"]
    assert SAMPLES.keys() <= {*job["properties"], "hold", "wait_room", "on_conflict", "env", "env_file"}
    assert all("description" in job["properties"][name] for name in ("timeout", "locks", "labels", "at", "meta"))
    cli("add", "true")
    check(validator, cli("list", "--json").stdout, "jobs")
