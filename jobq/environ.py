"""The environment: the places of the person and of the project, the Python for calls, the variables of jobs."""

from __future__ import annotations

import os
import sys

from jobq.errors import StoreForbidden, UsageError
from jobq.system import LINUX, utf8

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Iterator

COERCED = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})  # values that Python itself sets LC_CTYPE to; they name no language

PROJECT_FILE = ".jobq.toml"
ANOTHER_PLACE = "set JOBQ_STORE to a directory you may write, or name one with --store"


def variable(name: str) -> str:
    """Return the value of a variable, "" if it is not set."""
    return os.environ.get(name, "")


def variables_named(start: str) -> list[str]:
    """Return the names of the variables that begin so."""
    return [name for name in os.environ if name.startswith(start)]


def full_path(path: str) -> str:
    """Return a path from the root."""
    return os.path.abspath(os.path.expanduser(path))


def config_file() -> str | None:
    """Return the person's file of settings, if it exists or not: JOBQ_CONFIG, else below the configuration directory.

    None if there is no home directory.
    """
    if path := os.environ.get("JOBQ_CONFIG"):
        return full_path(path)
    config = os.environ.get("XDG_CONFIG_HOME", "").strip() if LINUX else ""
    if os.path.isabs(config):
        return f"{config}/jobq/config.toml"
    try:
        folder = f"{home()}/.config/jobq" if LINUX else _below_home("user_config_path")
    except StoreForbidden:
        return None
    return f"{folder}/config.toml"


def has_user_file() -> bool:
    """Return True if the person has a file of settings."""
    path = config_file()
    return path is not None and os.path.lexists(path)


def upwards(name: str) -> Iterator[str]:
    """Yield the paths of this name that exist in the working directory and above it, the nearest first."""
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return
    while True:
        path = f"{folder.rstrip('/')}/{name}"
        if os.path.lexists(path):
            yield path
        if folder == "/":
            return
        folder = os.path.dirname(folder)


def project_file() -> str | None:
    """Return the path of the nearest PROJECT_FILE: in the working directory, or above it."""
    return next(upwards(PROJECT_FILE), None)


def default_store() -> str:
    """Return the store where none is named: below the state directory. Raises StoreForbidden."""
    state = os.environ.get("XDG_STATE_HOME", "").strip() if LINUX else ""
    if not os.path.isabs(
        state
    ):  # the XDG specification ignores relative paths: they would name another store in each directory
        state = f"{home()}/.local/state" if LINUX else ""
    path = f"{state}/jobq" if state else _below_home("user_state_path")
    owner = owner_of(path)
    if os.geteuid() == 0 and owner != 0:
        raise StoreForbidden(
            f"you are root, but {path} belongs to user {owner}", f"use 'sudo -H' or 'sudo -u'; or {ANOTHER_PLACE}"
        )
    return path


def _below_home(place: str) -> str:
    import platformdirs  # noqa: PLC0415  # it takes 30 ms; on Linux its answer is the one above

    path = getattr(platformdirs, place)("jobq")
    return os.path.join(home(), os.path.relpath(path, os.path.expanduser("~")))


def home() -> str:
    """Return the home directory: HOME if it is an absolute path, else the one of passwd(5). Raises StoreForbidden."""
    path = os.environ.get("HOME", "")
    if not os.path.isabs(path):
        import pwd  # noqa: PLC0415

        try:
            path = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            path = ""
    if not os.path.isabs(path) or not os.path.isdir(path):
        what = f"your home directory {path} does not exist" if path else "you have no home directory"
        raise StoreForbidden(f"{what}, so there is no place for the store", ANOTHER_PLACE)
    return path.rstrip("/")


def owner_of(path: str) -> int:
    """Return the user id that owns `path`, or owns the nearest parent that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_uid


def interpreter(asked: str | None = None) -> str:
    """Return the Python that runs the functions of jobs added here: the one of the current environment.

    It is `asked`, else that of VIRTUAL_ENV or CONDA_PREFIX, else jobq's own if jobq is installed in a project's
    environment (not in one that pipx or uv made for it), else python3 on PATH. Temporary environments of `uvx` and
    `pipx run` are skipped: they may be deleted before the job runs. Raises UsageError.
    """
    import shutil  # noqa: PLC0415  # `jobq add` does not need it

    if asked:
        found = shutil.which(os.path.expanduser(asked))
        if found is None:
            raise UsageError(f"--python: {asked} is not an executable program")
        return os.path.abspath(found)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        folder = os.environ.get(name)
        if folder and lasts(folder) and os.access(f"{folder}/bin/python", os.X_OK):
            return os.path.abspath(f"{folder}/bin/python")
    owned = any(os.path.exists(f"{sys.prefix}/{receipt}") for receipt in ("pipx_metadata.json", "uv-receipt.toml"))
    if sys.prefix != sys.base_prefix and not owned and lasts(sys.prefix):
        return sys.executable
    places = [place for place in os.get_exec_path() if lasts(os.path.dirname(os.path.abspath(place)))]
    base: str = getattr(sys, "_base_executable", sys.executable)
    return shutil.which("python3", path=os.pathsep.join(places)) or base


def lasts(environment: str) -> bool:
    """Return True if this Python environment is in no cache: a known one, or one marked with a CACHEDIR.TAG.

    A tag in the environment itself does not count: some tools put it there to keep backups small (bford.info/cachedir).
    """
    caches = [os.environ.get(name, "") for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME", "PIPX_VENV_CACHEDIR")]
    caches += [f"{os.environ.get('PIPX_HOME')}/.cache", os.path.expanduser("~/.local/share/pipx/.cache")]
    caches += [os.path.expanduser("~/.cache"), os.path.expanduser("~/Library/Caches")]
    folder = os.path.dirname(os.path.abspath(environment))
    while folder != "/":
        if folder in caches or os.path.exists(f"{folder}/CACHEDIR.TAG"):
            return False
        folder = os.path.dirname(folder)
    return True


def environment() -> dict[str, str]:
    """Return the variables that this process was started with, unchanged in any locale, for jobs added here."""
    variables = {name: value for name, value in os.environ.items() if name}  # "=C:=..." has none, and can't be given on
    if sys.getfilesystemencoding() != "utf-8":
        variables = {utf8(name): utf8(value) for name, value in variables.items()}
    if variables.get("LC_CTYPE") in COERCED and not variables.get("LC_ALL"):
        given = _given("LC_CTYPE")
        if given is None:
            del variables["LC_CTYPE"]
        else:
            variables["LC_CTYPE"] = given
    return variables


def _given(name: str) -> str | None:
    """Return the value that this process was started with: in the C locale, Python sets LC_CTYPE itself (PEP 538)."""
    try:
        with open("/proc/self/environ", "rb") as f:
            variables = f.read().split(b"\0")
    except OSError:  # not Linux: if Python set it, Python also turned on UTF-8 mode, unless PYTHONUTF8 is set (PEP 540)
        by_python = sys.flags.utf8_mode and not os.environ.get("PYTHONUTF8")
        return None if by_python else os.environ[name]
    start = f"{name}=".encode("ascii")
    values = [variable[len(start) :] for variable in variables if variable.startswith(start)]
    return values[0].decode("utf-8", "surrogateescape") if values else None


def user() -> str:
    """Return the name of the user, or the number if there is none."""
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def local_zone() -> str:
    """Return the name of the time zone in use here, as TZ or /etc/localtime says; UTC if neither names one."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name or name.startswith("/"):
        name = os.path.realpath(name or "/etc/localtime").partition("zoneinfo/")[2]
    return name.removeprefix("posix/").removeprefix("right/") or "UTC"


def editor() -> str:
    """Return the command line of the person's editor, as git(1) and crontab(1) find it."""
    return os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"


def terminal() -> str:
    """Return the path of the terminal that this process has, "" if it has none."""
    for fd in (2, 1, 0):
        try:
            return os.ttyname(fd)
        except OSError:
            continue
    return ""


def goes_to_journal() -> bool:
    """Return True if stdout goes to the journal of systemd, which adds the time to each line (systemd.exec(5))."""
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        status = os.fstat(1)
    except OSError:
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


def debugging() -> bool:
    """Return True if a bug should show its traceback (JOBQ_DEBUG)."""
    return bool(os.environ.get("JOBQ_DEBUG"))
