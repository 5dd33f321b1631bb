"""The captured environment, and the variables that stand in the spec of a job instead."""

from __future__ import annotations

import json

import pytest

from jobq.job import Spec
from jobq.moment import Moment
from jobq.store import environment
from jobq.store.compaction import compact
from jobq.store.environment import LONGEST_PASSED_ON, NOT_CAPTURED, PASSED_ON
from jobq.store.records import read_spec, spec_record
from jobq.store.store import Store
from jobq.store.transaction import Add
from tests.conftest import Cli

NOW = Moment(1_700_000_000.0, 1000.0, "boot")
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CRED", "AUTH")


def test_only_names_that_hold_no_secret_are_passed_on() -> None:
    suspects = {name for name in PASSED_ON if any(word in name for word in SECRET_WORDS)}
    assert suspects == {"STARSHIP_SESSION_KEY"}
    assert not PASSED_ON & NOT_CAPTURED


def test_each_variable_is_captured_or_passed_on_and_options_are_captured() -> None:
    environ = {"A": "1", "TMUX_PANE": "%3", "NVIM": "x" * (LONGEST_PASSED_ON + 1), "SSH_TTY": "/dev/pts/7", "PWD": "/"}
    overrides = {"SSH_TTY": "mine"}
    captured, passed_on = environment.capture(environ, overrides), environment.passed_on(environ, overrides)
    assert captured == {"A": "1", "NVIM": environ["NVIM"], "SSH_TTY": "mine"}
    assert passed_on == {"TMUX_PANE": "%3"}


def test_a_pane_makes_no_new_file_and_the_job_gets_its_variables(cli: Cli) -> None:
    show = 'echo "$TMUX_PANE $HYPERFINE_ITERATION $GITHUB_OUTPUT"'
    for pane in range(3):
        cli.env |= {"TMUX_PANE": f"%{pane}", "HYPERFINE_ITERATION": str(pane), "GITHUB_OUTPUT": f"/tmp/{pane}"}
        cli.id(show)
    cli("add", "-e", "TMUX_PANE=asked", "-e", "GITHUB_OUTPUT", show)
    assert len(list((cli.store / "env").iterdir())) == 2
    cli("worker", "--drain", "-j", "1")
    logs = [cli("log", str(job_id)).stdout for job_id in (1, 2, 3, 4)]
    assert logs == ["%0 0 /tmp/0\n", "%1 1 /tmp/1\n", "%2 2 /tmp/2\n", "asked 2 /tmp/2\n"]


def journal(cli: Cli) -> list[bytes]:
    return (cli.store / "journal.jsonl").read_bytes().splitlines()


def test_what_an_option_sets_is_only_in_the_captured_environment(cli: Cli) -> None:
    cli.env["SSH_TTY"] = "/dev/pts/7"
    cli("add", "-e", "SSH_TTY=a-secret", "true")
    (spec,) = [json.loads(line)["ops"][0]["spec"] for line in journal(cli)[-1:]]
    assert "SSH_TTY" not in spec.get("vars", {})
    assert cli.queue.store.load_environment(spec["env"])["SSH_TTY"] == "a-secret"


def test_specs_with_variables_are_shared_and_stored_as_an_object() -> None:
    spec = Spec("/", "0" * 64, vars=(("SSH_TTY", "/dev/pts/7"), ("TMUX_PANE", "%3")))
    record = spec_record(spec)
    assert record == {"cwd": "/", "env": "0" * 64, "vars": {"SSH_TTY": "/dev/pts/7", "TMUX_PANE": "%3"}}
    assert {spec: "found"}[read_spec(json.loads(json.dumps(record)))]
    assert "vars" not in spec_record(Spec("/", "0" * 64))


@pytest.mark.parametrize("value", ["x", "é", "\udcff"])
def test_compaction_of_many_jobs_with_long_variables_writes_lines_that_can_be_read(store: Store, value: str) -> None:
    digest = store.save_environment({"A": "1"})
    for number in range(12):
        variables = dict.fromkeys(sorted(PASSED_ON), value * LONGEST_PASSED_ON) | {"TMUX_PANE": f"%{number}"}
        store.append(Add(Spec("/", digest, vars=tuple(variables.items())), ["true"]), NOW.wall)
    store.close()
    assert compact(store.path, NOW)
    again = Store(store.path)
    assert [dict(job.spec.vars)["TMUX_PANE"] for job in again.read().jobs.values()] == [f"%{n}" for n in range(12)]
    again.close()


def test_an_edit_of_a_variable_takes_it_out_of_the_spec(cli: Cli) -> None:
    cli.env |= {"TMUX_PANE": "%3", "SSH_TTY": "/dev/pts/7"}
    job_id = cli.id('echo "$TMUX_PANE $SSH_TTY"')
    cli("edit", "-e", "TMUX_PANE=asked", str(job_id))
    job = cli.queue.job(job_id)
    assert "TMUX_PANE" not in dict(job.spec.vars)
    assert cli.queue.environment_of(job).items() >= {"TMUX_PANE": "asked", "SSH_TTY": "/dev/pts/7"}.items()
    cli("worker", "--drain", "-j", "1")
    assert cli("log", str(job_id)).stdout == "asked /dev/pts/7\n"
