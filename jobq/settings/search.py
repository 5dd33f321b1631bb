"""Finding settings: files of the project, in the working directory or above it, of the person, and variables."""

from __future__ import annotations

import os

from jobq.environ import config_file, variables_named

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT_FILE = ".jobq.toml"
# What else such variables are.
NO_SETTINGS = ("JOBQ_STORE", "JOBQ_CONFIG", "JOBQ_DEBUG", "JOBQ_TRACE_FRAMES", "JOBQ_JOB_")


def upwards(name: str) -> Iterator[str]:
    """Yield the paths of this name that exist in the working directory and above it, the nearest first."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return
    while True:
        path = f"{folder.rstrip('/')}/{name}"
        if os.path.lexists(path):
            yield path
        if folder == "/":
            return
        folder = os.path.dirname(folder)


def is_anything_set() -> bool:
    """Return True if there may be settings at all: then it is worth to load what reads them."""
    return (
        any(not name.startswith(NO_SETTINGS) for name in variables_named("JOBQ_"))
        or has_user_file()
        or next(upwards(PROJECT_FILE), None) is not None
    )


def has_user_file() -> bool:
    """Return True if the person has a file of settings."""
    path = config_file()
    return path is not None and os.path.lexists(path)
