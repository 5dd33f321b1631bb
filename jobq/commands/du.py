"""jobq du"""

from __future__ import annotations

import typer

from jobq.commands.common import Json, queue_of
from jobq.views.console import out
from jobq.views.envelope import envelope
from jobq.views.text import size


def du(context: typer.Context, *, json: Json = False) -> None:
    """Show how much room the store takes.

    It shows what it is for, and the jobs with the most output.

    Examples: jobq du; jobq du --json
    """
    found = queue_of(context).usage()
    if json:
        parts = {name: {"files": files, "bytes": count} for name, (files, count) in found.parts.items()}
        largest = [{"id": job_id, "bytes": count} for job_id, count in found.largest]
        out(envelope(total=found.total, parts=parts, largest=largest))
        return
    for name, (files, count) in found.parts.items():
        out(f"{size(count):>10}  {name} ({files} file{'' if files == 1 else 's'})")
    out(f"{size(found.total):>10}  in all")
    for job_id, count in found.largest:
        out(f"{size(count):>10}  job {job_id}")
