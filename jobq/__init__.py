"""A job queue for one user on one machine: run commands and Python functions later, in the background.

`Queue` is the entry point. It is loaded when it is first used, so that `import jobq` takes almost no time.
"""

from __future__ import annotations

from jobq.version import VERSION

TYPE_CHECKING = False  # as in `typing`, whose import takes as long as half a bare Python
if TYPE_CHECKING:
    from jobq.api import Queue

__all__ = ["Queue", "__version__"]
__version__ = VERSION


def __getattr__(name: str) -> object:
    if name == "Queue":
        from jobq.api import Queue  # noqa: PLC0415

        return Queue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
