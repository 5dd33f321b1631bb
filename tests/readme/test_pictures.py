"""The pictures beside the text of the README show what jobq draws today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.readme.pictures import FOLDER, SCENES, TITLES, install, picture, words_of

README = Path(__file__).parents[2] / "README.md"


def form(lines: list[str]) -> list[str]:
    """Return the lines without what differs from run to run: times, ages, numbers, and the room that they take.

    The time left is told once it is known, which depends on how fast the job begins.
    """
    lines = [re.sub(r",\s*~[\s\w.?]+\sleft", "", line) for line in lines]
    return [re.sub(r"[\s\d.]+|\bs? ago\b|\bnow\b", "", line).replace("sago", "") for line in lines]


@pytest.mark.parametrize("name", SCENES)
def test_a_picture_is_what_a_terminal_shows(cli: Cli, name: str) -> None:
    install(cli)
    with SCENES[name](cli) as screen:
        drawn = picture(screen, TITLES[name])
    stored = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert form(words_of(drawn)) == form(words_of(stored))
    assert "url(http" not in stored
    assert f"(.github/pictures/{name}.svg)" in README.read_text(encoding="utf-8")
