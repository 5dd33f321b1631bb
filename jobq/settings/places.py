"""Places of settings and of the store: in the project (the working directory or above it), or with the person.

The store that is used is the one that is asked for, of the environment, of the project, of the person's file.

`jobq init` makes a store in a project and notes it here: the stores that this person has made, by their names (uuid)
and paths. Another store in a project may have come with a checkout, and hold jobs that somebody has planted: it is not
used.

    jobq-projects   beside the default store: a line for each, "UUID PATH"
"""

from __future__ import annotations

import os

from jobq.environ import default_store, full_path, has_user_file, project_file, upwards, variable, variables_named
from jobq.errors import NotSaved, UsageError
from jobq.system import open_plain, sync

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Iterator

# What else such variables are.
NO_SETTINGS = ("JOBQ_STORE", "JOBQ_CONFIG", "JOBQ_DEBUG", "JOBQ_TRACE_FRAMES", "JOBQ_JOB_")
PROJECT_STORE = ".jobq"
JOURNAL = "journal.jsonl"
HEADER_BYTES = 1 << 16
UUID = b'"uuid":"'


def is_anything_set() -> bool:
    """Return True if there may be settings at all: then it is worth to load what reads them."""
    return (
        any(not name.startswith(NO_SETTINGS) for name in variables_named("JOBQ_"))
        or has_user_file()
        or project_file() is not None
    )


def store_path(asked: str | None = None) -> str:
    """Return the directory of the store. Raises StoreForbidden, and UsageError if the person's file is wrong."""
    return full_path(asked) if asked else store_and_source()[0]


def store_and_source() -> tuple[str, str]:
    """Return the directory of the store, and what names it. Raises as `store_path`."""
    if path := variable("JOBQ_STORE"):
        return full_path(path), "JOBQ_STORE"
    if project := next((path for path in upwards(PROJECT_STORE) if is_own(path)), None):
        return project, "jobq init"
    if has_user_file():
        from jobq.settings.levels import persons_store  # noqa: PLC0415  # the quick `add` does without it

        path, source = persons_store()
        if path:
            return full_path(path), source
    return default_store(), "built in"


def strange_store() -> str | None:
    """Return the store of this project if it is not used because somebody else may have made it; else None."""
    if variable("JOBQ_STORE"):
        return None
    path = next(upwards(PROJECT_STORE), None)
    return path if path is not None and not is_own(path) and uuid_of(path) else None


def is_own(path: str) -> bool:
    """Return True if this person has made the store at `path`, or has accepted it."""
    uuid = "" if os.path.islink(path) else uuid_of(path)
    return bool(uuid) and (uuid, os.path.realpath(path)) in _lines()


def was_own(path: str) -> bool:
    """Return True if this person has made the store, wherever it was then."""
    uuid = uuid_of(path)
    return any(uuid == known for known, _ in _lines())


def uuid_of(path: str) -> str:
    """Return the name that the store at `path` was given when it was made; "" if there is none."""
    try:
        fd = open_plain(f"{path}/{JOURNAL}", os.O_RDONLY)
    except (OSError, ValueError):
        return ""
    try:
        header = os.pread(fd, HEADER_BYTES, 0).partition(b"\n")[0]
    except OSError:
        return ""
    finally:
        os.close(fd)
    return header.partition(UUID)[2].partition(b'"')[0].decode("ascii", "replace")


def note(path: str) -> None:
    """Note that this person's store is at `path`, by now. Raises NotSaved, StoreForbidden, UsageError.

    One write appends the line (open(2), O_APPEND), so that nothing that others note at this moment is lost.
    """
    path = os.path.realpath(path)
    if "\n" in path:
        raise UsageError(f"{path!r} has a line break in it", "make the store in another directory")
    notes = _notes()
    try:
        os.makedirs(os.path.dirname(notes), mode=0o700, exist_ok=True)
        fd = open_plain(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(fd, os.fsencode(f"\n{uuid_of(path)} {path}\n"))  # the line before may be torn
            sync(fd)
        finally:
            os.close(fd)
    except OSError as e:
        raise NotSaved(notes, e) from None


def _notes() -> str:
    return f"{default_store()}-projects"


def _lines() -> Iterator[tuple[str, str]]:
    try:
        fd = open_plain(_notes(), os.O_RDONLY)
    except OSError:
        return
    try:
        data = b""
        while more := os.read(fd, 1 << 16):
            data += more
    finally:
        os.close(fd)
    for line in os.fsdecode(data).split("\n"):
        uuid, _, path = line.partition(" ")
        if path:
            yield uuid, path
