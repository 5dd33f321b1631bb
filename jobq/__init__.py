"""A job queue for one user on one machine: run commands and Python functions later, in the background.

`Queue` is the entry point. It is loaded when it is first used, as all else here, so that `import jobq` takes almost no
time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as half a bare Python
if TYPE_CHECKING:
    from typing import Any

    from jobq.api import Queue
    from jobq.python.handles import JobHandle
    from jobq.python.inside import Fail, Handler, Retry, Snooze, current_job, handler

    __version__: str

__all__ = ["Fail", "Handler", "JobHandle", "Queue", "Retry", "Snooze", "__version__", "current_job", "handler"]


def __getattr__(name: str) -> object:
    if name == "Queue":
        from jobq.api import Queue  # noqa: PLC0415

        return Queue
    if name == "JobHandle":
        from jobq.python.handles import JobHandle  # noqa: PLC0415

        return JobHandle
    if name == "__version__":
        from jobq.version import VERSION  # noqa: PLC0415

        return VERSION
    if name in __all__:
        from jobq.python import inside  # noqa: PLC0415

        inside.enqueue_call = _enqueue
        return getattr(inside, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _enqueue(handler: Handler[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> JobHandle[Any]:
    from jobq.api import enqueue  # noqa: PLC0415

    return enqueue(handler, args, kwargs)
