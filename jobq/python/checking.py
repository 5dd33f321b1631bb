"""Questions about functions, asked of the interpreter that would call them."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from jobq import python
from jobq.command import Record
from jobq.errors import UsageError

SCRIPT = f"{os.path.dirname(python.__file__)}/child.py"
LONGEST = 20.0  # seconds that the import of a module may take


class Unanswered(Exception):
    """The interpreter gave no answer; the message says why."""


def as_bytes(text: str) -> bytes:
    """Return what the system is given for text that was decoded as UTF-8, whatever the locale."""
    return text.encode("utf-8", "surrogateescape")


def ask(interpreter: str, question: Record, cwd: str, environ: Mapping[str, str]) -> Record:
    """Return the answer of an interpreter, which imports the module of the question. Raises UsageError if it is no.

    Raises Unanswered if there is none: the module does not end its import, or ends the process.
    """
    to_read, to_write = os.pipe()
    argv = [as_bytes(word) for word in (interpreter, "-u", SCRIPT, "--check", "{}", str(to_write))]
    variables = {as_bytes(name): as_bytes(value) for name, value in environ.items()}
    asked = tempfile.TemporaryFile()  # noqa: SIM115  # an argument has a limit, and is seen by others
    asked.write(json.dumps(question).encode("ascii"))
    asked.seek(0)
    try:
        process = subprocess.Popen(
            argv, cwd=as_bytes(cwd), env=variables, pass_fds=[to_write], start_new_session=True,
            stdin=asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as e:
        os.close(to_read)
        raise UsageError(f"{interpreter} can't be started: {e.strerror}", "name a Python with --python") from None
    finally:
        asked.close()
        os.close(to_write)
    with process:
        try:
            text = read_line(to_read, time.monotonic() + LONGEST)
        finally:
            os.close(to_read)
            with suppress(OSError):  # nothing is left of it
                os.killpg(process.pid, signal.SIGKILL)  # whatever the import has started
    try:
        answer: Record = json.loads(text)
    except ValueError:
        raise Unanswered("its import ends the process") from None
    if "refused" in answer:
        raise UsageError(str(answer["refused"]), str(answer.get("hint", "")))
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
    """Return the call as that interpreter finds it: function, path, and the options of its handler, if it has one.

    Raises as `ask`.
    """
    return ask(interpreter, {"args": [], "kwargs": {}, "path": None, **call}, cwd, environ)


def handlers_of(
    interpreter: str, modules: list[str], cwd: str, environ: Mapping[str, str]
) -> tuple[list[Record], list[str]]:
    """Return the handlers of these modules; of none: those of all packages that it has, and what can't be loaded.

    Raises as `ask`.
    """
    answer = ask(interpreter, {"modules": modules}, cwd, environ)
    return answer["handlers"], answer["broken"]
