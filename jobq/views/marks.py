"""The glyph and the colour of each state. A word stands beside them: neither is the only sign."""

from __future__ import annotations

from jobq.job import Job, State

GLYPHS = {
    State.RUNNING: "●",
    State.QUEUED: "○",
    State.HELD: "⏸",
    State.SUCCEEDED: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "⊘",
    State.SKIPPED: "⊘",
    State.EXPIRED: "⊘",
}
RETRYING = "↻"
STYLES = {
    State.RUNNING: "cyan",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
    State.SKIPPED: "yellow",
    State.EXPIRED: "yellow",
}


def glyph(job: Job) -> str:
    """Return the sign of the job's state."""
    return RETRYING if job.state is State.QUEUED and job.due is not None else GLYPHS[job.state]
