"""The words before a command, and what can be known of a command line without the parser, which takes long to load."""

from __future__ import annotations

from collections.abc import Sequence

ENDING_OPTIONS = frozenset({"add", "call", "run"})  # commands whose options end at the first word of a job's command
WITHOUT_JSON = frozenset({("schedule", "add"), ("schedule", "update")})  # ... and that print none
WITH_VALUE = frozenset(  # their options that take a value, beside those of a job
    {"--from", "--jsonl", "--jobs", "-j", "--halt", "--output", "--junit", "--mask", "--python"}
)


def own_options(words: Sequence[str]) -> list[str]:
    """Return the words before the command: options of jobq itself."""
    at = 0
    while at < len(words) and words[at].startswith("--"):
        if words[at] not in {"--store", "--color", "--quiet"} and not words[at].startswith(("--store=", "--color=")):
            break
        at += 2 if words[at] in {"--store", "--color"} else 1
    return list(words[:at])


def wants_json(words: Sequence[str]) -> bool:
    """Return True if --json is an option of jobq, and not a word of a command that it is to run."""
    rest = words[len(own_options(words)) :]
    if "--json" not in rest or tuple(rest[:2]) in WITHOUT_JSON:
        return False
    if rest[0] not in ENDING_OPTIONS:
        return True
    from jobq.options.table import OPTIONS  # noqa: PLC0415  # only where it is asked

    with_value = WITH_VALUE.union(*(option.flags for option in OPTIONS if option.kind.metavar))
    at = 1
    while at < len(rest) and rest[at].startswith("-") and rest[at] != "--":
        if rest[at] == "--json":
            return True
        at += 2 if rest[at] in with_value else 1
    return False
