"""The quick `jobq add` writes the same bytes as the full one, and loads few modules."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest
import typer
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from jobq import clock, sealed
from jobq.cli import app_for
from jobq.commands import quick_add as quick
from jobq.errors import JobqError, UsageError
from jobq.moment import Moment
from jobq.options.table import OPTIONS
from jobq.settings.places import store_path
from jobq.store.environment import save
from jobq.store.folder import Folder
from tests.conftest import Cli, assert_sound

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "SECRET": "é",
    "SHLVL": "2",
    "TMUX_PANE": "%3",
    "SSH_TTY": "é\udcff",
    "NVIM": "x" * 5000,
}
FULL = typer.main.get_command(app_for([]))
VALUES = st.one_of(
    st.sampled_from(["5", "-5", "0", "10m", "1h30m", "high", "low", "default", "other", "A=1", "PATH", "B=", "TMUX_PANE=%9", "SSH_TTY", "/", ".", "~",
                     "64k", "256M", "1G", "3", "10", "-", "--", "", "night", "é", "\udcff", "=", "-n", "1e999", "9" * 400]),
    st.text(max_size=6),
)  # fmt: skip
FLAGS = st.sampled_from(
    [*(flag for ask in OPTIONS for flag in ask.flags), "--from", "--help", "-x", "--nam", "-", "--"]
)
OPTION = st.one_of(
    st.tuples(FLAGS, VALUES),
    st.tuples(FLAGS, VALUES).map(lambda pair: (f"{pair[0]}={pair[1]}",)),
    st.tuples(FLAGS, VALUES).map(lambda pair: (f"{pair[0]}{pair[1]}",)),
    st.tuples(FLAGS),
)
WORD = st.one_of(st.sampled_from(["true", "echo 1", "-la", "--", "", " ", "a\nb", "é", "x\0y"]), st.text(max_size=8))
WORDS = st.builds(
    lambda options, command: [word for option in options for word in option] + command,
    st.lists(OPTION, max_size=4),
    st.lists(WORD, max_size=4),
)


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[Path, Path]]:
    """Two stores with the same content, of the latest format."""
    with tempfile.TemporaryDirectory() as folder:
        stores = Path(folder) / "quick", Path(folder) / "full"
        for store in stores:
            FULL(["--store", str(store), "add", "--ping", "http://a/b", "first"], standalone_mode=False)
        yield stores
        for store in stores:
            assert_sound(store)


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix the time and the environment, because pytest changes its own environment."""
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.25)
    monkeypatch.setattr(clock, "now", lambda: Moment(1_700_000_000.25, 1000.5, "boot"))
    for module in ("jobq.commands.quick_add", "jobq.specs", "jobq.commands.options"):
        monkeypatch.setattr(f"{module}.environment", lambda: dict(ENVIRONMENT))


def last_line(store: Path) -> bytes:
    return (store / "journal.jsonl").read_bytes().splitlines()[-1]


def environments(store: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modes and the contents of the captured environments, by name."""
    return {path.name: (path.stat().st_mode, path.read_bytes()) for path in (store / "env").iterdir()}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(words=["-p", "high", "--retries=0", "--log-max", "256M", "--grace", "10", "--", "printf", "--", "-x"])
@example(words=["-e", "TMUX_PANE=%9", "true"])
@example(words=["-p5", "-t10m", "-eA==1", "-eB", "--env=A=2", "--priority=-5", "-qnight", "true"])
@example(
    words=["--label", "b=2", "--label=a=1", "--label", "b=3", "--lock", "y", "--lock", "x", "--slots", "2", "true"]
)
@example(words=["--in", "10m", "--expires", "1h", "--meta", '{"a": [1, "é"]}', "--ping", "http://a/b", "true"])
@example(words=["--at", "2040-01-01T10:00", "-e", "TMUX_PANE=%9", "true"])
@example(words=["-e", "NEW=1", "-e", "B", "true"])
@example(words=["-e", "A=1", "-q", "other", "-t", "1h", "-C", "/", "true"])
@given(words=WORDS)
def test_the_quick_add_writes_what_the_full_add_writes(twins: tuple[Path, Path], words: list[str]) -> None:
    before = [last_line(store) for store in twins]
    done = quick.add(["--store", str(twins[0]), "add", *words])
    event(f"quick: {done}")
    if not done:
        assert last_line(twins[0]) == before[0]
        return
    FULL(["--store", str(twins[1]), "add", *words], standalone_mode=False)
    assert last_line(twins[0]) == last_line(twins[1])
    assert last_line(twins[0]) != before[0]
    assert environments(twins[0]) == environments(twins[1])


@pytest.mark.parametrize(
    "words",
    [
        ["true"], ["-p", "high", "ls", "-la"], ["--retries=0", "--", "echo hello"], ["-p5", "-qnight", "true"],
        ["-p-5", "--grace=1m", "true"], ["-eA=1", "-e", "B=2", "--env=C=3", "true"], ["--label=a=1", "true"],
        ["--in", "10m", "--expires=1h", "true"], ["--at", "2040-01-01", "true"], ["--lock", "l", "--meta={}", "true"],
    ],
)  # fmt: skip
def test_plain_commands_take_the_quick_way(twins: tuple[Path, Path], words: list[str]) -> None:
    assert quick.add(["--store", str(twins[0]), "add", *words])
    FULL(["--store", str(twins[1]), "add", *words], standalone_mode=False)


def test_the_store_is_named_in_either_form() -> None:
    read = quick.read(["add", "true"])
    assert read is not None
    for words in (["--store", "/s"], ["--store=/s"]):
        assert quick.read([*words, "add", "true"]) == ("/s", *read[1:])
    for words in (["--store="], ["--store", ""], ["--store"]):
        assert quick.read([*words, "add", "true"]) is None


@pytest.mark.parametrize(
    "words",
    [[], ["--help"], ["--from", "-"], ["--name", "n", "true"], ["-nn", "true"], ["-x", "true"], ["-p"], ["a b", "c"]],
)
def test_other_commands_are_left_to_the_full_command(words: list[str]) -> None:
    assert quick.read(["add", *words]) is None


@pytest.mark.parametrize("options", [["--at", "2001-01-01"], ["--at", "2040-01-01", "--in", "1m"], ["--at", "soon"]])
def test_a_time_that_there_is_something_to_say_about_is_left_to_the_full_command(
    twins: tuple[Path, Path], options: list[str]
) -> None:
    assert not quick.add(["--store", str(twins[0]), "add", *options, "true"])


def test_an_option_that_the_format_of_the_store_lacks_is_left_to_the_full_command(cli: Cli) -> None:
    words = ["--store", str(cli.store), "add", "--label", "a=1", "true"]
    FULL(["--store", str(cli.store), "add", "true"], standalone_mode=False)
    assert not quick.add(words)
    FULL(words, standalone_mode=False)
    assert quick.add(words)


def test_a_mistake_is_left_to_the_full_command(twins: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError):
        quick.read(["add", "-p", "soon", "true"])
    assert not quick.add(["--store", str(twins[0]), "add", "-p", "soon", "true"])


def test_a_store_that_is_not_in_order_is_left_to_the_full_command(cli: Cli) -> None:
    words = ["--store", str(cli.store), "add", "true"]
    journal, hint = cli.store / "journal.jsonl", cli.store / "journal.hint"
    assert not quick.add(words)  # there is no store yet
    FULL(words, standalone_mode=False)
    assert quick.add(words)
    good = journal.read_bytes()
    for damaged in (good + b'{"seq":', good[:-1], good.replace(b'"format":1', b'"format":2', 1)):
        journal.write_bytes(damaged)
        assert not quick.add(words)
        assert journal.read_bytes() == damaged
    journal.write_bytes(good)
    for text in (b"", hint.read_bytes().replace(b"1", b"2", 1)):
        hint.write_bytes(text)
        assert not quick.add(words)
    hint.unlink()
    assert not quick.add(words)
    cli.store.chmod(0o777)
    assert not quick.add(words)
    cli.store.chmod(0o700)


@pytest.mark.parametrize("folder", ["there", "missing"])
def test_a_new_environment_is_saved_by_the_quick_way(cli: Cli, folder: str) -> None:
    words = ["--store", str(cli.store), "add", "true"]
    FULL(words, standalone_mode=False)
    before = environments(cli.store)
    for path in (cli.store / "env").iterdir():
        path.unlink()
    if folder == "missing":
        (cli.store / "env").rmdir()
    assert quick.add(words)
    assert environments(cli.store) == before


def test_an_environment_that_is_removed_meanwhile_is_left_to_the_full_command(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--store", str(cli.store), "add", "true"]
    FULL(words, standalone_mode=False)
    line = last_line(cli.store)

    def save_and_lose(root: Folder, environ: dict[str, str]) -> str:
        digest = save(root, environ)
        (cli.store / "env" / f"{digest}.json").unlink()
        return digest

    monkeypatch.setattr(quick, "save", save_and_lose)
    assert not quick.add(words)
    assert last_line(cli.store) == line
    FULL(words, standalone_mode=False)


def test_an_environment_that_is_too_large_is_left_to_the_full_command(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--store", str(cli.store), "add", "true"]
    FULL(words, standalone_mode=False)
    large = ENVIRONMENT | {"LARGE": "x" * (132 << 10)}
    for module in ("jobq.commands.quick_add", "jobq.specs", "jobq.commands.options"):
        monkeypatch.setattr(f"{module}.environment", lambda: large)
    before = environments(cli.store)
    assert not quick.add(words)
    with pytest.raises(UsageError, match="the variable LARGE takes"):
        FULL(words, standalone_mode=False)
    assert environments(cli.store) == before


def test_a_failed_write_of_the_quick_add_is_an_error_and_changes_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    FULL(["--store", str(cli.store), "add", "true"], standalone_mode=False)
    before = (cli.store / "journal.jsonl").read_bytes()

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("jobq.store.writer.sync", fail)
    with pytest.raises(JobqError, match="not saved"):
        quick.add(["--store", str(cli.store), "add", "true"])
    assert (cli.store / "journal.jsonl").read_bytes() == before


OF_OPTIONS = {"jobq.options", "jobq.options.table", "jobq.options.values"}


def test_a_note_that_can_not_be_found_out_is_no_failure_of_a_stored_job(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    cli.id("true")

    def fail(_: object) -> None:
        raise ImportError("jobq is being upgraded")

    monkeypatch.setattr(quick, "pauses", fail)
    assert quick.add(["--store", str(cli.store), "add", "true"])
    assert capfd.readouterr().out == "2\n"


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ([], set()),
        (["--"], set()),
        (["-q", "other", "-r", "0", "--cwd", "/"], OF_OPTIONS),
        (["-e", "A=1"], OF_OPTIONS | {"jobq.options.kinds"}),
        (["--label", "a=b"], OF_OPTIONS | {"jobq.options.groups"}),
        (["--timeout", "5m"], OF_OPTIONS | {"jobq.durations"}),
        (["--jitter", "5%"], OF_OPTIONS | {"jobq.options.policies", "jobq.durations", "jobq.rules.policies"}),
    ],
)
def test_the_quick_add_loads_few_modules(cli: Cli, options: list[str], more: set[str]) -> None:
    cli.env["PYTHONPATH"] = str(ROOT)
    cli.id("--label", "a=b", "true")  # so that the store is of a format for all of these
    code = f"import sys; from jobq.commands import quick_add; print(quick_add.add({['add', *options, 'true']}), *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=cli.env, cwd=cli.cwd, capture_output=True, text=True, check=False
    )
    _, added, *loaded = done.stdout.split()
    assert added == "True", done.stderr
    own = {name for name in loaded if name.startswith("jobq.")}
    assert own == more | {
        "jobq.exit_codes", "jobq.commands", "jobq.rules", "jobq.commands.quick_add", "jobq.errors",
        "jobq.rules.serving", "jobq.environ", "jobq.system", "jobq.store",
        "jobq.store.presence", "jobq.store.folder", "jobq.store.lock", "jobq.store.environment", "jobq.store.format",
        "jobq.sealed", "jobq.store.writer", "jobq.store.hint", "jobq.views", "jobq.views.console",
        "jobq.settings", "jobq.settings.places",
    }  # fmt: skip
    assert not set(loaded) & {
        "typing",
        "re",
        "enum",
        "json",
        "hashlib",
        "collections",
        "typer",
        "rich",
        "shutil",
        "pathlib",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_light_json_is_json(value: object) -> None:
    assert sealed.to_json(value) == json.dumps(value, separators=(",", ":"))
    assert sealed.from_json(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", "{", "nul", "1 2", '{"a":1,}', '"\x01"'])
def test_light_json_refuses_text_that_is_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sealed.from_json(text)


@given(st.binary())
def test_the_light_digest_is_sha256(data: bytes) -> None:
    assert sealed.sha256(data) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("value", [None, "", " ", "/tmp/state"])
def test_the_default_store_is_the_one_that_platformdirs_names(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("JOBQ_STORE", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_STATE_HOME", value)
    Path(os.environ["HOME"]).mkdir()
    assert store_path() == str(platformdirs.user_state_path("jobq"))
