"""Settings as TOML (toml.io): read by their names, with the lines where they stand.

Plain lines are read here, as `tomllib` takes longer to load than all of `jobq add`; it reads whatever else there is.
"""

from __future__ import annotations

from jobq.options.values import WORD_CHARACTERS

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

LONGEST_NUMBER = 18  # digits


def read(text: str, sections: Collection[str]) -> dict[str, Any]:
    """Return the values by name; those of a section are named "section.name". Raises ValueError for what is no TOML."""
    found = plain(text, sections)
    if found is not None:
        return found
    import tomllib  # noqa: PLC0415

    return flat(tomllib.loads(text), sections)


def flat(document: Mapping[str, Any], sections: Collection[str]) -> dict[str, Any]:
    """Return the values of a document by their names."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name in sections and isinstance(value, dict):
            found |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            found[name] = value
    return found


def plain(text: str, sections: Collection[str]) -> dict[str, Any] | None:
    """Return the same for a text of plain lines only, None for any other."""
    if "\r" in text:
        return None
    found: dict[str, Any] = {}
    begun: set[str] = set()
    prefix = ""
    for line in text.split("\n"):
        stripped = line.strip(" \t")
        if not stripped or stripped[0] == "#":
            if not _is_printable(stripped):
                return None
            continue
        if stripped[0] == "[":
            section = stripped[1:-1]
            if stripped[-1] != "]" or section not in sections or section in begun or section in found:
                return None
            begun.add(section)
            prefix = f"{section}."
            continue
        key, equals, rest = stripped.partition("=")
        name = prefix + key.rstrip(" \t")
        value = _plain_value(rest.strip(" \t"))
        if not equals or value is None or not key.rstrip(" \t") or not WORD_CHARACTERS.issuperset(key.rstrip(" \t")):
            return None
        if name in found or (not prefix and name in sections):
            return None
        found[name] = value
    return found


def _plain_value(text: str) -> Any:
    """Return the string, whole number, bool or list of strings; None for anything else."""
    if text in {"true", "false"}:
        return text == "true"
    digits = text.removeprefix("-")
    if (
        digits.isascii()
        and digits.isdecimal()
        and len(digits) <= LONGEST_NUMBER
        and (digits[0] != "0" or digits == "0")
    ):
        return int(text)
    if len(text) > 1 and text[0] == "[" and text[-1] == "]":
        parts = [_plain_string(part.strip(" \t")) for part in text[1:-1].split(",")] if text[1:-1].strip(" \t") else []
        return None if None in parts else parts
    return _plain_string(text)


def _plain_string(text: str) -> str | None:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"' or not _is_printable(text):
        return None
    inner = text[1:-1]
    return None if '"' in inner or "\\" in inner else inner


def _is_printable(text: str) -> bool:
    return text.isprintable() or text.replace("\t", " ").isprintable()


def line_of(text: str, name: str) -> int:
    """Return the number of the line that sets this name, 0 if it is not found."""
    section, _, key = name.rpartition(".")
    here = ""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            here = stripped.partition("]")[0].strip("[ \t")
        if stripped.startswith("[") and here == name:
            return number
        written = stripped.partition("=")[0].strip(" \t\"'")
        if "=" in stripped and ((here == section and written == key) or (not here and written == name)):
            return number
    return 0
