"""The output for people and programs: tables, details, live views, logs, JSON, completion scripts."""

from __future__ import annotations

import sys

ENCODING = sys.getfilesystemencoding()  # the locale's, as the terminal uses; PYTHONIOENCODING does not count
ERRORS = "backslashreplace"
UNICODE = ENCODING == "utf-8"
