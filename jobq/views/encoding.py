"""The encoding of everything that is printed."""

from __future__ import annotations

import sys

ENCODING = sys.getfilesystemencoding()  # the locale's, as the terminal uses; PYTHONIOENCODING does not count
ERRORS = "backslashreplace"
UNICODE = ENCODING == "utf-8"
