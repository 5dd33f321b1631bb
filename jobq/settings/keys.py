"""The settings, one row each: options of jobs that a file may set for all of them, and what else there is to set."""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.options.kinds import Choice, Flag, Line, Pairs
from jobq.options.table import OPTIONS, PROJECT, JobOption
from jobq.options.values import Duration, Kind, Rule, Size, WholeNumber

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from typing import Any

SECTIONS = frozenset({"worker"})
WEEK = 604800.0  # seconds
YES, NO = frozenset({"yes", "true", "on", "1"}), frozenset({"no", "false", "off", "0"})
MOST = 1_000_000_000


class StoreDirectory(Kind):
    """The path of a store: from the home directory (~) or from the root."""

    metavar = "DIR"
    stored = Rule((str,))

    def check(self, value: str) -> None:
        """Raise UsageError for a path that would be another one in each directory."""
        if not value.startswith(("/", "~")) or "\0" in value:
            raise UsageError(f"{value!r:.200} is not a full path", "write it like ~/queue or /srv/queue")


class Setting:
    """One row. `in_project`: the file of a project may set it, too."""

    def __init__(self, option: JobOption, *, of_job: bool, in_project: bool) -> None:
        self.name = option.name
        self.option = option
        self.of_job = of_job
        self.in_project = in_project

    @property
    def variable(self) -> str:
        """The variable of the environment that sets it."""
        return f"JOBQ_{self.name.upper().replace('.', '_')}"

    def take(self, value: Any) -> Any:
        """Return the value for one of a file, as it is stored. Raises UsageError."""
        if value is None:  # TOML has no such value
            raise UsageError(f"{self.name} has no value")
        try:
            return self.option.take(value)
        except UsageError as e:
            raise UsageError(
                str(e), e.hint if self.of_job or str(e).startswith(f"{self.name}: ") else self.help
            ) from None

    def parse(self, text: str) -> Any:
        """Return the value of a text, as on the command line; of several, with commas between. Raises UsageError."""
        if isinstance(self.option.kind, Flag):
            if text.lower() not in YES | NO:
                raise UsageError(f"{self.name}: {text!r:.60} is not possible here", "give yes or no")
            return text.lower() in YES
        if self.option.many:
            return self.take([part.strip() for part in text.split(",") if part.strip()])
        try:
            return self.take(self.option.kind.parse(text))
        except UsageError as e:
            raise UsageError(str(e) if str(e).startswith(self.name) else f"{self.name}: {e}", e.hint) from None

    @property
    def help(self) -> str:
        """A sentence about it."""
        return self.option.help

    def typed(self, value: Any) -> str:
        """Return the value as `jobq config set` takes it."""
        from jobq.durations import exact  # noqa: PLC0415

        if value is None or value == ():
            return "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        kind = self.option.kind
        if isinstance(kind, Pairs):
            return ",".join(f"{name}={inner}" for name, inner in value)
        if isinstance(value, tuple):
            return ",".join(value)
        return exact(value) if isinstance(kind, Duration) else kind.shown(value)

    def shown(self, value: Any) -> str:
        """Return the value as it can be written in a file."""
        from jobq.durations import exact  # noqa: PLC0415
        from jobq.options.job_file import quoted  # noqa: PLC0415

        if value is None or value == ():
            return "none"
        kind = self.option.kind
        if isinstance(kind, Pairs):
            return quoted([f"{name}={inner}" for name, inner in value])
        if isinstance(kind, Duration):
            return quoted(exact(value))
        return quoted(kind.shown(value) if isinstance(kind, Size) or isinstance(value, str) else value)


def _other(name: str, kind: Kind, default: Any, help_text: str, *, in_project: bool = False) -> Setting:
    return Setting(JobOption(name, (name,), kind, default, help_text), of_job=False, in_project=in_project)


ROWS = (
    *(Setting(option, of_job=True, in_project=option.setting == PROJECT) for option in OPTIONS if option.setting),
    _other("queue_idle", Line(), None, "Run this when nothing runs and nothing is ready any more."),
    _other("store", StoreDirectory(), None, "The directory of the store."),
    _other("keep", Duration(above_zero=True), WEEK, "How long finished jobs and their output are kept."),
    _other("keep_jobs", WholeNumber(0, MOST, "a whole number from 0"), None, "How many finished jobs are kept."),
    _other("keep_logs", Size(0, 1 << 60), None, "How much output of finished jobs is kept, as in 10G."),
    _other("worker.jobs", WholeNumber(1, 10_000, "a whole number from 1 to 10000"), None,
           "Jobs that a worker runs at once; else as many as there are usable CPUs.", in_project=True),
    _other("worker.stop_after", Duration(), 30.0,
           "Time for running jobs after a worker was asked to stop.", in_project=True),
    _other("worker.on_stop", Choice("leave", "hand-back"), None,
           "What a stopping worker then does with running jobs.", in_project=True),
)  # fmt: skip
SETTINGS = {row.name: row for row in ROWS}


def setting(name: str) -> Setting:
    """Return the setting of that name. Raises UsageError that names the nearest one."""
    if name in SETTINGS:
        return SETTINGS[name]
    from difflib import get_close_matches  # noqa: PLC0415

    near = get_close_matches(name.replace("-", "_"), SETTINGS, 1, 0.5)
    raise UsageError(f"{name!r:.60} is not a setting", f"did you mean {near[0]}?" if near else "see 'jobq config'")
