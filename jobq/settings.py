"""What is taken from the environment: the store's place, and the variables that a job captures."""

from __future__ import annotations

import os

from jobq.errors import StoreForbidden


def store_path(asked: str | None = None) -> str:
    """The store directory: `asked`, else JOBQ_STORE, else the user's state directory. Raises StoreForbidden."""
    path = asked or os.environ.get("JOBQ_STORE")
    if path:
        return os.path.abspath(os.path.expanduser(path))
    if os.path.expanduser("~") == "~":
        raise StoreForbidden("there is no home directory to keep the store in", "name one with --store or JOBQ_STORE")
    import platformdirs  # noqa: PLC0415  # 30 ms that a named store does not need

    return platformdirs.user_state_path("jobq").as_posix()


def environment() -> dict[str, str]:
    """The variables of this process, as a job added here should see them."""
    return dict(os.environ)


def debugging() -> bool:
    """Whether a bug should show its traceback."""
    return bool(os.environ.get("JOBQ_DEBUG"))
