"""Captured environments: one immutable private file for each distinct one, named by its digest.

The values of variables are in no other file of the store, except those of PASSED_ON, which stand in the specs of jobs.
"""

from __future__ import annotations

import os
import stat

from jobq.errors import JobqError, NotSaved, StoreDamaged, UsageError
from jobq.exit_codes import TRY_AGAIN
from jobq.sealed import MAX_LINE, sha256, to_json
from jobq.store.folder import Folder
from jobq.system import MAX_ALL, MAX_VARIABLE

TYPE_CHECKING = False  # as in `typing`: `jobq add` does without it
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ENV = "env"
SEALED = 0o400  # mode of a file whose name is durable, too
POINTER = 8  # bytes that execve(2) adds for each variable
NOT_CAPTURED = frozenset({"PWD", "OLDPWD", "SHLVL", "_"})  # they differ from one prompt to the next
# Variables that differ between prompts, panes, connections, or steps of a CI run. If they were captured, each job would
# need a file of its own; so their values stand in the spec of the job. Specs are in the journal, outside `env`: only
# names that are known to hold no secret may be here, but numbers, paths, addresses and padding.
PASSED_ON = frozenset(
    {
        *("TMUX", "TMUX_PANE", "STY", "WINDOW", "ZELLIJ_PANE_ID", "NVIM"),
        *("WINDOWID", "KITTY_WINDOW_ID", "ALACRITTY_WINDOW_ID", "ALACRITTY_SOCKET", "WEZTERM_PANE", "WT_SESSION"),
        *("ITERM_SESSION_ID", "TERM_SESSION_ID", "GNOME_TERMINAL_SCREEN"),
        *("KONSOLE_DBUS_SESSION", "KONSOLE_DBUS_WINDOW"),
        *("COLUMNS", "LINES", "GPG_TTY", "XDG_SESSION_ID", "WSL_INTEROP"),
        *("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"),
        "STARSHIP_SESSION_KEY",  # this key is a number that names a log file
        *("HYPERFINE_ITERATION", "HYPERFINE_RANDOMIZED_ENVIRONMENT_OFFSET"),
        *("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY", "GITHUB_ACTION"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID"),
    }
)
LONGEST_PASSED_ON = 4096  # characters: a longer value is captured with the others


class EnvironmentGone(JobqError):
    """The captured environment was cleaned away between its capture and the add: capture it again."""

    exit_code = TRY_AGAIN

    def __init__(self, digest: str) -> None:
        super().__init__(f"the captured environment {digest[:12]} is gone", "repeat the command")


def capture(environ: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """Return a job's environment: `environ` without variables of the shell or a surrounding job, plus `overrides`.

    The variables that `passed_on` returns are not in it.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name not in NOT_CAPTURED and not name.startswith("JOBQ_JOB_") and not _is_passed_on(name, value)
    }
    return {**kept, **overrides}


def passed_on(environ: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a job's spec, sorted by name. What `overrides` says is never in a spec."""
    names = sorted(PASSED_ON.intersection(environ).difference(overrides))
    return {name: environ[name] for name in names if _is_passed_on(name, environ[name])}


def _is_passed_on(name: str, value: str) -> bool:
    return name in PASSED_ON and len(value) <= LONGEST_PASSED_ON


def encode(environment: Mapping[str, str]) -> tuple[bytes, str]:
    """Return the file (JSON, sorted by name) and its digest. Raises UsageError if no job could start with it."""
    data = to_json(dict(sorted(environment.items()))).encode("ascii")
    if len(data) > MAX_VARIABLE:
        _check_size(environment, len(data))
    return data, sha256(data)


def _check_size(environment: Mapping[str, str], stored: int) -> None:
    def size(variable: tuple[str, str]) -> int:
        return sum(len(part.encode("utf-8", "surrogateescape")) for part in variable) + 2  # as NAME=VALUE and a NUL

    largest = max(environment.items(), key=size)
    bytes_, hint = size(largest), f"unset {largest[0]}, or let the job read it from a file"
    if bytes_ > MAX_VARIABLE:
        raise UsageError(
            f"the variable {largest[0]} takes {bytes_} bytes; the system starts programs with up to {MAX_VARIABLE}",
            hint,
        )
    if stored > MAX_LINE or sum(map(size, environment.items())) + POINTER * len(environment) > MAX_ALL:
        raise UsageError(
            f"the environment takes {stored} bytes; the limit is {min(MAX_LINE, MAX_ALL)}"
            f" (its largest variable, {largest[0]}, takes {bytes_})",
            hint,
        )


def save(root: Folder, environment: Mapping[str, str]) -> str:
    """Store the environment durably and return its digest. Raises NotSaved, UsageError."""
    data, digest = encode(environment)
    if make_durable(root, digest):
        return digest
    folder = root.sub(ENV)
    name = f"{digest}.json"
    try:
        while not _seal(folder, name):  # again, if cleaning has just removed it: no job names it yet
            folder.write_new(name, data)
    except OSError as e:
        raise NotSaved(f"{folder.path}/{name}", e) from None
    finally:
        folder.close()
    return digest


def make_durable(root: Folder, digest: str) -> bool:
    """Make the name of the file durable; return False if it was removed (no job named it). Raises NotSaved."""
    folder = root.existing(ENV)
    if folder is None:
        return False
    try:
        return _seal(folder, f"{digest}.json")
    except OSError as e:
        raise NotSaved(f"{folder.path}/{digest}.json", e) from None
    finally:
        folder.close()


def require(root: Folder, digest: str) -> None:
    """Make the name of the file durable. Raises EnvironmentGone if it was removed, NotSaved."""
    if not make_durable(root, digest):
        raise EnvironmentGone(digest)


def path_of(store: str, digest: str) -> str:
    """Return the file of an environment in the store at that path."""
    return f"{store}/{ENV}/{digest}.json"


def digest_in(name: str) -> str | None:
    """Return the digest in the name of an environment file, finished or half made; None for any other name."""
    digest, dot, suffix = name.removeprefix(".").partition(".")
    if len(digest) != 64 or digest.strip("0123456789abcdef") or not f"{dot}{suffix}".startswith(".json"):
        return None
    return digest


def clean(root: Folder, named: Collection[str], abandoned: float) -> None:
    """Remove all but the `named` ones, and half-made files from before `abandoned` (wall clock). Raises OSError."""
    folder = root.existing(ENV)
    if folder is None:
        return
    try:
        for name in folder.names():
            digest = digest_in(name)
            if digest is None:
                continue
            try:
                if name.startswith("."):
                    gone = os.stat(name, dir_fd=folder.fd).st_mtime < abandoned
                else:
                    gone = digest not in named
                if gone:
                    os.unlink(name, dir_fd=folder.fd)
            except FileNotFoundError:
                pass  # its writer has just given it its final name
    finally:
        folder.close()


def forget(root: Folder, digests: Collection[str]) -> None:
    """Remove these environments, which no job names; skip missing ones. Raises OSError."""
    folder = root.existing(ENV)
    if folder is None:
        return
    try:
        for digest in digests:
            name = f"{digest}.json"
            if digest_in(name) == digest:
                try:
                    os.unlink(name, dir_fd=folder.fd)
                except FileNotFoundError:
                    pass
    finally:
        folder.close()


def _seal(folder: Folder, name: str) -> bool:
    """Make the name of the file durable, and record that in its mode; return False if it is missing."""
    try:
        status = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return False
    if stat.S_IMODE(status.st_mode) != SEALED:
        os.fsync(folder.fd)  # its writer may have died before this sync
        try:
            os.chmod(name, SEALED, dir_fd=folder.fd)
        except FileNotFoundError:
            return False
    return True


def load(root: Folder, digest: str) -> dict[str, str]:
    """Return the environment of that digest. Raises StoreDamaged if it is missing or changed."""
    path = f"{root.path}/{ENV}/{digest}.json"
    if digest_in(f"{digest}.json") != digest:
        raise StoreDamaged(f"{root.path}/{ENV}", 0, f"a job's environment is {digest!r:.80}, which is not a digest")
    folder = root.existing(ENV)
    data = None
    if folder is not None:
        try:
            data = folder.read(f"{digest}.json")
        finally:
            folder.close()
    if data is None:
        raise StoreDamaged(path, 0, "a captured environment is missing")
    if sha256(data) != digest:
        raise StoreDamaged(path, 0, "a captured environment was changed")
    from jobq.store.journal import BadLine, parse_object  # noqa: PLC0415  # not for `jobq add`

    try:
        environment = parse_object(data)
    except BadLine as e:
        raise StoreDamaged(path, 0, f"a captured environment is {e}") from None
    if not all(isinstance(value, str) for value in environment.values()):
        raise StoreDamaged(path, 0, "a captured environment has a value that is not text")
    return environment
