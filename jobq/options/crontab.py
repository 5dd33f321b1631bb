"""Crontabs as crontab(5) describes them, and what becomes of each line as a schedule of jobq."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, count

from jobq.typed import NamedTuple

VARIABLE = re.compile(r"""\s*("[^"]*"|'[^']*'|[A-Za-z_]\w*)\s*=(.*)""", re.ASCII)
TIMES = re.compile(r"(@\w+|(?:\S+\s+){4}\S+)\s+(.+)")
NOT_SET = frozenset({"MAILTO", "MAILFROM", "CRON_TZ", "RANDOM_DELAY", "START_HOURS_RANGE", "CONTENT_TYPE"})
NOTES = {
    "MAILTO": "jobq sends no mail: 'jobq log' has the output, --on-failure runs what tells you",
    "MAILFROM": "jobq sends no mail",
    "RANDOM_DELAY": "there is no random delay",
    "START_HOURS_RANGE": "there is no range of hours",
}


class Entry(NamedTuple):
    """A line that becomes a schedule. `given`: the text for its standard input, behind the first "%"."""

    number: int
    when: str
    command: str
    given: str | None
    variables: dict[str, str]
    zone: str | None


class Note(NamedTuple):
    """A remark on a line; `refused`: it becomes nothing, though something was asked for."""

    number: int
    text: str
    refused: bool = False


def parse(text: str, *, system: bool = False, me: str = "") -> Iterator[Entry | Note]:
    """Yield what each line says, in order. `system`: each names a user, and only lines for `me` count."""
    variables: dict[str, str] = {}
    zone: str | None = None
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if variable := VARIABLE.fullmatch(line):
            name, value = _unquoted(variable[1]), _unquoted(variable[2].strip())
            if name == "CRON_TZ":
                zone = value or None
            if name == "SHELL" and value not in {"/bin/sh", "sh"}:
                yield Note(number, f"commands are run by {value} -c")
            if name in NOTES and value:
                yield Note(number, f"{name} is left out: {NOTES[name]}")
            if name not in NOT_SET:
                variables[name] = value
            continue
        if stripped[0] == "-":  # cronie: nothing of it is to be written to syslog, and nothing is
            stripped = stripped[1:]
        yield _entry(number, stripped, variables, zone, system=system, me=me)


def _entry(
    number: int, line: str, variables: dict[str, str], zone: str | None, *, system: bool, me: str
) -> Entry | Note:
    match = TIMES.fullmatch(line)
    if match is None:
        return Note(number, f"{line!r:.60} is no line of a crontab", refused=True)
    when, rest = match[1], match[2]
    if when.lower() == "@reboot":
        return Note(number, "@reboot has no time: start 'jobq worker' then, and add the job there", refused=True)
    if system:
        user, *words = rest.split(None, 1)
        rest = words[0] if words else ""
        if not rest:
            return Note(number, f"no command stands behind the user {user!r:.40}", refused=True)
        if user != me:
            return Note(number, f"it is for the user {user!r:.40}, and would run as {me}", refused=True)
    command, given = _split_percent(rest.strip())
    if not command.strip():
        return Note(number, "the command is empty", refused=True)
    return Entry(number, when, command, given, dict(variables), zone)


def _split_percent(text: str) -> tuple[str, str | None]:
    """Return the command and its input: "%" stands for a newline, the first one ends the command, and "\\%" is one."""
    parts = [part.replace("\0", "%") for part in text.replace("\\%", "\0").split("%")]
    return parts[0], "\n".join(parts[1:]) + "\n" if len(parts) > 1 else None


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def name_of(command: str, taken: set[str], number: int) -> str:
    """Return a name for the schedule of a command: its program, with a number if that is taken."""
    words = [word for word in command.split() if "=" not in word] or [command]
    base = re.sub(r"[^\w.-]+", "-", words[0].rsplit("/", 1)[-1]).strip("-.") or "line"
    name = base[:40] if not base[:1].isdecimal() else f"job-{base[:40]}"
    names = chain([name, f"{name}-line-{number}"], (f"{name}-{n}" for n in count(2)))
    return next(one for one in names if one not in taken)
