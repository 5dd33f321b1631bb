"""The levels of settings: the environment, the project's file, the person's file. The first that has a value counts.

Flags go before all of them, and what no level sets is built in (`settings.keys`). No file that another user could have
written counts, as it would start that user's commands: that of a project is not read, that of the person is refused.
"""

from __future__ import annotations

import os
import stat

from jobq.environ import config_file, has_user_file, project_file, variable
from jobq.errors import UsageError
from jobq.settings.keys import ROWS, SECTIONS, SETTINGS, setting
from jobq.settings.toml import line_of, read

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from typing import Any

MOST_BYTES = 1 << 20  # of a file


class Level:
    """The values of one level, by name, as they are stored. `text`: of the file; "" for the environment."""

    def __init__(self, path: str, values: dict[str, Any], text: str = "") -> None:
        self.path = path
        self.values = values
        self._text = text

    def source(self, name: str) -> str:
        """Return where the value of this name stands: a variable, or a file and a line."""
        return f"{self.path}:{line_of(self._text, name)}" if self.path else SETTINGS[name].variable


def levels() -> list[Level]:
    """Return all levels that there are, the strongest first. Raises UsageError for what is wrong in one."""
    found = [environment_level()]
    found += [level for level in (project_level(), user_level()) if level is not None]
    return found


def environment_level() -> Level:
    """Return the settings of the variables JOBQ_*. Raises UsageError."""
    values: dict[str, Any] = {}
    for row in ROWS:
        text = variable(row.variable)
        if text and row.name != "store":  # which `places.store_path` takes as it is
            try:
                values[row.name] = row.parse(text)
            except UsageError as e:
                raise UsageError(f"{row.variable}: {e}", e.hint) from None
    return Level("", values)


def project_level() -> Level | None:
    """Return the settings of the project's file, None if there is none. Raises UsageError."""
    path = project_file()
    return None if path is None or why_ignored(path) else file_level(path, in_project=True)


def user_level() -> Level | None:
    """Return the settings of the person's file, None if there is none. Raises UsageError."""
    path = config_file()
    return None if path is None or not has_user_file() else file_level(path)


def persons_store() -> tuple[str, str]:
    """Return the store that the person's file names, and where; "" if it names none.

    Mistakes elsewhere in it are left to those who need more of it. Raises UsageError.
    """
    path = config_file() or ""
    text = text_of(path)
    try:
        value = read(text, SECTIONS).get("store")
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path}: {e}", "'jobq config edit' opens it") from None
    source = f"{path}:{line_of(text, 'store')}"
    try:
        return (SETTINGS["store"].take(value) or "", source) if value is not None else ("", "")
    except UsageError as e:
        raise UsageError(f"{source}: {e}", e.hint) from None


def why_ignored(path: str) -> str:
    """Return why a project's file is not read: another user could have written it. "" if none could."""
    try:
        status = os.lstat(path)
    except OSError:
        return ""  # reading it says what is wrong
    if not stat.S_ISREG(status.st_mode):
        return "it is no plain file"
    if status.st_uid not in {os.geteuid(), 0}:
        return f"it belongs to user {status.st_uid}"
    if stat.S_IMODE(status.st_mode) & stat.S_IWOTH:
        return "everybody can write it"
    return ""


def file_level(path: str, *, in_project: bool = False) -> Level:
    """Return the settings of a file. Raises UsageError that names the file, the line, and the nearest right name."""
    text = text_of(path, in_project=in_project)
    return Level(path, values_of(text, path, in_project=in_project), text)


def text_of(path: str, *, in_project: bool = False) -> str:
    """Return the text of a file. Raises UsageError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_NOFOLLOW if in_project else 0))
        with open(fd, "rb") as f:
            if not in_project:
                _check_persons(path, os.fstat(fd))
            data = f.read(MOST_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: {getattr(e, 'strerror', None) or 'it is not UTF-8'}", "see 'jobq config'") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path} has more than {MOST_BYTES} bytes", "that is no file of settings")
    return text


def _check_persons(path: str, status: os.stat_result) -> None:
    """Raise UsageError if another user could have written the person's file: it names commands that are run."""
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is no file", "remove it, or name another one with JOBQ_CONFIG")
    if status.st_uid not in {os.geteuid(), 0}:
        raise UsageError(f"{path} belongs to user {status.st_uid}", "name one of your own with JOBQ_CONFIG")
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise UsageError(f"{path} can be written by others", f"chmod go-w {path}")


def values_of(text: str, path: str, *, in_project: bool = False) -> dict[str, Any]:
    """Return the settings of a text. Raises UsageError that names the file, the line, and the nearest right name."""
    try:
        written = read(text, SECTIONS)
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path}: {e}", 'write lines like: retries = 5, timeout = "10m"') from None
    values: dict[str, Any] = {}
    for name, value in written.items():
        try:
            row = setting(name)
            if in_project and not row.in_project:
                raise UsageError(f"a project's file may not set {name}", f"'jobq config set {name}' sets it for you")
            values[name] = row.take(value)
        except UsageError as e:
            raise UsageError(f"{path}:{line_of(text, name)}: {e}", e.hint) from None
    return values


def given() -> dict[str, Any]:
    """Return what is set on any level, by name. Raises UsageError."""
    found: dict[str, Any] = {}
    for level in reversed(levels()):
        found |= level.values
    return found


def values(*names: str) -> list[Any]:
    """Return the values of these settings, built-in ones included. Raises UsageError."""
    found = given()
    return [found.get(name, SETTINGS[name].option.default) for name in names]


def job_defaults() -> dict[str, Any]:
    """Return the options that all jobs get which do not ask for others. Raises UsageError."""
    return {name: value for name, value in given().items() if SETTINGS[name].of_job}
