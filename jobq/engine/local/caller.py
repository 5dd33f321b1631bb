"""The script that calls functions. Each worker keeps it as it was when the worker started."""

from __future__ import annotations

import os
import sys

from jobq import python
from jobq.command import Call
from jobq.errors import NotSaved, PythonGone
from jobq.store.folder import Folder

NAME = "child.py"
SCRIPT = f"{os.path.dirname(python.__file__)}/{NAME}"


class Caller:
    """A worker's own copy of the script: jobq may be upgraded, moved or removed while the worker runs."""

    def __init__(self, folder: str) -> None:
        """Read the script. `folder` is the worker's; the copy is written there for the first call. Raises OSError."""
        self.path = f"{folder}/{NAME}"
        self._folder = folder
        with open(SCRIPT, "rb") as f:
            self._source = f.read()

    def make(self, call: Call) -> None:
        """Ensure that the copy exists. Raises NotSaved, StoreForbidden; PythonGone if `call` needs our Python."""
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
            folder.write_new(NAME, self._source)
        finally:
            folder.close()
