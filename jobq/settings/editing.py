"""Changing a file of settings, and leaving alone whatever else a person has written into it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobq.environ import PROJECT_FILE, config_file, project_file
from jobq.errors import NotSaved, Refused, UsageError
from jobq.settings.keys import ROWS, SECTIONS, SETTINGS, Setting
from jobq.settings.levels import text_of, why_ignored
from jobq.settings.toml import line_of, read
from jobq.system import hold

PATIENCE = 10.0  # seconds for others that change the same file


def path_to_edit(*, in_project: bool) -> str:
    """Return the file of the project, or of the person, if it exists or not. Raises UsageError."""
    if in_project:
        return project_file() or os.path.abspath(PROJECT_FILE)
    path = config_file()
    if path is None:
        raise UsageError("you have no home directory for settings", "name a file with JOBQ_CONFIG")
    return path


def text_to_edit(path: str, *, in_project: bool) -> str:
    """Return the text of a file, "" if there is none. Raises UsageError, also for a file that is not read."""
    if not os.path.lexists(path):
        return ""
    if in_project and (why := why_ignored(path)):
        raise UsageError(f"{path} is not read: {why}", "remove it, or make it a file of yours")
    return text_of(path, in_project=in_project)


def with_value(text: str, row: Setting, value: Any) -> str:
    """Return the text with a value in the place of an older one, or behind the others.

    Raises Refused if the lines are such that a person has to do it.
    """
    section, _, key = row.name.rpartition(".")
    lines = text.split("\n")
    if at := line_of(text, row.name):
        before, _, _ = lines[at - 1].partition("=")
        after = [*lines[: at - 1], f"{before.rstrip()} = {row.written(value)}", *lines[at:]]
    else:
        place = _end_of(lines, section)
        new = [f"{key} = {row.written(value)}"]
        if place is None:
            place, new = _end_of(lines, None) or 0, ["", f"[{section}]", *new]
        after = [*lines[:place], *new, *lines[place:]]
    return _checked("\n".join(after), {**read(text, SECTIONS), row.name: value}, row.name)


def without(text: str, name: str) -> str:
    """Return the text without a value, known as a setting or not. Raises as `with_value`."""
    at = line_of(text, name)
    after = [line for number, line in enumerate(text.split("\n"), 1) if number != at]
    return _checked("\n".join(after), {key: found for key, found in read(text, SECTIONS).items() if key != name}, name)


def _checked(changed: str, wanted: dict[str, Any], name: str) -> str:
    """Return the changed text, which ends in a newline. Raises Refused if it does not say what is wanted."""
    try:
        found = read(changed, SECTIONS)
    except ValueError:
        found = {}
    if _all_taken(found) != _all_taken(wanted):
        raise Refused(f"the lines with {name} are not plain ones", "change them with 'jobq config edit'")
    return changed if changed.endswith("\n") or not changed else f"{changed}\n"


def _all_taken(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _taken(name, value) for name, value in values.items()}


def _taken(name: str, value: Any) -> Any:
    try:
        return SETTINGS[name].take(value) if name in SETTINGS else value
    except UsageError:
        return value  # wrong as it was


def _end_of(lines: list[str], section: str | None) -> int | None:
    """Return the number of lines up to the end of a section ("": what is before all sections; None: of all).

    None if there is no such section.
    """
    here, end = "", 0 if not section else None
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("["):
            here = line.partition("]")[0].strip("[ \t")
            if section == here:
                end = number
        if line.strip() and not line.strip().startswith("["):
            end = number if section is None or section == here else end
    return end


@contextmanager
def changing(path: str) -> Iterator[None]:
    """Let other processes that change this file wait until it is changed. Raises NotSaved."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            hold(fd, PATIENCE)
            yield
        finally:
            os.close(fd)
    except OSError as e:
        raise NotSaved(path, e) from None


def write(path: str, text: str) -> None:
    """Write a file of the person, all or nothing; a link stays, and its target changes. Raises NotSaved."""
    target = os.path.realpath(path)
    temp = f"{target}.{os.getpid()}"
    try:
        try:
            mode = stat.S_IMODE(os.stat(target).st_mode)
        except FileNotFoundError:
            mode = 0o644 if os.path.basename(path) == PROJECT_FILE else 0o600
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(fd, "w", encoding="utf-8", errors="surrogateescape", newline="") as f:
                f.write(text)
                f.flush()
                os.fsync(f.fileno())
            os.chmod(temp, mode)
            os.rename(temp, target)
        except OSError:
            os.unlink(temp)
            raise
    except OSError as e:
        raise NotSaved(path, e) from None


def example(*, in_project: bool) -> str:
    """Return a file with all settings as comments."""
    whose = "this project" if in_project else "you"
    lines = [
        f"# Settings of jobq for {whose}. Flags and variables (JOBQ_QUEUE=...) go before them; 'jobq config' shows all."
    ]
    section = ""
    for row in ROWS:
        if in_project and not row.in_project:
            continue
        here, _, key = row.name.rpartition(".")
        if here != section:
            lines += ["", f"[{here}]"]
            section = here
        default = row.option.default
        lines += ["", f"# {row.help}"]
        lines += [f"# {key} = {row.written(default)}"]
    return "\n".join(lines) + "\n"
