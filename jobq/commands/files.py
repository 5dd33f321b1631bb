"""Files that a command writes where a person says."""

from __future__ import annotations

import os
from collections.abc import Iterable

from jobq.errors import NotSaved, UsageError


def replace_file(path: str, parts: Iterable[bytes], mode: int = 0o666) -> None:
    """Write a new file that takes the place of an older one, all or nothing; `mode`: as open(2) takes it.

    What is no file, as a pipe or a terminal, gets the parts directly. Raises NotSaved.
    """
    target = target_of(path)
    is_file = is_replaced(target)
    temp = f"{target}.{os.getpid()}" if is_file else target
    try:
        fd = os.open(temp, os.O_WRONLY | (os.O_CREAT | os.O_EXCL if is_file else 0), mode)
        with open(fd, "wb") as f:
            for part in parts:
                f.write(part)
            f.flush()
            if is_file:
                os.fsync(fd)
                os.rename(temp, target)
    except BaseException as e:
        if is_file and os.path.lexists(temp):
            os.unlink(temp)
        if isinstance(e, OSError):
            raise NotSaved(path, e) from None
        raise


def target_of(path: str) -> str:
    """Return the file behind all links; the path itself where that names none, as /dev/stdout does for a pipe."""
    target = os.path.realpath(path)
    return target if os.path.exists(target) or not os.path.exists(path) else path


def is_replaced(target: str) -> bool:
    """Return True for a file, there or not: it gets a new one in its place. A pipe or a device is written to."""
    return os.path.isfile(target) or not os.path.exists(target)


def check_place(flag: str, path: str) -> None:
    """Raise UsageError if a new file can't be made there: better now than after an hour of work."""
    target = target_of(path)
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise UsageError(f"{flag}: the directory {folder} does not exist", "make it, or name another file")
    if os.path.isdir(target) or not os.access(folder if is_replaced(target) else target, os.W_OK):
        raise UsageError(f"{flag}: {path} can't be written", "name another file")


def append_to_file(path: str, text: str) -> None:
    """Append text to a file that there is, or a new one. Raises NotSaved."""
    try:
        with open(path, "a", encoding="utf-8") as f:
            f.write(text)
    except OSError as e:
        raise NotSaved(path, e) from None
