"""A record of what a live view has shown, for reports and tests: the file that JOBQ_TRACE_FRAMES names.

Each drawing is a line of JSON: when, the size of the terminal, the lines that stay above, and those that are drawn
again, without colours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.text import Text

from jobq.environ import variable
from jobq.moment import Moment
from jobq.views.text import iso_time


class Trace:
    """The file, if there is one. What can't be written is left out: the view goes on."""

    def __init__(self) -> None:
        self._path = variable("JOBQ_TRACE_FRAMES")

    def note(self, now: Moment, columns: int, rows: int, above: Sequence[Text], lines: Sequence[Text]) -> None:
        """Add one drawing."""
        if not self._path:
            return
        shown = {"above": [line.plain for line in above], "lines": [line.plain for line in lines]}
        record = {"at": iso_time(now.wall), "columns": columns, "rows": rows, **shown}
        try:
            with open(self._path, "a", encoding="utf-8") as f:
                f.write(json.dumps(record, ensure_ascii=False) + "\n")
        except OSError:
            self._path = ""
