"""Calls one Python function for a job, in whatever interpreter the job was added from.

Run by path as `python -u child.py MODULE:FUNCTION ARGUMENTS RESULT`: ARGUMENTS is JSON, {"args": [], "kwargs": {}},
RESULT the file that gets {"result": ...} or {"error": {"type", "message", "traceback"}}, as JSON. What the function
prints goes where the job's output goes, and so does the traceback. A coroutine is run to its end.

Exit status: 0 it returned; 1 it raised, or returned what is not JSON; 127 there is no such module or function; anything
else is its own doing. Standard library only, nothing of jobq: the interpreter need not have it. Oldest Python: 3.7.
"""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MOST_RESULT = 16 << 20  # bytes


class Missing(Exception):
    """The module or the function is not there: trying again is of no use."""


def main() -> int:
    """Call it, write down how it went; the exit status."""
    function, arguments, path = sys.argv[1:4]
    sys.path[0] = os.getcwd()  # as `python -m` has it: the files beside this one would hide the user's
    sys.argv[:] = [function]
    call = json.loads(arguments)
    try:
        result = find(function)(*call["args"], **call["kwargs"])
        if hasattr(result, "__await__"):
            import asyncio  # noqa: PLC0415

            result = asyncio.run(result)
        text = json.dumps({"result": result}, allow_nan=False)
        if len(text) > MOST_RESULT:
            raise ValueError(f"the result takes {len(text)} bytes as JSON; the limit is {MOST_RESULT}")
    except SystemExit:
        raise
    except BaseException as e:  # whatever it is, it is the result
        write(path, json.dumps({"error": describe(e)}))
        return 127 if isinstance(e, Missing) else 1
    write(path, text)
    return 0


def find(function: str) -> Callable[..., Any]:
    """The function that "module:name" or "module:name.name" stands for. Raises Missing, and what the import raises."""
    import importlib  # noqa: PLC0415

    module_name, _, names = function.partition(":")
    try:
        found = importlib.import_module(module_name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{module_name}.".startswith(f"{e.name}."):
            raise  # the module is there, and lacks something itself
        raise Missing(f"there is no module {e.name} for {sys.executable} in {os.getcwd()}") from None
    for name in names.split("."):
        if not hasattr(found, name):
            raise Missing(f"{module_name} has no {names}")
        found = getattr(found, name)
    if not callable(found):
        raise Missing(f"{function} can't be called")
    return found


def describe(error: BaseException) -> dict[str, str]:
    """Type, message and traceback, without the frames of this file; the traceback is printed, too."""
    import traceback  # noqa: PLC0415

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    sys.stderr.write(text)
    sys.stderr.flush()
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return {"type": name, "message": str(error)[:2000], "traceback": text[-20000:]}


def write(path: str, text: str) -> None:
    """Make the file, whole or not at all."""
    temp = f"{path}.tmp"
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "w") as f:
        f.write(text)
    os.chmod(temp, 0o600)
    os.rename(temp, path)


if __name__ == "__main__":
    sys.exit(main())
