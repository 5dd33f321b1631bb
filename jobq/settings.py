"""What is taken from the environment: the store's place, and the variables that a job captures."""

from __future__ import annotations

import os
import sys

from jobq.errors import StoreForbidden, UsageError
from jobq.system import LINUX


def store_path(asked: str | None = None) -> str:
    """The store directory: `asked`, else JOBQ_STORE, else the user's state directory. Raises StoreForbidden."""
    path = asked or os.environ.get("JOBQ_STORE")
    if path:
        return os.path.abspath(os.path.expanduser(path))
    if os.path.expanduser("~") == "~":
        raise StoreForbidden("there is no home directory to keep the store in", "name one with --store or JOBQ_STORE")
    if LINUX:  # the same as below, without 30 ms for loading it
        return f"{os.environ.get('XDG_STATE_HOME', '').strip() or os.path.expanduser('~/.local/state')}/jobq"
    import platformdirs  # noqa: PLC0415

    return platformdirs.user_state_path("jobq").as_posix()


def interpreter(asked: str | None = None) -> str:
    """The Python that runs the functions of jobs added here: the one of the environment that we are in.

    `asked`, else that of VIRTUAL_ENV or CONDA_PREFIX, else our own if jobq is installed in a project's environment (and
    not by pipx or uv, in one of its own), else python3 on PATH. Environments that `uvx` and `pipx run` make for a while
    are passed over: the job may run when they are deleted. Raises UsageError.
    """
    import shutil  # noqa: PLC0415  # `jobq add` reads other settings

    if asked:
        found = shutil.which(os.path.expanduser(asked))
        if found is None:
            raise UsageError(f"--python: {asked} is not a program that can be started")
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
    """Whether this Python environment lies in no folder that calls itself a cache (bford.info/cachedir).

    Some tools mark environments themselves so, which only means that no backup needs them.
    """
    folder = os.path.dirname(os.path.abspath(environment))
    while folder != "/":
        if os.path.exists(f"{folder}/CACHEDIR.TAG"):
            return False
        folder = os.path.dirname(folder)
    return True


def environment() -> dict[str, str]:
    """The variables of this process, as a job added here should see them."""
    return dict(os.environ)


def debugging() -> bool:
    """Whether a bug should show its traceback."""
    return bool(os.environ.get("JOBQ_DEBUG"))
