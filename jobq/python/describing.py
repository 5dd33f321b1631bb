"""Look at functions in the interpreter that would call them: which there are, and whether arguments fit.

Loaded by `child.py --check`, so the same holds as there: standard library only, oldest Python 3.7.
"""

from __future__ import annotations

import inspect
import json
import os
import sys

from . import conversion, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

GROUP = "jobq.handlers"  # of entry points: a name and its function, or a module with handlers


def answer(child: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a question of `python.checking`: {"refused": sentence} if it is no."""
    try:
        if "modules" in request:
            return {"handlers": [described(*one) for one in handlers(child, request["modules"])]}
        return checked(child, request)
    except child.Final as e:
        return {"refused": str(e)}
    except BaseException as e:  # an import may raise anything
        what = request.get("function") or ", ".join(request["modules"]) or "a package with handlers"
        return {"refused": "the import of %s fails: %s" % (what, one_line(e))}


def one_line(error: BaseException) -> str:
    """Return an exception in a line."""
    try:
        text = str(error).strip().split("\n")[0]
    except Exception:
        text = ""
    return "%s: %s" % (type(error).__name__, text) if text else type(error).__name__


def checked(child: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Return the function, its arguments as the annotations read them, and the options of its jobs. Raises Final."""
    name, path = request["function"], request.get("path")
    if ":" not in name:
        name = by_name(child, name)
    found = child.find(name, path)
    target = child.inside_handler(found)
    try:
        conversion.bind(target, request["args"], request["kwargs"])
        args, kwargs = conversion.convert_arguments(target, request["args"], request["kwargs"])
        fitting = json.loads(plain.dumps({"args": args, "kwargs": kwargs}, "the arguments"))
    except plain.Mismatch as e:
        raise child.impossible("%s%s does not take these arguments: %s" % (name, signature(target), e)) from None
    own = options_of(found) if type(found).__name__ == "Handler" else None
    return {"function": name, "path": path, "options": own, **fitting}


def by_name(child: Any, name: str) -> str:
    """Return "module:function" of the handler of that name. Raises Final."""
    known = {handler_name: function for handler_name, function, _ in handlers(child, [])}
    if name not in known:
        what = "its handlers are %s" % ", ".join(sorted(known)) if known else "no package there registers handlers"
        raise child.impossible("%s has no handler %s; %s" % (sys.executable, name, what))
    return known[name]


def handlers(child: Any, modules: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, "module:function" and object of the handlers in these modules, and of installed packages.

    Raises what an import raises, and Final.
    """
    for module in modules:
        yield from in_module(child.load(module))
    if modules:
        return
    try:
        from importlib.metadata import entry_points
    except ImportError:  # Python 3.7
        return
    everything: Any = entry_points()
    chosen = everything.select(group=GROUP) if hasattr(everything, "select") else everything.get(GROUP, ())
    for entry in sorted(chosen, key=lambda entry: entry.name):
        if ":" in entry.value:
            yield entry.name, entry.value.replace(" ", ""), child.find(entry.value.replace(" ", ""))
        else:
            yield from in_module(child.load(entry.value))


def in_module(module: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """Yield the handlers that a module has made."""
    for attribute, found in sorted(vars(module).items()):
        if type(found).__name__ == "Handler" and hasattr(found, "function"):
            reference = "%s:%s" % (found.__module__, attribute)
            yield found.name or reference, reference, found


def described(name: str, reference: str, found: Any) -> dict[str, Any]:
    """Return what `jobq call --list` prints of a handler."""
    target = getattr(found, "function", found)
    doc = (inspect.getdoc(target) or "").strip().split("\n")[0]
    return {
        "name": name,
        "function": reference,
        "signature": signature(target),
        "doc": doc,
        "options": options_of(found),
    }


def signature(target: Any) -> str:
    """Return the parameters of a function as one would write them; "" if they are not known."""
    try:
        return str(inspect.signature(target))
    except (TypeError, ValueError):
        return ""


def options_of(found: Any) -> dict[str, Any]:
    """Return the options of the jobs of a handler, as JSON values."""
    options = getattr(found, "options", None) if type(found).__name__ == "Handler" else None

    def as_text(value: Any) -> Any:
        if isinstance(value, type):
            return (
                value.__name__ if value.__module__ == "builtins" else "%s.%s" % (value.__module__, value.__qualname__)
            )
        if isinstance(value, (list, tuple, set, frozenset)):
            return [as_text(one) for one in value]
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    return {name: as_text(value) for name, value in (options or {}).items() if name not in ("store", "python")}
