"""The options of a job, one row each: flags, JSON, Python, the stored form and what is shown are made from these rows.

To add an option: a row here, a field of `job.Spec`, a line in `request.JobOptions`, and the rule that obeys it. A test
walks rows and ways, and names what was forgotten.
"""

from __future__ import annotations

from jobq.errors import UsageError
from jobq.rules.serving import DEFAULT_QUEUE

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jobq.options.values import Kind

USER, PROJECT = "user", "project"  # files of settings
OTHERWISE_STORED = frozenset({"cwd", "env", "env_file"})  # the full path, and the digest of all variables


class JobOption:
    """One row. `many` may be given more than once; `default` is the value of a job that does not ask for it.

    `kind`: the kind of its values, or where to find it: "kinds.FLAG" is FLAG in jobq.options.kinds. A process that has
    a use for one option only loads what that one needs.
    `alone`: the quick `add` may store it. The others need a look at other jobs, files or the terminal, or do more.
    `of_add`: it is about the adding, and no part of the job.
    `since`: the least format (store/format.py) of a store with such a job, as older versions must not ignore it.
    `setting`: the files that may set it for all jobs: only the person's own (USER), or also a project's (PROJECT).
    """

    def __init__(  # a row reads best in one line
        self,
        name: str,
        flags: tuple[str, ...],
        kind: Kind | str,
        default: Any,
        help_text: str,
        *,
        many: bool = False,
        since: int = 1,
        alone: bool = True,
        of_add: bool = False,
        setting: str = "",
    ) -> None:
        self.name = name
        self.flags = flags
        self._kind = kind
        self.default = default
        self.help = help_text
        self.many = many
        self.since = since
        self.alone = alone
        self.of_add = of_add
        self.setting = setting

    @property
    def kind(self) -> Kind:
        """The kind of its values."""
        if isinstance(self._kind, str):
            module, _, name = self._kind.partition(".")
            try:
                kind: Kind = getattr(_kinds_in(module), name)
            except AttributeError as e:  # an upgrade has just replaced the module: no fault of what is read with it
                raise ImportError(str(e), name=__name__) from None
            self._kind = kind
        return self._kind

    @property
    def in_spec(self) -> bool:
        """True if a field of the spec holds what people asked for."""
        return not self.of_add and self.name not in OTHERWISE_STORED

    @property
    def is_value(self) -> bool:
        """True if that field holds the value itself, not the ids of the jobs that it names."""
        return self.in_spec and not self.kind.names_jobs

    def allows(self, value: object) -> bool:
        """Return True if its field of the spec may have this value."""
        return (value is None and self.default is None) or self.kind.stored.allows(value)

    def parse(self, text: str) -> Any:
        """Return the value of a text. Raises UsageError that names the flag."""
        return self._storable(self.flags[0], self._named(self.flags[0], self.kind.parse, text))

    def take(self, value: Any) -> Any:
        """Return the value for one that Python or JSON gives. Raises UsageError that names the option."""
        if value is None and self.default is None:
            return None
        if self.kind.collects:
            return self._collected(value)
        value = self.kind.of_value(value)
        if isinstance(value, str) and self.kind.from_text:
            return self._storable(self.name, self._named(self.name, self.kind.parse, value))
        if not self.kind.stored.allows(value):
            raise UsageError(f"{self.name} can't be {value!r:.60}", f"see {self.flags[0]} in 'jobq add --help'")
        self._named(self.name, self.kind.check, value)
        return value

    def _storable(self, name: str, value: Any) -> Any:
        if not self.many and self.is_value and not self.kind.stored.allows(value):
            raise UsageError(f"{name}: {value!r:.60} is out of bounds", f"see {self.flags[0]} in 'jobq add --help'")
        return value

    def _collected(self, value: Any) -> Any:
        try:
            return self._named(self.name, self.kind.collect, value)
        except (TypeError, ValueError, AttributeError):
            raise UsageError(
                f"{self.name} can't be {value!r:.60}", f"see {self.flags[0]} in 'jobq add --help'"
            ) from None

    def _named(self, name: str, read: Callable[[Any], Any], value: Any) -> Any:
        try:
            return read(value)
        except UsageError as e:
            raise UsageError(f"{name}: {e}", e.hint) from None

    def shown(self, value: Any) -> str:
        """Return the value as people read it."""
        return "none" if value is None else self.kind.shown(value)

    def as_json(self, value: Any) -> Any:
        """Return the value as `--json` prints it."""
        return None if value is None else self.kind.as_json(value)


def _kinds_in(name: str) -> object:
    """Return the module of kinds that is called so."""
    if name == "values":
        from jobq.options import values  # noqa: PLC0415

        return values
    if name == "kinds":
        from jobq.options import kinds  # noqa: PLC0415

        return kinds
    if name == "groups":
        from jobq.options import groups  # noqa: PLC0415

        return groups
    from jobq.options import policies  # noqa: PLC0415

    return policies


OPTIONS = (
    JobOption("queue", ("--queue", "-q"), "values.NAME", DEFAULT_QUEUE, "The queue it waits in.", setting=PROJECT),
    JobOption("priority", ("--priority", "-p"), "values.PRIORITY", 0,
              "Higher starts first; low, normal, high = -10, 0, 10.", setting=PROJECT),
    JobOption("retries", ("--retries", "-r"), "values.RETRIES", 3,
              "Attempts after the first; 0: never twice.", setting=PROJECT),
    JobOption("backoff", ("--backoff",), "policies.BACKOFF", "exp:1..3600",
              "Time before retries: exp:1s..1h, linear:5s..5m, const:5s, list:1s,5s,1m.", since=3, setting=PROJECT),
    JobOption("jitter", ("--jitter",), "policies.JITTER", "10%",
              "Chance in that time: up to so much more; full; none.", since=3, setting=PROJECT),
    JobOption("retry_on", ("--retry-on",), "policies.CODES", None,
              "Retry only after these: codes, signals, timeout, exceptions: 1,75-78,SIGKILL,OSError.",
              since=3, setting=PROJECT),
    JobOption("no_retry_on", ("--no-retry-on",), "policies.CODES", None,
              "Never retry after these.", since=3, setting=PROJECT),
    JobOption("success_codes", ("--success-codes",), "policies.STATUSES", "0", "Exit codes that mean success.",
              since=3, setting=PROJECT),
    JobOption("max_lost", ("--max-lost",), "values.LOST", 3,
              "Fail after so many attempts whose supervisor was killed.", since=3, setting=PROJECT),
    JobOption("timeout", ("--timeout", "-t"), "values.POSITIVE_DURATION", None,
              "End each attempt after this time, as in 90, 10m, 1h30m.", setting=PROJECT),
    JobOption("idle_timeout", ("--idle-timeout",), "values.POSITIVE_DURATION", None,
              "End each attempt that prints nothing for this time.", since=3, setting=PROJECT),
    JobOption("grace", ("--grace",), "values.DURATION", 10.0, "Time between SIGTERM and SIGKILL, when it is ended.",
              setting=PROJECT),
    JobOption("log_max", ("--log-max",), "kinds.LOG_SIZE", 256 << 20,
              "Keep this much output: its beginning and its end.", setting=PROJECT),
    JobOption("at", ("--at",), "kinds.INSTANT", None,
              "Not before this time: 22:00, tomorrow 9:00, mon 8:00, 2026-12-24T18:00.", since=3),
    JobOption("delay", ("--in",), "values.DURATION", None, "Not before so much time has passed.", since=3),
    JobOption("expires", ("--expires",), "values.POSITIVE_DURATION", None,
              "Leave as expired if it has not started so long after it could.", since=3, setting=PROJECT),
    JobOption("after", ("--after",), "groups.JOBS", (),
              "Only after this job has succeeded, else skip it.", many=True, since=3, alone=False),
    JobOption("after_any", ("--after-any",), "groups.JOBS", (),
              "Only after this job has ended.", many=True, since=3, alone=False),
    JobOption("after_fail", ("--after-fail",), "groups.JOBS", (),
              "Only after this job has ended without success.", many=True, since=3, alone=False),
    JobOption("locks", ("--lock",), "groups.LOCKS", (),
              "Not while another job holds this lock.", many=True, since=3, setting=PROJECT),
    JobOption("needs", ("--need",), "groups.NEEDS", (),
              "Needs so much of a resource, as in gpu=2: see 'jobq resource'.", many=True,
              since=3, alone=False, setting=PROJECT),
    JobOption("slots", ("--slots",), "values.SLOTS", 1, "Take so many slots of a worker, or all that it has.",
              since=4, setting=PROJECT),
    JobOption("labels", ("--label",), "groups.LABELS", (),
              "A label for 'jobq list --label' and the like.", many=True, since=3, setting=PROJECT),
    JobOption("meta", ("--meta",), "groups.META", None, "JSON that goes with the job.", since=3),
    JobOption("key", ("--key",), "kinds.KEY", None,
              "Only if no work of this name is under way or done (see --once).", since=3, alone=False),
    JobOption("once", ("--once",), "kinds.FLAG", False,
              "Only if the same work (command and directory, or --key) is not under way or done.",
              since=3, alone=False),
    JobOption("unique", ("--unique",), "kinds.FLAG", False,
              "Only if the same work is not under way.", since=3, alone=False),
    JobOption("key_ttl", ("--key-ttl",), "values.POSITIVE_DURATION", 604800.0,
              "How long work counts as done.", since=3, alone=False, setting=PROJECT),
    JobOption("on_conflict", ("--on-conflict",), "kinds.CONFLICT", "skip",
              "If that is so: give the id of that job, edit it if it waits, or fail.", of_add=True, alone=False),
    JobOption("hold", ("--hold",), "kinds.FLAG", False,
              "Add it held: 'jobq release' lets it start.", of_add=True, alone=False),
    JobOption("wait_room", ("--wait-room",), "values.DURATION", 0.0,
              "If its queue is full: wait so long for room, instead of failing at once.", of_add=True, alone=False),
    JobOption("on_success", ("--on-success",), "kinds.LINE", None,
              "Run this when it has succeeded; JOBQ_JOB_ID and the like say which job.", since=5, setting=USER),
    JobOption("on_failure", ("--on-failure",), "kinds.LINE", None,
              "Run this when it has failed.", since=5, setting=USER),
    JobOption("on_finish", ("--on-finish",), "kinds.LINE", None,
              "Run this when it has ended.", since=5, setting=USER),
    JobOption("notify", ("--notify",), "kinds.FLAG", False,
              "Notify you when it has ended, on the desktop or in this terminal.", since=5, alone=False, setting=USER),
    JobOption("ping", ("--ping",), "kinds.URL", None,
              "Post to URL/start, then its last lines to URL or URL/fail.", since=5, setting=USER),
    JobOption("name", ("--name", "-n"), "values.NAME", None, "A handle, unique among unfinished jobs.", alone=False),
    JobOption("stdin", ("--stdin",), "values.FILE", None,
              "Its standard input; else it has none.", since=3, alone=False),
    JobOption("pty", ("--pty",), "kinds.FLAG", False,
              "Run it in a terminal, so that tools keep their colours; 'jobq send' types there.",
              since=4, alone=False),
    JobOption("stderr", ("--stderr",), "values.STDERR", None,
              "Append its stderr to this file; apart: keep it in a log of its own ('jobq log --stderr').",
              since=4, alone=False),
    JobOption("isolation", ("--isolation",), "kinds.ISOLATION", "process",
              "A call: in a process of its own, or in a warm one, which makes many calls.", setting=PROJECT),
    JobOption("cwd", ("--cwd", "-C"), "values.DIRECTORY", None, "Run it in this directory instead of the current one."),
    JobOption("env", ("--env", "-e"), "kinds.VARIABLE", (),
              "Set a variable on top of the captured environment.", many=True),
    JobOption("env_file", ("--env-file",), "values.FILE", (),
              "Set the variables of a file of NAME=VALUE lines; --env goes before it.", many=True, alone=False),
)  # fmt: skip
BY_NAME = {option.name: option for option in OPTIONS}
BY_FLAG = {flag: option for option in OPTIONS for flag in option.flags}


def parse_options(texts: Mapping[str, str | list[str] | bool | None], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the options that were given as text. Raises UsageError that names the option.

    `environ` supplies the variables that are named without a value.
    """
    options: dict[str, Any] = {}
    for option in OPTIONS:
        given = texts.get(option.name)
        if given is None or given == [] or given is False:
            continue
        options[option.name] = [option.parse(t) for t in given] if isinstance(given, list) else option.parse(str(given))
    if "env" in options:
        options["env"] = _variables(options["env"], environ)
    return options


def _variables(pairs: list[tuple[str, str | None]], environ: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, value in pairs:
        if value is None and name not in environ:
            raise UsageError(f"--env: {name} is not set here", f"write {name}=VALUE")
        values[name] = environ[name] if value is None else value
    return values
