"""The scripts that call functions. Each worker keeps them as they were when the worker started."""

from __future__ import annotations

import os
import sys

from jobq import python
from jobq.command import Call
from jobq.errors import JobqError, NotSaved
from jobq.store.folder import Folder

NAME = "child.py"
NAMES = (
    "inside.py",
    "plain.py",
    "kinds.py",
    "conversion.py",
    "traces.py",
    "batch.py",
    "host.py",
    NAME,
)  # the one that is run comes last
FOLDER = os.path.dirname(python.__file__)


class PythonGone(JobqError):
    """The interpreter that runs jobq was removed: for good, or by an upgrade that replaces it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}, the Python that runs jobq, was removed: no function is called until it is back")


class Caller:
    """A worker's own copy of the scripts: jobq may be upgraded, moved or removed while the worker runs."""

    def __init__(self, folder: str) -> None:
        """Read the scripts. `folder` is the worker's; they are copied there for the first call. Raises OSError."""
        self.path = f"{folder}/{NAME}"
        self._folder = folder
        self._sources: dict[str, bytes] = {}
        for name in NAMES:
            with open(f"{FOLDER}/{name}", "rb") as f:
                self._sources[name] = f.read()

    def make(self, call: Call) -> None:
        """Ensure that the copies exist. Raises NotSaved, StoreForbidden; PythonGone if `call` needs our Python."""
        is_beside_ours = os.path.dirname(call.python) == os.path.dirname(sys.executable)
        in_our_venv = sys.prefix != sys.base_prefix and is_beside_ours
        if (in_our_venv or call.python == sys.executable) and not os.path.exists(call.python):
            raise PythonGone(call.python)
        if os.path.exists(self.path):
            return
        folder = Folder.open(self._folder)
        if folder is None:
            raise NotSaved(self.path, FileNotFoundError(2, "the worker's folder is gone"))
        try:
            for name, source in self._sources.items():
                folder.write_new(name, source)
        finally:
            folder.close()
