"""Lines for the log of a CI system: groups that fold, annotations, a summary. Nothing has to be switched on.

Sources, in their documentation: "Workflow commands" and "Adding a job summary" of GitHub Actions, "Custom collapsible
sections" of GitLab.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Protocol

from jobq import clock
from jobq.durations import span
from jobq.environ import variable
from jobq.job import Job, Outcome, State
from jobq.views.marks import GLYPHS
from jobq.views.text import command_line, safe

MOST_ROWS = 500  # of a summary, which may have 1 MiB
HEADERS = "| job | result | time | command |\n| ---: | --- | ---: | --- |\n"
LONGEST = 200  # characters of a command
SHORT = 60  # ... in the title of an annotation


def ended_as(job: Job) -> str:
    """Return how the job ended, in a few words: "exit 3", "timeout"."""
    ending = job.ending
    if ending is None:
        return str(job.state)
    return f"exit {ending.status}" if ending.outcome is Outcome.EXIT else safe(str(ending))


class System(Protocol):
    """One CI system."""

    def begin(self, job: Job) -> str:
        """Return the line before the output of a job."""

    def end(self, job: Job) -> str:
        """Return the line behind the output of a job, "" for none."""

    def failure(self, job: Job, last: str) -> str:
        """Return the line that tells of a failure, with the last line of its output; "" for none."""

    def summary(self, jobs: Sequence[Job]) -> tuple[str, str]:
        """Return a file, and what to append to it; "" for none."""


def title(job: Job) -> str:
    """Return a job in a few words, on one line: "job 7 (build): make all"."""
    name = f" ({job.spec.name})" if job.spec.name else ""
    return f"job {job.id}{name}: {command_line(job.command)[:LONGEST]}"


class GitHub:
    """GitHub Actions, and what understands the same, such as Forgejo and Gitea."""

    def begin(self, job: Job) -> str:
        """Open a group."""
        return f"::group::{_data(f'{GLYPHS[job.state]} {title(job)}')}"

    def end(self, job: Job) -> str:  # noqa: ARG002
        """Close the group."""
        return "::endgroup::"

    def failure(self, job: Job, last: str) -> str:
        """Return an annotation."""
        what = job.spec.name or command_line(job.command)[:SHORT]
        return f"::error title={_property(f'{what} failed: {ended_as(job)}')}::{_data(last or title(job))}"

    def summary(self, jobs: Sequence[Job]) -> tuple[str, str]:
        """Return a table in Markdown."""
        path = variable("GITHUB_STEP_SUMMARY")
        if not path:
            return "", ""
        succeeded = sum(job.state is State.SUCCEEDED for job in jobs)
        worst_first = sorted(jobs, key=lambda job: (job.state is State.SUCCEEDED, job.id))
        rows = "".join(
            f"| {job.id} | {GLYPHS[job.state]} {job.state}{_why(job)} | {_took(job)} | {_cell(job)} |\n"
            for job in worst_first[:MOST_ROWS]
        )
        more = f"\n... and {len(jobs) - MOST_ROWS} more\n" if len(jobs) > MOST_ROWS else ""
        head = f"### jobq: {succeeded} of {len(jobs)} succeeded\n\n{HEADERS}"
        return path, f"{head}{rows}{more}\n"


class GitLab:
    """GitLab CI."""

    def begin(self, job: Job) -> str:
        """Open a section, folded unless it failed."""
        folded = "" if job.state is State.FAILED else "[collapsed=true]"
        section = f"section_start:{clock.now().wall:.0f}:jobq_{job.id}{folded}"
        return f"\x1b[0K{section}\r\x1b[0K{GLYPHS[job.state]} {title(job)}"

    def end(self, job: Job) -> str:
        """Close the section."""
        return f"\x1b[0Ksection_end:{clock.now().wall:.0f}:jobq_{job.id}\r\x1b[0K"

    def failure(self, job: Job, last: str) -> str:  # noqa: ARG002
        """Return nothing: GitLab has no annotations in its log."""
        return ""

    def summary(self, jobs: Sequence[Job]) -> tuple[str, str]:  # noqa: ARG002
        """Return nothing: GitLab has no summary; --junit is shown by it."""
        return "", ""


class Plain:
    """No system that is known: output in order, each with a line in front."""

    def begin(self, job: Job) -> str:
        """Return a line that names the job."""
        return f"=== {title(job)}"

    def end(self, job: Job) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def failure(self, job: Job, last: str) -> str:  # noqa: ARG002
        """Return nothing."""
        return ""

    def summary(self, jobs: Sequence[Job]) -> tuple[str, str]:  # noqa: ARG002
        """Return nothing."""
        return "", ""


def system() -> System:
    """Return the CI system that this process runs in."""
    if variable("GITHUB_ACTIONS") == "true":
        return GitHub()
    return GitLab() if variable("GITLAB_CI") == "true" else Plain()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _why(job: Job) -> str:
    tries = f", {len(job.attempts)} attempts" if len(job.attempts) > 1 else ""
    return f": {_markdown(ended_as(job))}{tries}" if job.state is State.FAILED else tries


def _took(job: Job) -> str:
    seconds = job.seconds
    return "" if seconds is None else span(seconds)


def _cell(job: Job) -> str:
    name = f"{job.spec.name}: " if job.spec.name else ""
    return f"<code>{_markdown(name + command_line(job.command)[:LONGEST])}</code>"


def _markdown(text: str) -> str:
    """Return the text as a cell of a table shows it: nothing in it is markup."""
    escaped = html.escape(text)
    for char in "|`*_[]\\~":
        escaped = escaped.replace(char, f"&#{ord(char)};")
    return escaped
