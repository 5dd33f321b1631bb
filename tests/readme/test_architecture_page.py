"""The pages for developers name only files and names that exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "jobq"
PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md"]
OF_THE_STORE = {
    "journal.jsonl",
    "journal.hint",
    "store.lock",
    "K.ends",
    "finished/DAY.jsonl",
    "env/DIGEST.json",
    "workers/",
}
PATH = re.compile(r"(\.?[\w-]+/)*[\w.-]+\.(py|md|c|toml|yml)|\.?[\w-]+(/[\w.-]+)*/|\.ci/run")
NAME = re.compile(r"[a-z_]+(\.\w+)+")


def in_backticks(page: str) -> list[str]:
    text = (ROOT / ".github" / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def exists(name: str) -> bool:
    """Return True if `a.b.c` is a module of jobq, or a name in one, at any depth."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(["jobq", *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part) and part not in getattr(found, "_fields", ()):
                return False
            found = getattr(found, part)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page: str) -> None:
    paths = {word for word in in_backticks(page) if PATH.fullmatch(word)} - OF_THE_STORE
    assert len(paths) > 10
    assert sorted(path for path in paths if not (PACKAGE / path).exists() and not (ROOT / path).exists()) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_name_exists(page: str) -> None:
    names = {word.removesuffix("()") for word in in_backticks(page) if not PATH.fullmatch(word)} - OF_THE_STORE
    names = {name for name in names if NAME.fullmatch(name)}
    assert names
    assert sorted(name for name in names if not exists(name)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    text = (ROOT / ".github" / page).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif "://" not in target:
            assert (ROOT / ".github" / target).exists()


def test_every_part_of_the_package_is_on_the_map() -> None:
    text = (
        (ROOT / ".github" / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Map")[2].partition("\n## ")[0]
    )
    mapped = {word.strip("/").removesuffix(".py") for word in re.findall(r"`([^`]+)`", text)}
    places = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert places - mapped == {"__init__"}
