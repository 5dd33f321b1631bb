"""Every option of a job, through every input and output: a row that is missing somewhere fails here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from jobq.errors import UsageError
from jobq.job import Spec
from jobq.options.kinds import Flag
from jobq.options.request import JobOptions, spec_fields
from jobq.options.table import OPTIONS, JobOption
from jobq.store.records import read_spec, spec_record
from jobq.views.detail import label_of
from tests.conftest import Cli

SAMPLES: dict[str, tuple[str, Any]] = {  # name -> a text that is not the default, and its value
    "queue": ("night", "night"),
    "priority": ("high", 10),
    "retries": ("7", 7),
    "backoff": ("Linear:5s..5m", "linear:5..300"),
    "jitter": ("25", "25%"),
    "retry_on": ("1, 75-78,kill", "1,75-78,SIGKILL"),
    "no_retry_on": ("TIMEOUT,2", "timeout,2"),
    "success_codes": ("0,3", "0,3"),
    "max_lost": ("5", 5),
    "timeout": ("1h30m", 5400.0),
    "idle_timeout": ("2m", 120.0),
    "grace": ("45s", 45.0),
    "log_max": ("64M", 64 << 20),
    "at": ("2096-12-24T18:00+00:00", 4007210400.0),
    "delay": ("10m", 600.0),
    "expires": ("2h", 7200.0),
    "after": ("1", (1,)),
    "after_any": ("1", (1,)),
    "after_fail": ("1", (1,)),
    "locks": ("db", ("db",)),
    "needs": ("gpu=2", (("gpu", 2),)),
    "slots": ("2", 2),
    "labels": ("model=large", (("model", "large"),)),
    "meta": ('{"owner": "me"}', '{"owner":"me"}'),
    "key": ("welcome:42", "welcome:42"),
    "once": ("", True),
    "unique": ("", True),
    "key_ttl": ("1d", 86400.0),
    "on_conflict": ("fail", "fail"),
    "hold": ("", True),
    "wait_room": ("30s", 30.0),
    "on_success": ("echo ok", "echo ok"),
    "on_failure": ("echo bad", "echo bad"),
    "on_finish": ("echo over", "echo over"),
    "notify": ("", True),
    "ping": ("https://example.org/x", "https://example.org/x"),
    "name": ("nightly", "nightly"),
    "stdin": ("/dev/null", "/dev/null"),
    "pty": ("", True),
    "stderr": ("apart", "apart"),
    "isolation": ("warm", "warm"),
    "cwd": ("/", "/"),
    "env": ("SAMPLE=1", {"SAMPLE": "1"}),
    "env_file": ("sample.env", ["sample.env"]),
}
WRONG: dict[str, Any] = {  # name -> a value that is refused, whatever the way
    "queue": "7",
    "priority": 10**9,
    "retries": -1,
    "backoff": "exp:9s..1s",
    "jitter": "101%",
    "retry_on": "256",
    "no_retry_on": "3-1",
    "success_codes": "timeout",
    "max_lost": 0,
    "timeout": 0,
    "idle_timeout": 0,
    "grace": -1,
    "log_max": 1,
    "isolation": "cold",
    "at": "25:00",
    "delay": -1,
    "expires": 0,
    "after": "@x",
    "after_any": "7-3",
    "after_fail": "",
    "locks": "7",
    "needs": "gpu",
    "slots": 0,
    "labels": "model",
    "meta": "{",
    "key": " ",
    "once": 7,
    "unique": 7,
    "key_ttl": 0,
    "name": "@x",
    "on_success": " ",
    "on_failure": "x" * 5000,
    "on_finish": "  ",
    "notify": 7,
    "ping": "ftp://example.org",
    "stdin": "/nowhere",
    "pty": 7,
    "stderr": "/nowhere/x",
}
rows = pytest.mark.parametrize(
    "option", [o for o in OPTIONS if not o.of_add and o.name != "env_file"], ids=lambda option: option.name
)
in_spec = pytest.mark.parametrize("option", [o for o in OPTIONS if o.in_spec], ids=lambda option: option.name)


def stored(cli: Cli) -> dict[str, Any]:
    """The spec of the last add, as it stands in the journal."""
    line = json.loads((cli.store / "journal.jsonl").read_bytes().splitlines()[-1])
    spec: dict[str, Any] = line["ops"][-1]["spec"]
    return spec


def words(option: JobOption, flag: str) -> list[str]:
    """The words that give the sample on the command line."""
    return [flag] if isinstance(option.kind, Flag) else [flag, SAMPLES[option.name][0]]


def as_stored(value: Any) -> Any:
    """The value as JSON has it."""
    return json.loads(json.dumps(value))


def test_every_option_has_a_sample_and_a_line_in_python() -> None:
    names = [option.name for option in OPTIONS]
    assert names == list(SAMPLES)
    assert names == list(JobOptions.__annotations__)
    assert {option.name for option in OPTIONS if option.in_spec} == WRONG.keys()


@in_spec
def test_an_option_has_the_same_default_in_the_table_and_in_the_spec(option: JobOption) -> None:
    assert option.default == Spec._field_defaults[option.name]


@rows
def test_each_flag_stores_the_value(cli: Cli, option: JobOption) -> None:
    _, value = SAMPLES[option.name]
    cli("resource", "set", "gpu", "4")
    cli.id("true")
    digest = stored(cli)["env"]
    for flag in option.flags:
        if option.name == "name":
            cli("cancel", "@")
        cli("add", *words(option, flag), "true")
        if option.name == "env":
            assert stored(cli)["env"] != digest
        else:
            assert stored(cli)[option.name] == as_stored(value)


@rows
def test_python_stores_the_value_and_takes_text_if_the_option_has_a_text_form(cli: Cli, option: JobOption) -> None:
    text, value = SAMPLES[option.name]
    cli.queue.resources.set("gpu", 4)
    cli.queue.add("true")
    job = cli.queue.add("true", **{option.name: value})
    if option.name == "env":
        assert cli.queue.store.load_environment(job.job.spec.env)["SAMPLE"] == "1"
        return
    assert getattr(job.job.spec, option.name) == value
    cli.queue.cancel([job.id])
    if not option.kind.from_text:
        with pytest.raises(UsageError, match=option.name):
            cli.queue.add("true", **{option.name: text})  # type: ignore[arg-type]
    else:
        assert cli.queue.add("true", **{option.name: text}).job.spec._asdict()[option.name] == value  # type: ignore[arg-type]


@rows
def test_show_and_json_print_the_value(cli: Cli, option: JobOption) -> None:
    text, value = SAMPLES[option.name]
    cli.queue.resources.set("gpu", 4)
    cli.queue.add("true")
    job_id = cli("add", *words(option, option.flags[0]), "true").stdout.strip()
    shown = cli("show", job_id).stdout
    (data,) = json.loads(cli("show", "--json", job_id).stdout)["jobs"]
    if option.name == "env":
        assert re.search(r"environment  \d+ variables", shown)
    elif option.name in {"name", "cwd"}:
        assert text in shown
        assert data[option.name] == value
    else:
        assert re.search(rf"(?m)^ *{label_of(option)}  {re.escape(option.shown(value))}$", shown)
        assert data[option.name] == option.as_json(value)


@in_spec
def test_the_stored_form_is_read_as_it_was_written(option: JobOption) -> None:
    value = SAMPLES[option.name][1]
    spec = Spec("/", "0" * 64, **{option.name: value})
    record = spec_record(spec)
    assert record[option.name] == value
    assert json.loads(json.dumps(record))[option.name] == as_stored(value)
    assert read_spec(json.loads(json.dumps(record))) == spec
    assert option.name not in spec_record(Spec("/", "0" * 64))


@in_spec
def test_a_wrong_value_is_refused_by_name(cli: Cli, option: JobOption) -> None:
    wrong = WRONG[option.name]
    with pytest.raises(UsageError, match=option.name):
        cli.queue.spec(**{option.name: wrong})
    with pytest.raises(UsageError, match=option.name):
        cli.queue.spec(**{option.name: [["a list"]]})  # type: ignore[arg-type]
    told = cli("add", f"{option.flags[0]}={wrong}", "true", code=2).stderr
    assert option.flags[0] in told


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(UsageError, match="a job has no option colour"):
        spec_fields({"colour": "red"})
