"""The JSON Schema of what commands print with --json (json-schema.org, draft 2020-12)."""

from __future__ import annotations

from typing import Any

from jobq.job import Outcome, State
from jobq.options.groups import Jobs, Locks, Meta, Pairs
from jobq.options.kinds import Instant
from jobq.options.table import OPTIONS, JobOption
from jobq.views.envelope import VERSION

TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
TIME: dict[str, Any] = {"type": ["string", "null"], "format": "date-time"}
ID: dict[str, Any] = {"type": "integer", "minimum": 1}
SECONDS: dict[str, Any] = {"type": ["number", "null"]}
TEXT: dict[str, Any] = {"type": ["string", "null"]}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def schema() -> dict[str, Any]:
    """Return one schema that holds for every document."""
    documents = {
        "jobs": _object(jobs=_list("job")),
        "added": _object(jobs=_list("added_job")),
        "cancelled": _object(jobs=_list("job"), refused={"type": "array", "items": _ref("error")}),
        "event": _event(),
        "stats": _object(queues=_list("figures"), commands=_list("figures")),
        "error_document": _object(error=_ref("error")),
        "other": _object(),  # settings, queues, schedules, resources, sizes: only the envelope is described
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What jobq prints with --json",
        "$defs": {
            "job": _job(),
            "attempt": _attempt(),
            "added_job": {"type": "object", "properties": {"id": ID, "deduplicated": _BOOL, "replaced": _BOOL},
                      "required": ["id", "deduplicated"]},
            "error": {"type": "object", "properties": {"message": {"type": "string"}, "hint": TEXT},
                      "required": ["message", "hint"]},
            "figures": _figures(),
            **documents,
        },
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in documents],
    }  # fmt: skip


_BOOL = {"type": "boolean"}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _object(**keys: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a document with these keys."""
    keys = {"jobq": {"const": VERSION}, **keys}
    return {"type": "object", "properties": keys, "required": list(keys)}


def _closed(**keys: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object that always has all of these keys."""
    return {"type": "object", "properties": keys, "required": list(keys)}


def _option(option: JobOption) -> dict[str, Any]:
    kind = option.kind
    if isinstance(kind, Instant):
        return {**TIME, "description": option.help}
    if isinstance(kind, Meta):
        return {"description": option.help}
    if isinstance(kind, Pairs):
        return {"type": "object", "description": option.help}
    if isinstance(kind, (Locks, Jobs)):
        return {"type": "array", "description": option.help}
    types = sorted({TYPES[one] for one in option.kind.stored.types if one in TYPES} | {"null"})
    return {"type": types, "description": option.help}


def _job() -> dict[str, Any]:
    own: dict[str, Any] = {
        "id": ID,
        "name": TEXT,
        "state": {"enum": [str(state) for state in State]},
        "reason": TEXT,
        "progress": {"type": ["object", "null"], "properties": {"fraction": SECONDS, "text": TEXT, "at": TIME}},
        "command": {"type": ["string", "array", "object"]},
        "cwd": {"type": "string"},
        **{option.name: _option(option) for option in OPTIONS if option.in_spec and option.name != "name"},
        "retries_used": COUNT,
        "added_at": TIME,
        "finished_at": TIME,
        "place": {"type": ["number", "null"]},
        "skipped_for": {"type": ["integer", "null"]},
        "cancel_asked_at": TIME,
        "acknowledged": _BOOL,
        "exit_code": {"type": ["integer", "null"]},
        "attempts": _list("attempt"),
        "history": {"type": "array", "items": _closed(event={"type": "string"}, at=TIME)},
    }
    optional: dict[str, Any] = {
        "waited": {"type": "object", "additionalProperties": {"type": "number"}},
        "result": {},
        "raised": {"type": ["object", "null"]},
        "steps": {
            "type": "array",
            "items": _closed(name={"type": "string"}, attempt=ID, status=COUNT, at=TIME, seconds=SECONDS),
        },
    }
    return {"type": "object", "properties": {**own, **optional}, "required": list(own)}


def _step() -> dict[str, Any]:
    return _closed(name={"type": "string"}, attempt=ID, status=COUNT, at=TIME, seconds=SECONDS)


def _attempt() -> dict[str, Any]:
    return _closed(
        n=ID, worker={"type": "string"}, claimed_at=TIME, started_at=TIME, ended_at=TIME,
        outcome={"enum": [*map(str, Outcome), None]}, status={"type": ["integer", "null"]},
        signal={"type": ["integer", "null"]}, error=TEXT, user_s=SECONDS, system_s=SECONDS,
        max_rss_kib={"type": ["integer", "null"]}, log_bytes={"type": ["integer", "null"]},
        log_dropped={"type": ["integer", "null"]}, replaced=TEXT, given={"type": "object"},
    )  # fmt: skip


def _event() -> dict[str, Any]:
    return _object(
        cursor={"type": "string"}, at=TIME, event={"type": "string"}, job=ID, name=TEXT, queue={"type": "string"},
        attempt={"type": ["integer", "null"]}, outcome={"enum": [*map(str, Outcome), None]},
        exit_code={"type": ["integer", "null"]},
    )  # fmt: skip


def _figures() -> dict[str, Any]:
    times = _closed(p50=SECONDS, p90=SECONDS, max=SECONDS)
    return _closed(
        name={"type": "string"}, jobs=COUNT, succeeded=COUNT, failed=COUNT, other=COUNT, retries=COUNT, run_s=times,
        wait_s=times, cpu_s={"type": "number"}, last_at=TIME,
    )  # fmt: skip
