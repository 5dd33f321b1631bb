"""`jobq list` and bare `jobq` without typer print what the full command line prints."""

from __future__ import annotations

import pytest

from jobq import cli as full
from jobq import clock
from jobq.commands import quick_list
from jobq.errors import JobqError
from tests.conftest import Cli

PLAIN = [
    [],
    ["list"],
    ["ps"],
    ["list", "--all"],
    ["list", "-a", "-s", "failed", "--state", "queued"],
    ["list", "1-2", "-q", "night", "--json"],
    ["list", "@", "--queue", "night"],
    ["list", "-s", "waiting"],
    ["list", "99"],
]
NOT_PLAIN = [["list", "--help"], ["list", "-sfailed"], ["list", "--state"], ["list", "--", "1"], ["show", "1"], ["-h"]]


def outcome(read: object, words: list[str]) -> object:
    try:
        return read(words)  # type: ignore[operator]
    except JobqError as e:
        return str(e), e.hint, e.exit_code


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
@pytest.mark.parametrize("store_option", [False, True])
def test_plain_words_print_the_same_without_typer(
    cli: Cli,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    store_option: bool,
) -> None:
    cli("add", "true")
    cli("add", "-q", "night", "false")
    cli("pause", "night")
    words = ["--store", str(cli.store), *words] if store_option else words
    capfd.readouterr()
    at = clock.now()
    monkeypatch.setattr(clock, "now", lambda: at)  # a second later, the ages would differ
    quick = outcome(quick_list.read, words)
    printed = capfd.readouterr()
    assert outcome(full.run, words) == (0 if quick is True else quick)
    assert capfd.readouterr() == printed
    assert printed.out or isinstance(quick, tuple)


@pytest.mark.parametrize("words", NOT_PLAIN, ids=" ".join)
def test_all_other_words_are_left_to_the_full_command_line(words: list[str]) -> None:
    assert not quick_list.read(words)
