"""The spec of a new job: what its options say, and what is captured where it is added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobq import clock
from jobq.job import Spec
from jobq.options.request import check_variables, current_directory, existing_directory, spec_fields
from jobq.settings import environment
from jobq.store.environment import capture, passed_on
from jobq.store.store import Store
from jobq.system import current_umask, utf8


def make_spec(store: Store, options: Mapping[str, Any], runner: str | None = None) -> Spec:
    """Return the spec that these options ask for; the directory, umask and environment are those of this process.

    Raises UsageError, NotSaved, TypeError for an option that there is not.
    """
    fields = spec_fields(options)
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


def edited_fields(options: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the fields of a spec, and the variables, that these options change. Raises as `make_spec`."""
    fields = spec_fields(options)
    if cwd := options.get("cwd"):
        fields["cwd"] = utf8(existing_directory(cwd))
    variables = options.get("env") or {}
    check_variables(variables)
    return fields, variables
