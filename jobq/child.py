"""Calls one Python function for a job, in whatever interpreter the job was added from.

Run by path as `python -u child.py MODULE:FUNCTION ARGUMENTS RESULT`: ARGUMENTS is JSON, {"args": [], "kwargs": {}},
RESULT the file that gets {"result": ...} or {"error": {"type", "message", "traceback"}}, as JSON. What the function
prints goes where the job's output goes, and so does the traceback. A coroutine is run to its end.

Exit status: 0 it returned; 1 it raised, or returned what is not JSON; 2 it does not take these arguments, or this
Python is too old; 127 there is no such module or function; anything else is its own doing. Standard library only,
nothing of jobq: the interpreter need not have it. Oldest Python: 3.7; older ones must be able to read this file, to be
told so, which is why its types are comments.
"""

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable  # noqa: F401
    from typing import Any  # noqa: F401

MOST_RESULT = 16 << 20  # bytes


class Impossible(Exception):
    """It can't be called: trying again is of no use."""

    def __init__(self, sentence, status):  # type: (str, int) -> None
        Exception.__init__(self, sentence)
        self.status = status


def main():  # type: () -> int
    """Call it, write down how it went; the exit status."""
    function, arguments, path = sys.argv[1:4]
    if sys.version_info < (3, 7):
        sys.stderr.write("jobq: functions need Python 3.7 or newer; %s is older\n" % sys.executable)
        return 2
    sys.path[0] = os.getcwd()  # as `python -m` has it: the files beside this one would hide the user's
    sys.argv[:] = [function]
    call = json.loads(arguments)
    try:
        target = find(function)
        check(target, function, call)
        text = as_json(run(target, call), function)
    except SystemExit:
        raise
    except BaseException as e:  # whatever it is, it is the result
        write(path, json.dumps({"error": describe(e)}))
        return e.status if isinstance(e, Impossible) else 1
    write(path, text)
    return 0


def find(function):  # type: (str) -> Callable[..., Any]
    """What "module:name" or "module:name.name" stands for. Raises Impossible, and what the import raises."""
    import importlib

    module_name, _, names = function.partition(":")
    try:
        found = importlib.import_module(module_name)  # type: Any
    except ImportError as e:
        if not isinstance(e, ModuleNotFoundError) or not (module_name + ".").startswith("%s." % e.name):
            raise  # the module is there, and lacks something itself
        e.__suppress_context__ = True
        raise Impossible("there is no module %s for %s in %s" % (e.name, sys.executable, os.getcwd()), 127)
    for name in names.split("."):
        if not hasattr(found, name):
            raise Impossible("%s has no %s" % (module_name, names), 127)
        found = getattr(found, name)
    if not callable(found):
        raise Impossible("%s can't be called" % function, 127)
    return found  # type: ignore[no-any-return]


def check(target, function, call):  # type: (Callable[..., Any], str, dict[str, Any]) -> None
    """Raises Impossible if it does not take these arguments."""
    import inspect

    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):
        return  # written in C: it will say so itself
    try:
        signature.bind(*call["args"], **call["kwargs"])
    except TypeError as e:
        raise Impossible("%s%s does not take these arguments: %s" % (function, signature, e), 2)


def run(target, call):  # type: (Callable[..., Any], dict[str, Any]) -> Any
    """What it returns."""
    result = target(*call["args"], **call["kwargs"])
    if hasattr(result, "__await__"):
        import asyncio

        result = asyncio.run(result)
    return result


def as_json(result, function):  # type: (object, str) -> str
    """What is written of a result. Raises TypeError if it is not JSON, ValueError if it is too much."""
    try:
        text = json.dumps({"result": result}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as e:
        kind = type(result).__name__
        raise TypeError("%s has run, but what it returned (a %s) is not JSON: %s" % (function, kind, e))
    if len(text) > MOST_RESULT:
        raise ValueError("%s returned %d bytes of JSON; the limit is %d" % (function, len(text), MOST_RESULT))
    return text


def describe(error):  # type: (BaseException) -> dict[str, str]
    """Type, message and traceback, without the frames of this file; the traceback is printed, too."""
    import traceback

    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    if frames is None:
        error.__suppress_context__ = True  # we raised it ourselves
    kind = type(error)
    plain = kind.__module__ in {"builtins", "__main__"}
    name = kind.__qualname__ if plain else "%s.%s" % (kind.__module__, kind.__qualname__)
    if isinstance(error, Impossible):
        text = "%s\n" % error
    else:
        text = "".join(traceback.format_exception(kind, error, frames))
    sys.stderr.write(text)
    sys.stderr.flush()
    return {"type": name, "message": str(error)[:2000], "traceback": text[-20000:]}


def write(path, text):  # type: (str, str) -> None
    """Make the file, whole or not at all."""
    temp = path + ".tmp"
    try:
        os.unlink(temp)  # of a try that was cut short
    except OSError:
        pass
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.fchmod(fd, 0o600)
    with open(fd, "w") as f:
        f.write(text)
    os.rename(temp, path)


if __name__ == "__main__":
    sys.exit(main())
