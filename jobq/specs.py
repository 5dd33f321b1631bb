"""The spec of a new job: what its options say, and what is captured where it is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobq import clock
from jobq.errors import UsageError
from jobq.job import Job, Spec
from jobq.options.request import check_variables, current_directory, existing_directory, of_add, spec_fields
from jobq.options.selectors import parse
from jobq.options.table import BY_NAME
from jobq.settings import environment
from jobq.store.environment import capture, passed_on
from jobq.store.selection import resolve
from jobq.store.store import Store
from jobq.system import current_umask, utf8


def make_spec(store: Store, options: Mapping[str, Any], runner: str | None = None) -> Spec:
    """Return the spec that these options ask for; the directory, umask and environment are those of this process.

    Raises UsageError, NotSaved, TypeError for an option that there is not.
    """
    fields = spec_fields(options) | parents(store, options)
    cwd, variables = options.get("cwd"), options.get("env") or {}
    check_variables(variables)
    directory = existing_directory(cwd) if cwd else current_directory()
    environ = environment()
    return Spec(
        cwd=utf8(directory),
        env=store.save_environment(capture(environ, variables)),
        umask=current_umask(),
        runner=runner,
        vars=tuple(passed_on(environ, variables).items()),
        asked=clock.now() if fields.keys() & {"delay", "expires"} else None,
        **fields,
    )


def parents(store: Store, options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the ids of the jobs that the options name as those to wait for. Raises UsageError, NotFound."""
    found = {}
    for name in ("after", "after_any", "after_fail"):
        if (given := options.get(name)) is not None:
            words = given if isinstance(given, (list, tuple)) else [given]
            selectors = [parse(BY_NAME[name].take(_as_word(name, word))) for word in words]
            store.read()
            found[name] = tuple(sorted(resolve(store, selectors).ids))
    return found


def _as_word(name: str, word: object) -> str:
    if isinstance(word, Job):
        return str(word.id)
    if isinstance(word, (str, int)) and not isinstance(word, bool):
        return str(word)
    raise UsageError(f"{name} can't be {word!r:.60}", "give jobs, ids or names")


def edited_fields(store: Store, options: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the fields of a spec, and the variables, that these options change. Raises as `make_spec`."""
    if refused := of_add(options):
        raise UsageError(f"{BY_NAME[min(refused)].flags[0]} is for new jobs", "leave it out")
    fields: dict[str, Any] = spec_fields(options) | parents(store, options)
    if cwd := options.get("cwd"):
        fields["cwd"] = utf8(existing_directory(cwd))
    variables = options.get("env") or {}
    check_variables(variables)
    return fields, variables
