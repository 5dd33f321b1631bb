"""A type checker accepts what is right, and finds each wrong argument."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

SAMPLES = Path(__file__).parent.parent / "data" / "typing"


def errors(name: str, tmp_path: Path) -> list[tuple[int, str]]:
    options = [
        "--strict",
        "--no-error-summary",
        "--config-file=",
        f"--cache-dir={tmp_path}",
        "--disable-error-code=unused-ignore",
    ]
    told, crashed, _ = api.run([*options, str(SAMPLES / name)])
    assert crashed == ""
    return [(int(line), code) for line, code in re.findall(rf"{name}:(\d+): error: .*\[([\w-]+)\]", told)]


def test_right_calls_are_accepted_and_wrong_ones_found(tmp_path: Path) -> None:
    assert errors("good.py", tmp_path) == []
    lines = (SAMPLES / "bad.py").read_text().splitlines()
    marked = [(n, line.partition("# error: ")[2]) for n, line in enumerate(lines, 1) if "# error: " in line]
    assert sorted(set(errors("bad.py", tmp_path))) == marked
