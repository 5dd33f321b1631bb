"""The settings, one row each: options of jobs that a file may set for all of them, and what else there is to set."""

from __future__ import annotations

from jobq.durations import exact
from jobq.errors import UsageError
from jobq.options.groups import Pairs
from jobq.options.kinds import LINE, Choice, Flag, Size
from jobq.options.table import OPTIONS, PROJECT, JobOption
from jobq.options.values import LONGEST, Duration, Kind, Rule, WholeNumber

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from typing import Any

SECTIONS = frozenset({"worker"})
FOREVER = "forever"
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


class Lifetime(Duration):
    """Seconds, or for ever."""

    metavar = "TIME|forever"

    def parse(self, text: str) -> float:
        """Return the seconds of a text. Raises UsageError."""
        if text == FOREVER:
            return LONGEST
        try:
            return super().parse(text)
        except UsageError as e:
            raise UsageError(str(e), "write it like 12h or 30d, or forever") from None

    def shown(self, value: float) -> str:
        """Return the text that is parsed so."""
        return FOREVER if value >= LONGEST else exact(value)

    def as_json(self, value: float) -> float | None:
        """Return the seconds, None for ever."""
        return None if value >= LONGEST else value


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
        """Return the value for one of a file, as it is stored; "none" takes back what a weaker level says.

        Raises UsageError.
        """
        if value == "none" and self.option.default in {None, ()}:
            return self.option.default
        try:
            return self.option.take(value)
        except UsageError as e:
            raise UsageError(
                str(e), e.hint if self.of_job or str(e).startswith(f"{self.name}: ") else self.help
            ) from None

    def parse(self, text: str) -> Any:
        """Return the value of a text, as on the command line; of several, with commas between. Raises UsageError."""
        if text == "none" and self.option.default in {None, ()}:
            return self.option.default
        if isinstance(self.option.kind, Flag):
            if text.lower() not in YES | NO:
                raise UsageError(f"{self.name}: {text!r:.60} is not possible here", "give yes or no")
            return text.lower() in YES
        if not text.strip():
            raise UsageError(f"{self.name} has no value", f"'jobq config unset {self.name}' takes it back")
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
        if value is None or value == ():
            return "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        kind = self.option.kind
        if isinstance(kind, Pairs):
            return ",".join(f"{name}={inner}" for name, inner in value)
        if isinstance(value, tuple):
            return ",".join(value)
        is_plain = isinstance(kind, Duration) and not isinstance(kind, Lifetime)
        return exact(value) if is_plain else kind.shown(value)

    def written(self, value: Any) -> str:
        """Return the value as a file has it."""
        return '"none"' if value is None or value == () else self.shown(value)

    def shown(self, value: Any) -> str:
        """Return the value for people."""
        from jobq.options.job_file import quoted  # noqa: PLC0415

        if value is None or value == ():
            return "none"
        kind = self.option.kind
        if isinstance(kind, Pairs):
            return quoted([f"{name}={inner}" for name, inner in value])
        if isinstance(kind, Duration):
            return quoted(kind.shown(value) if isinstance(kind, Lifetime) else exact(value))
        return quoted(kind.shown(value) if isinstance(kind, Size) or isinstance(value, str) else value)


def _other(name: str, kind: Kind, default: Any, help_text: str, *, in_project: bool = False) -> Setting:
    return Setting(JobOption(name, (name,), kind, default, help_text), of_job=False, in_project=in_project)


ROWS = (
    *(Setting(option, of_job=True, in_project=option.setting == PROJECT) for option in OPTIONS if option.setting),
    _other("queue_idle", LINE, None, "Run this when nothing runs and nothing is ready any more."),
    _other("store", StoreDirectory(), None, "The directory of the store."),
    _other("keep", Lifetime(above_zero=True), WEEK, "How long finished jobs and their output are kept."),
    _other("keep_jobs", WholeNumber(0, MOST, "a whole number from 0"), None, "How many finished jobs are kept."),
    _other("keep_logs", Size(0, 1 << 60), None, "How much output of finished jobs is kept, as in 10G."),
    _other("terminal_signs", Flag(), True, "Show progress in the title and the tab of a terminal, and link to logs."),
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

    section, _, rest = name.rpartition(".")
    if section and rest in SETTINGS:
        raise UsageError(f"{name!r:.60} is not a setting", f"{rest} is: write it above the line [{section}]")
    known = {row.name: row.name for row in ROWS} | {row.name.rpartition(".")[2]: row.name for row in ROWS}
    near = get_close_matches(name.replace("-", "_"), known, 1, 0.6)
    hint = f"did you mean {known[near[0]]}?" if near else "'jobq config' lists them, 'jobq config edit' opens your file"
    raise UsageError(f"{name!r:.60} is not a setting", hint)
