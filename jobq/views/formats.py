"""Lines in a form of one's own: "{id} {state}"; names in braces are columns of the table or keys of the JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from jobq.errors import UsageError
from jobq.job import Job
from jobq.rules.reasons import Situation
from jobq.views.data import job_data
from jobq.views.table import COLUMNS, reason
from jobq.views.text import command_line, safe

NAME = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
ESCAPES = {"\\t": "\t", "\\n": "\n", "\\\\": "\\"}


class Form:
    """A text with names in braces; {{ and }} stand for braces, \\t and \\n for themselves."""

    def __init__(self, text: str) -> None:
        self._text = re.sub(r"\\[tn\\]", lambda found: ESCAPES[found[0]], text)

    def lines(self, jobs: Sequence[Job], situation: Situation) -> Iterator[str]:
        """Yield the text for each job. Raises UsageError for a name that there is not."""
        for job in jobs:
            data = job_data(job, reason(job, situation), situation.progress.get(job.id))
            data["command"] = command_line(job.command)
            yield NAME.sub(lambda found, job=job, data=data: self._value(found, job, situation, data), self._text)  # type: ignore[misc]

    def _value(self, found: re.Match[str], job: Job, situation: Situation, data: dict[str, Any]) -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        if name in data:
            value = data[name]
            return safe(value if isinstance(value, str) else "" if value is None else json.dumps(value))
        if name in COLUMNS:
            return COLUMNS[name].cell(job, situation)
        names = ", ".join([*data, *(column for column in COLUMNS if column not in data)])
        raise UsageError(f"--format: there is no {{{name}}}", f"there are: {names}")
