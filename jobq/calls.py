"""From a function, a handler or a name to the command of a job, with all that can be looked at in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobq.command import Call
from jobq.errors import UsageError
from jobq.options.request import call_command, module_of
from jobq.python import conversion, plain
from jobq.python.inside import Handler, current_job
from jobq.settings.levels import job_defaults
from jobq.system import utf8

Target = str | Callable[..., Any]
TOP_LEVEL = "define it at the top level of a module, under its own name"


def call_of(
    target: Target, args: Sequence[Any], kwargs: Mapping[str, Any], python: str | None, *, check: bool = True
) -> Call:
    """Return the command that makes this call, by this interpreter or `python`. Raises UsageError.

    `check`: refuse arguments that do not fit, if the function is known in this process.
    """
    if isinstance(args, str) or not isinstance(args, Sequence):
        raise UsageError(f"args is a list of arguments, not {args!r:.60}")
    if isinstance(target, str):
        name, path, function = target, None, loaded(target)
    else:
        function = target.function if isinstance(target, Handler) else target
        name, path = reference_of(function)
    shown = name.rpartition(":")[2]
    positional, named = as_json(list(args), shown), as_json(dict(kwargs), shown)
    if function is not None and check:
        try:
            conversion.convert_arguments(function, positional, named)
        except plain.Mismatch as e:
            raise UsageError(f"{shown} does not take these arguments: {e}", "nothing was added") from None
    return call_command(name, positional, named, python or sys.executable, path)


def options_of(handler: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a job: those that are given, and else those of its handler, if it has one (not None).

    Handlers are made to be called again and again: if nobody says otherwise, warm processes call them.
    """
    if handler is None:
        return dict(given)
    own = {name: value for name, value in handler.items() if name not in {"store", "python"}}
    usual = {} if "isolation" in job_defaults() else {"isolation": "warm"}
    return {**usual, **own, **given}


def as_json(value: Any, name: str) -> Any:
    """Return a value as the JSON that the job gets. Raises UsageError that names what is none."""
    if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        raise UsageError(f"the names of {name}'s arguments must be text")
    try:
        return json.loads(plain.dumps(value, "the argument"))
    except (plain.Mismatch, RecursionError) as e:
        why = "it is nested too deep" if isinstance(e, RecursionError) else str(e)
        raise UsageError(f"an argument of {name} is not JSON: {why}") from None


def loaded(name: str) -> Callable[..., Any] | None:
    """Return the function of that name, if its module is loaded; None if that can't be looked at. Raises UsageError."""
    module_name, _, path = name.partition(":")
    found: Any = sys.modules.get(module_name)
    if found is None or module_name == "__main__" or not path:
        return None
    for part in path.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{module_name} has no {path}", "nothing was added")
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(f"{name} can't be called", "nothing was added")
    return found.function if isinstance(found, Handler) else found


def reference_of(function: Callable[..., Any]) -> tuple[str, str | None]:
    """Return "module:name" of a function, and the directory of its module, or its file, if a job needs to know.

    Raises UsageError if a job could not find it.
    """
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, (type, type(sys))):
        raise UsageError(f"{function!r:.80} belongs to an object, which a job does not have", TOP_LEVEL)
    name = getattr(function, "__qualname__", "")
    module_name = getattr(function, "__module__", None) or getattr(owner, "__module__", None)
    if not name or not module_name:
        raise UsageError(f"{function!r:.80} has no name by which a job could find it", TOP_LEVEL)
    if "<" in name:
        raise UsageError(f"{name} is inside another function, where no job can find it", TOP_LEVEL)
    module = sys.modules.get(module_name)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not is_of(found, function):
        other = next((attribute for attribute, value in vars(module).items() if is_of(value, function)), None)
        if other is None:
            raise UsageError(f"{module_name} has no {name}, so no job could find it", TOP_LEVEL)
        name = other
    spec = getattr(module, "__spec__", None)
    if module_name != "__main__" and getattr(spec, "_initializing", False) and current_job().id is not None:
        raise UsageError(
            f"{module_name}, imported by a job, enqueues another one: put that under if __name__ == '__main__':",
            "only what stands there is left out when a job imports the script",
        )
    if module_name == "__main__" and spec is not None:  # python -m
        module_name = spec.name
    elif module_name == "__main__":
        file = getattr(module, "__file__", None)
        if file is None:
            raise UsageError(f"{name} was typed in, and a job can't find it", "put it into a file")
        full = os.path.abspath(file)
        return f"{module_of(full)}:{name}", utf8(full)
    return f"{module_name}:{name}", root_of(module, module_name)


def is_of(found: object, function: object) -> bool:
    """Return True if this is the function, or a handler of it. Methods are made anew by each look."""
    return found == function or (isinstance(found, Handler) and found.function is function)


def root_of(module: Any, name: str) -> str | None:
    """Return the directory from which a module was imported; None if any interpreter of its environment finds it."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    levels = name.count(".") + (os.path.basename(file) == "__init__.py")
    root = os.path.dirname(os.path.abspath(file))
    for _ in range(levels):
        root = os.path.dirname(root)
    installed = any(root.startswith(f"{prefix}/lib") for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix})
    return None if installed else utf8(root)
