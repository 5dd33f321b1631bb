"""Questions about functions, asked of the interpreter that would call them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from jobq import python
from jobq.command import Record
from jobq.errors import UsageError

SCRIPT = f"{os.path.dirname(python.__file__)}/child.py"
LONGEST = 20.0  # seconds that the import of a module may take
NO_CHECK = "--no-check adds the job all the same"


class Unanswered(Exception):
    """The interpreter gave no answer; the message says why."""


def ask(interpreter: str, question: Record, cwd: str, environ: Mapping[str, str]) -> Record:
    """Return the answer of an interpreter, which imports the module of the question. Raises UsageError if it is no.

    Raises Unanswered if there is none: the module does not end its import, or ends the process.
    """
    to_read, to_write = os.pipe()
    argv = [interpreter, "-u", SCRIPT, "--check", json.dumps(question), str(to_write)]
    try:
        process = subprocess.Popen(
            argv, cwd=cwd, env=dict(environ), pass_fds=[to_write], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as e:
        os.close(to_read)
        raise UsageError(f"{interpreter} can't be started: {e.strerror}", "name a Python with --python") from None
    finally:
        os.close(to_write)
    with process:
        try:
            text = read_line(to_read, time.monotonic() + LONGEST)
        finally:
            os.close(to_read)
            process.kill()
    try:
        answer: Record = json.loads(text)
    except ValueError:
        raise Unanswered("its import ends the process") from None
    if "refused" in answer:
        raise UsageError(str(answer["refused"]), NO_CHECK if "function" in question else "name modules that it has")
    return answer


def read_line(fd: int, until: float) -> bytes:
    """Return what is written up to the end of the line. Raises Unanswered at a monotonic time."""
    text = b""
    while not text.endswith(b"\n"):
        if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
            raise Unanswered(f"its import takes more than {LONGEST:g} s")
        data = os.read(fd, 1 << 16)
        if not data:
            break
        text += data
    return text


def check_call(interpreter: str, call: Mapping[str, Any], cwd: str, environ: Mapping[str, str]) -> Record:
    """Return the call as that interpreter understands it: function, path, args, kwargs, and the options of its handler.

    Raises as `ask`.
    """
    return ask(interpreter, {"args": [], "kwargs": {}, "path": None, **call}, cwd, environ)


def handlers_of(interpreter: str, modules: list[str], cwd: str, environ: Mapping[str, str]) -> list[Record]:
    """Return the handlers of these modules; of none: those of all packages that it has. Raises as `ask`."""
    return list(ask(interpreter, {"modules": modules}, cwd, environ)["handlers"])
