"""Look at functions in the interpreter that would call them: which there are, and whether arguments fit.

Loaded by `child.py --check`, so the same holds as there: standard library only, oldest Python 3.7.
"""

from __future__ import annotations

import inspect
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
            broken: list[str] = []
            found = [described(*one) for one in handlers(child, request["modules"], broken)]
            return {"handlers": found, "broken": broken}
        return checked(child, request)
    except child.Final as e:
        return {"refused": str(e), "hint": e.hint}
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
    """Return the function and the options of its jobs, if it takes these arguments. Raises Final."""
    name, path = request["function"], request.get("path")
    if ":" not in name:
        name = by_name(child, name)
    found = child.find(name, path)
    target = child.inside_handler(found)
    try:
        conversion.convert_arguments(target, request["args"], request["kwargs"])
    except plain.Mismatch as e:
        raise misfit(child, "%s%s does not take these arguments: %s" % (name, signature(target), e), request) from None
    return {"function": name, "path": path, "options": options_of(found)}


def misfit(child: Any, sentence: str, request: dict[str, Any]) -> Any:
    """Return the error for arguments that do not fit."""
    error = child.impossible(sentence)
    if any(isinstance(word, str) and word.startswith("--") for word in request["args"]):
        error.hint = "options of jobq go before the function"
    else:
        error.hint = "text, NAME=text and NAME:=JSON are possible; --no-check adds the job all the same"
    return error


def by_name(child: Any, name: str) -> str:
    """Return "module:function" of the handler of that name. Raises Final."""
    broken: list[str] = []
    known = {handler_name: function for handler_name, function, _ in handlers(child, [], broken)}
    if name in known:
        return known[name]
    near = child.like(name, list(known))
    what = "its handlers are %s" % ", ".join(sorted(known)) if known else "no package there registers handlers"
    error = child.impossible("%s has no handler %s; %s" % (sys.executable, name, "; ".join([what, *broken]) + near))
    module, dot, function = name.rpartition(".")
    example = name if ":" in name else "%s:%s" % (module, function) if dot else "%s:main" % name
    error.hint = "a function is named as MODULE:FUNCTION, as in %s" % example
    raise error


def handlers(child: Any, modules: list[str], broken: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Yield name, "module:function" and object of the handlers in these modules, and of installed packages, each once.

    `broken` gets a sentence for each entry point that can't be loaded. Raises what the import of a named module raises.
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
    told = set()
    for entry in sorted(chosen, key=lambda entry: entry.name):
        value = entry.value.replace(" ", "")
        try:
            found = [(entry.name, value, child.find(value))] if ":" in value else list(in_module(child.load(value)))
        except Exception as e:
            broken.append("its entry point %s = %s can't be loaded: %s" % (entry.name, value, one_line(e)))
            continue
        for one in found:
            if one[:2] not in told:
                told.add(one[:2])
                yield one


def in_module(module: ModuleType) -> Iterator[tuple[str, str, Any]]:
    """Yield the handlers that a module has made."""
    for attribute, found in sorted(vars(module).items()):
        if getattr(type(found), "jobq_handler", False):
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
        "options": options_of(found) or {},
    }


def signature(target: Any) -> str:
    """Return the parameters of a function as one would write them; "" if they are not known."""
    try:
        return str(inspect.signature(target))
    except (TypeError, ValueError):
        return ""


def options_of(found: Any) -> dict[str, Any] | None:
    """Return the options of the jobs of a handler, as JSON values; None for anything else."""
    if not getattr(type(found), "jobq_handler", False):
        return None

    def as_text(value: Any) -> Any:
        if isinstance(value, type):
            return (
                value.__name__ if value.__module__ == "builtins" else "%s.%s" % (value.__module__, value.__qualname__)
            )
        if isinstance(value, (list, tuple, set, frozenset)):
            return [as_text(one) for one in value]
        for seconds in ("total_seconds", "timestamp"):  # of timedelta and datetime
            if hasattr(value, seconds):
                return getattr(value, seconds)()
        if isinstance(value, dict):
            return {str(name): as_text(one) for name, one in value.items()}
        return value if isinstance(value, (str, int, float, type(None))) else str(value)

    return {name: as_text(value) for name, value in found.options.items() if name not in ("store", "python")}
